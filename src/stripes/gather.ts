/**
 * Fetches chunks of a stripe from wherever they are: the device that the layout names, then the
 * hand-off order, which is the order in which a writer placed them, then any other store alive (one
 * that is being drained is in no row any more and may hold the only copy).
 */
import {
  type ChunkId,
  type DeviceId,
  errorCode,
  mapBounded,
  type Scheme,
  type StripeId,
} from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import type { ChunkStore } from '../store/index.ts';
import { chunkIds } from './shape.ts';
import type { ChunkRoom } from './slab.ts';

/** The store of a device, when it is alive. */
export type StoreOf = (device: DeviceId) => ChunkStore | undefined;

export interface Whereabouts {
  readonly cluster: Cluster;
  readonly storeOf: StoreOf;
  /** Every store that is alive. */
  readonly stores: () => readonly ChunkStore[];
}

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  /** Part of the chunk. */
  readonly range?: { readonly offset: number; readonly lengthBytes: number };
  readonly target?: Uint8Array | undefined;
}

/** Finds shards of one stripe. */
export class ShardFinder {
  readonly stripe: StripeId;
  readonly ids: readonly ChunkId[];
  readonly #storeOf: StoreOf;
  readonly #places: readonly (DeviceId | undefined)[];
  readonly #elsewhere: readonly DeviceId[];

  constructor({ cluster, storeOf, stores }: Whereabouts, stripe: StripeId, scheme: Scheme) {
    this.stripe = stripe;
    this.ids = chunkIds(stripe, scheme);
    this.#storeOf = storeOf;
    this.#places = cluster.place(stripe, scheme);
    const spares = cluster.handOff(stripe, scheme);
    const inRow = this.#places.filter((device) => device !== undefined);
    const alive = stores().map(({ id }) => id);
    this.#elsewhere = [...new Set([...spares, ...inRow, ...alive])];
  }

  /** Stores that may hold the shard, likeliest first. */
  #candidates(index: number): ChunkStore[] {
    const own = this.#places[index];
    const devices = own ? [own, ...this.#elsewhere.filter((id) => id !== own)] : this.#elsewhere;
    return devices.map(this.#storeOf).filter((store) => store !== undefined);
  }

  /**
   * The chunk from the first store that has it good; `undefined` when none has.
   * @throws HF_INTERRUPTED.
   */
  async fetch(index: number, options: FetchOptions = {}): Promise<Uint8Array | undefined> {
    const { range, target, signal } = options;
    for (const store of this.#candidates(index)) {
      try {
        const wanted = { ...range, ...(target && { target }), signal };
        const chunk = await store.get(this.ids[index]!, wanted);
        if (chunk) return chunk;
      } catch (error) {
        // A store that cannot give its copy is passed over; it has marked the chunk, or has failed.
        if (errorCode(error) === undefined || errorCode(error) === 'HF_INTERRUPTED') throw error;
      }
    }
    return undefined;
  }

  /**
   * Fetches chunks until `count` are there, in the order of the indexes.
   * @param rooms memory for each chunk, in index order; see slab.ts.
   * @param options.exclude indexes not to ask for: they are there already, or turned out bad.
   * @returns the indexes fetched; fewer than `count` when no more are to be had.
   */
  async fetchSome(
    count: number,
    rooms: readonly ChunkRoom[],
    options: { exclude: readonly number[]; signal?: AbortSignal | undefined },
  ): Promise<number[]> {
    const queue = [...rooms.keys()].filter((index) => !options.exclude.includes(index));
    const found: number[] = [];
    while (found.length < count && queue.length > 0) {
      const attempt = queue.splice(0, count - found.length);
      const fetched = await mapBounded(attempt, attempt.length, async (index) => {
        const { chunk: target, memory } = rooms[index]!;
        const chunk = await this.fetch(index, { target: memory, signal: options.signal });
        // A chunk of another length is no chunk of this stripe.
        if (chunk?.length !== target.length) return undefined;
        if (!isSameMemory(chunk, target)) target.set(chunk);
        return index;
      });
      found.push(...fetched.filter((index) => index !== undefined));
    }
    return found;
  }
}

function isSameMemory(a: Uint8Array, b: Uint8Array): boolean {
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset;
}
