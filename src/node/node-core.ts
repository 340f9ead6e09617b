/** Builds the core of a running node: on its own metadata, or on that of the home. */
import os from 'node:os';
import { SqliteDb, type SqliteThread } from '../db/index.ts';
import type { NodeId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { repairClearingDamage } from './care.ts';
import type { ClientWork } from './peers/client-work.ts';
import { memberGrants } from './peers/connect-core.ts';
import { type Core, openCore } from './core.ts';
import type { DataDirectory } from './data-directory.ts';
import { finishRecovery, type Start } from './first-run.ts';
import type { Keeper } from './keeper.ts';
import { LocalMetadata } from './metadata/local-metadata.ts';
import type { Metadata } from './metadata/metadata.ts';
import { tellNode } from './peers/node-names.ts';
import type { Others } from './peers/others.ts';
import { RemoteMetadata } from './metadata/remote-metadata.ts';
import type { StoreSet } from './stores/store-set.ts';
import { METADATA_TOLERANCE } from './warnings.ts';

/** Stripes in memory at once: 30 MiB each at the most, mapped when used. */
const SLOT_COUNT = 12;

/** Beside the thread that serves the sockets and the stores; more do not make a stream faster. */
const THREADS_MAX = 3;

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
  const metadata = opened.use(await openMetadata(options));
  const { registry } = metadata;
  const nodeId = keeper.nodeId;
  const core = await openCore({
    env,
    nodeId,
    metadata,
    secrets: keeper,
    localStores: () => stores.alive(),
    grants: memberGrants({ env, self: nodeId, registry, keyring: () => keeper.keyring }),
    threadCount: options.threadCount ?? Math.min(THREADS_MAX, os.availableParallelism()),
    slotCount: SLOT_COUNT,
    isBusy: () => work.isUnderWay,
  });
  opened.use(core);
  stores.recall(core.cluster.topology().devices);
  await finishRecovery({ stores, data }, start);
  if (start.kit) await others.succeed(core);
  await others.attach(core);
  const repair = repairClearingDamage(core.repair, stores);
  const resources = opened.move();
  return { ...core, repair, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

async function openMetadata(options: NodeCoreOptions): Promise<Metadata> {
  const { env, data, keeper, stores, others, start, thread, acceptsLoss } = options;
  const about = {
    env,
    nodeId: keeper.nodeId,
    stores: () => stores.alive(),
    devices: stores.devices(),
    nameOf: (id: string) => stores.slots.find((slot) => slot.id === id)?.path,
    tolerance: METADATA_TOLERANCE,
  };
  if (!others.isHome) {
    const part = others.needPart();
    const { network } = part;
    const tell = (node: NodeId): string => tellNode(node, network.members());
    return await RemoteMetadata.open({ ...about, network, home: () => part.home, tell });
  }
  return await LocalMetadata.open({
    ...about,
    metadataKey: keeper.metadataKey,
    recovery: start.kit && { acceptsLoss },
    // A cell's database is a cache of the mirrored log, so its own flushes are not waited for.
    openDb: (cell) => SqliteDb.open({ path: data.cellPath(cell), thread }),
  });
}
