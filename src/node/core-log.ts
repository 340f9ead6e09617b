/**
 * May this node go on from the metadata that it finds? Each record has a copy more than losses are
 * borne, so at least one is found while no more stores are away than that. With more away, the end
 * of the log may be on them alone: what is here would look whole, and going on from there would
 * make what was acknowledged void. So that is asked before the log is seized, which writes.
 */
import { errorCode, HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { LocalLog, type Mirror } from '../log/index.ts';
import type { TopologyDevice } from '../placement/index.ts';
import type { ChunkStore } from '../store/index.ts';

/** A device as this node states it; the cluster gives the number. */
export type LocalDevice = Omit<TopologyDevice, 'number'>;

interface StoresAndDevices {
  readonly stores: () => readonly ChunkStore[];
  readonly devices: readonly LocalDevice[];
  readonly tolerance: number;
}

/**
 * @throws HF_TOO_FEW_STORES when metadata is missing and so are stores; HF_CORRUPT, HF_WRONG_KEY.
 */
export async function openLog(
  mirror: Mirror,
  options: StoresAndDevices & { readonly env: Env; readonly metadataKey: Uint8Array },
): Promise<LocalLog> {
  const { env, metadataKey } = options;
  try {
    return await LocalLog.open({ env, mirror, metadataKey, generation: 1 });
  } catch (error) {
    const away = awayOf(options.devices, options);
    if (errorCode(error) !== 'HF_CORRUPT' || away.length === 0) throw error;
    const message = `metadata is missing, and ${away.length} stores are away: bring them back`;
    throw new HoldfastError('HF_TOO_FEW_STORES', message, { cause: error });
  }
}

/**
 * What is stated of the devices when a node starts: of stores that are away nothing new is known
 * but that they were written off; devices that this node does not list any more are out.
 */
export function statedDevices(
  { stores, devices }: StoresAndDevices,
  known: readonly TopologyDevice[],
): LocalDevice[] {
  const alive = new Set(stores().map(({ id }) => id));
  const listed = devices.map((device) => {
    const before = known.find(({ id }) => id === device.id);
    if (!before || alive.has(device.id)) return device;
    return device.state === 'out' ? { ...before, state: device.state } : before;
  });
  const ids = new Set(devices.map(({ id }) => id));
  const gone = known.filter(({ id }) => !ids.has(id));
  return [...listed, ...gone.map((device) => ({ ...device, state: 'out' as const }))];
}

/** @throws HF_TOO_FEW_STORES. */
export function assertEnoughHere(
  devices: readonly LocalDevice[],
  options: Pick<StoresAndDevices, 'stores' | 'tolerance'>,
): void {
  const away = awayOf(devices, options);
  if (away.length <= options.tolerance) return;
  throw new HoldfastError(
    'HF_TOO_FEW_STORES',
    `${away.length} of ${devices.length} stores are away, at most ${options.tolerance} may be: ` +
      'the newest metadata may be on them alone',
  );
}

function awayOf(
  devices: readonly LocalDevice[],
  { stores }: Pick<StoresAndDevices, 'stores'>,
): LocalDevice[] {
  const alive = new Set(stores().map(({ id }) => id));
  return devices.filter(({ id, state }) => state !== 'out' && !alive.has(id));
}
