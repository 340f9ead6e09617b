/**
 * May this node go on from the metadata that it finds? Only while enough stores are here (see
 * quorum.ts, rule 2): with more away, the end of the log may be on them alone. What is here would
 * look whole, and going on from there would make what was acknowledged void. So that is asked, of
 * the stores and of the databases of rows, before anything is seized, which writes.
 */
import { errorCode, errorMessage, HoldfastError, mapBounded } from '../../base/index.ts';
import type { LocalDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import { type CellId, LocalLog, type Mirror } from '../../log/index.ts';
import { assertNotAhead } from '../../meta/index.ts';
import type { TopologyDevice } from '../../placement/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import { assertPresent, type Presence } from './membership.ts';
import { Quorum } from './quorum.ts';

/** A device as this node states it; the cluster gives the number. */
export type LocalDevice = Omit<TopologyDevice, 'number'>;

interface StoresAndDevices {
  readonly stores: () => readonly ChunkStore[];
  readonly devices: readonly LocalDevice[];
  /** The stores are what was found, as nothing else is known of them. */
  readonly recovery?: Recovery | undefined;
}

export interface Recovery {
  /** Whether stores that were not found are given up, with what was on them alone. */
  readonly acceptsLoss: boolean;
}

/**
 * @throws HF_TOO_FEW_STORES when metadata is missing and so are stores; HF_CORRUPT, HF_WRONG_KEY.
 */
export async function openLog(
  mirror: Mirror,
  options: StoresAndDevices & {
    readonly env: Env;
    readonly metadataKey: Uint8Array;
    readonly generation?: number | undefined;
  },
): Promise<LocalLog> {
  const { env, metadataKey, generation = 1 } = options;
  const opening = LocalLog.open({ env, mirror, metadataKey, generation });
  return await blamingAbsence(opening, options);
}

/** @throws HF_TOO_FEW_STORES when the log ends before what the databases of the cells know. */
export async function assertLogIsWhole(
  log: LocalLog,
  databases: ReadonlyMap<CellId, LocalDb>,
  options: StoresAndDevices,
): Promise<void> {
  const checking = mapBounded(databases, 1, async ([cell, db]) => {
    assertNotAhead({ cell, db }, (await log.head(cell)).lsn);
  });
  await blamingAbsence(checking, options);
}

async function blamingAbsence<Result>(
  work: Promise<Result>,
  options: StoresAndDevices,
): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (errorCode(error) !== 'HF_CORRUPT') throw error;
    if (options.recovery) {
      const message = `${errorMessage(error)}; if there are more stores, name them with --store`;
      throw new HoldfastError('HF_CORRUPT', message, { cause: error });
    }
    const away = awayOf(options);
    if (away.length === 0) throw error;
    const message = `metadata is missing, and ${away.length} stores are away: bring them back`;
    throw new HoldfastError('HF_TOO_FEW_STORES', message, { cause: error });
  }
}

/**
 * What is stated of the devices when a node starts: of stores that are away nothing new is known
 * but that they were written off; one that is being drained stays so; devices that this node does
 * not list any more are out.
 */
export function statedDevices(
  { stores, devices }: StoresAndDevices,
  known: readonly TopologyDevice[],
): LocalDevice[] {
  const alive = new Set(stores().map(({ id }) => id));
  const listed = devices.map((device) => {
    const before = known.find(({ id }) => id === device.id);
    if (!before) return device;
    if (alive.has(device.id)) {
      return before.state === 'draining' ? { ...device, state: before.state } : device;
    }
    return device.state === 'out' ? { ...before, state: device.state } : before;
  });
  const ids = new Set(devices.map(({ id }) => id));
  const gone = known.filter(({ id }) => !ids.has(id));
  return [...listed, ...gone.map((device) => ({ ...device, state: 'out' as const }))];
}

function awayOf({ stores, devices }: StoresAndDevices): LocalDevice[] {
  const alive = new Set(stores().map(({ id }) => id));
  return devices.filter(({ id, state }) => state !== 'out' && !alive.has(id));
}

/** Rule 2 for what is known, and for what is stated. @throws HF_TOO_FEW_STORES. */
export function startingQuorum(
  { known, devices }: { known: readonly TopologyDevice[]; devices: readonly LocalDevice[] },
  options: StoresAndDevices & Presence & { readonly tolerance: number },
): Quorum {
  const { tolerance, recovery, stores } = options;
  const next = new Quorum(devices, tolerance);
  if (recovery?.acceptsLoss) return next;
  if (recovery && known.length === 0) {
    const message = `${stores().length} stores hold no metadata that is whole; name the others`;
    throw new HoldfastError('HF_TOO_FEW_STORES', `${message} with --store`);
  }
  const before = known.length > 0 ? new Quorum(known, tolerance) : next;
  assertPresent(before, options);
  assertPresent(next, options);
  return before;
}
