/**
 * The daemon: builds everything, serves the control interface, looks after its stores, and takes it
 * all down again in the reverse order.
 */
import os from 'node:os';
import { type AdminParts, checkAddress, serveAdmin, type TcpAddress } from '../admin/index.ts';
import { HoldfastError } from '../base/index.ts';
import { SqliteThread } from '../db/index.ts';
import type { DiskSources } from '../device/index.ts';
import { type Log, MetricsTable, realEnv } from '../env/index.ts';
import { repairWithWriteOff, statusSoon } from './care.ts';
import { ClientWork } from './peers/client-work.ts';
import { DataDirectory } from './data-directory.ts';
import { LocalDevices } from './stores/device-manager.ts';
import { openKeys, openStores, type Start, type StartOptions } from './first-run.ts';
import { Heart } from './heart.ts';
import type { DiskEntry } from './peers/disk-list.ts';
import { joinFrom } from './peers/join-part.ts';
import { LocalDisks, lookAtDisks } from './peers/local-disks.ts';
import { fileLog } from './log.ts';
import type { MakeTransport } from './peers/network-part.ts';
import {
  assertFree,
  changedConfig,
  type ConfigChanges,
  defaultConfig,
  deviceLabels,
} from './node-config.ts';
import { type Foundation, openNodeCore } from './node-core.ts';
import { storePlaces } from './peers/node-names.ts';
import { Mounts } from './mounts/mounts.ts';
import { Others } from './peers/others.ts';
import { LocalPeers } from './peers/peer-manager.ts';
import { StoreSet } from './stores/store-set.ts';
import { MetadataReporter } from './metadata-report.ts';
import { MetadataViews } from './metadata-views.ts';
import { Whereabouts } from './metadata/whereabouts.ts';
import { blamingBackup } from './ring-news.ts';
import { packageVersion } from './version.ts';
import { waitingParts } from './waiting-parts.ts';
import { machineReport, nodeWarnings } from './warnings.ts';
import { welcomeLines } from './welcome.ts';

/** Part of the memory that the index of one store may take. */
const INDEX_SHARE = 0.5;

