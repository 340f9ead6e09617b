/**
 * Fetches chunks of a stripe from wherever they are. First the devices that the layout names are
 * asked, the fast ones before the slow ones; of copies, those of this node before all. When that is
 * not enough, stores are asked what they have of the stripe: those of the row and of the hand-off
 * order, which is where a writer has most likely put them; then all others alive (one that is being
 * drained, or that an earlier layout named, may hold the only copy). So a shard is found wherever
 * it is, and that there are too few is known after two rounds of questions.
 */
import {
  type ChunkId,
  type DeviceId,
  errorCode,
  formatScheme,
  HoldfastError,
  LIMITS,
  mapBounded,
  type Scheme,
  type StripeId,
  throwIfAborted,
} from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { type ChunkStore, isSilence, statChunks } from '../store/index.ts';
import { firstFew } from './hedge.ts';
import { Patience } from './patience.ts';
import { chunkIds } from './shape.ts';
import type { ChunkRoom, SlotLease } from './slab.ts';
import { answerMs, type StoreCalls } from './store-calls.ts';

/** The store of a device, when it is alive. */
export type StoreOf = (device: DeviceId) => ChunkStore | undefined;

export interface Whereabouts {
  readonly cluster: Cluster;
  readonly calls: StoreCalls;
  readonly storeOf: StoreOf;
  /** Every store that is alive. */
  readonly stores: () => readonly ChunkStore[];
  /** Whether a device is of this node. */
  readonly isNear: (device: DeviceId) => boolean;
}

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes that the answer will have, as far as is known. */
  readonly bytes: number;
  /** Part of the chunk. */
  readonly range?: { readonly offset: number; readonly lengthBytes: number };
  readonly target?: Uint8Array | undefined;
  readonly onCall?: ((call: Promise<unknown>) => void) | undefined;
}

export interface GatherOptions {
  /** Memory for each chunk, in index order; see slab.ts. */
  readonly rooms: readonly ChunkRoom[];
  readonly lease: SlotLease;
  /** Indexes not to ask for: they are there already, or turned out bad. */
  readonly exclude: readonly number[];
  /** Indexes to ask for last: their stores are being waited for already. */
  readonly avoid?: readonly number[];
  /** Indexes whose rooms no store is to write to: something else will be made there. */
  readonly lentNot?: readonly number[];
  readonly signal?: AbortSignal | undefined;
}

/** Shards asked for beyond those that are needed, at most. */
const EXTRA_MAX = 2;

/** Finds shards of one stripe. */
export class ShardFinder {
  readonly stripe: StripeId;
  readonly ids: readonly ChunkId[];
  readonly #context: Whereabouts;
  readonly #scheme: Scheme;
  /** By index: stores that were not asked yet and may have the shard, likeliest first. */
  readonly #untried: ChunkStore[][];
  readonly #tried: Set<ChunkStore>[];
  readonly #sources = new Map<number, ChunkStore>();
  /** Shards not given because the nodes of their stores are silent. */
  readonly #withheld: { readonly index: number; readonly store: ChunkStore }[] = [];
  readonly #patience: Patience;
  #hasSearched = false;
  readonly #searches: Iterator<readonly ChunkStore[], undefined>;

