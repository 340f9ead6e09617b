/**
 * The heart of a node, put together from metadata, stores and keys: the stripes, the volumes,
 * repair. The daemon and the simulator open the same one; only what they hand in differs.
 */
import { assert, type DeviceId, type NodeId } from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import type { Env } from '../env/index.ts';
import type { Registry } from '../log/index.ts';
import { openVolumes, type References } from '../meta/index.ts';
import type { Repair } from '../repair/index.ts';
import type { ChunkStore } from '../store/index.ts';
import { openStripes, type StripeStore } from '../stripes/index.ts';
import { LocalMetadata, type LocalMetadataOptions } from './metadata/local-metadata.ts';
import type { Metadata, RepairParts } from './metadata/metadata.ts';
import { storesOfAll } from './metadata/pool-parts.ts';
import { OwnSession } from './volumes/own-session.ts';
import type { PeerStores } from './peers/peer-stores.ts';
import { type GrantedSecrets, type VolumeSecrets, VolumeSet } from './volumes/volume-set.ts';

export interface CoreOptions {
  readonly env: Env;
  readonly nodeId: NodeId;
  /** Stays the caller's. */
  readonly metadata: Metadata;
  readonly secrets: VolumeSecrets;
  /** The stores of this node that are alive, as of the call. */
  readonly localStores: () => readonly ChunkStore[];
  /** How secrets of volumes come and go; not on a node that is alone. */
  readonly grants?: GrantedSecrets | undefined;
  readonly threadCount: number;
  readonly slotCount: number;
  /** Whether clients wait for what repair would use; see RepairOptions. */
  readonly isBusy?: RepairParts['isBusy'];
}

/** The stores of other nodes as a core needs them. */
export type Peers = Pick<PeerStores, 'alive' | 'changeCount' | 'isThere'>;

export interface Core extends AsyncDisposable {
  readonly nodeId: NodeId;
  readonly metadata: Metadata;
  readonly registry: Registry;
  readonly cluster: Cluster;
  readonly references: References;
  readonly stripes: StripeStore;
  readonly volumes: VolumeSet;
  /** On the home it repairs metadata as well; elsewhere it asks the home. */
  readonly repair: Repair;
  /** All stores that can be asked now, those of this node first. */
  readonly stores: () => readonly ChunkStore[];
  /**
   * From now on the stores of other nodes are used, and what other nodes change is followed.
   * @param onWhole called by the home's repair with groups that are whole.
   */
  connect(peers: Peers, onWhole?: RepairParts['onWhole']): void;
  /** Whether another node runs with this node's identity: see own-session.ts. */
  isContested(): boolean;
  /** The stores of other nodes; `undefined` while the node is alone. */
  peers(): Peers | undefined;
}

/** @throws HF_UNAVAILABLE while the home does not answer. */
export async function openCore(options: CoreOptions): Promise<Core> {
  const { env, nodeId, metadata, secrets, grants } = options;
  const { cluster, references, registry } = metadata;
  await using stack = new AsyncDisposableStack();
  let peers: Peers | undefined;
  let tellWhole: RepairParts['onWhole'];
  const stores = (): readonly ChunkStore[] => {
    const own = options.localStores();
    return peers ? storesOfAll(own, peers) : own;
  };
  const session = await OwnSession.open({ env, nodeId, references });
  const { threadCount, slotCount } = options;
  const isNear = (device: DeviceId): boolean => cluster.nodeOf(device) === nodeId;
  const stripes = stack.use(openStripes({ env, cluster, stores, threadCount, slotCount, isNear }));
  const repair = metadata.openRepair({
    stripes,
    stores,
    isBusy: options.isBusy,
    onWhole: async (groups, epoch) => await tellWhole?.(groups, epoch),
  });
  const volumes = stack.use(
    new VolumeSet({
      env,
      volumes: openVolumes(registry),
      secrets,
      grants,
      self: nodeId,
      references: session.references,
      session: session.current,
      stripes,
      stores,
      cluster,
      repair,
      openNamespace: (volume) => metadata.openNamespace(volume),
      openTree: (volume) => metadata.openTree(volume),
      openHandles: (volume) => metadata.openHandles(volume),
      openStale: (volume) => metadata.openStale?.(volume),
    }),
  );
  await volumes.refresh();
  const resources = stack.move();
  return {
    nodeId,
    metadata,
    registry,
    cluster,
    references,
    stripes,
    volumes,
    repair: mendingRepair(repair, volumes),
    stores,
    isContested: () => session.isContested,
    peers: () => peers,
    connect(others, onWhole) {
      assert(!peers, 'a core is connected once');
      peers = others;
      tellWhole = onWhole;
      resources.use(
        whileOpen(
          (signal) => cluster.follow({ signal }),
          (signal) => volumes.follow({ signal }),
        ),
      );
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Repair that looks for what is lost in the other encodings of hybrid objects, too. */
function mendingRepair(repair: Repair, volumes: VolumeSet): Repair {
  return {
    ...repair,
    async repair(run = {}) {
      const summary = await repair.repair(run);
      if (summary.lost === 0) return summary;
      const mended = await volumes.mend(run);
      return { ...summary, lost: Math.max(0, summary.lost - mended) };
    },
  };
}

/** Loops that end, and are waited for, when this is disposed. */
export function whileOpen(
  ...loops: readonly ((signal: AbortSignal) => Promise<void>)[]
): AsyncDisposable {
  const end = new AbortController();
  const running = loops.map((loop) => loop(end.signal));
  return {
    async [Symbol.asyncDispose]() {
      end.abort();
      await Promise.all(running);
    },
  };
}

export type HomeCoreOptions = LocalMetadataOptions & Omit<CoreOptions, 'metadata' | 'localStores'>;

export interface HomeCore extends Core {
  readonly metadata: LocalMetadata;
}

/**
 * The core of a node that carries the metadata itself, with that metadata: all that a node needs
 * which is alone.
 * @throws as LocalMetadata.open.
 */
export async function openHomeCore(options: HomeCoreOptions): Promise<HomeCore> {
  await using stack = new AsyncDisposableStack();
  const metadata = stack.use(await LocalMetadata.open(options));
  const core = stack.use(await openCore({ ...options, metadata, localStores: options.stores }));
  const resources = stack.move();
  return { ...core, metadata, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
