/**
 * The cluster as a node changes it: each node states its own devices. On the home what changes the
 * members of the quorum (see quorum.ts, rule 3) is done only while enough of them are here, and
 * after the metadata has been made ready for it.
 */
import { type DeviceId, HoldfastError, Mutex, type NodeId } from '../../base/index.ts';
import { type Cluster, labelsOn } from '../../cluster/index.ts';
import type { ChunkStore } from '../../store/index.ts';
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

interface Stating extends Presence {
  readonly nodeId: NodeId;
}

/**
 * What of a statement is this node's to state: a store that another node has is its own only when
 * it is alive here, and one that was written off does not count again before it is back.
 */
function ownStatement(
  cluster: Cluster,
  { nodeId, stores }: Stating,
  stated: readonly LocalDevice[],
): LocalDevice[] {
  const alive = new Set(stores().map(({ id }) => id));
  const known = new Map(cluster.devicesOf(nodeId).map((device) => [device.id, device]));
  const { levels } = cluster.topology();
  return stated
    .filter(({ id }) => alive.has(id) || (cluster.nodeOf(id) ?? nodeId) === nodeId)
    .map((device) => {
      const isGone = known.get(device.id)?.state === 'out' && !alive.has(device.id);
      const state = isGone ? 'out' : device.state;
      return { ...device, state, labels: labelsOn(levels, device.labels) };
    });
}

/** The cluster, but a node states only what is its own. */
export function statingCluster(cluster: Cluster, options: Stating): Cluster {
  return withSetDevices(cluster, async (stated) => {
    await cluster.setDevices(ownStatement(cluster, options, stated));
  });
}

export interface GuardOptions extends Stating {
  readonly mirror: StoreMirror;
  readonly tolerance: number;
  /** What the mirror goes by. */
  readonly quorum: Quorum;
}

/** The same on the home, whose devices are changed by rule 3. @throws HF_TOO_FEW_STORES. */
export function guardedCluster(cluster: Cluster, options: GuardOptions): Cluster {
  const { mirror, tolerance, nodeId } = options;
  const changes = new Mutex();
  let { quorum } = options;
  /** Whether a change before this one may or may not have been made. */
  let isInDoubt = false;

  async function change(stated: readonly LocalDevice[]): Promise<void> {
    const devices = ownStatement(cluster, options, stated);
    const ids = new Set(devices.map(({ id }) => id));
    const others = cluster.devicesOf(nodeId).filter(({ id }) => !ids.has(id));
    const next = new Quorum([...others, ...devices], tolerance);
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

  const setDevices: Cluster['setDevices'] = (stated) => changes.run(() => change(stated));
  return {
    ...withSetDevices(cluster, setDevices),
    async setNodeDevices(node, state) {
      if (node !== nodeId) return await cluster.setNodeDevices(node, state);
      await setDevices(cluster.devicesOf(node).map((device) => ({ ...device, state })));
    },
  };
}

function withSetDevices(cluster: Cluster, setDevices: Cluster['setDevices']): Cluster {
  return {
    topology: () => cluster.topology(),
    layout: () => cluster.layout(),
    place: (stripe, scheme) => cluster.place(stripe, scheme),
    handOff: (...stripe) => cluster.handOff(...stripe),
    nodeOf: (device) => cluster.nodeOf(device),
    devicesOf: (node) => cluster.devicesOf(node),
    ensureWidth: (width, neededCount) => cluster.ensureWidth(width, neededCount),
    setDevices,
    setNodeDevices: (node, state) => cluster.setNodeDevices(node, state),
    refresh: () => cluster.refresh(),
    follow: (options) => cluster.follow(options),
  };
}
