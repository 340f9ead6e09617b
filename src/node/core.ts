/**
 * The heart of a node, put together from stores and keys: the log on its mirror, the cells, the
 * stripes, the volumes, repair. The daemon and the simulator open the same one; only what they hand
 * in differs.
 */
import type { DeviceId, NodeId, VolumeId } from '../base/index.ts';
import { type Cluster, type ClusterOptions, openCluster } from '../cluster/index.ts';
import type { LocalDb } from '../db/index.ts';
import type { Env } from '../env/index.ts';
import { type CellId, LogRegistry } from '../log/index.ts';
import { openNamespace, openReferences, openVolumes, type References } from '../meta/index.ts';
import { openRepair, type Repair } from '../repair/index.ts';
import type { ChunkStore } from '../store/index.ts';
import { openStripes, type StripeStore } from '../stripes/index.ts';
import {
  assertLogIsWhole,
  type LocalDevice,
  openLog,
  type Recovery,
  startingQuorum,
  statedDevices,
} from './core-log.ts';
import { guardedCluster } from './membership.ts';
import { Quorum } from './quorum.ts';
import { StoreMirror } from './store-mirror.ts';
import { LEVELS } from './store-set.ts';
import { type VolumeSecrets, VolumeSet } from './volume-set.ts';

export interface CoreOptions {
  readonly env: Env;
  readonly nodeId: NodeId;
  readonly metadataKey: Uint8Array;
  readonly secrets: VolumeSecrets;
  /** The stores that are alive, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  /** The devices of this node, dead ones included. */
  readonly devices: readonly LocalDevice[];
  /** What a user calls a store. */
  readonly nameOf?: (id: DeviceId) => string | undefined;
  /** Losses that metadata must survive, where there are stores enough. */
  readonly tolerance: number;
  readonly recovery?: Recovery | undefined;
  /** The cache of a cell's rows. */
  readonly openDb: (cell: string) => Promise<LocalDb>;
  readonly threadCount: number;
  readonly slotCount: number;
  /** For tests: stands between the node and its reference slots. */
  readonly wrapReferences?: ((references: References) => References) | undefined;
}

export interface Core extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly references: References;
  readonly stripes: StripeStore;
  readonly volumes: VolumeSet;
  /** Repairs metadata as well. */
  readonly repair: Repair;
  readonly mirror: StoreMirror;
}

/**
 * @throws HF_TOO_FEW_STORES when so many stores are away that newer metadata may be on them alone;
 *   HF_CORRUPT, HF_WRONG_KEY.
 */
export async function openCore(options: CoreOptions): Promise<Core> {
  const { env, stores, tolerance, openDb, nodeId } = options;
  await using stack = new AsyncDisposableStack();
  let topology: Cluster['topology'] | undefined;
  const isLeaving = (id: string): boolean =>
    topology?.().devices.some((device) => device.id === id && device.state !== 'in') ?? false;
  const listed = new Quorum(options.devices, tolerance);
  const mirror = new StoreMirror({ stores, tolerance, quorum: listed, isLeaving });
  const log = stack.use(await openLog(mirror, options));
  const about = { env, node: nodeId, tolerance, levels: LEVELS } satisfies Partial<ClusterOptions>;
  const found = await LogRegistry.peek(log);
  const known = (await openCluster({ ...about, registry: found })).topology().devices;
  const devices = statedDevices(options, known);
  const quorum = startingQuorum({ known, devices }, options);
  const databases = stack.adopt(new Map<CellId, LocalDb>(), closeAll);
  for (const cell of [REFERENCES_CELL, ...(await openVolumes(found).list()).map(cellOf)]) {
    databases.set(cell, await openDb(cell));
  }
  await assertLogIsWhole(log, databases, options);

  mirror.settle(quorum);
  if (options.recovery?.acceptsLoss) await mirror.prepare(quorum);
  const registry = stack.use(await LogRegistry.open({ log, report: env.log }));
  const unguarded = await openCluster({ ...about, registry });
  topology = () => unguarded.topology();
  const cluster = guardedCluster(unguarded, { ...options, mirror, quorum });
  await cluster.setDevices(devices);

  /** What a cell needs; its database closes with `owner`, after the cell itself. */
  const cellParts = async (cell: CellId, owner: AsyncDisposableStack) => {
    const db = owner.use(databases.get(cell) ?? (await openDb(cell)));
    databases.delete(cell);
    return { env, cell, log, db };
  };
  const opened = stack.use(await openReferences(await cellParts(REFERENCES_CELL, stack)));
  const references = options.wrapReferences?.(opened) ?? opened;
  const session = await references.openSession(nodeId);
  const { threadCount, slotCount } = options;
  const stripes = stack.use(openStripes({ env, cluster, stores, threadCount, slotCount }));

  const repair = openRepair({
    env,
    cluster,
    references,
    stripes,
    stores,
    volumes: () => volumes.ids(),
    namespaceOf: (volume) => volumes.namespaceOf(volume),
  });
  const volumeOptions = {
    env,
    volumes: openVolumes(registry),
    secrets: options.secrets,
    references,
    session,
    stripes,
    cluster,
    openNamespace: async (volume: VolumeId, owner: AsyncDisposableStack) =>
      owner.use(await openNamespace(await cellParts(cellOf({ id: volume }), owner))),
  };
  const volumes = stack.use(new VolumeSet(volumeOptions, repair));
  await volumes.openAll();
  const resources = stack.move();
  return {
    cluster,
    references,
    stripes,
    volumes,
    repair: withMetadata(repair, mirror),
    mirror,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const REFERENCES_CELL: CellId = 'references';

function cellOf({ id }: { readonly id: VolumeId }): CellId {
  return `volume-${id}`;
}

async function closeAll(databases: ReadonlyMap<CellId, LocalDb>): Promise<void> {
  for (const db of databases.values()) await db[Symbol.asyncDispose]();
}

/** Copies of metadata and shards of content are lost with the same stores. */
function withMetadata(repair: Repair, mirror: StoreMirror): Repair {
  return {
    ...repair,
    async repair(run) {
      const [metadata, content] = await Promise.allSettled([mirror.repair(), repair.repair(run)]);
      // Neither keeps the other from being done.
      if (content.status === 'rejected') throw content.reason;
      if (metadata.status === 'rejected') throw metadata.reason;
      return content.value;
    },
  };
}
