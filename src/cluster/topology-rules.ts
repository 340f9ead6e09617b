/**
 * What the node that carries the registry takes of other members as a change of the topology. A
 * *member* here is one without further rights: it states its own devices; the layout follows.
 *
 * - Slices and layouts are written once. Removed are only its own slices and layouts of epochs that
 *   have come, and nothing that the root names.
 * - A root is the next epoch: the other nodes' slices as they were, but for devices that moved to
 *   its own and do not answer where they were; numbers given in order; and the layout that follows.
 *
 * So the registry can be read whatever a member writes, and nobody puts the devices of others out.
 * What a member says of its own devices (how large, where they stand) is not checked. One whose
 * release makes other layouts than this one is refused until both are of one release.
 */
import { type DeviceId, errorCode, type NodeId, SHARDS_MAX } from '../base/index.ts';
import type { ProposedChange, Registry, Versioned } from '../log/index.ts';
import { type Layout, nextLayout, NO_DEVICE, type TopologyDevice } from '../placement/index.ts';
import { checkStated } from './device-changes.ts';
import { areSameLevels } from './levels.ts';
import { decodeRoot, type Root } from './root-record.ts';
import { readNamed, ROOT_KEY, type Snapshot, topologyOf } from './snapshot.ts';

export interface TopologyRules {
  readonly registry: Pick<Registry, 'get'>;
  /** As in `ClusterOptions`. */
  readonly tolerance: number;
  /** Whether a device answers at the node that has it. */
  readonly isAlive: (device: DeviceId) => boolean;
}

/** Errors in what was written by hand, or by another release. */
const NONSENSE: readonly (string | undefined)[] = [
  'HF_CORRUPT',
  'HF_UNSUPPORTED',
  'HF_BAD_ARGUMENT',
];

/** Whether a member may do that. No other member's change may be made before this one is. */
export async function mayChangeTopology(
  rules: TopologyRules,
  node: NodeId,
  change: ProposedChange,
): Promise<boolean> {
  const stored = await rules.registry.get(ROOT_KEY);
  if (!stored) return false; // the first one is made by who carries the registry
  try {
    if (change.key === ROOT_KEY) return await isNextRoot(rules, node, { ...change, stored });
    if (change.value) return change.expected === 0;
    return mayRemove(decodeRoot(stored.value), node, change.key);
  } catch (error) {
    if (!NONSENSE.includes(errorCode(error))) throw error;
    return false;
  }
}

function mayRemove(root: Root, node: NodeId, key: string): boolean {
  const [space, first, second] = key.split('/');
  if (space === 'layout') return Number(first) <= root.epoch && key !== root.layoutKey;
  return second === node && ![...root.slices.values()].includes(key);
}

async function isNextRoot(
  { registry, tolerance, isAlive }: TopologyRules,
  node: NodeId,
  { stored, expected, value }: ProposedChange & { readonly stored: Versioned },
): Promise<boolean> {
  if (expected < stored.version) return true; // another was first, as it will be told
  if (expected > stored.version || !value) return false;
  const before = await readNamed(registry, decodeRoot(stored.value), stored.version);
  const after = await readNamed(registry, decodeRoot(value), 0);
  if (!before || !after) return false;
  const isNext =
    after.root.epoch === before.root.epoch + 1 &&
    areSameLevels(after.root.levels, before.root.levels) &&
    areOwn(before, after, { node, isAlive });
  return isNext && isLayoutOf(before.layout, after, tolerance);
}

/** Whether no more than the devices of `node` has changed. */
function areOwn(
  before: Snapshot,
  after: Snapshot,
  { node, isAlive }: { readonly node: NodeId; readonly isAlive: (device: DeviceId) => boolean },
): boolean {
  const own = after.devices.get(node) ?? [];
  checkStated(own, after.root.levels);
  const known = new Map(topologyOf(before).devices.map((device) => [device.id, device]));
  const added = own.filter(({ id }) => !known.has(id)).map(({ number }) => number);
  const { nextNumber } = before.root;
  const areNumbered =
    own.every(({ id, number }) => (known.get(id)?.number ?? number) === number) &&
    added.toSorted((a, b) => a - b).every((number, i) => number === nextNumber + i) &&
    after.root.nextNumber === nextNumber + added.length &&
    after.root.nextNumber <= NO_DEVICE;
  const nodes = new Set([...before.devices.keys(), ...after.devices.keys()]);
  nodes.delete(node);
  const ownIds = new Set(own.map(({ id }) => id));
  const areOthersLeft = [...nodes].every((other) => {
    const slice = before.devices.get(other) ?? [];
    const left = slice.filter(({ id }) => !ownIds.has(id));
    const taken = slice.filter(({ id }) => ownIds.has(id));
    return (
      before.devices.has(other) === after.devices.has(other) &&
      areSame(left, after.devices.get(other) ?? []) &&
      !taken.some(({ id }) => isAlive(id))
    );
  });
  return areNumbered && areOthersLeft;
}

function areSame(some: readonly TopologyDevice[], others: readonly TopologyDevice[]): boolean {
  return JSON.stringify(some.map(wordsOf)) === JSON.stringify(others.map(wordsOf));
}

function wordsOf({ id, number, weightBytes, state, labels }: TopologyDevice): unknown[] {
  return [id, number, weightBytes, state, labels];
}

function isLayoutOf(before: Layout, after: Snapshot, tolerance: number): boolean {
  const { width, epoch, table } = after.layout;
  if (width < before.width || width > SHARDS_MAX) return false;
  const { layout } = nextLayout(before, topologyOf(after), { width, tolerance });
  return layout.epoch === epoch && layout.table.every((device, slot) => device === table[slot]);
}
