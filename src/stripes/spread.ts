/**
 * Puts the n chunks of a stripe on n stores (ruling 9). Each goes to the device that the layout
 * names; a device that does not take it is replaced by the next in hand-off order that holds no
 * shard of this stripe. All n are durable before the put is acknowledged; only when fewer than n
 * stores are alive may d < n do, d ≥ k + minSpare, which is reported.
 */
import {
  type ChunkId,
  type DeviceId,
  errorCode,
  formatScheme,
  HoldfastError,
  mapBounded,
} from '../base/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { Whereabouts } from './gather.ts';
import { chunkIds } from './shape.ts';
import type { PreparedStripe, SpreadReport } from './stripe-store.ts';

export interface SpreadOptions {
  readonly generation: number;
  /** Shards that must be left to lose when a put is acknowledged degraded (default 1). */
  readonly minSpare: number;
  readonly signal?: AbortSignal | undefined;
}

/** Returns only when no store uses the chunks any more, also when it throws. */
export async function spreadStripe(
  { cluster, storeOf }: Pick<Whereabouts, 'cluster' | 'storeOf'>,
  { stripe, scheme, chunks }: PreparedStripe,
  { generation, minSpare, signal }: SpreadOptions,
): Promise<SpreadReport> {
  const ids = chunkIds(stripe, scheme);
  const places = cluster.place(stripe, scheme);
  const spares = aliveOf(cluster.handOff(stripe, scheme), storeOf).values();
  const failures: unknown[] = [];
  const durable = await mapBounded(ids, ids.length, async (id, index) => {
    const device = places[index];
    const put = { id, chunk: chunks[index]!, generation, signal };
    return await putWithHandOff(put, { own: device && storeOf(device), spares, failures });
  });
  const durableCount = durable.filter((store) => store !== undefined).length;
  if (durableCount === scheme.n) return { durableCount, isDegraded: false };
  const full = failures.find((error) => errorCode(error) === 'HF_NO_SPACE');
  // A full store is alive: ruling 9 lets a put go short only of stores that are not.
  if (full) throw full;
  if (durableCount >= scheme.k + minSpare) return { durableCount, isDegraded: true };
  throw new HoldfastError(
    'HF_TOO_FEW_STORES',
    `only ${durableCount} of ${scheme.n} shards of ${formatScheme(scheme)} could be stored; ` +
      `at least ${Math.min(scheme.n, scheme.k + minSpare)} stores must be alive`,
    { cause: failures[0] },
  );
}

export function aliveOf(
  devices: readonly DeviceId[],
  storeOf: Whereabouts['storeOf'],
): ChunkStore[] {
  return devices.map(storeOf).filter((store) => store !== undefined);
}

/**
 * Tries a store, then spares that nobody else of this stripe has taken, until one took the chunk.
 * @param candidates.failures why stores did not take it is added here.
 * @returns the store that took it.
 * @throws HF_CORRUPT when the chunk is not what its id names; HF_INTERRUPTED.
 */
export async function putWithHandOff(
  {
    id,
    chunk,
    ...options
  }: {
    readonly id: ChunkId;
    readonly chunk: Uint8Array;
    readonly generation: number;
    readonly signal?: AbortSignal | undefined;
  },
  {
    own,
    spares,
    failures,
  }: {
    readonly own: ChunkStore | undefined;
    readonly spares: Iterator<ChunkStore, undefined>;
    readonly failures: unknown[];
  },
): Promise<ChunkStore | undefined> {
  for (let store = own ?? spares.next().value; store; store = spares.next().value) {
    try {
      // The coder of this process made the chunk, or checked it.
      await store.put(id, chunk, { ...options, isVerified: true });
      return store;
    } catch (error) {
      const code = errorCode(error);
      // These say nothing about the store: no other would do better.
      if (!code || code === 'HF_CORRUPT' || code === 'HF_INTERRUPTED') throw error;
      failures.push(error);
    }
  }
  return undefined;
}
