/** Whole nodes in this process, as `up` starts them, over a transport in memory, on folders. */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { CONTROL_SOCKET } from '../../src/api/index.ts';
import { connect, type HoldfastClient } from '../../src/client/index.ts';
import { realEnv, silentLog } from '../../src/env/index.ts';
import { MemoryNet } from '../../src/net/index.ts';
import {
  joinNode,
  type MakeTransport,
  type NodeOptions,
  openNode,
  type RunningNode,
} from '../../src/node/index.ts';

interface StartOptions {
  readonly recoverKitText?: string;
  readonly storePaths?: readonly string[];
  /** What is said of the node, in place of an address, its name and no beacon. */
  readonly config?: NodeOptions['config'];
  /** Where its machine keeps its list of disks. */
  readonly disks?: NodeOptions['disks'];
  readonly log?: NodeOptions['log'];
}

export class WholeNodes implements AsyncDisposable {
  /** Over which they talk, in the clear. */
  readonly net: MemoryNet;
  readonly #folder: string;
  readonly #transports: readonly MakeTransport[];
  readonly #running = new Map<string, { node: RunningNode; client: HoldfastClient }>();

  private constructor(folder: string) {
    this.#folder = folder;
    this.net = new MemoryNet(realEnv());
    this.#transports = [({ key }) => this.net.transport(key.nodeId)];
  }

  static async open(): Promise<WholeNodes> {
    return new WholeNodes(await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-nodes-')));
  }

  at(...names: readonly string[]): string {
    return path.join(this.#folder, ...names);
  }

  /** Its client. @throws when it is not up. */
  on(name: string): HoldfastClient {
    const running = this.#running.get(name);
    if (!running) throw new Error(`${name} is not up`);
    return running.client;
  }

  /** With three stores, unless others are named. @throws as openNode. */
  async start(name: string, options: StartOptions = {}): Promise<RunningNode> {
    const config = { listen: [`memory://${name}:1`], name, beacon: false };
    const storePaths = [1, 2, 3].map((number) => this.at(name, `disk-${number}`));
    const about = { dataPath: this.at(name), config, transports: this.#transports, storePaths };
    const rest = { acceptsLoss: true, threadCount: 0, log: silentLog, ...options };
    const node = await openNode({ ...about, ...rest });
    const client = connect({ socketPath: this.at(name, CONTROL_SOCKET) });
    this.#running.set(name, { node, client });
    return node;
  }

  /** A new member by an invitation of another, started. */
  async join(
    name: string,
    {
      inviter,
      isAdmin,
      ...options
    }: StartOptions & { readonly inviter: string; readonly isAdmin?: boolean },
  ): Promise<void> {
    const { token } = await this.on(inviter).call('cluster.invite', { isAdmin });
    const transports = this.#transports;
    await joinNode({ dataPath: this.at(name), token, transports, log: silentLog });
    await this.start(name, options);
  }

  async stop(name: string): Promise<void> {
    const running = this.#running.get(name);
    this.#running.delete(name);
    running?.client[Symbol.dispose]();
    await running?.node[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#running.keys()].toReversed()) await this.stop(name);
    await fs.rm(this.#folder, { recursive: true, force: true });
  }
}
