/**
 * The daemon: builds everything, serves the control interface, looks after its stores, and takes it
 * all down again in the reverse order.
 */
import os from 'node:os';
import { type AdminParts, serveAdmin } from '../admin/index.ts';
import { SqliteDb, SqliteThread } from '../db/index.ts';
import { type Env, type Log, realEnv } from '../env/index.ts';
import { repairWithWriteOff, startCare } from './care.ts';
import { type Core, type CoreOptions, openCore } from './core.ts';
import { DataDirectory } from './data-directory.ts';
import { LocalDevices } from './device-manager.ts';
import {
  finishRecovery,
  makeDefaultVolume,
  openKeys,
  openStores,
  type StartOptions,
} from './first-run.ts';
import type { Keeper } from './keeper.ts';
import { fileLog } from './log.ts';
import { StoreSet } from './store-set.ts';
import { packageVersion } from './version.ts';
import { machineReport, nodeWarnings } from './warnings.ts';
import { welcomeLines } from './welcome.ts';

/** Losses that metadata bears: those of the default scheme. */
const METADATA_TOLERANCE = 2;

/** Stripes in memory at once: 30 MiB each at the most, mapped when used. */
const SLOT_COUNT = 12;

/** Beside the thread that serves the sockets and the stores; more do not make a stream faster. */
const THREADS_MAX = 3;

export interface NodeOptions extends StartOptions {
  readonly dataPath: string;
  /** Threads that hash, seal and encode. */
  readonly threadCount?: number | undefined;
  /** Where the daemon's log goes; its own file when left out. */
  readonly log?: Log | undefined;
}

export interface RunningNode extends AsyncDisposable {
  readonly isFirstRun: boolean;
  /** What to tell the user who started it, line by line. */
  readonly welcome: readonly string[];
  /** Resolves when somebody asked the node to stop; the owner then disposes it. */
  readonly stopped: Promise<void>;
  stop(): void;
}

/** What the parts of a running node share. */
interface Parts {
  readonly env: Env;
  readonly data: DataDirectory;
  readonly keeper: Keeper;
  readonly stores: StoreSet;
  readonly core: Core;
}

/**
 * Starts a node on a data directory; makes one on the first run.
 * @throws HF_BUSY when a node runs there already; HF_WRONG_KEY, HF_CORRUPT, HF_NOT_OURS,
 * HF_NO_SPACE.
 */
export async function openNode(options: NodeOptions): Promise<RunningNode> {
  await using stack = new AsyncDisposableStack();
  const data = stack.use(await DataDirectory.open(options.dataPath));
  const log = options.log ?? stack.use(fileLog(data.logPath));
  const env = realEnv({ log });
  const start = await openKeys(env, data, options);
  const { keeper, isFirstRun } = start;
  const { nodeId, clusterId } = keeper;
  const stores = stack.use(new StoreSet({ env, nodeId, clusterId }));
  await openStores({ env, stores, data }, start, options);
  const threadCount = options.threadCount ?? Math.min(THREADS_MAX, os.availableParallelism());
  const thread = stack.use(new SqliteThread());
  const { acceptsLoss = false } = options;
  const recovery = start.kit && { acceptsLoss };
  const foundation = { env, data, keeper, stores };
  const core = stack.use(await openNodeCore(foundation, { threadCount, thread, recovery }));
  stores.recall(core.cluster.topology().devices);
  await finishRecovery({ stores, data }, start);
  await makeDefaultVolume(core);

  const parts = { env, data, keeper, stores, core };
  const repair = repairWithWriteOff(parts);
  const stopped = Promise.withResolvers<void>();
  stack.use(startCare({ env, core, stores, repair: core.repair }));
  const admin = { ...adminParts(parts), repair, stop: () => stopped.resolve() };
  stack.use(await serveAdmin({ parts: admin, socketPath: data.socketPath, env }));
  const welcome = await welcomeLines({ ...parts, isFirstRun });
  log.info('node started', { nodeId, stores: stores.slots.length });
  const resources = stack.move();
  return {
    isFirstRun,
    welcome,
    stopped: stopped.promise,
    stop: () => stopped.resolve(),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function openNodeCore(
  { env, data, keeper, stores }: Omit<Parts, 'core'>,
  about: Pick<CoreOptions, 'threadCount' | 'recovery'> & { readonly thread: SqliteThread },
): Promise<Core> {
  const { threadCount, thread, recovery } = about;
  return await openCore({
    env,
    nodeId: keeper.nodeId,
    metadataKey: keeper.metadataKey,
    secrets: keeper,
    stores: () => stores.alive(),
    devices: stores.devices(),
    nameOf: (id) => stores.slots.find((slot) => slot.id === id)?.path,
    tolerance: METADATA_TOLERANCE,
    recovery,
    // A cell's database is a cache of the mirrored log, so its own flushes are not waited for.
    openDb: (cell) => SqliteDb.open({ path: data.cellPath(cell), thread }),
    threadCount,
    slotCount: SLOT_COUNT,
  });
}

function adminParts(parts: Parts): Omit<AdminParts, 'repair' | 'stop'> {
  const { env, data, keeper, stores, core } = parts;
  const { nodeId, clusterId } = keeper;
  return {
    identity: {
      version: packageVersion(),
      nodeId,
      clusterId,
      dataPath: data.path,
      startedAtMs: env.clock.now(),
      processId: process.pid,
    },
    volumes: core.volumes,
    devices: new LocalDevices({
      stores,
      cluster: core.cluster,
      saveList: () => data.writeStores(stores.entries()),
      moveOff: async () => {
        await core.repair.repair();
      },
      health: () => core.repair.health(),
    }),
    layoutReport: () => machineReport(core),
    warnings: () => nodeWarnings(parts),
    async exportKit() {
      const volumes = await core.volumes.list();
      const names = new Map(volumes.map(({ record }) => [record.id, record.name]));
      const storePaths = stores.slots.map(({ path }) => path);
      return await keeper.exportKit({ names, storePaths, nowMs: env.clock.now() });
    },
  };
}
