/**
 * From a stripe to its devices: the row of the stripe's placement group says which device has which
 * shard, and where a shard goes when its device does not answer (ruling 9).
 */
import {
  concatBytes,
  type DeviceId,
  fromHex,
  groupOf,
  type Scheme,
  type StripeId,
  xxh64,
} from '../base/index.ts';
import { type Layout, NO_DEVICE, type Topology, type TopologyDevice } from './layout.ts';

/** A topology and the layout that was made for it. */
export interface LayoutAndTopology {
  readonly layout: Layout;
  readonly topology: Topology;
}

/** The device of each shard index, n in all; `undefined` where the layout has none. */
export function placeStripe(
  at: LayoutAndTopology,
  stripe: StripeId,
  scheme: Scheme,
): (DeviceId | undefined)[] {
  const row = rowOf(at, stripe);
  return Array.from({ length: scheme.n }, (_, shardIndex) => row[shardIndex]?.id);
}

/**
 * Devices for shards whose own device does not answer, in the order to try them: the further
 * positions of the row, then the other `in` devices by weighted rendezvous hash of the stripe
 * (Thaler & Ravishankar 1998; weights after Schindelhauer & Schomaker 2005).
 */
export function handOffOrder(at: LayoutAndTopology, stripe: StripeId, scheme: Scheme): DeviceId[] {
  const row = rowOf(at, stripe);
  const further = row.slice(scheme.n).filter((device) => device !== undefined);
  const inRow = new Set(row);
  const others = at.topology.devices
    .filter((device) => device.state === 'in' && !inRow.has(device))
    .map((device) => ({ device, distance: rendezvousDistance(stripe, device) }))
    .toSorted((a, b) => a.distance - b.distance || a.device.number - b.device.number);
  return [...further, ...others.map(({ device }) => device)].map(({ id }) => id);
}

/** Where the shards of a new stripe go. */
export interface WritePlaces {
  /** By shard index. */
  readonly places: readonly (DeviceId | undefined)[];
  readonly handOff: readonly DeviceId[];
}

/**
 * The same, but the last copy of `near-N` goes to a device that is near: the first one in the order
 * of the row that no other copy goes to. When another copy is near already, or nothing is, the row
 * stands.
 */
export function nearPlaces(
  { places, handOff }: WritePlaces,
  { n, isNear }: Scheme,
  isNearDevice: (device: DeviceId) => boolean,
): WritePlaces {
  if (!isNear) return { places, handOff };
  const others = places.slice(0, n - 1);
  if (others.some((device) => device !== undefined && isNearDevice(device))) {
    return { places, handOff };
  }
  const own = places[n - 1];
  const order = own === undefined ? handOff : [own, ...handOff];
  const near = order.find((device) => isNearDevice(device) && !others.includes(device));
  if (near === undefined) return { places, handOff };
  return { places: [...others, near], handOff: order.filter((device) => device !== near) };
}

/**
 * Where shards that are somewhere belong: in the row, but the last copy of `near-N` belongs to any
 * device that takes shards and holds it and no other copy. One that is lost, or on a device that is
 * being emptied, belongs in the row.
 */
export function settledPlaces(
  places: readonly (DeviceId | undefined)[],
  { n, isNear }: Scheme,
  {
    holdersOf,
    leaving,
  }: {
    /** The devices that hold a good shard of this index. */
    readonly holdersOf: (shardIndex: number) => readonly DeviceId[];
    /** See {@link leavingDevices}. */
    readonly leaving: ReadonlySet<DeviceId>;
  },
): readonly (DeviceId | undefined)[] {
  if (!isNear) return places;
  const others = places.slice(0, n - 1);
  const taken = new Set([...others, ...others.flatMap((_, index) => holdersOf(index))]);
  const free = holdersOf(n - 1).filter((device) => !taken.has(device) && !leaving.has(device));
  // One that is not in the row was put there for being near: that one stays.
  const settled = free.find((device) => device !== places[n - 1]) ?? free[0] ?? places[n - 1];
  return [...others, settled];
}

/** Devices that keep nothing: what they hold belongs elsewhere. */
export function leavingDevices({ devices }: Topology): ReadonlySet<DeviceId> {
  return new Set(devices.flatMap(({ id, state }) => (state === 'in' ? [] : [id])));
}

function rowOf({ layout, topology }: LayoutAndTopology, stripe: StripeId) {
  const start = groupOf(stripe) * layout.width;
  return Array.from(layout.table.subarray(start, start + layout.width), (number) =>
    number === NO_DEVICE ? undefined : topology.devices.find((each) => each.number === number),
  );
}

/** Exponentially distributed with the device's weight as rate: the smallest of all comes first. */
function rendezvousDistance(stripe: StripeId, device: TopologyDevice): number {
  const hash = xxh64(concatBytes(stripe, fromHex(device.id)));
  const uniform = (Number(hash >> 11n) + 0.5) / 2 ** 53;
  return -Math.log(uniform) / Math.max(device.weightBytes, 1);
}
