/**
 * A cluster of hosts that carry cells, in one process and on virtual time: a network, a registry
 * and a log in memory, and for each host the databases that outlive its process. Hosts can be
 * killed, started again, and parted from each other or from log and registry.
 */
import { errorCode, HoldfastError, type NodeId, type VolumeId } from '../../src/base/index.ts';
import { type LocalDb, MemoryDb } from '../../src/db/index.ts';
import { type Env, MetricsTable } from '../../src/env/index.ts';
import {
  EtcdLog,
  type EtcdLogOptions,
  EtcdRegistry,
  type FencedLog,
  MemoryEtcd,
  MemoryLog,
  MemoryRegistry,
  type Registry,
} from '../../src/log/index.ts';
import { MemoryMirror } from './memory-mirror.ts';
import {
  Hosting,
  type HostingOptions,
  type Namespace,
  serveHosting,
  CellMaps,
  loneCell,
} from '../../src/meta/index.ts';
import { gossipMembers, MemoryNet, type Network, parseAddress } from '../../src/net/index.ts';
import { everybody, keyOf, openMemoryNode } from './net-bed.ts';
import { virtualEnv } from './virtual-env.ts';

export const VOLUME = '00112233445566778899aabbccddeeff' as VolumeId;

export interface Host {
  readonly number: number;
  readonly node: NodeId;
  readonly env: Env;
  readonly hosting: Hosting;
  readonly namespace: Namespace;
}

interface Running extends Host {
  readonly network: Network;
  readonly stopping: AbortController;
  readonly running: Promise<void>;
}

export interface HostingBedOptions {
  /** Besides those of log and registry in memory: stands before them. */
  readonly wrapLog?: (log: FencedLog, number: number) => FencedLog;
  /** The engine `etcd` on an etcd in memory, instead of the engine `memory`. */
  readonly hasEtcd?: boolean;
  readonly faults?: HostingOptions['faults'];
  readonly seed?: number;
  /** Of the log; may be changed as it runs. */
  readonly logFaults?: { lostReplyPercent?: number; lostRequestPercent?: number };
  /** Whether a host is taken for one that may carry cells; all are when left out. */
  readonly mayCarry?: (node: NodeId) => boolean;
}

export class HostingBed implements AsyncDisposable {
  readonly env: Env;
  readonly net: MemoryNet;
  readonly registry: Registry;
  readonly metrics = new MetricsTable();
  readonly #options: HostingBedOptions;
  readonly #hosts = new Map<number, Running>();
  readonly #dbs = new Map<string, MemoryDb>();
  /** The log as one host has it. */
  readonly #logOf: () => FencedLog;
  /** Databases that hosts let go of: "number/cell". */
  readonly dropped: string[] = [];
  /** Databases that cannot be opened: "number/cell". */
  readonly broken = new Set<string>();
  /** How often all hosts asked log and registry. */
  readonly asked = { log: 0, registry: 0 };
  /** Hosts that reach neither log nor registry. */
  readonly cutOff = new Set<number>();
  /** How long a call of one of them takes to come to nothing. */
  silenceMs = 1500;
  home = nodeOf(1);

  private constructor(options: HostingBedOptions) {
    this.#options = options;
    this.env = { ...virtualEnv(options.seed ?? 1), metrics: this.metrics };
    this.net = new MemoryNet(this.env, { delayMs: 1, jitterMs: 1 });
    const { env } = this;
    const delays = { delayMsMax: 2 };
    const faults = Object.assign(options.logFaults ?? {}, delays);
    if (options.hasEtcd) {
      const etcd = new MemoryEtcd({ env, faults });
      const parts = new MemoryMirror();
      const place = (): EtcdLogOptions => {
        const metadataKey = new Uint8Array(32).fill(1);
        const at = { prefix: 'bed/', metadataKey, generation: 1, env, patienceMs: 1500 };
        return { ...at, kv: etcd.connect(), parts };
      };
      this.#logOf = () => new EtcdLog(place());
      this.registry = new EtcdRegistry(place());
    } else {
      const log = new MemoryLog({ env, faults });
      this.#logOf = () => log;
      this.registry = new MemoryRegistry({ env, faults: delays });
    }
  }

  static async open(count: number, options: HostingBedOptions = {}): Promise<HostingBed> {
    const bed = new HostingBed(options);
    for (let number = 1; number <= count; number++) await bed.start(number);
    return bed;
  }

  host(number: number): Host {
    const host = this.#hosts.get(number);
    if (!host) throw new Error(`host ${number} is not running`);
    return host;
  }

  network(number: number): Network {
    return this.#hosts.get(number)!.network;
  }

