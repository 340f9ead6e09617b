/**
 * What stated devices make of the devices that are there: each keeps its number and its slice, or
 * gets the next number and joins the slice of the node that states it. Pure.
 */
import { HoldfastError, isHexId, type NodeId } from '../base/index.ts';
import { NO_DEVICE, type TopologyDevice } from '../placement/index.ts';
import type { Snapshot } from './snapshot.ts';

/** A device as its owner states it; the cluster gives the number. */
export type StatedDevice = Omit<TopologyDevice, 'number'>;

/** What the next epoch is to be. A slice that is the same array as before is not written again. */
export interface Edit {
  readonly width: number;
  readonly devices: ReadonlyMap<NodeId, readonly TopologyDevice[]>;
  readonly nextNumber: number;
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
  checkStated(stated, before.root.levels);
  const devices = new Map(before.devices);
  let { nextNumber } = before.root;
  for (const device of stated) {
    const [home, slice] = [...devices].find(([, each]) =>
      each.some(({ id }) => id === device.id),
    ) ?? [node, devices.get(node) ?? []];
    const known = slice.find(({ id }) => id === device.id);
    if (known && isAsStated(known, device)) continue;
    const { id, weightBytes, state, labels } = device;
    const changed = { id, number: known?.number ?? nextNumber++, weightBytes, state, labels };
    devices.set(home, [...slice.filter((each) => each !== known), changed]);
  }
  if (nextNumber > NO_DEVICE) {
    throw new HoldfastError('HF_TOO_LARGE', `a cluster has had at most ${NO_DEVICE} devices`);
  }
  const isSame = [...devices].every(([each, slice]) => slice === before.devices.get(each));
  return isSame ? undefined : { width: before.layout.width, devices, nextNumber };
}

function isAsStated(known: TopologyDevice, stated: StatedDevice): boolean {
  const isSameLabel = (label: string, i: number) => label === stated.labels[i];
  return (
    known.weightBytes === stated.weightBytes &&
    known.state === stated.state &&
    known.labels.every(isSameLabel)
  );
}

function checkStated(stated: readonly StatedDevice[], levels: readonly string[]): void {
  const ids = new Set<string>();
  for (const { id, weightBytes, labels } of stated) {
    const refuse = (reason: string) =>
      new HoldfastError('HF_BAD_ARGUMENT', `device ${id}: ${reason}`);
    if (!isHexId(id)) throw refuse('an id is 32 hexadecimal digits');
    if (ids.has(id)) throw refuse('it is stated twice');
    if (!Number.isSafeInteger(weightBytes) || weightBytes < 0)
      throw refuse('its weight is no size');
    if (labels.length !== levels.length || labels.includes('')) {
      throw refuse(`it needs a label for each of: ${levels.join(', ')}`);
    }
    ids.add(id);
  }
}
