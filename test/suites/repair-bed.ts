/**
 * A cluster of nodes with a disk each, in memory, as the steward sees it who repairs: real layouts,
 * references and stripes, no volumes. Stripes are put and released by hand; stores can be away,
 * come back, be written off, and count what is asked of them.
 */
import {
  chunkId,
  type DeviceId,
  hexId,
  HoldfastError,
  type NodeId,
  parseScheme,
  type Scheme,
  schemeOfNumber,
  toHex,
} from '../../src/base/index.ts';
import { type Cluster, openCluster } from '../../src/cluster/index.ts';
import { MemoryDb } from '../../src/db/index.ts';
import type { Env } from '../../src/env/index.ts';
import { MemoryLog, MemoryRegistry } from '../../src/log/index.ts';
import {
  type Inode,
  type Namespace,
  openReferences,
  type References,
  type Session,
  type StripeRecord,
  type WantedStripe,
} from '../../src/meta/index.ts';
import { openRepair, type Repair, type RepairOptions } from '../../src/repair/index.ts';
import { type ChunkStore, MemoryChunkStore } from '../../src/store/index.ts';
import { openStripes, type StripeStore } from '../../src/stripes/index.ts';
import { virtualEnv } from './virtual-env.ts';

const STEWARD: NodeId = hexId<NodeId>(new Uint8Array(16).fill(0xee));
export const VOLUME = 'v';
export const rs42: Scheme = parseScheme('rs-4+2');

/** What the stores were asked since {@link RepairBed.resetCounts}. */
export interface Counts {
  digests: number;
  lists: number;
  puts: number;
  putBytes: number;
  removes: number;
}

export interface PutStripe extends WantedStripe {
  readonly inode: Inode;
}

export class RepairBed implements AsyncDisposable {
  readonly env: Env;
  readonly stores: MemoryChunkStore[] = [];
  readonly away = new Set<MemoryChunkStore>();
  readonly out = new Set<MemoryChunkStore>();
  /** Their nodes count as alive, and do not answer. */
  readonly silent = new Set<MemoryChunkStore>();
  counts!: Counts;
  /** Called before a put or a remove of any store. */
  onChange: (what: 'put' | 'remove', store: ChunkStore, id: Uint8Array) => Promise<void>;
  cluster!: Cluster;
  references!: References;
  stripes!: StripeStore;
  repair!: Repair;
  readonly #faces = new Map<MemoryChunkStore, ChunkStore>();
  readonly #released = new Map<Inode, WantedStripe[]>();
  #nextInode = 1n;

  private constructor(env: Env, storeCount: number) {
    this.env = env;
    this.onChange = async () => {};
    this.resetCounts();
    for (let i = 0; i < storeCount; i++) this.addStore();
  }

  static async open(
    storeCount: number,
    { width = 6, ...options }: Partial<RepairOptions> & { readonly width?: number } = {},
  ): Promise<RepairBed> {
    const env = virtualEnv(1);
    const bed = new RepairBed(env, storeCount);
    const registry = new MemoryRegistry();
    const levels = ['server', 'disk'];
    bed.cluster = await openCluster({ env, registry, node: STEWARD, tolerance: 2, levels });
    await bed.state();
    await bed.cluster.ensureWidth(width);
    const db = new MemoryDb();
    bed.references = await openReferences({ env, cell: 'r', log: new MemoryLog(), db });
    const { cluster, alive: stores } = bed;
    bed.stripes = openStripes({ env, cluster, stores, threadCount: 0, slotCount: 4 });
    bed.repair = bed.openRepair(options);
    return bed;
  }

  /** Another steward over the same cluster: one that remembers nothing. */
  openRepair(options: Partial<RepairOptions> = {}): Repair {
    const { env, cluster, references, stripes, alive: stores } = this;
    const namespaceOf = (volume: string): Namespace | undefined =>
      volume === VOLUME ? this.#namespace() : undefined;
    // Nothing in a bed is made by the tree, unless it says so.
    const [treeOf, uploadsOf] = [() => undefined, () => undefined];
    const parts = { env, cluster, references, stripes, stores, namespaceOf, treeOf, uploadsOf };
    return openRepair({ ...parts, volumes: () => [VOLUME], ...options });
  }