  get hosts(): readonly Host[] {
    return [...this.#hosts.values()];
  }

  numberOf(node: NodeId): number {
    for (let number = 1; ; number++) if (nodeOf(number) === node) return number;
  }

  /** @param carries whether it carries cells, or only asks. */
  async start(number: number, { carries = true } = {}): Promise<Host> {
    const { env, net } = this;
    const seeds = [...this.#hosts.keys()].map((other) => parseAddress(`memory://node-${other}:1`));
    const membership = gossipMembers({ admission: everybody });
    const network = await openMemoryNode({ env, net, number, seeds, membership });
    const stopping = new AbortController();
    const log = this.#throughCut(this.#logOf(), { number, of: 'log' });
    const hosting = await Hosting.open({
      env,
      self: network.self,
      network,
      registry: this.#throughCut(this.registry, { number, of: 'registry' }),
      home: () => this.home,
      carrying: carries
        ? {
            log: this.#options.wrapLog?.(log, number) ?? log,
            openDb: async (cell) => this.#openDb(number, cell),
            dropDb: async (cell) => {
              this.#dbs.delete(`${number}/${cell}`);
              this.dropped.push(`${number}/${cell}`);
            },
            knownDbs: async () => this.databases(number),
          }
        : undefined,
      faults: this.#options.faults,
    });
    serveHosting(network, {
      hosting: () => hosting,
      mayAsk: () => true,
      mayCarry: this.#options.mayCarry ?? (() => true),
    });
    for (const other of this.#hosts.keys()) {
      await network.connect(parseAddress(`memory://node-${other}:1`));
    }
    const running = hosting.run({ signal: stopping.signal });
    const namespace = hosting.namespace(VOLUME);
    const parts = { number, node: network.self, env, hosting, namespace };
    const host = { ...parts, network, stopping, running };
    this.#hosts.set(number, host);
    return host;
  }

  /** As when the process is killed: nothing is said to anybody. */
  async kill(number: number): Promise<void> {
    const host = this.#hosts.get(number)!;
    this.#hosts.delete(number);
    this.net.cut(host.node);
    this.cutOff.add(number); // what it had in flight gets nowhere
    await host.network[Symbol.asyncDispose]();
    host.stopping.abort();
    await Promise.allSettled([host.hosting[Symbol.asyncDispose](), host.running]);
    for (const [key, db] of this.#dbs) {
      if (key.startsWith(`${number}/`)) this.#dbs.set(key, db.crash());
    }
    this.cutOff.delete(number);
  }

  /** As when the process is asked to end. */
  async stop(number: number): Promise<void> {
    const host = this.#hosts.get(number)!;
    this.#hosts.delete(number);
    host.stopping.abort();
    await host.running;
    await host.hosting[Symbol.asyncDispose]();
    await host.network[Symbol.asyncDispose]();
  }

  /** Parts hosts from all others, whom they do not hear; log and registry stay. */
  part(...numbers: number[]): void {
    const nodes = new Set(numbers.map(nodeOf));
    this.net.partition((a, b) => nodes.has(a) !== nodes.has(b));
  }

  /** Parts two hosts from each other alone: all others hear both. */
  partPair(one: number, other: number): void {
    const pair = [nodeOf(one), nodeOf(other)];
    this.net.partition((a, b) => pair.includes(a) && pair.includes(b) && a !== b);
  }

  /** Writes down that a space is one cell on these hosts. */
  async pin(space: string, ...numbers: number[]): Promise<void> {
    const map = loneCell(space, numbers.map(nodeOf));
    const { env, registry } = this;
    const maps = new CellMaps({ env, registry, home: () => this.home });
    await maps.replace({ ...map, version: 0 }, map);
  }

  /** Names of the databases that a host has. */
  databases(number: number): string[] {
    const own = `${number}/`;
    return [...this.#dbs.keys()]
      .filter((key) => key.startsWith(own))
      .map((key) => key.slice(own.length));
  }

  /** Lets virtual time pass until it is so. */
  async until(isSo: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<number> {
    const { clock } = this.env;
    const startMs = clock.monotonic();
    while (!(await isSo())) {
      if (clock.monotonic() - startMs > withinMs) throw new Error(`not within ${withinMs} ms`);
      await clock.sleep(50);
    }
    return clock.monotonic() - startMs;
  }

  /** The hosts that believe to be steward of a cell. */
  stewards(cell: string): number[] {
    return this.hosts
      .filter(({ hosting }) => hosting.carrier?.get(cell)?.steward)
      .map(({ number }) => number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.net.heal();
    this.cutOff.clear();
    for (const host of this.#hosts.values()) host.stopping.abort();
    await Promise.all([...this.#hosts.values()].map(({ running }) => running));
    for (const host of this.#hosts.values()) await host.hosting[Symbol.asyncDispose]();
    for (const host of this.#hosts.values()) await host.network[Symbol.asyncDispose]();
  }

  #openDb(number: number, cell: string): LocalDb {
    const key = `${number}/${cell}`;
    if (this.broken.has(key)) throw new HoldfastError('HF_CORRUPT', 'a broken disk');
    const before = this.#dbs.get(key);
    const db = before ? before.crash() : new MemoryDb();
    this.#dbs.set(key, db);
    return db;
  }

  /** Calls of a host that is cut off never come back with anything but silence. */
  #throughCut<Part extends object>(
    part: Part,
    { number, of }: { readonly number: number; readonly of: 'log' | 'registry' },
  ): Part {
    return new Proxy(part, {
      get: (target, name) => {
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== 'function' || typeof name === 'symbol') return value;
        return (...args: unknown[]) => {
          this.asked[of] += 1;
          if (name === 'read') return value.apply(target, args) as unknown;
          return this.#unlessCut(number, () => value.apply(target, args) as Promise<unknown>);
        };
      },
    });
  }

  async #unlessCut(number: number, work: () => Promise<unknown>): Promise<unknown> {
    if (!this.cutOff.has(number)) return await work();
    await this.env.clock.sleep(this.silenceMs);
    throw new HoldfastError('HF_UNKNOWN_OUTCOME', 'it cannot be reached');
  }
}

export function nodeOf(number: number): NodeId {
  return keyOf(number).nodeId;
}

/** The answer, or the code of the error. */
export async function told(work: Promise<unknown>): Promise<unknown> {
  return await work.catch((error: unknown) => errorCode(error) ?? error);
}
