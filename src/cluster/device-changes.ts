/**
 * What changes make of the devices that are there, as the next epoch. A device that is stated keeps
 * its number or gets the next one, and joins the slice of the node that states it; one that is
 * stated as `out` stays in the slice where it is. Pure.
 */
import { HoldfastError, isHexId, type NodeId } from '../base/index.ts';
import { type DeviceState, NO_DEVICE, type TopologyDevice } from '../placement/index.ts';
import { areSameLevels, devicesBetween, labelsOn } from './levels.ts';
import type { Snapshot } from './snapshot.ts';

/** A device as its owner states it; the cluster gives the number. */
export type StatedDevice = Omit<TopologyDevice, 'number'>;

/** What the next epoch is to be. A slice that is the same array as before is not written again. */
export interface Edit {
  /** That before when left out. */
  readonly wantedWidth?: number;
  readonly devices: ReadonlyMap<NodeId, readonly TopologyDevice[]>;
  readonly nextNumber: number;
  /** Those before when left out. */
  readonly levels?: readonly string[];
}

/**
 * @returns `undefined` when everything is as stated already.
 * @throws HF_BAD_ARGUMENT; HF_TOO_LARGE when the numbers of the cluster are used up.
 */
export function withDevices(
  before: Snapshot,
  stated: readonly StatedDevice[],
  node: NodeId,
): Edit | undefined {
  const { levels } = before.root;
  checkStated(stated, levels);
  const devices = new Map(before.devices);
  let { nextNumber } = before.root;
  for (const { id, weightBytes, state, labels } of stated) {
    const [home, slice] = [...devices].find(([, each]) => each.some((one) => one.id === id)) ?? [
      node,
      [],
    ];
    const known = slice.find((each) => each.id === id);
    const target = known && state === 'out' ? home : node;
    const number = known?.number ?? nextNumber;
    const device = { id, number, weightBytes, state, labels: labelsOn(levels, labels) };
    if (known && target === home && isSame(known, device)) continue;
    if (!known) nextNumber += 1;
    if (known)
      devices.set(
        home,
        slice.filter((each) => each !== known),
      );
    devices.set(target, [...(devices.get(target) ?? []), device]);
  }
  if (nextNumber > NO_DEVICE) {
    throw new HoldfastError('HF_TOO_LARGE', `a cluster has had at most ${NO_DEVICE} devices`);
  }
  return changed(before, { devices, nextNumber });
}

/** @returns `undefined` when the devices of the node are in that state already. */
export function withNodeState(
  before: Snapshot,
  node: NodeId,
  state: DeviceState,
): Edit | undefined {
  const slice = before.devices.get(node) ?? [];
  const isLeft = (device: TopologyDevice) =>
    device.state === state ||
    (state !== 'out' && device.state === (state === 'in' ? 'draining' : 'out'));
  if (slice.every(isLeft)) return undefined;
  const next = slice.map((device) => (isLeft(device) ? device : { ...device, state }));
  const devices = new Map(before.devices).set(node, next);
  return changed(before, { devices, nextNumber: before.root.nextNumber });
}

/** All slices written for these levels; `undefined` when they are, or when there are none yet. */
export function withLevels(before: Snapshot, levels: readonly string[]): Edit | undefined {
  const { levels: from, nextNumber, epoch } = before.root;
  if (epoch === 0 || areSameLevels(from, levels)) return undefined;
  const devices = new Map(
    [...before.devices].map(([node, slice]) => [node, devicesBetween({ from, to: levels }, slice)]),
  );
  return { devices, nextNumber, levels };
}

function changed(before: Snapshot, edit: Edit): Edit | undefined {
  const isSameAsBefore = [...edit.devices].every(
    ([node, slice]) => slice === before.devices.get(node),
  );
  return isSameAsBefore ? undefined : edit;
}

function isSame(known: TopologyDevice, device: TopologyDevice): boolean {
  return (
    known.weightBytes === device.weightBytes &&
    known.state === device.state &&
    known.labels.every((label, i) => label === device.labels[i])
  );
}

/** @throws HF_BAD_ARGUMENT. */
export function checkStated(stated: readonly StatedDevice[], levels: readonly string[]): void {
  const ids = new Set<string>();
  for (const { id, weightBytes, labels } of stated) {
    const refuse = (reason: string) =>
      new HoldfastError('HF_BAD_ARGUMENT', `device ${id}: ${reason}`);
    if (!isHexId(id)) throw refuse('an id is 32 hexadecimal digits');
    if (ids.has(id)) throw refuse('it is stated twice');
    if (!Number.isSafeInteger(weightBytes) || weightBytes < 0)
      throw refuse('its weight is no size');
    const isFitting = labels.length > 0 && labels.length <= levels.length;
    if (!isFitting || labels.includes('')) throw refuse(`its labels are of: ${levels.join(', ')}`);
    ids.add(id);
  }
}
