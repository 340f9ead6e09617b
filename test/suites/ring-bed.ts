/**
 * Nodes in one process, each with its part in the ring: real etcds in folders of their own, over a
 * network in memory that tests cut. Time and processes are real.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorCode, type NodeId, utf8 } from '../../src/base/index.ts';
import { type Env, realEnv } from '../../src/env/index.ts';
import { MemoryRegistry, type Registry } from '../../src/log/index.ts';
import { MemoryNet, type Network } from '../../src/net/index.ts';
import {
  findEtcd,
  RingKeeper,
  type RingKeeperOptions,
  type RingNodeView,
  RingPart,
  type RingPartOptions,
} from '../../src/node/index.ts';
import { keyOf, openMemoryNode } from './net-bed.ts';

export const etcdProgram = findEtcd(process.env['PATH'] ?? '');

export interface RingNode {
  readonly number: number;
  readonly node: NodeId;
  readonly network: Network;
  readonly part: RingPart;
}

export class RingBed implements AsyncDisposable {
  readonly env: Env = realEnv();
  readonly net: MemoryNet;
  readonly folder: string;
  /** Not on the ring, so that it stays when that does not. */
  readonly registry: Registry = new MemoryRegistry();
  readonly #nodes = new Map<number, RingNode>();
  readonly #known = new Set<number>();
  /** Who is let in; by default everybody. */
  mayUse: (node: NodeId) => boolean = () => true;

  private constructor(folder: string) {
    this.folder = folder;
    this.net = new MemoryNet(this.env);
  }

  static async open(count: number): Promise<RingBed> {
    const bed = new RingBed(await mkdtemp(join(tmpdir(), 'holdfast-ring-')));
    for (let number = 1; number <= count; number++) await bed.start(number);
    return bed;
  }

  get nodes(): readonly RingNode[] {
    return [...this.#nodes.values()];
  }

  node(number: number): RingNode {
    return this.#nodes.get(number)!;
  }

  /** All that there ever were; those that were stopped are not alive. */
  views(): RingNodeView[] {
    return [...this.#known].map((number) => ({
      node: keyOf(number).nodeId,
      labels: {},
      isAlive: this.#nodes.has(number),
    }));
  }

  /** A warden on a node. */
  keeper(number: number, more: Partial<RingKeeperOptions> = {}): RingKeeper {
    const { part, network } = this.node(number);
    const { env, registry } = this;
    const metadataNodes = (): RingNodeView[] => this.views();
    return new RingKeeper({ env, registry, part, network, metadataNodes, graceMs: 500, ...more });
  }

  /** Looks until nothing is left to do. */
  async settle(keeper: RingKeeper): Promise<void> {
    await this.until('the ring is at rest', async () => {
      const outcome = await keeper.pass().catch(errorCode);
      return outcome === 'at rest';
    });
  }

  folderOf(number: number): string {
    return join(this.folder, `node-${number}`);
  }

  /** A node begins, or comes back with what its folder has. */
  async start(number: number, more: Partial<RingPartOptions> = {}): Promise<RingNode> {
    const { env, net } = this;
    const network = await openMemoryNode({ env, net, number });
    const part = await RingPart.open({
      env,
      folder: this.folderOf(number),
      network,
      program: etcdProgram,
      mayUse: (node) => this.mayUse(node),
      others: () => this.nodes.map(({ node }) => node),
      ...more,
    });
    const started = { number, node: network.self, network, part };
    this.#nodes.set(number, started);
    this.#known.add(number);
    await this.#introduce();
    return started;
  }

  /** Everybody knows everybody. */
  async #introduce(): Promise<void> {
    for (const { network } of this.nodes) {
      for (const other of this.nodes) {
        if (other.network !== network) await network.connect(other.network.addresses[0]!);
      }
    }
  }

  /** Ends a node as it should be ended. */
  async stop(number: number): Promise<void> {
    const { part, network } = this.node(number);
    this.#nodes.delete(number);
    await part[Symbol.asyncDispose]();
    await network[Symbol.asyncDispose]();
  }

  /** Who is on different sides hears nothing of the other. */
  cut(...side: readonly number[]): void {
    const inside = new Set(side.map((number) => keyOf(number).nodeId));
    this.net.partition((a, b) => inside.has(a) !== inside.has(b));
  }

  /** Waits until it holds; fails after `patienceMs`. */
  async until(what: string, holds: () => Promise<boolean>, patienceMs = 20_000): Promise<void> {
    const { clock } = this.env;
    const endMs = clock.monotonic() + patienceMs;
    for (;;) {
      if (await holds()) return;
      if (clock.monotonic() >= endMs) throw new Error(`did not come to pass: ${what}`);
      await clock.sleep(50);
    }
  }

  /** Writes through one node until the ring takes it. */
  async put(number: number, key: string, value: string): Promise<void> {
    const { kv } = this.node(number).part;
    await this.until(`${key} is written`, async () => {
      const put = { do: 'put', key: utf8(key), value: utf8(value) } as const;
      try {
        await kv.transact({ conditions: [], ifMet: [put], ifNot: [] });
        return true;
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        return false;
      }
    });
  }

  /** Reads through one node: `undefined` when there is nothing. @throws when it cannot be read. */
  async get(number: number, key: string): Promise<string | undefined> {
    const { kv } = this.node(number).part;
    const get = { do: 'get', key: utf8(key) } as const;
    const { answers } = await kv.transact({ conditions: [], ifMet: [get], ifNot: [] });
    const value = answers[0]?.rows[0]?.value;
    return value && Buffer.from(value).toString('utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.net.heal();
    await Promise.all(this.nodes.map(({ number }) => this.stop(number)));
    await rm(this.folder, { recursive: true, force: true });
  }
}
