/**
 * Scrubs all stores all the time, so slowly that nobody notices: a pass takes two weeks, and at
 * most a twentieth of a disk's time. A store knows how far it has come, so a restart costs nothing.
 * What is found bad is marked by the store, and care has it made again.
 */
import { type DeviceId, errorCode } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { ChunkStore, ScrubOptions } from '../../store/index.ts';
import type { StoreSet } from './store-set.ts';

const MINUTE_MS = 60_000;

const PASS_MS = 14 * 24 * 60 * MINUTE_MS;
const PACE: ScrubOptions = { passMs: PASS_MS, busyShareMax: 0.05 };

/** How often stores are looked for that are not being scrubbed. */
const LOOK_EVERY_MS = MINUTE_MS;
/** Wait after a pass that failed: the device is to blame, and nobody can say when it is better. */
const RETRY_MS = 60 * MINUTE_MS;

export interface BackgroundScrubOptions {
  readonly env: Env;
  readonly stores: Pick<StoreSet, 'alive'>;
}

/** Runs until `signal` is aborted. */
export async function scrubInBackground(
  { env, stores }: BackgroundScrubOptions,
  signal: AbortSignal,
): Promise<void> {
  /** When the next pass of a store begins; of the monotonic clock. */
  const dueAt = new Map<DeviceId, number>();
  const underWay = new Map<DeviceId, Promise<void>>();
  const scrub = async (store: ChunkStore): Promise<void> => {
    const startedAt = env.clock.monotonic();
    try {
      await store.scrub({ ...PACE, signal });
      dueAt.set(store.id, startedAt + PASS_MS);
    } catch (error) {
      // Closed, or the node ends.
      if (errorCode(error) === 'HF_INTERRUPTED') return;
      dueAt.set(store.id, env.clock.monotonic() + RETRY_MS);
      env.log.warn('a store could not be scrubbed', { store: store.id, error });
    } finally {
      underWay.delete(store.id);
    }
  };
  for await (const _ of env.clock.every(LOOK_EVERY_MS, { signal })) {
    for (const store of stores.alive()) {
      const isDue = (dueAt.get(store.id) ?? 0) <= env.clock.monotonic();
      if (isDue && !underWay.has(store.id)) underWay.set(store.id, scrub(store));
    }
  }
  await Promise.all(underWay.values());
}
