/** Where the shards of a stripe are, by asking every store alive. */
import {
  type DeviceId,
  LIMITS,
  mapBounded,
  type Scheme,
  type StripeId,
  unlessBug,
} from '../base/index.ts';
import { countApart, settledPlaces } from '../placement/index.ts';
import { statChunks } from '../store/index.ts';
import type { Whereabouts } from './gather.ts';
import { chunkIds } from './shape.ts';
import type { ShardPlace, StripeHealth } from './stripe-store.ts';

export async function inspectStripe(
  { cluster, calls, stores }: Pick<Whereabouts, 'cluster' | 'calls' | 'stores'>,
  { stripe, scheme }: { readonly stripe: StripeId; readonly scheme: Scheme },
): Promise<StripeHealth> {
  const ids = chunkIds(stripe, scheme);
  const alive = stores();
  const bounds = { ms: LIMITS.remoteCallMs, isLook: true };
  const answers = await mapBounded(alive, LIMITS.deviceOperationsMax, async (store) => {
    const asked = calls.run(store, bounds, (signal) => statChunks(store, ids, { signal }));
    // A store that cannot answer counts as one without the chunks.
    return { device: store.id, entries: (await asked.catch(unlessBug)) ?? [] };
  });
  const holdersOf = (index: number): DeviceId[] =>
    answers.filter(({ entries }) => entries[index]?.isGood).map(({ device }) => device);
  const at = {
    places: cluster.place(stripe, scheme),
    order: () => cluster.handOff(stripe, scheme),
    topology: cluster.topology(),
  };
  const wanted = settledPlaces(at, scheme, holdersOf);
  const places = ids.map((_, shardIndex): ShardPlace => {
    const badAt = answers
      .filter(({ entries }) => entries[shardIndex]?.isGood === false)
      .map(({ device }) => device);
    return { shardIndex, wantedAt: wanted[shardIndex], foundAt: holdersOf(shardIndex), badAt };
  });
  const found = places.filter((place) => place.foundAt.length > 0).length;
  const apart = countApart(places.map(({ foundAt }) => foundAt));
  const isWhole = found === scheme.n && apart >= Math.min(scheme.n, alive.length);
  return { places, spareCount: found - scheme.k, isWhole };
}