export interface NodeOptions extends StartOptions {
  readonly dataPath: string;
  /** Where the control interface listens beside its socket. */
  readonly listen?: TcpAddress | undefined;
  /** What is said anew of the node towards others; it is kept. */
  readonly config?: ConfigChanges | undefined;
  /** Ways to other nodes beside TLS and WebSocket. */
  readonly transports?: readonly MakeTransport[] | undefined;
  /** Where the disks of this machine are found; where Linux has them when left out. */
  readonly disks?: DiskSources | undefined;
  /** Folders in which etcd is looked for, as PATH has them; the usual ones when left out. */
  readonly searchPath?: string | undefined;
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
interface Parts extends Foundation {
  readonly start: Start;
  readonly metrics: MetricsTable;
  readonly heart: Heart;
  readonly mounts: Mounts;
  /** Which disks and stores are on this machine now. */
  readonly look: () => Promise<readonly DiskEntry[]>;
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
  const metrics = new MetricsTable();
  const env = realEnv({ log, metrics });
  const config = await configOf(data, options.config);
  const start = await openKeys(env, data, options);
  const { keeper, isFirstRun } = start;
  const { nodeId, clusterId } = keeper;
  const indexBytesMax = Math.floor(memoryBytes() * INDEX_SHARE);
  const labels = deviceLabels(config, nodeId);
  const stores = stack.use(new StoreSet({ env, nodeId, clusterId, labels, indexBytesMax }));
  await openStores({ env, stores, data }, start, options);
  const thread = stack.use(new SqliteThread());
  const { transports, acceptsLoss = false, threadCount } = options;
  const work = new ClientWork();
  const hasKey = keeper.keyring.metadataKey !== undefined;
  const whereabouts = await Whereabouts.open(data, { hasKey });
  const look = () => lookAtDisks(stores, options.disks);
  const others = stack.use(
    new Others({
      env,
      data,
      keeper,
      stores,
      config,
      whereabouts,
      said: options.config,
      work,
      isFirstRun,
      transports,
      searchPath: options.searchPath,
      lookAtDisks: look,
    }),
  );
  await others.open();
  const foundation = { env, data, keeper, stores, others, work };
  const about = { ...foundation, start, thread, acceptsLoss, threadCount };
  const openCore = () => blamingBackup(others, () => openNodeCore(about));
  const heart = stack.use(
    new Heart({
      env,
      stores,
      openCore,
      needsStores: others.isCarrier,
      nodeGraceMs: config.awayGraceMs,
      fenced: others.fenced,
    }),
  );
  await heart.open();
  const mounts = stack.use(await Mounts.open({ env, heart, data }));
  const parts = { ...foundation, start, metrics, heart, mounts, look };
  const stopped = Promise.withResolvers<void>();
  const admin = adminParts(parts, () => stopped.resolve());
  const tcp = options.listen && { ...options.listen, token: await data.controlToken(env) };
  const { socketPath } = data;
  const { address } = stack.use(await serveAdmin({ parts: admin, socketPath, tcp, env }));
  const welcome = await welcomeLines({ ...parts, address, isFirstRun, notes: start.notes });
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

/**
 * What the node is to others, as said before and now.
 * @throws HF_DENIED in the data directory of a node that has left; HF_BUSY when a port is taken;
 *   HF_BAD_ARGUMENT, HF_CORRUPT.
 */
async function configOf(data: DataDirectory, changes: ConfigChanges = {}) {
  if ((await data.readCluster()).hasLeft) {
    const message = `the node of ${data.path} has left its cluster; start anew: --data DIR`;
    throw new HoldfastError('HF_DENIED', message);
  }
  const before = (await data.readConfig()) ?? defaultConfig();
  const config = changedConfig(before, changes);
  if (changes.listen) await assertFree(changes.listen);
  if (JSON.stringify(config) === JSON.stringify(before)) return config;
  await data.writeConfig(config);
  return config;
}

export interface JoinNodeOptions extends Pick<NodeOptions, 'dataPath' | 'config' | 'transports'> {
  /** What `invite` printed. */
  readonly token: string;
  readonly log?: Log | undefined;
}

/**
 * Makes a new data directory that of a member; {@link openNode} then starts it.
 * @returns whether it has become one now, and was none before.
 * @throws as joinFrom; HF_BUSY when a node runs there.
 */
export async function joinNode(options: JoinNodeOptions): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const data = stack.use(await DataDirectory.open(options.dataPath));
  const log = options.log ?? stack.use(fileLog(data.logPath));
  const config = await configOf(data, options.config);
  const { token, transports } = options;
  return await joinFrom({ env: realEnv({ log }), data, config, token, transports });
}

function adminParts(parts: Parts, stop: () => void): AdminParts {
  const { env, data, keeper, stores, others, work, metrics, heart, look } = parts;
  const { nodeId, clusterId } = keeper;
  const waiting = waitingParts(heart);
  const reporter = new MetadataReporter({ clock: env.clock, heart, others, clusterId });
  return {
    identity: {
      version: packageVersion(),
      nodeId,
      name: others.config.name,
      clusterId,
      dataPath: data.path,
      startedAtMs: env.clock.now(),
      processId: process.pid,
      startNotes: parts.start.notes,
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
    mounts: parts.mounts,
    peers: new LocalPeers(parts),
    disks: new LocalDisks({ self: nodeId, others, look }),
    metadata: new MetadataViews({ self: nodeId, heart, others, reporter }),
    repairStatus: () => statusSoon(env, heart.core?.repair),
    beginContent: () => work.begin(),
    staleReadCount: () => heart.core?.volumes.staleReadCount ?? 0,
    metrics: () => Object.fromEntries(metrics.entries()),
    storePlaces: () => storePlaces(heart.needCore(), others),
    layoutReport: () => machineReport(heart.needCore()),
    warnings: async () => [
      ...(await nodeWarnings({ ...parts, reporter })),
      ...parts.mounts.warnings(),
    ],
    async exportKit() {
      const volumes = (await heart.core?.volumes.list()) ?? [];
      const names = new Map(volumes.map(({ record }) => [record.id, record.name]));
      const storePaths = stores.slots.map(({ path }) => path);
      return await keeper.exportKit({ names, storePaths, nowMs: env.clock.now() });
    },
    stop,
  };
}
