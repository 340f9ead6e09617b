/**
 * The daemon: builds everything, serves the control interface, looks after its stores, and takes it
 * all down again in the reverse order.
 */
import os from 'node:os';
import { type AdminParts, checkAddress, serveAdmin, type TcpAddress } from '../admin/index.ts';
import { SqliteDb, SqliteThread } from '../db/index.ts';
import { type Env, type Log, realEnv } from '../env/index.ts';
import { repairClearingDamage, repairWithWriteOff } from './care.ts';
import { type Core, openCore } from './core.ts';
import { DataDirectory } from './data-directory.ts';
import { LocalDevices } from './device-manager.ts';
import {
  finishRecovery,
  openKeys,
  openStores,
  type Start,
  type StartOptions,
} from './first-run.ts';
import { Heart } from './heart.ts';
import type { Keeper } from './keeper.ts';
import { fileLog } from './log.ts';
import { StoreSet } from './store-set.ts';
import { packageVersion } from './version.ts';
import { waitingParts } from './waiting-parts.ts';
import { machineReport, METADATA_TOLERANCE, nodeWarnings } from './warnings.ts';
import { welcomeLines } from './welcome.ts';

/** Stripes in memory at once: 30 MiB each at the most, mapped when used. */
const SLOT_COUNT = 12;

/** Beside the thread that serves the sockets and the stores; more do not make a stream faster. */
const THREADS_MAX = 3;

/** Part of the memory that the index of one store may take. */
const INDEX_SHARE = 0.5;

export interface NodeOptions extends StartOptions {
  readonly dataPath: string;
  /** Where the control interface listens beside its socket. */
  readonly listen?: TcpAddress | undefined;
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
  readonly heart: Heart;
}

/**
 * Starts a node on a data directory; makes one on the first run.
 * @throws HF_BUSY when a node runs there already, or the port is taken; HF_WRONG_KEY, HF_CORRUPT,
 *   HF_NOT_OURS, HF_NO_SPACE, HF_TOO_FEW_STORES; HF_UNSUPPORTED for an address that is no loopback.
 */
export async function openNode(options: NodeOptions): Promise<RunningNode> {
  if (options.listen) checkAddress(options.listen);
  await using stack = new AsyncDisposableStack();
  const data = stack.use(await DataDirectory.open(options.dataPath));
  const log = options.log ?? stack.use(fileLog(data.logPath));
  const env = realEnv({ log });
  const start = await openKeys(env, data, options);
  const { keeper, isFirstRun } = start;
  const { nodeId, clusterId } = keeper;
  const indexBytesMax = Math.floor(memoryBytes() * INDEX_SHARE);
  const stores = stack.use(new StoreSet({ env, nodeId, clusterId, indexBytesMax }));
  await openStores({ env, stores, data }, start, options);
  const thread = stack.use(new SqliteThread());
  const foundation = { env, data, keeper, stores };
  const heart = stack.use(
    new Heart({
      env,
      stores,
      openCore: () => openNodeCore(foundation, { start, options, thread }),
    }),
  );
  await heart.open();

  const parts = { ...foundation, heart };
  const stopped = Promise.withResolvers<void>();
  const admin = adminParts(parts, () => stopped.resolve());
  const tcp = options.listen && { ...options.listen, token: await data.controlToken(env) };
  const { socketPath } = data;
  const { address } = stack.use(await serveAdmin({ parts: admin, socketPath, tcp, env }));
  const welcome = await welcomeLines({ ...parts, address, isFirstRun });
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

/** What this process may use of the machine's. */
function memoryBytes(): number {
  const allowed = process.constrainedMemory();
  return allowed > 0 ? Math.min(allowed, os.totalmem()) : os.totalmem();
}

async function openNodeCore(
  { env, data, keeper, stores }: Omit<Parts, 'heart'>,
  { start, options, thread }: { start: Start; options: NodeOptions; thread: SqliteThread },
): Promise<Core> {
  await using opened = new AsyncDisposableStack();
  const { acceptsLoss = false } = options;
  const core = await openCore({
    env,
    nodeId: keeper.nodeId,
    metadataKey: keeper.metadataKey,
    secrets: keeper,
    stores: () => stores.alive(),
    devices: stores.devices(),
    nameOf: (id) => stores.slots.find((slot) => slot.id === id)?.path,
    tolerance: METADATA_TOLERANCE,
    recovery: start.kit && { acceptsLoss },
    // A cell's database is a cache of the mirrored log, so its own flushes are not waited for.
    openDb: (cell) => SqliteDb.open({ path: data.cellPath(cell), thread }),
    threadCount: options.threadCount ?? Math.min(THREADS_MAX, os.availableParallelism()),
    slotCount: SLOT_COUNT,
  });
  opened.use(core);
  stores.recall(core.cluster.topology().devices);
  await finishRecovery({ stores, data }, start);
  opened.move();
  return { ...core, repair: repairClearingDamage(core.repair, stores) };
}

function adminParts(parts: Parts, stop: () => void): AdminParts {
  const { env, data, keeper, stores, heart } = parts;
  const { nodeId, clusterId } = keeper;
  const waiting = waitingParts(heart);
  return {
    identity: {
      version: packageVersion(),
      nodeId,
      clusterId,
      dataPath: data.path,
      startedAtMs: env.clock.now(),
      processId: process.pid,
    },
    get volumes() {
      return heart.core?.volumes ?? waiting.volumes;
    },
    get repair() {
      return heart.core ? repairWithWriteOff({ core: heart.core, stores }) : waiting.repair;
    },
    devices: new LocalDevices({
      stores,
      heart,
      clusterId,
      saveList: () => data.writeStores(stores.entries()),
    }),
    layoutReport: () => machineReport(heart.needCore()),
    warnings: () => nodeWarnings(parts),
    async exportKit() {
      const volumes = (await heart.core?.volumes.list()) ?? [];
      const names = new Map(volumes.map(({ record }) => [record.id, record.name]));
      const storePaths = stores.slots.map(({ path }) => path);
      return await keeper.exportKit({ names, storePaths, nowMs: env.clock.now() });
    },
    stop,
  };
}
