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

/** A stripe some of whose shards need other devices. */
export interface HandOff {
  readonly stripe: StripeId;
  readonly scheme: Scheme;
  /** Devices that have shards of it, or are about to; those of its row when left out. */
  readonly taken?: Iterable<DeviceId> | undefined;
}

/**
 * Devices for shards whose own device does not answer, in the order to try them. Those come first
 * whose loss, and that of the domains they are in, would take the fewest shards of the stripe; of
 * equal ones the positions of the row, then the other `in` devices by weighted rendezvous hash of
 * the stripe (Thaler & Ravishankar 1998; weights after Schindelhauer & Schomaker 2005).
 */
export function handOffOrder(
  at: LayoutAndTopology,
  { stripe, scheme, taken }: HandOff,
): DeviceId[] {
  const row = rowOf(at, stripe).filter((device) => device !== undefined);
  const inRow = new Set(row);
  const has = new Set(taken ?? placeStripe(at, stripe, scheme).filter((id) => id !== undefined));
  const others = at.topology.devices
    .filter((device) => device.state === 'in' && !inRow.has(device))
    .map((device) => ({ device, distance: rendezvousDistance(stripe, device) }))
    .toSorted((a, b) => a.distance - b.distance || a.device.number - b.device.number);
  const free = [...row, ...others.map(({ device }) => device)].filter(({ id }) => !has.has(id));
  const crowding = crowdingOf(at.topology, scheme, has);
  return free
    .map((device) => ({ device, crowding: crowding(device) }))
    .toSorted((a, b) => compareNumbers(a.crowding, b.crowding))
    .map(({ device }) => device.id);
}

/**
 * How badly one more shard would stand with a device, for comparing: first by how much its domains
 * would have more shards than may be lost, the narrowest domain before all, for the narrow ones
 * fail most often; then how many shards its domains have, the widest first, as in layouts.
 */
function crowdingOf(
  { devices }: Topology,
  { n, k }: Scheme,
  taken: ReadonlySet<DeviceId>,
): (device: TopologyDevice) => readonly number[] {
  const counts = new Map<string, number>();
  for (const device of devices) {
    if (!taken.has(device.id)) continue;
    for (const domain of domainsOf(device)) counts.set(domain, (counts.get(domain) ?? 0) + 1);
  }
  return (device) => {
    const held = domainsOf(device).map((domain) => counts.get(domain) ?? 0);
    const excess = held.map((count) => Math.max(0, count + 1 - (n - k))).reverse();
    return [...excess, ...held];
  };
}

/** Widest first. A domain is its labels from the widest level down. */
function domainsOf({ labels }: TopologyDevice): string[] {
  return labels.map((_, level) => JSON.stringify(labels.slice(0, level + 1)));
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  const differs = a.findIndex((number, i) => number !== b[i]);
  return differs === -1 ? 0 : a[differs]! - b[differs]!;
}

/**
 * Where the shards of a new stripe go: to their places, but the last copy of `near-N` to the first
 * device that is near, where no other copy is. It never goes to a server that another copy goes to
 * as long as there is one without.
 */
export function nearPlaces(
  { places, order, topology }: LastCopyPlaces,
  { n, isNear }: Scheme,
  isNearDevice: (device: DeviceId) => boolean,
): readonly (DeviceId | undefined)[] {
  if (!isNear) return places;
  const others = places.slice(0, n - 1);
  const last = places[n - 1];
  const isApart = standingApart(topology, others);
  if (!others.some((device) => device !== undefined && isNearDevice(device))) {
    if (last !== undefined && isNearDevice(last) && isApart(last)) return places;
    const near = order().find((device) => isNearDevice(device) && isApart(device));
    if (near !== undefined) return [...others, near];
  }
  return [...others, homeOfLast({ places, order, topology }, isApart)];
}

interface LastCopyPlaces {
  /** By shard index. */
  readonly places: readonly (DeviceId | undefined)[];
  /** The devices that are not among them, best first; asked for only when needed. */
  readonly order: () => readonly DeviceId[];
  readonly topology: Topology;
}

/** Where the last copy of `near-N` belongs when it is near nobody. */
function homeOfLast(
  { places, order }: LastCopyPlaces,
  isApart: (device: DeviceId) => boolean,
): DeviceId | undefined {
  const last = places.at(-1);
  if (last !== undefined && isApart(last)) return last;
  return order().find(isApart) ?? last;
}

/**
 * Whether the last copy of `near-N` may stay with a device: it takes shards, has none of the other
 * copies, and none is on its server, unless one is on every server.
 * @param others where the other copies belong.
 */
export function standingApart(
  { levels, devices }: Pick<Topology, 'levels' | 'devices'>,
  others: readonly (DeviceId | undefined)[],
): (device: DeviceId) => boolean {
  const level = levels.indexOf('server');
  const depth = level === -1 ? levels.length : level + 1;
  const serverOf = ({ labels }: TopologyDevice) => JSON.stringify(labels.slice(0, depth));
  const used = devices.filter(({ state }) => state === 'in');
  const taken = new Set(used.filter(({ id }) => others.includes(id)).map(serverOf));
  const free = used.filter(({ id }) => !others.includes(id));
  const apart = free.filter((device) => !taken.has(serverOf(device)));
  const allowed = new Set((apart.length > 0 ? apart : free).map(({ id }) => id));
  return (device) => allowed.has(device);
}

/**
 * Where shards that are somewhere belong: in the row, but the last copy of `near-N` to whichever
 * device holds it and may ({@link standingApart}), and if there is none to its place in the row or,
 * where that would not do, to the first device that would.
 */
export function settledPlaces(
  at: LastCopyPlaces,
  { n, isNear }: Scheme,
  /** The devices that hold a good shard of this index. */
  holdersOf: (shardIndex: number) => readonly DeviceId[],
): readonly (DeviceId | undefined)[] {
  const { places, topology } = at;
  if (!isNear) return places;
  const others = places.slice(0, n - 1);
  const taken = new Set(others.flatMap((_, index) => holdersOf(index)));
  const isApart = standingApart(topology, others);
  const free = holdersOf(n - 1).filter((device) => !taken.has(device) && isApart(device));
  // One that is not in the row was put there for being near: that one stays.
  const settled = free.find((device) => device !== places[n - 1]) ?? free[0];
  return [...others, settled ?? homeOfLast(at, isApart)];
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
