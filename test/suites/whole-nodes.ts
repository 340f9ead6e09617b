/** Whole nodes in this process, as `up` starts them, over a transport in memory, on folders. */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import { CONTROL_SOCKET } from '../../src/api/index.ts';
import { errorMessage, utf8 } from '../../src/base/index.ts';
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

/** How long what must come is waited for: a small machine has much to do meanwhile. */
export const PATIENCE = { timeout: 100_000, interval: 200 };
const PUT_EVERY_MS = 50;

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
    await this.#untilCalled(inviter, options.config ? options.config.name : name);
  }

  /** It joins by the name of its machine; gossip brings what its configuration calls it. */
  async #untilCalled(inviter: string, called: string | undefined): Promise<void> {
    const isCalled = async () =>
      called === undefined ||
      (await this.on(inviter).call('peers.list', {})).some((node) => node.name === called);
    await vi.waitFor(async () => expect(await isCalled()).toBe(true), PATIENCE);
  }

  /** An object whose content tells its key. */
  async put(name: string, key: string): Promise<void> {
    const content = async function* () {
      yield utf8(textOf(key));
    };
    await this.on(name).put(content(), { key });
  }

  /** Puts objects one after the other, from now on until it is ended. */
  putting(name: string, prefix = 'put'): Putting {
    return new Putting(this, name, prefix);
  }

  async read(name: string, key: string): Promise<string> {
    const { bytes } = await this.on(name).get({ reference: key });
    return Buffer.concat(await Array.fromAsync(bytes)).toString();
  }

  /** @throws when an object cannot be read on the node, or is another. */
  async assertThere(name: string, keys: Iterable<string>): Promise<void> {
    for (const key of keys) {
      if ((await this.read(name, key)) !== textOf(key)) throw new Error(`"${key}" is another`);
    }
  }

  /** What a node has noted of where its metadata is. */
  async metadataPlace(name: string): Promise<{ engine: string; generation: number }> {
    const text = await fs.readFile(this.at(name, 'metadata.json'), 'utf8');
    return JSON.parse(text) as { engine: string; generation: number };
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

export class Putting {
  readonly keys = new Set<string>();
  readonly errors: string[] = [];
  #isOver = false;
  readonly #run: Promise<void>;

  constructor(nodes: WholeNodes, name: string, prefix: string) {
    this.#run = this.#put(nodes, name, prefix);
  }

  async #put(nodes: WholeNodes, name: string, prefix: string): Promise<void> {
    for (let number = 1; !this.#isOver; number++) {
      const key = `${prefix}-${number}`;
      await nodes.put(name, key).then(
        () => this.keys.add(key),
        (error: unknown) => this.errors.push(errorMessage(error)),
      );
      await sleep(PUT_EVERY_MS);
    }
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#run;
  }
}

/** The content that {@link WholeNodes.put} stores: longer than what is kept beside names. */
export function textOf(key: string): string {
  return `content of ${key} `.repeat(1000);
}
