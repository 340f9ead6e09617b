/**
 * One topology epoch as read from the registry: the root record, the slices and the layout that it
 * names. Immutable; a change makes the next one.
 *
 * Keys: `topology/epoch` (the root), `topology/node/<node>/<token>`, `layout/<epoch>/<token>`. The
 * random token keeps apart what two nodes propose for the same epoch; only one of them is ever
 * named.
 */
import { assert, errorCode, HoldfastError, mapBounded, type NodeId } from '../base/index.ts';
import type { Registry } from '../log/index.ts';
import {
  decodeLayout,
  decodeTopology,
  type Layout,
  type Topology,
  type TopologyDevice,
} from '../placement/index.ts';
import { devicesBetween } from './levels.ts';
import { decodeRoot, encodeRoot, type Root } from './root-record.ts';

export const ROOT_KEY = 'topology/epoch';
const LAYOUT_PREFIX = 'layout/';
/** Epochs whose layouts stay: for who reads the root and then, late, what it names. */
const LAYOUTS_KEPT = 4;
/** Records read, written or removed at once. */
const REQUESTS_MAX = 16;

export interface Snapshot {
  /** Version of the root's key in the registry; 0 when there is none yet. */
  readonly rootVersion: number;
  readonly root: Root;
  readonly layout: Layout;
  readonly devices: ReadonlyMap<NodeId, readonly TopologyDevice[]>;
}

/** Whether the registry holds another epoch than this one. */
export async function isOutdated(registry: Registry, { rootVersion }: Snapshot): Promise<boolean> {
  return ((await registry.get(ROOT_KEY))?.version ?? 0) !== rootVersion;
}

export function topologyOf({ root, devices }: Snapshot): Topology {
  return { epoch: root.epoch, levels: root.levels, devices: [...devices.values()].flat() };
}

/** @param levels of a cluster that has no topology yet. */
export async function readSnapshot(
  registry: Registry,
  levels: readonly string[],
): Promise<Snapshot> {
  for (;;) {
    const stored = await registry.get(ROOT_KEY);
    if (!stored) return emptySnapshot(levels);
    const root = decodeRoot(stored.value);
    const snapshot = await readNamed(registry, root, stored.version);
    if (snapshot) return snapshot;
    // Records that a newer root has replaced are removed: then there is a newer root to read.
    const now = await registry.get(ROOT_KEY);
    if (now?.version === stored.version) {
      throw new HoldfastError('HF_CORRUPT', `epoch ${root.epoch} names records that do not exist`);
    }
  }
}

function emptySnapshot(levels: readonly string[]): Snapshot {
  const root: Root = {
    epoch: 0,
    nextNumber: 0,
    wantedWidth: 0,
    layoutKey: '',
    levels,
    slices: new Map(),
  };
  const layout: Layout = { epoch: 0, width: 0, table: new Uint16Array(0) };
  return { rootVersion: 0, root, layout, devices: new Map() };
}

/** `undefined` when a record is gone. @throws HF_CORRUPT, HF_UNSUPPORTED. */
export async function readNamed(
  registry: Pick<Registry, 'get'>,
  root: Root,
  rootVersion: number,
): Promise<Snapshot | undefined> {
  const nodes = [...root.slices.keys()];
  const keys = [root.layoutKey, ...root.slices.values()];
  const records = await mapBounded(keys, REQUESTS_MAX, (key) => registry.get(key));
  const values = records.map((record) => record?.value);
  if (!values.every((value) => value !== undefined)) return undefined;
  const [layoutBytes, ...slices] = values;
  assert(layoutBytes, 'the root names a layout');
  const layout = decodeLayout(layoutBytes);
  if (layout.epoch !== root.epoch) {
    throw new HoldfastError('HF_CORRUPT', `epoch ${root.epoch} names a layout of ${layout.epoch}`);
  }
  const devices = new Map(nodes.map((node, i) => [node, devicesOn(root.levels, slices[i]!)]));
  return { rootVersion, root, layout, devices };
}

/** The devices of a slice, which may have been written for other levels than the root's. */
function devicesOn(levels: readonly string[], slice: Uint8Array): readonly TopologyDevice[] {
  const { devices, levels: from } = decodeTopology(slice);
  return devicesBetween({ from, to: levels }, devices);
}

/** The next epoch: its root and the records, by key, that the root names and that are new. */
interface Proposal {
  readonly before: Snapshot;
  readonly root: Root;
  readonly records: ReadonlyMap<string, Uint8Array>;
}

/**
 * Writes the new records, then the root, then lets go of what nothing names any more.
 * @returns the root's version, or `undefined` when the root may hold something else: read again.
 */
export async function commit(
  registry: Registry,
  { before, root, records }: Proposal,
): Promise<number | undefined> {
  let rootVersion: number | undefined;
  try {
    await mapBounded(records, REQUESTS_MAX, ([key, bytes]) =>
      registry.compareAndSet(key, 0, bytes),
    );
    rootVersion = await registry.compareAndSet(ROOT_KEY, before.rootVersion, encodeRoot(root));
  } catch (error) {
    if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
    return undefined; // the root may yet name the records, so they stay
  }
  const current = new Set(root.slices.values());
  const replaced = [...before.root.slices.values()].filter((key) => !current.has(key));
  if (rootVersion === undefined) await removeAll(registry, [...records.keys()]);
  else await removeAll(registry, [...replaced, ...(await oldLayouts(registry, root.epoch))]);
  return rootVersion;
}

/** Layouts that are too old for any reader, and proposals of those epochs that nobody named. */
async function oldLayouts(registry: Registry, epoch: number): Promise<string[]> {
  const records = await registry.list(LAYOUT_PREFIX).catch((error: unknown) => {
    if (errorCode(error) === undefined) throw error;
    return []; // the next change asks again
  });
  return records
    .map(({ key }) => key)
    .filter((key) => Number(key.slice(LAYOUT_PREFIX.length).split('/')[0]) <= epoch - LAYOUTS_KEPT);
}

export function layoutKeyOf(epoch: number, token: string): string {
  return `${LAYOUT_PREFIX}${epoch}/${token}`;
}

/** What cannot be removed now stays as a few bytes that nothing names. */
async function removeAll(registry: Registry, keys: readonly string[]): Promise<void> {
  await mapBounded(keys, REQUESTS_MAX, async (key) => {
    try {
      const record = await registry.get(key);
      if (record) await registry.compareAndSet(key, record.version, undefined);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
    }
  });
}
