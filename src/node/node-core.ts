/** Builds the core of a running node: on its own metadata, or on that of the home. */
import os from 'node:os';
import { errorCode, HoldfastError, type NodeId } from '../base/index.ts';
import type { SqliteThread } from '../db/index.ts';
import type { Env } from '../env/index.ts';
import { repairClearingDamage } from './care.ts';
import type { ClientWork } from './peers/client-work.ts';
import { memberGrants } from './peers/connect-core.ts';
import { type Core, openCore, whileOpen } from './core.ts';
import type { DataDirectory } from './data-directory.ts';
import { finishRecovery, type Start } from './first-run.ts';
import type { Keeper } from './keeper.ts';
import { LocalMetadata } from './metadata/local-metadata.ts';
import type { Metadata } from './metadata/metadata.ts';
import { MetadataMover } from './metadata/mover.ts';
import { MovingMetadata } from './metadata/moving-metadata.ts';
import { recoverFromPool } from './metadata/pool-recovery.ts';
import { tellNode } from './peers/node-names.ts';
import type { Others } from './peers/others.ts';
import { RemoteMetadata } from './metadata/remote-metadata.ts';
import type { StoreSet } from './stores/store-set.ts';
import { EarlyPeers, RingCore } from './ring-core.ts';

/** Stripes in memory at once: 30 MiB each at the most, mapped when used. */
const SLOT_COUNT = 12;

/** Beside the thread that serves the sockets and the stores; more do not make a stream faster. */
const THREADS_MAX = 3;

/** How long a new member may be unknown to some. */
const ADMITTED_MS = 10_000;
const ADMITTED_LOOK_MS = 500;

/** What a running node has whether its core is open or not. */
export interface Foundation {
  readonly env: Env;
  readonly data: DataDirectory;
  readonly keeper: Keeper;
  readonly stores: StoreSet;
  readonly others: Others;
  readonly work: ClientWork;
}

export interface NodeCoreOptions extends Foundation {
  readonly start: Start;
  readonly thread: SqliteThread;
  /** In a recovery: gives up stores that are not found. */
  readonly acceptsLoss: boolean;
  /** Threads that hash, seal and encode. */
  readonly threadCount: number | undefined;
}

/** @throws as LocalMetadata.open; HF_UNAVAILABLE while the home does not answer. */
export async function openNodeCore(options: NodeCoreOptions): Promise<Core> {
  const { env, data, keeper, stores, others, work, start } = options;
  await using opened = new AsyncDisposableStack();
  // What connects the core with others is let go of after the core itself.
  opened.defer(() => others.detach());
  let opening: Core | undefined;
  const later = { ...options, core: () => opening };
  const peers = opened.use(new EarlyPeers(later));
  const ring = new RingCore({ ...later, peers });
  const first = await untilAdmitted(env, () => openMetadata(options, ring));
  const metadata = opened.use(new MovingMetadata(first));
  const { registry } = metadata;
  const nodeId = keeper.nodeId;
  const core = await untilAdmitted(env, () =>
    openCore({
      env,
      nodeId,
      metadata,
      secrets: keeper,
      localStores: () => stores.alive(),
      grants: memberGrants({ env, self: nodeId, registry, keyring: () => keeper.keyring }),
      threadCount: options.threadCount ?? Math.min(THREADS_MAX, os.availableParallelism()),
      slotCount: SLOT_COUNT,
      isBusy: () => work.isUnderWay,
    }),
  );
  opened.use(core);
  opening = core;
  stores.recall(core.cluster.topology().devices);
  await finishRecovery({ stores, data }, start);
  if (start.kit) await others.succeed(core);
  await others.attach(core);
  const openHome = async (): Promise<Metadata> => {
    const remote = await openRemote(options, ring);
    peers.follow(remote.cluster);
    return remote;
  };
  const mover = new MetadataMover({
    env,
    metadata,
    openRemote: openHome,
    ...ring.mover(registry),
  });
  opened.use(whileOpen((signal) => mover.run({ signal })));
  const repair = repairClearingDamage(core.repair, stores);
  const resources = opened.move();
  return {
    ...core,
    repair,
    async [Symbol.asyncDispose]() {
      metadata.close();
      await resources.disposeAsync();
    },
  };
}

/** A member that is new is known to all metadata nodes a moment later. */
async function untilAdmitted<Opened>(
  { clock }: Pick<Env, 'clock'>,
  open: () => Promise<Opened>,
): Promise<Opened> {
  const untilMs = clock.monotonic() + ADMITTED_MS;
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if (errorCode(error) !== 'HF_DENIED' || clock.monotonic() >= untilMs) throw error;
      await clock.sleep(ADMITTED_LOOK_MS);
    }
  }
}

async function openRemote({ others }: Foundation, ring: RingCore): Promise<Metadata> {
  const part = others.needPart();
  const { network } = part;
  const tell = (node: NodeId): string => tellNode(node, network.members());
  return await RemoteMetadata.open({ ...ring.about(), network, home: () => part.home, tell });
}

async function openMetadata(options: NodeCoreOptions, ring: RingCore): Promise<Metadata> {
  const { keeper, others, start, acceptsLoss } = options;
  const { whereabouts } = others;
  // Of a ring that is lost nothing can be heard but from who recovered the cluster. Into a ring the
  // mover leads, by way of the home: that one knows a new member at once.
  const told = ring.told();
  if (!whereabouts.isCarrier && told.engine === 'local') await whereabouts.noteHeard(told);
  if (whereabouts.engine === 'etcd') return await ring.open();
  if (!whereabouts.isCarrier) return await openRemote(options, ring);
  const about = ring.about();
  const local = {
    ...about,
    metadataKey: keeper.metadataKey,
    generation: others.whereabouts.generation,
    recovery: start.kit && { acceptsLoss },
    openDb: (cell: string) => ring.openDb(cell),
  };
  if (start.kit) {
    const dropDb = (cell: string) => options.data.dropCell(cell);
    const { generation, notes } = await recoverFromPool({ ...local, acceptsLoss, dropDb });
    start.notes.splice(0, start.notes.length, ...notes);
    await others.whereabouts.noteRecovered(generation);
    local.generation = generation;
  }
  try {
    return await LocalMetadata.open(local);
  } catch (error) {
    if (errorCode(error) !== 'HF_MOVED') throw error;
    if (!start.kit) return await ring.finishMove(local);
    const message =
      'names have moved to a ring of nodes, and these stores have nothing of what it saved: ' +
      'name more of its stores with --store; while the ring is there, use one of its nodes';
    throw new HoldfastError('HF_UNSUPPORTED', message, { cause: error });
  }
}
