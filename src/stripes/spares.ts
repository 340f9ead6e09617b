/**
 * Spare stores for the shards of one stripe whose own store does not take them (ruling 9): each is
 * given once, and each time the one that keeps the shards of the stripe furthest apart, by where
 * they are, or are on their way to, at that moment (Cluster.handOff).
 */
import type { DeviceId, Scheme, StripeId } from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { StoreOf } from './gather.ts';

export interface SparesOptions {
  readonly cluster: Pick<Cluster, 'handOff'>;
  /** The store of a device that may be a spare. */
  readonly storeOf: StoreOf;
  readonly stripe: StripeId;
  readonly scheme: Scheme;
  /** Devices that have a shard, or are about to: none of them is a spare. */
  readonly taken: Iterable<DeviceId>;
}

export class Spares {
  readonly #options: SparesOptions;
  readonly #taken: Set<DeviceId>;
  readonly #failed = new Set<DeviceId>();

  constructor(options: SparesOptions) {
    this.#options = options;
    this.#taken = new Set(options.taken);
  }

  /** @param failed the store that has not taken the shard for which a spare is wanted. */
  next(failed?: ChunkStore): ChunkStore | undefined {
    const { cluster, storeOf, stripe, scheme } = this.#options;
    if (failed) {
      this.#failed.add(failed.id);
      this.#taken.delete(failed.id);
    }
    const order = cluster.handOff(stripe, scheme, this.#taken);
    const stores = order.filter((device) => !this.#failed.has(device)).map(storeOf);
    const store = stores.find((each) => each !== undefined);
    if (store) this.#taken.add(store.id);
    return store;
  }
}

/** For a shard that is to go to one place or to none. */
export const NO_SPARES: Pick<Spares, 'next'> = { next: () => undefined };
