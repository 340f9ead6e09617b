/**
 * Some memory stores and what stands on them, for tests of the modules above `store`: the fixed
 * topology of one server with a disk each ({@link StoreBed.open}), or a whole core ({@link
 * CoreBed}). A store can be *away* (it keeps what it has), *lost* (it does not), or lie about what
 * it holds.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  chunkId,
  type ChunkId,
  type DeviceId,
  errorCode,
  hexId,
  type NodeId,
  parseScheme,
  type Scheme,
  schemeNumber,
  schemeOfNumber,
  stripeId,
  type VolumeId,
} from '../../src/base/index.ts';
import { type Cluster, openCluster } from '../../src/cluster/index.ts';
import { MemoryDb } from '../../src/db/index.ts';
import { type Env, silentLog } from '../../src/env/index.ts';
import { MemoryRegistry } from '../../src/log/index.ts';
import {
  type Core,
  type HomeCore,
  type HomeCoreOptions,
  openHomeCore,
} from '../../src/node/index.ts';
import { type ChunkStore, MemoryChunkStore } from '../../src/store/index.ts';
import {
  openStripes,
  type PreparedStripe,
  type StripeRef,
  type StripeStore,
} from '../../src/stripes/index.ts';
import { changedStore } from './changed-store.ts';
import { virtualEnv } from './virtual-env.ts';

export const NODE: NodeId = hexId<NodeId>(new Uint8Array(16).fill(0xee));
/** Of every {@link CoreBed}. */
export const METADATA_KEY = new Uint8Array(32).fill(7);
const LEVELS = ['server', 'disk'];

export type { Core };

export class StoreBed {
  readonly env: Env;
  readonly stores: MemoryChunkStore[] = [];
  readonly away = new Set<ChunkStore>();
  /** What stands before a store: it sees every call. */
  readonly wraps = new Map<ChunkStore, ChunkStore>();
  nowMs = 1_800_000_000_000;

  constructor(storeCount: number, sizeBytes?: number) {
    const env = virtualEnv(1);
    this.env = { ...env, clock: { ...env.clock, now: () => this.nowMs }, log: silentLog };
    for (let i = 0; i < storeCount; i++) this.addStore(sizeBytes);
  }

  addStore(sizeBytes?: number): MemoryChunkStore {
    const id = hexId<DeviceId>(new Uint8Array(16).fill(this.stores.length + 1));
    const size = sizeBytes === undefined ? {} : { sizeBytes };
    const store = new MemoryChunkStore({ id, now: () => this.nowMs, ...size });
    this.stores.push(store);
    return store;
  }

  readonly alive = (): readonly ChunkStore[] =>
    this.stores
      .filter((store) => !this.away.has(store) && store.state !== 'failed')
      .map((store) => this.wraps.get(store) ?? store);

  /** A store as the topology has it. */
  deviceOf({ id }: ChunkStore, state: 'in' | 'draining' | 'out' = 'in') {
    return { id, weightBytes: 2 ** 30, state, labels: ['server', `disk-${id}`] };
  }

  devices() {
    return this.stores.map((store) => this.deviceOf(store));
  }

  async openCluster(width: number): Promise<Cluster> {
    const registry = new MemoryRegistry();
    const { env } = this;
    const cluster = await openCluster({ env, registry, node: NODE, tolerance: 2, levels: LEVELS });
    await cluster.setDevices(this.devices());
    await cluster.ensureWidth(width);
    return cluster;
  }

  /** Chunks held, on all stores together. */
  async chunkCount(): Promise<number> {
    let count = 0;
    for (const store of this.stores) count += (await store.usage()).chunkCount;
    return count;
  }
}

export interface StripesBed extends AsyncDisposable {
  readonly bed: StoreBed;
  readonly cluster: Cluster;
  readonly stripes: StripeStore;
  readonly slotCount: number;
}

export async function openStripesBed(
  options: {
    storeCount?: number;
    width?: number;
    threadCount?: number;
    sizeBytes?: number;
    isNear?: (device: DeviceId) => boolean;
  } = {},
): Promise<StripesBed> {
  const { storeCount = 8, threadCount = 0, sizeBytes, isNear = () => false } = options;
  const slotCount = 3;
  const bed = new StoreBed(storeCount, sizeBytes);
  const cluster = await bed.openCluster(options.width ?? Math.min(6, storeCount));
  const { env, alive: stores } = bed;
  const stripes = openStripes({ env, cluster, stores, threadCount, slotCount, isNear });
  return {
    bed,
    cluster,
    stripes,
    slotCount,
    [Symbol.asyncDispose]: () => stripes[Symbol.asyncDispose](),
  };
}

export const rs42: Scheme = parseScheme('rs-4+2');

/** The same bytes for the same seed, without a pattern. */
export function bytesOf(count: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(count / 4));
  for (let i = 0, state = seed; i < words.length; i++) {
    state = (state + 0x9e3779b9) | 0;
    words[i] = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
  }
  return new Uint8Array(words.buffer, 0, count);
}