  readonly alive = (): readonly ChunkStore[] =>
    this.stores
      .filter((store) => !this.away.has(store) && !this.out.has(store))
      .map((store) => this.#faces.get(store)!);

  addStore(): MemoryChunkStore {
    const id = hexId<DeviceId>(new Uint8Array(16).fill(this.stores.length + 1));
    const store = new MemoryChunkStore({ id, now: () => this.env.clock.now() });
    this.stores.push(store);
    this.#faces.set(store, this.#counted(store));
    return store;
  }

  /** States all devices as they are now. */
  async state(): Promise<void> {
    const devices = this.stores.map((store) => ({
      id: store.id,
      weightBytes: 2 ** 30,
      state: this.out.has(store) ? ('out' as const) : ('in' as const),
      labels: [`server-${store.id}`, `disk-${store.id}`],
    }));
    await this.cluster.setDevices(devices);
  }

  resetCounts(): void {
    this.counts = { digests: 0, lists: 0, puts: 0, putBytes: 0, removes: 0 };
  }

  /** Puts one stripe and commits it. */
  async put(
    seed: number,
    { size = 70_000, scheme = rs42, commits = true, ...given }: PutOptions = {},
  ): Promise<PutStripe> {
    const { references, stripes } = this;
    const buffer = await stripes.lease(scheme);
    const { buffer: memory, byteOffset } = buffer.content.fill(0, 0, size);
    new DataView(memory, byteOffset).setUint32(0, seed);
    using prepared = await stripes.prepare(buffer, size, { scheme, secret: new Uint8Array(32) });
    const { stripe, schemeNumber, chunkBytes } = prepared;
    const inode = given.inode ?? this.#nextInode++;
    const holder = { volume: VOLUME, inode };
    const session = given.session ?? (await references.openSession(`writer ${inode}`));
    const wanted = { stripe, schemeNumber, chunkBytes };
    const [added] = await references.add({ session, holder, stripes: [wanted] });
    await stripes.spread(prepared, { generation: added!.generation });
    if (commits) await references.confirm(holder, [stripe]);
    return { ...wanted, inode };
  }

  /** Removes the file of a stripe, as an object store does. */
  async release({ inode, ...wanted }: PutStripe): Promise<void> {
    this.#released.set(inode, [wanted]);
    await this.repair.release(VOLUME, { inode });
  }

  async record({ stripe }: WantedStripe): Promise<StripeRecord | undefined> {
    return await this.references.stripe(stripe);
  }

  /** The stores that hold a shard, by index; away ones too. */
  async holders({ stripe, schemeNumber }: WantedStripe): Promise<MemoryChunkStore[][]> {
    const { n } = schemeOfNumber(schemeNumber);
    const found: MemoryChunkStore[][] = [];
    for (let index = 0; index < n; index++) {
      const id = chunkId(stripe, schemeNumber, index);
      found.push([]);
      for (const store of this.stores) if (await store.stat(id)) found[index]!.push(store);
    }
    return found;
  }

  /** Ids of what a store holds, in hex. */
  async held(store: MemoryChunkStore): Promise<string[]> {
    return await Array.fromAsync(store.list(), ({ id }) => toHex(id));
  }

  storeOf(device: DeviceId | undefined): MemoryChunkStore {
    return this.stores.find(({ id }) => id === device)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stripes[Symbol.asyncDispose]();
    await this.references[Symbol.asyncDispose]();
  }

  #namespace(): Namespace {
    const part: Partial<Namespace> = {
      refuse: async () => 'refused',
      record: async () => undefined,
      isToRelease: async (inode) => this.#released.has(inode),
      releases: async () => [...this.#released.keys()].map((inode) => ({ inode })),
      extents: async (inode) =>
        (this.#released.get(inode) ?? []).map(({ stripe, schemeNumber }) => ({
          encoding: 0,
          offset: 0,
          lengthBytes: 1,
          stripe,
          schemeNumber,
          wrappedKey: new Uint8Array(),
        })),
      finishRelease: async ({ inode }, places) => {
        if (places.length > 0) this.#released.set(inode, []);
        else this.#released.delete(inode);
      },
    };
    return part as Namespace;
  }

  #counted(store: MemoryChunkStore): ChunkStore {
    const speak = (): void => {
      if (this.silent.has(store)) throw new HoldfastError('HF_UNAVAILABLE');
    };
    return {
      id: store.id,
      get state() {
        return store.state;
      },
      put: async (id, chunk, options) => {
        speak();
        await this.onChange('put', store, id);
        this.counts.puts += 1;
        this.counts.putBytes += chunk.length;
        await store.put(id, chunk, options);
      },
      get: async (id, options) => {
        speak();
        return await store.get(id, options);
      },
      stat: async (id) => {
        speak();
        return await store.stat(id);
      },
      remove: async (id, options) => {
        speak();
        await this.onChange('remove', store, id);
        const isRemoved = await store.remove(id, options);
        if (isRemoved) this.counts.removes += 1;
        return isRemoved;
      },
      list: (options) => {
        this.counts.lists += 1;
        speak();
        return store.list(options);
      },
      digests: async () => {
        this.counts.digests += 1;
        speak();
        return await store.digests();
      },
      usage: async () => {
        speak();
        return await store.usage();
      },
      scrub: () => store.scrub(),
      [Symbol.asyncDispose]: async () => {},
    };
  }
}

interface PutOptions {
  readonly size?: number;
  readonly scheme?: Scheme;
  readonly commits?: boolean;
  /** The holder, when it is to be a certain one. */
  readonly inode?: Inode;
  readonly session?: Session;
}
