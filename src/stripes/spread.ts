/**
 * Puts the n chunks of a stripe on n stores (ruling 9). Each goes to the device that the layout names;
 * a device that does not take it is replaced by the next in hand-off order that holds no shard of this
 * stripe. All n are durable before the put is acknowledged; only when fewer than n stores are alive
 * may d < n do, d ≥ k + minSpare, which is reported.
 */
import { type DeviceId, errorCode, formatScheme, HoldfastError } from '../base/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { chunkIds } from './shape.ts';
import type { PreparedStripe, SpreadReport } from './stripe-store.ts';

/** The store of a device, when it is alive. */
export type StoreOf = (device: DeviceId) => ChunkStore | undefined;

export interface SpreadOptions {
  readonly generation: number;
  /** Shards that must be left to lose when a put is acknowledged degraded (default 1). */
  readonly minSpare: number;
  readonly signal?: AbortSignal | undefined;
}

export async function spreadStripe(
  { cluster, storeOf }: { cluster: Cluster; storeOf: StoreOf },
  prepared: PreparedStripe,
  options: SpreadOptions,
): Promise<SpreadReport> {
  const { stripe, scheme, chunks } = prepared;
  const ids = chunkIds(stripe, scheme);
  const { generation, signal } = options;
  const places = cluster.place(stripe, scheme);
  const spares = cluster.handOff(stripe, scheme).values();
  const failures: unknown[] = [];

  /** Tries the device, then spares that nobody else of this stripe has taken, until one took it. */
  async function putShard(index: number): Promise<boolean> {
    for (let device = places[index] ?? nextOf(spares); device; device = nextOf(spares)) {
      const store = storeOf(device);
      if (!store) continue;
      try {
        await store.put(ids[index]!, chunks[index]!, { generation, signal });
        return true;
      } catch (error) {
        if (errorCode(error) === undefined || errorCode(error) === 'HF_CORRUPT') throw error;
        failures.push(error);
      }
    }
    return false;
  }

  const durable = await Promise.all(ids.map((_, index) => putShard(index)));
  const durableCount = durable.filter(Boolean).length;
  if (durableCount === scheme.n) return { durableCount, isDegraded: false };
  const full = failures.find((error) => errorCode(error) === 'HF_NO_SPACE');
  // A full store is alive: ruling 9 lets a put go short only of stores that are not.
  if (full) throw full;
  if (durableCount >= scheme.k + options.minSpare) return { durableCount, isDegraded: true };
  throw new HoldfastError(
    'HF_TOO_FEW_STORES',
    `only ${durableCount} of ${scheme.n} shards of ${formatScheme(scheme)} could be stored; ` +
      `at least ${scheme.k + options.minSpare} stores must be alive`,
    { cause: failures[0] },
  );
}

function nextOf<Item>(items: Iterator<Item>): Item | undefined {
  const next = items.next();
  return next.done ? undefined : next.value;
}
