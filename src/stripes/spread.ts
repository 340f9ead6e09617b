/**
 * Puts the n chunks of a stripe on n stores (ruling 9). Each goes to the device that the layout
 * names; a device that does not take it is replaced by another that holds no shard of this stripe
 * (spares.ts). All n are durable before the put is acknowledged; only when fewer than n
 * stores are alive may d < n do, d ≥ k + minSpare, which is reported.
 */
import {
  type ChunkId,
  errorCode,
  formatScheme,
  HoldfastError,
  mapBounded,
  type Scheme,
} from '../base/index.ts';
import { nearPlaces } from '../placement/index.ts';
import { type ChunkStore, isSilence } from '../store/index.ts';
import type { StoreOf, Whereabouts } from './gather.ts';
import { Patience } from './patience.ts';
import { chunkIds } from './shape.ts';
import type { LentChunk } from './slab.ts';
import { Spares } from './spares.ts';
import { answerMs, type StoreCalls } from './store-calls.ts';
import type { PreparedStripe, SpreadReport } from './stripe-store.ts';

export interface SpreadOptions {
  readonly generation: number;
  /** Shards that must be left to lose when a put is acknowledged degraded (default 1). */
  readonly minSpare: number;
  /** What a store gets of a chunk's memory. */
  readonly lend: (chunk: Uint8Array) => LentChunk;
  readonly signal?: AbortSignal | undefined;
}

/** Returns when each call of a store has ended, or is late: then `onCall` was told of it. */
export async function spreadStripe(
  { cluster, calls, storeOf, isNear }: Omit<Whereabouts, 'stores'>,
  { stripe, scheme, chunks }: PreparedStripe,
  { generation, minSpare, lend, signal }: SpreadOptions,
): Promise<SpreadReport> {
  const ids = chunkIds(stripe, scheme);
  const holders = new Map<number, ChunkStore>();
  const failures: unknown[] = [];
  const avoided = new Set<ChunkStore>();
  const isWell = (store: ChunkStore): boolean => {
    if (calls.isShunned(store)) avoided.add(store);
    return !avoided.has(store);
  };
  /** Tries to find a store for each shard that has none. */
  const place = async (isAllowed: (store: ChunkStore) => boolean): Promise<void> => {
    const taken = new Set(holders.values());
    const allowed: StoreOf = (device) => {
      const store = storeOf(device);
      return store && !taken.has(store) && isAllowed(store) ? store : undefined;
    };
    const row = cluster.place(stripe, scheme);
    const places = nearPlaces(
      {
        places: row,
        order: () => cluster.handOff(stripe, scheme),
        topology: cluster.topology(),
      },
      scheme,
      (device) => isNear(device) && storeOf(device) !== undefined,
    );
    const own = places.map((device, index) =>
      device === undefined || holders.has(index) ? undefined : allowed(device),
    );
    const busy = [...taken, ...own].flatMap((store) => store?.id ?? []);
    const spares = new Spares({ cluster, storeOf: allowed, stripe, scheme, taken: busy });
    await mapBounded(ids, ids.length, async (id, index) => {
      if (holders.has(index)) return;
      const put = { id, chunk: chunks[index]!, generation, signal, lend };
      const store = await putWithHandOff(calls, put, { own: own[index], spares, failures });
      if (store) holders.set(index, store);
    });
  };
  const isPlaced = (): boolean => holders.size === scheme.n;
  await place(isWell);
  if (!isPlaced() && failures.some(isOldEpoch)) {
    // Whoever refused knows a newer layout, by which what it refused is placed again (ruling 11).
    await cluster.refresh();
    await place(isWell);
  }
  const leastCount = Math.min(scheme.n, scheme.k + minSpare);
  const patience = new Patience(calls.env.clock);
  for (let seen = 0; holders.size < leastCount && failures.slice(seen).some(isSilence);) {
    seen = failures.length;
    if (await patience.waitOn(signal)) await place(isWell);
  }
  // Better late than not at all.
  if (holders.size < leastCount) await place((store) => avoided.has(store));
  return reportOf(scheme, { durableCount: holders.size, leastCount, failures });
}

function isOldEpoch(error: unknown): boolean {
  return errorCode(error) === 'HF_OLD_EPOCH';
}

/** @throws HF_NO_SPACE, HF_TOO_FEW_STORES when what is durable is not enough. */
function reportOf(
  scheme: Scheme,
  { durableCount, leastCount, failures }: SpreadOutcome,
): SpreadReport {
  if (durableCount === scheme.n) return { durableCount, isDegraded: false };
  const full = failures.find((error) => errorCode(error) === 'HF_NO_SPACE');
  // A full store is alive: ruling 9 lets a put go short only of stores that are not.
  if (full) throw full;
  if (durableCount >= leastCount) return { durableCount, isDegraded: true };
  throw new HoldfastError(
    'HF_TOO_FEW_STORES',
    `only ${durableCount} of ${scheme.n} shards of ${formatScheme(scheme)} could be stored; ` +
      `at least ${leastCount} stores must be alive`,
    { cause: failures[0] },
  );
}

interface SpreadOutcome {
  readonly durableCount: number;
  readonly leastCount: number;
  readonly failures: readonly unknown[];
}

/** A chunk to be put somewhere. */
export interface ChunkToPut {
  readonly id: ChunkId;
  readonly chunk: Uint8Array;
  readonly generation: number;
  readonly signal?: AbortSignal | undefined;
  readonly lend: (chunk: Uint8Array) => LentChunk;
}

/**
 * Tries a store, then spares that nobody else of this stripe has taken, until one took the chunk.
 * @param candidates.failures why stores did not take it is added here.
 * @returns the store that took it.
 * @throws HF_CORRUPT when the chunk is not what its id names; HF_INTERRUPTED.
 */
export async function putWithHandOff(
  calls: StoreCalls,
  { id, chunk, generation, signal, lend }: ChunkToPut,
  {
    own,
    spares,
    failures,
  }: {
    readonly own: ChunkStore | undefined;
    readonly spares: Pick<Spares, 'next'>;
    readonly failures: unknown[];
  },
): Promise<ChunkStore | undefined> {
  for (let store = own ?? spares.next(); store; store = spares.next(store)) {
    try {
      const { bytes, onCall } = lend(chunk);
      const bounds = { ms: answerMs(bytes.length), signal, onCall };
      // The coder of this process made the chunk, or checked it.
      await calls.run(store, bounds, (stopped) =>
        store.put(id, bytes, { generation, signal: stopped, isVerified: true }),
      );
      return store;
    } catch (error) {
      const code = errorCode(error);
      // These say nothing about the store: no other would do better.
      if (!code || code === 'HF_CORRUPT' || code === 'HF_INTERRUPTED') throw error;
      failures.push(error);
      if (code === 'HF_OLD_EPOCH') return undefined; // by that layout it belongs nowhere
    }
  }
  return undefined;
}