export async function prepare(
  { stripes }: StripesBed,
  content: Uint8Array,
  options: { scheme?: Scheme; secret?: Uint8Array } = {},
): Promise<PreparedStripe> {
  const { scheme = rs42, secret } = options;
  const buffer = await stripes.lease(scheme);
  buffer.content.set(content);
  return await stripes.prepare(buffer, content.length, { scheme, secret });
}

export async function store(
  bed: StripesBed,
  content: Uint8Array,
  options: { scheme?: Scheme; secret?: Uint8Array } = {},
): Promise<StripeRef> {
  using prepared = await prepare(bed, content, options);
  await bed.stripes.spread(prepared, { generation: 1 });
  return refOf(prepared);
}

/** What a manifest keeps of a stripe. */
export function refOf({ stripe, schemeNumber, key, contentBytes }: PreparedStripe): StripeRef {
  return { stripe, schemeNumber, key, contentBytes };
}

export async function rebuild(
  { stripes }: StripesBed,
  { stripe, schemeNumber: number }: Pick<StripeRef, 'stripe' | 'schemeNumber'>,
) {
  return await stripes.rebuild({ stripe, schemeNumber: number, generation: 1 });
}

export async function readAll(
  { stripes }: StripesBed,
  ref: StripeRef,
  range?: { offset: number; lengthBytes: number },
): Promise<Uint8Array> {
  return await stripes.read(ref, range);
}

/** Slots that can be had without anybody giving one back: all but one to fill, the last to read. */
export async function freeSlots({ stripes, slotCount }: StripesBed): Promise<number> {
  let count = 0;
  const counted = () => (count += 1);
  const leases = Array.from({ length: slotCount - 1 }, () => stripes.lease(rs42));
  for (const lease of leases) void lease.then(counted);
  await nextTurn();
  const missing = { stripe: stripeId(new Uint8Array(32)), schemeNumber: schemeNumber(rs42) };
  void stripes.read({ ...missing, key: new Uint8Array(32), contentBytes: 99_999 }).catch(counted);
  for (let turns = 0; turns < 10; turns++) await nextTurn();
  const free = count;
  for (const lease of leases) void lease.then((buffer) => buffer[Symbol.dispose]());
  return free;
}

export async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return 'no error';
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}

export function chunkOf(
  { stripe, schemeNumber }: Pick<StripeRef, 'stripe' | 'schemeNumber'>,
  index: number,
): ChunkId {
  return chunkId(stripe, schemeNumber, index);
}

/** The store where the layout wants a shard. */
export function homeOf(
  { bed, cluster }: Pick<StripesBed, 'bed' | 'cluster'>,
  ref: Pick<StripeRef, 'stripe' | 'schemeNumber'>,
  index: number,
): MemoryChunkStore {
  const device = cluster.place(ref.stripe, schemeOfNumber(ref.schemeNumber))[index];
  return bed.stores.find(({ id }) => id === device)!;
}

/** Puts a store with some operations changed in the place of one of the bed. */
export function change({ bed }: StripesBed, inner: ChunkStore, by: Partial<ChunkStore>): void {
  bed.wraps.set(inner, changedStore(inner, by));
}

/** The store, but what it gives is changed on the way; it does not know. */
export function lyingStore(
  store: ChunkStore,
  damage: (chunk: Uint8Array) => Uint8Array,
): ChunkStore {
  return changedStore(store, {
    async get(id, options) {
      const chunk = await store.get(id, options);
      return chunk && damage(chunk);
    },
  });
}

/** A core over memory stores that can be opened again and again. */
export class CoreBed {
  readonly bed: StoreBed;
  readonly secrets = new Map<VolumeId, Uint8Array>();
  /** Of the last core opened; a new one forgets them. */
  databases: MemoryDb[] = [];

  constructor(storeCount = 6, sizeBytes?: number) {
    this.bed = new StoreBed(storeCount, sizeBytes);
  }

  /** What the core opens its metadata with, for who opens that alone, in databases of its own. */
  metadataOptions() {
    const { bed } = this;
    return {
      env: bed.env,
      nodeId: NODE,
      metadataKey: METADATA_KEY,
      stores: bed.alive,
      devices: bed.devices(),
      tolerance: 2,
      openDb: async () => new MemoryDb(),
    };
  }

  async open(options: Partial<HomeCoreOptions> = {}): Promise<HomeCore> {
    const { secrets } = this;
    this.databases = [];
    return await openHomeCore({
      ...this.metadataOptions(),
      secrets: {
        get: (volume) => secrets.get(volume),
        add: async (volume, secret) => void secrets.set(volume, secret),
      },
      openDb: async () => {
        const db = new MemoryDb();
        this.databases.push(db);
        return db;
      },
      threadCount: 0,
      slotCount: 4,
      ...options,
    });
  }
}

/** Content as a sender gives it, in pieces. */
export async function* streamOf(
  content: Uint8Array,
  pieceBytes = 100_000,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += pieceBytes) {
    yield content.subarray(at, at + pieceBytes);
  }
}

/** Lets what goes on in the background come to its end. @throws what `check` throws at last. */
export async function eventually(check: () => void | Promise<void>): Promise<void> {
  for (let turns = 0; ; turns++) {
    try {
      await check();
      return;
    } catch (error) {
      if (turns === 200) throw error;
      await nextTurn();
    }
  }
}
