/**
 * What a rebuild of a stripe has to write, and where to. Each shard belongs at its place; one that
 * no store has, and whose place is dead or hung a while ago, goes to a spare store. So does a
 * *guest*: a shard that stands on a device which is wanted for another one. It was put there while
 * its own device was away; together they would be lost together.
 */
import type { DeviceId, Scheme, StripeId } from '../base/index.ts';
import { leavingDevices, matchShards } from '../placement/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { StoreOf, Whereabouts } from './gather.ts';
import { Spares } from './spares.ts';
import type { ShardPlace, StripeHealth } from './stripe-store.ts';

/** A shard that must be written, and where to. */
export interface Step {
  readonly shardIndex: number;
  readonly target: ChunkStore;
  /** No store has it good: any place is better than none. */
  readonly isMissing: boolean;
}

export interface Plan {
  readonly steps: readonly Step[];
  /** For shards that are missing, should their targets fail. */
  readonly spares: Spares;
}

export function planSteps(
  { cluster, calls, storeOf }: Pick<Whereabouts, 'cluster' | 'calls' | 'storeOf'>,
  { stripe, scheme }: { readonly stripe: StripeId; readonly scheme: Scheme },
  { places }: StripeHealth,
): Plan {
  const wellStoreOf: StoreOf = (device) => {
    const store = storeOf(device);
    return store && !calls.isShunned(store) ? store : undefined;
  };
  const steps: Step[] = [];
  for (const { shardIndex, wantedAt, foundAt } of places) {
    if (wantedAt === undefined || foundAt.includes(wantedAt)) continue;
    const target = wellStoreOf(wantedAt);
    if (target) steps.push({ shardIndex, target, isMissing: foundAt.length === 0 });
  }
  const wanted = new Set(places.map(({ wantedAt }) => wantedAt));
  const spares = new Spares({
    cluster,
    storeOf: (device) => (wanted.has(device) ? undefined : wellStoreOf(device)),
    stripe,
    scheme,
    taken: [...places.flatMap(({ foundAt }) => foundAt), ...steps.map(({ target }) => target.id)],
  });
  const isPlanned = new Set(steps.map(({ shardIndex }) => shardIndex));
  const missing = places.filter(
    ({ shardIndex, foundAt }) => foundAt.length === 0 && !isPlanned.has(shardIndex),
  );
  const guests = guestsOf(places, steps, leavingDevices(cluster.topology()));
  for (const { shardIndex, foundAt } of [...missing, ...guests]) {
    const target = spares.next();
    if (target) steps.push({ shardIndex, target, isMissing: foundAt.length === 0 });
  }
  return { steps, spares };
}

/** Once the steps are done; shards that are in their places then are none. */
function guestsOf(
  places: readonly ShardPlace[],
  steps: readonly Step[],
  leaving: ReadonlySet<DeviceId>,
): ShardPlace[] {
  const targets = new Map(steps.map(({ shardIndex, target }) => [shardIndex, target.id]));
  const staying = places.map((place) => {
    const target = targets.get(place.shardIndex);
    const found = place.foundAt.filter((device) => !leaving.has(device));
    const devices = target === undefined ? found : [...found, target];
    const inPlace = devices.filter((device) => device === place.wantedAt);
    return { place, devices: [...new Set([...inPlace, ...devices])], inPlace };
  });
  const order = staying.toSorted((a, b) => b.inPlace.length - a.inPlace.length);
  const matched = matchShards(order.map(({ devices }) => devices));
  return order
    .filter(({ devices }, i) => devices.length > 0 && matched[i] === undefined)
    .map(({ place }) => place);
}
