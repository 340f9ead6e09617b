/**
 * The cluster as a node changes it: what changes the members of the quorum (see quorum.ts, rule 3)
 * is done only while enough of them are here, and after the metadata has been made ready for it.
 */
import { type DeviceId, HoldfastError, Mutex } from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { LocalDevice } from './core-log.ts';
import { Quorum } from './quorum.ts';
import type { StoreMirror } from './store-mirror.ts';

export interface Presence {
  /** The stores that are alive, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  /** What a user calls a store; its id when left out. */
  readonly nameOf?: ((id: DeviceId) => string | undefined) | undefined;
}

/** @throws HF_TOO_FEW_STORES, naming those that are away. */
export function assertPresent(quorum: Quorum, { stores, nameOf }: Presence): void {
  const here = stores().map(({ id }) => id);
  if (quorum.isPresent(here)) return;
  const away = quorum.away(here);
  const names = away.map((id) => nameOf?.(id) ?? id).join(', ');
  throw new HoldfastError(
    'HF_TOO_FEW_STORES',
    `${away.length} of ${quorum.memberCount} stores are away, at most ${quorum.storesAwayMax} ` +
      `may be: the newest metadata may be on them alone; bring them back: ${names}`,
  );
}

export interface GuardOptions extends Presence {
  readonly mirror: StoreMirror;
  readonly tolerance: number;
  /** What the mirror goes by. */
  readonly quorum: Quorum;
}

/** The cluster, but devices are changed by rule 3. @throws HF_TOO_FEW_STORES from setDevices. */
export function guardedCluster(cluster: Cluster, options: GuardOptions): Cluster {
  const { mirror, tolerance, stores } = options;
  const changes = new Mutex();
  let { quorum } = options;
  /** Whether a change before this one may or may not have been made. */
  let isInDoubt = false;

  async function change(stated: readonly LocalDevice[]): Promise<void> {
    const known = cluster.topology().devices;
    const alive = new Set(stores().map(({ id }) => id));
    // One that was written off does not count again before it is back.
    const devices = stated.map((device) => {
      const isGone = known.some(({ id, state }) => id === device.id && state === 'out');
      return isGone && !alive.has(device.id) ? { ...device, state: 'out' as const } : device;
    });
    const ids = new Set(devices.map(({ id }) => id));
    const next = new Quorum([...known.filter(({ id }) => !ids.has(id)), ...devices], tolerance);
    if (!isInDoubt && next.equals(quorum)) return await cluster.setDevices(devices);
    assertPresent(quorum, options);
    assertPresent(next, options);
    try {
      await mirror.prepare(next);
    } catch (error) {
      if (!isInDoubt) mirror.settle(quorum);
      throw error;
    }
    isInDoubt = true;
    await cluster.setDevices(devices);
    isInDoubt = false;
    quorum = next;
    mirror.settle(next);
  }

  return {
    topology: () => cluster.topology(),
    layout: () => cluster.layout(),
    report: () => cluster.report(),
    place: (stripe, scheme) => cluster.place(stripe, scheme),
    handOff: (stripe, scheme) => cluster.handOff(stripe, scheme),
    ensureWidth: (width) => cluster.ensureWidth(width),
    setDevices: (stated) => changes.run(() => change(stated)),
  };
}