  constructor(context: Whereabouts, stripe: StripeId, scheme: Scheme) {
    this.stripe = stripe;
    this.ids = chunkIds(stripe, scheme);
    this.#context = context;
    this.#scheme = scheme;
    this.#untried = context.cluster.place(stripe, scheme).map((device) => {
      const store = device && context.storeOf(device);
      return store ? [store] : [];
    });
    if (scheme.isNear) this.#askNearFirst();
    this.#tried = this.ids.map(() => new Set());
    this.#searches = this.#groupsOfStores();
    this.#patience = new Patience(context.calls.env.clock);
  }

  /** Stores that are known to have a shard. */
  know(index: number, devices: readonly DeviceId[]): void {
    const stores = devices.map(this.#context.storeOf).filter((store) => store !== undefined);
    this.#add(index, stores);
  }

  /**
   * The chunk from the first store that has it good, of those where it is likely to be; `undefined`
   * when none has.
   * @throws HF_INTERRUPTED.
   */
  async fetch(index: number, options: FetchOptions): Promise<Uint8Array | undefined> {
    const chunk = await this.fetchKnown(index, options);
    if (chunk || this.#hasSearched || !(await this.#search(options.signal))) return chunk;
    return await this.fetchKnown(index, options);
  }

  /**
   * Fetches chunks until `count` are there, those first whose stores are not slow.
   * @returns the indexes fetched; fewer than `count` when no more are to be had.
   */
  async gather(count: number, options: GatherOptions): Promise<number[]> {
    const { rooms, lease } = options;
    const bytes = rooms[0]!.chunk.length;
    const ask = async (index: number, signal: AbortSignal): Promise<boolean> => {
      const { chunk: target, memory } = rooms[index]!;
      // Copies share one room: two that come together would write over each other.
      const isOwn =
        this.#scheme.kind !== 'copy' && lease.mayLend && !options.lentNot?.includes(index);
      const lent = isOwn && { target: memory, onCall: lease.keepFor.bind(lease) };
      const chunk = await this.fetchKnown(index, { bytes, ...lent, signal });
      // A chunk of another length is no chunk of this stripe. Who comes late must touch nothing.
      if (chunk?.length !== target.length || signal.aborted) return false;
      if (!isSameMemory(chunk, target)) target.set(chunk);
      return true;
    };
    return await this.takeSome(count, { ...options, bytes, extraMax: EXTRA_MAX, ask });
  }

  /**
   * Asks for shards until `count` were taken, wherever they are.
   * @param options.ask whether the shard was taken; calls {@link fetchKnown}.
   */
  async takeSome(
    count: number,
    options: {
      readonly bytes: number;
      readonly exclude?: readonly number[] | undefined;
      readonly avoid?: readonly number[] | undefined;
      readonly signal?: AbortSignal | undefined;
      readonly extraMax: number;
      readonly ask: (index: number, signal: AbortSignal) => Promise<boolean>;
    },
  ): Promise<number[]> {
    const { bytes, exclude = [], avoid = [], signal, extraMax, ask } = options;
    const { calls } = this.#context;
    const taken: number[] = [];
    do {
      const wanted = count - taken.length;
      const order = this.#inOrder(bytes, [...exclude, ...taken], avoid);
      const hedgeMs = this.hedgeMs(order.slice(0, wanted), bytes);
      const hedge = calls.hedge({ signal, hedgeMs, extraMax });
      taken.push(...(await firstFew(wanted, order, ask, hedge)));
    } while (taken.length < count && (await this.#findMore(signal)));
    return taken;
  }

  /** How long to wait for these shards before others are asked for. */
  hedgeMs(indexes: readonly number[], bytes: number): number {
    const all = this.#nextStores([...this.ids.keys()]);
    return this.#context.calls.hedgeMs(this.#nextStores(indexes), all, bytes);
  }

  /**
   * Counts shards that were not what their ids say, by who gave them, and disputes them there. Who
   * reads does not wait for that.
   */
  async report(indexes: readonly number[]): Promise<void> {
    const { calls, cluster } = this.#context;
    await mapBounded(indexes, LIMITS.deviceOperationsMax, async (index) => {
      const store = this.#sources.get(index);
      if (!store) return;
      calls.countBad(store.id, cluster.nodeOf(store.id));
      await calls.dispute(store, this.ids[index]!);
    });
  }

  /** From stores that may have it by what is known now. @throws HF_INTERRUPTED. */
  async fetchKnown(index: number, options: FetchOptions): Promise<Uint8Array | undefined> {
    const { range, target, signal, bytes, onCall } = options;
    const { calls } = this.#context;
    const bounds = { ms: answerMs(bytes), readBytes: bytes, signal, onCall };
    for (let store = this.#next(index); store; store = this.#next(index)) {
      try {
        const chunk = await calls.run(store, bounds, (stopped) =>
          store.get(this.ids[index]!, { ...range, ...(target && { target }), signal: stopped }),
        );
        if (!chunk) continue;
        this.#sources.set(index, store);
        return chunk;
      } catch (error) {
        if (signal?.aborted) this.#giveBack(index, store);
        // A store that cannot give its copy is passed over; it has marked the chunk, or has failed.
        if (errorCode(error) === undefined || signal?.aborted) throw error;
        if (isSilence(error)) this.#withheld.push({ index, store });
      }
    }
    return undefined;
  }

  #next(index: number): ChunkStore | undefined {
    const store = this.#untried[index]!.shift();
    if (store) this.#tried[index]!.add(store);
    return store;
  }

  /** It was not waited for, so it may be asked again. */
  #giveBack(index: number, store: ChunkStore): void {
    this.#tried[index]!.delete(store);
    this.#untried[index]!.push(store);
  }

  #add(index: number, stores: readonly ChunkStore[]): void {
    const untried = this.#untried[index]!;
    const fresh = stores.filter(
      (store) => !untried.includes(store) && !this.#tried[index]!.has(store),
    );
    untried.push(...fresh);
  }

  #nextStores(indexes: readonly number[]): ChunkStore[] {
    return indexes.map((index) => this.#untried[index]?.[0]).filter((store) => store !== undefined);
  }

  /** Data shards first, as they need no decoding; but whose stores are slow come last. */
  #inOrder(bytes: number, exclude: readonly number[], avoid: readonly number[]): readonly number[] {
    const indexes = [...this.#untried.keys()].filter(
      (index) => this.#untried[index]!.length > 0 && !exclude.includes(index),
    );
    const slow = this.#context.calls.slowOnes(this.#nextStores(indexes), bytes);
    const rank = (index: number): number => {
      const store = this.#untried[index]![0]!;
      if (avoid.includes(index) || slow.has(store)) return 2;
      // Any copy will do; one of this node needs no way.
      return this.#scheme.kind === 'copy' && this.#context.isNear(store.id) ? 0 : 1;
    };
    return indexes.toSorted((a, b) => rank(a) - rank(b) || a - b);
  }

  /** The last copy of a near scheme was put on a store of the node that wrote: maybe this one. */
  #askNearFirst(): void {
    const { stores, isNear } = this.#context;
    const others = this.#untried.slice(0, -1).flat();
    if (others.some(({ id }) => isNear(id))) return;
    this.#untried.at(-1)!.unshift(...stores().filter(({ id }) => isNear(id)));
  }

  /** @returns false when there is nobody left to ask. */
  async #findMore(signal: AbortSignal | undefined): Promise<boolean> {
    if (await this.#search(signal)) return true;
    const withheld = this.#withheld.splice(0);
    if (withheld.length === 0 || !(await this.#patience.waitOn(signal))) return false;
    for (const { index, store } of withheld) this.#giveBack(index, store);
    return true;
  }

  /** Asks more stores what they have of the stripe. @returns false when all were asked. */
  async #search(signal: AbortSignal | undefined): Promise<boolean> {
    throwIfAborted(signal);
    this.#hasSearched = true;
    const { done, value: stores } = this.#searches.next();
    if (done) return false;
    await mapBounded(stores, LIMITS.deviceOperationsMax, async (store) => {
      const bounds = { ms: LIMITS.storeLookMs, isLook: true, signal };
      try {
        const entries = await this.#context.calls.run(store, bounds, (stopped) =>
          statChunks(store, this.ids, { signal: stopped }),
        );
        for (const [index, entry] of entries.entries())
          if (entry?.isGood) this.#add(index, [store]);
      } catch (error) {
        if (errorCode(error) === undefined || signal?.aborted) throw error;
      }
    });
    return true;
  }

  *#groupsOfStores(): Generator<readonly ChunkStore[], undefined> {
    const { cluster, storeOf, stores } = this.#context;
    const { stripe } = this;
    const inRow = cluster.place(stripe, this.#scheme);
    // As a writer went by who missed the same devices; who missed others has put them elsewhere.
    const alive = inRow.flatMap((device) => (device && storeOf(device) ? device : []));
    const order = cluster.handOff(stripe, this.#scheme, alive);
    const handOff = order.slice(0, 2 * this.#scheme.n);
    const likely = new Set(
      [...inRow, ...handOff].map((device) => device && storeOf(device)).filter(Boolean),
    );
    yield [...likely] as ChunkStore[];
    yield stores().filter((store) => !likely.has(store));
  }
}

export function tooFewShards(scheme: Scheme, have: number): HoldfastError {
  return new HoldfastError(
    'HF_TOO_FEW_SHARDS',
    `${formatScheme(scheme)}: have ${have} good shards, need ${scheme.k}`,
  );
}

function isSameMemory(a: Uint8Array, b: Uint8Array): boolean {
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset;
}
