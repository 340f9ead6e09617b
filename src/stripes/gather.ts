/**
 * Fetches chunks of a stripe from wherever they are: the device that the layout names, then the
 * hand-off order, which is the order in which a writer placed them.
 */
import { type ChunkId, type DeviceId, errorCode, mapBounded, type Scheme } from '../base/index.ts';
import type { StripeId } from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { chunkIds } from './shape.ts';
import type { StoreOf } from './spread.ts';

export interface Whereabouts {
  readonly cluster: Cluster;
  readonly storeOf: StoreOf;
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
  readonly #spares: readonly DeviceId[];

  constructor({ cluster, storeOf }: Whereabouts, stripe: StripeId, scheme: Scheme) {
    this.stripe = stripe;
    this.ids = chunkIds(stripe, scheme);
    this.#storeOf = storeOf;
    this.#places = cluster.place(stripe, scheme);
    this.#spares = cluster.handOff(stripe, scheme);
  }

  /** Devices that may hold the shard, likeliest first. */
  candidates(index: number): DeviceId[] {
    const own = this.#places[index];
    const others = this.#places.filter((device) => device !== undefined && device !== own);
    const ordered = [...(own ? [own] : []), ...this.#spares, ...(others as DeviceId[])];
    return ordered.filter((device) => this.#storeOf(device) !== undefined);
  }

  /** The chunk from the first store that has it good; `undefined` when none has. */
  async fetch(index: number, options: FetchOptions = {}): Promise<Uint8Array | undefined> {
    const { range, target, signal } = options;
    for (const device of this.candidates(index)) {
      try {
        const wanted = { ...range, ...(target && { target }), signal };
        const chunk = await this.#storeOf(device)?.get(this.ids[index]!, wanted);
        if (chunk) return chunk;
      } catch (error) {
        // A store that cannot give its copy is passed over; it has marked the chunk, or has failed.
        if (errorCode(error) === undefined || errorCode(error) === 'HF_INTERRUPTED') throw error;
      }
    }
    return undefined;
  }

  /**
   * Fetches chunks into `targets` until `count` are there, in the order of the indexes.
   * @param exclude indexes not to ask for: they turned out bad.
   * @returns the indexes fetched; fewer than `count` when no more are to be had.
   */
  async fetchSome(
    count: number,
    targets: readonly Uint8Array[],
    options: { exclude: ReadonlySet<number>; signal?: AbortSignal | undefined },
  ): Promise<number[]> {
    const queue = [...targets.keys()].filter((index) => !options.exclude.has(index));
    const found: number[] = [];
    while (found.length < count && queue.length > 0) {
      const attempt = queue.splice(0, count - found.length);
      const fetched = await mapBounded(attempt, attempt.length, async (index) => {
        const target = targets[index]!;
        const chunk = await this.fetch(index, { target, signal: options.signal });
        // A chunk of another length is no chunk of this stripe.
        if (!chunk || chunk.length !== target.length) return undefined;
        if (chunk.buffer !== target.buffer) target.set(chunk);
        return index;
      });
      found.push(...fetched.filter((index) => index !== undefined));
    }
    return found.toSorted((a, b) => a - b);
  }
}
