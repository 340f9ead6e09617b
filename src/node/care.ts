/**
 * Looks after the stores while the node runs. Every node sees to its own: it notices losses, writes
 * off, and states its devices, again and again while the home does not take it. The home writes off
 * nodes that are away for long, and heals.
 */
import { type DeviceId, errorCode, mapBounded, neededWidthOf, type NodeId } from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { type Env, within } from '../env/index.ts';
import {
  type Repair,
  type RepairStatus,
  type RepairSummary,
  runHealer,
  type RunOptions,
} from '../repair/index.ts';
import type { ChunkStore, ExtentStore } from '../store/index.ts';
import { scrubInBackground } from './stores/background-scrub.ts';
import { type Core, whileOpen } from './core.ts';
import { whileWanted } from './metadata/metadata.ts';
import type { StoreSet } from './stores/store-set.ts';
import type { VolumeSet } from './volumes/volume-set.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** How often lost stores are looked for. */
const LOOK_EVERY_MS = 1000;
/** Stores asked at once how many bad chunks they know. */
const LOOKS_AT_ONCE = 16;
/** A store or node away for longer is written off, and what it held is made again elsewhere. */
const AWAY_GRACE_MS = 10 * MINUTE_MS;

/** Who asks what repair does is not kept waiting longer. */
const STATUS_MS = 3000;

const HEALER_PACE = {
  lookEveryMs: 10_000,
  collectEveryMs: 60 * MINUTE_MS,
  graceMs: DAY_MS,
};

/** Waits between runs of a repair that did not get to its end; doubled from one to the next. */
const RETRY_MIN_MS = 10_000;
const RETRY_MAX_MS = 10 * MINUTE_MS;
/** What nobody tells the home: a shard that another node has put elsewhere in a short trouble. */
const LOOK_ANYWAY_MS = 60 * MINUTE_MS;

export interface CareOptions {
  readonly env: Env;
  readonly core: Pick<Core, 'nodeId' | 'stores' | 'peers'> & {
    readonly metadata: Pick<Core['metadata'], 'isHome' | 'changed'>;
    readonly cluster: Pick<
      Cluster,
      'topology' | 'layout' | 'nodeOf' | 'setDevices' | 'setNodeDevices'
    >;
    readonly volumes: Pick<VolumeSet, 'degradedPuts' | 'records'>;
  };
  readonly stores: Pick<
    StoreSet,
    'alive' | 'refresh' | 'changeCount' | 'awayFor' | 'isDetached' | 'setState' | 'devices'
  >;
  readonly repair: Repair;
  /** How long a node may be away before it is written off. */
  readonly nodeGraceMs?: number | undefined;
}

/** Starts the loops; disposing ends them and waits. */
export function startCare(options: CareOptions): AsyncDisposable {
  const { metadata } = options.core;
  const isWanted = (): boolean => metadata.isHome;
  const always = [watchStores, scrubInBackground].map(
    (loop) => (signal: AbortSignal) => loop(options, signal),
  );
  const atHome = [heal, watchNodes].map(
    (loop) => (signal: AbortSignal) =>
      whileWanted(metadata, { isWanted, signal }, (ended) => loop(options, ended)),
  );
  return whileOpen(...always, ...atHome);
}

async function heal(options: CareOptions, signal: AbortSignal): Promise<void> {
  const { env, repair } = options;
  const mending = new Mending(options);
  await runHealer(
    {
      env,
      repair: {
        collect: (run) => repair.collect(run),
        repair: (run) => mending.run(run),
      },
      needsRepair: () => mending.isDue(),
      ...HEALER_PACE,
    },
    signal,
  );
}

/**
 * When repair has something to do. Only a run that left nothing undone answers for the state it
 * began with, and for a while only; any other is tried again, ever more seldom, but at once when
 * the stores change.
 */
class Mending {
  readonly #options: CareOptions;
  /** What there was to mend when the last run began that left nothing undone. */
  #healed: string | undefined;
  /** The stores as they were when the last run began that left something. */
  #leftAt: string | undefined;
  #waitMs = RETRY_MIN_MS;
  #retryAt = 0;
  #lookAnywayAt = 0;

  constructor(options: CareOptions) {
    this.#options = options;
  }

  async isDue(): Promise<boolean> {
    const nowMs = this.#options.env.clock.monotonic();
    if ((await this.#damage()) === this.#healed) return nowMs >= this.#lookAnywayAt;
    return this.#places() !== this.#leftAt || nowMs >= this.#retryAt;
  }

  async run(run: RunOptions | undefined): Promise<RepairSummary> {
    // Before the run: what happens while it looks elsewhere is for the next one.
    const places = this.#places();
    const damage = await this.#damage();
    let isDone = false;
    try {
      const summary = await this.#options.repair.repair({ ...run, isAutomatic: true });
      isDone = summary.incomplete === 0 && summary.skipped === 0;
      return summary;
    } finally {
      if (isDone) {
        this.#healed = damage;
        this.#leftAt = undefined;
        this.#lookAnywayAt = this.#options.env.clock.monotonic() + LOOK_ANYWAY_MS;
      } else this.#retryLater(places);
    }
  }

  #retryLater(places: string): void {
    this.#waitMs =
      places === this.#leftAt ? Math.min(this.#waitMs * 2, RETRY_MAX_MS) : RETRY_MIN_MS;
    this.#retryAt = this.#options.env.clock.monotonic() + this.#waitMs;
    this.#leftAt = places;
  }

  /** When a store goes or comes back, what was put meanwhile lacks shards. */
  #places(): string {
    const { core, stores } = this.#options;
    const peersCount = core.peers()?.changeCount ?? 0;
    return `${core.cluster.layout().epoch}/${stores.changeCount}/${peersCount}`;
  }

  async #damage(): Promise<string> {
    const { core } = this.#options;
    const places = this.#places();
    const { degradedPuts } = core.volumes;
    const counts = await mapBounded(core.stores(), LOOKS_AT_ONCE, badChunkCount);
    const badChunks = counts.reduce((sum, count) => sum + count, 0);
    return `${places}/${degradedPuts}/${badChunks}`;
  }
}

/** A store that does not answer is looked at again. */
async function badChunkCount(store: ChunkStore): Promise<number> {
  try {
    return (await store.usage()).badChunkCount;
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return 0;
  }
}

/** Notices stores that go or come back, and writes off those that are away for long. */
async function watchStores({ env, core, stores }: CareOptions, signal: AbortSignal): Promise<void> {
  /** The devices as the topology has taken them: what it refused is stated again. */
  let stated: string | undefined;
  for await (const _ of env.clock.every(LOOK_EVERY_MS, { signal })) {
    try {
      await stores.refresh({ onlyDue: true, msMax: LOOK_EVERY_MS });
      for (const id of stores.awayFor(AWAY_GRACE_MS)) {
        // The user has it in hand: without room elsewhere nothing is won by giving it up.
        const hasRoom = isWorthIt(core, core.stores().length);
        if (hasRoom || !stores.isDetached(id)) stores.setState(id, 'out');
      }
      const elsewhere = aliveElsewhere(core);
      const devices = stores.devices().filter(({ id }) => !elsewhere.has(id));
      const now = JSON.stringify(devices);
      if (now === stated && areTaken({ core, stores })) continue;
      await core.cluster.setDevices(devices);
      stated = now;
    } catch (error) {
      if (errorCode(error) === 'HF_INTERRUPTED') return;
      env.log.warn('looking after the stores failed', { error });
    }
  }
}

/**
 * Devices that another node has and answers for. One that is here as well is a copy: if both were
 * to claim it, each second would have an epoch of its own.
 */
function aliveElsewhere({ peers }: Pick<CareOptions['core'], 'peers'>): ReadonlySet<DeviceId> {
  return new Set((peers()?.alive() ?? []).map(({ id }) => id));
}

/** Whether no store that is alive here was written off, or taken for another node's. */
function areTaken({ core, stores }: Pick<CareOptions, 'core' | 'stores'>): boolean {
  const { cluster, nodeId } = core;
  const elsewhere = aliveElsewhere(core);
  const here = stores.alive().filter(({ id }) => !elsewhere.has(id));
  const alive = new Set<string>(here.map(({ id }) => id));
  const out = new Set(stores.devices().flatMap(({ id, state }) => (state === 'out' ? [id] : [])));
  return cluster
    .topology()
    .devices.filter(({ id }) => alive.has(id) && !out.has(id))
    .every(({ id, state }) => state !== 'out' && cluster.nodeOf(id) === nodeId);
}

/** Writes off the devices of nodes that are away for long; each states its own when it is back. */
async function watchNodes(options: CareOptions, signal: AbortSignal): Promise<void> {
  const { env, core, nodeGraceMs = AWAY_GRACE_MS } = options;
  let awaySince: ReadonlyMap<NodeId, number> = new Map();
  for await (const _ of env.clock.every(LOOK_EVERY_MS, { signal })) {
    const nowMs = env.clock.monotonic();
    const away = awayNodes(core);
    // One that has stated devices anew since has its time anew.
    awaySince = new Map(away.map((node) => [node, awaySince.get(node) ?? nowMs]));
    const lost = away.filter((node) => nowMs - awaySince.get(node)! >= nodeGraceMs);
    for (const node of hasRoomWithout(core, away) ? lost : []) {
      try {
        await core.cluster.setNodeDevices(node, 'out');
        env.log.warn('a node was away for long and is written off', { node });
        env.metrics.add('node_nodes_written_off', 1);
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        env.log.warn('a node could not be written off', { node, error });
      }
    }
  }
}

/** Nodes with devices in use that gossip does not see; none while this node is alone. */
function awayNodes({ cluster, nodeId, peers }: CareOptions['core']): NodeId[] {
  const others = peers();
  if (!others) return [];
  const used = cluster.topology().devices.filter(({ state }) => state !== 'out');
  const nodes = new Set(used.map(({ id }) => cluster.nodeOf(id) ?? nodeId));
  return [...nodes].filter((node) => node !== nodeId && !others.isThere(node));
}

/** Without room elsewhere nothing is won by giving nodes up, and their return would move shards. */
function hasRoomWithout(core: CareOptions['core'], away: readonly NodeId[]): boolean {
  const { cluster } = core;
  const left = cluster.topology().devices.filter(({ id, state }) => {
    const node = cluster.nodeOf(id);
    return state === 'in' && node !== undefined && !away.includes(node);
  });
  return isWorthIt(core, left.length);
}

/** Whether so many stores have room for all pieces, and for all shards of one encoding at least. */
function isWorthIt({ volumes }: CareOptions['core'], storeCount: number): boolean {
  const policies = volumes.records.map(({ policy }) => policy);
  const hasRoom = policies.every((policy) => neededWidthOf(policy) <= storeCount);
  const isWon = policies.some((policy) => policy.some(({ n }) => n <= storeCount));
  return hasRoom && (isWon || policies.length === 0);
}

export interface DamageOptions {
  readonly env: Env;
  /** One that takes damage for dealt with: {@link repairClearingDamage}. */
  readonly repair: Pick<Repair, 'repair'>;
  readonly stores: { damaged(): Promise<readonly unknown[]> };
}

/**
 * For nodes that do not repair: while a store here is marked as damaged the home is asked to look
 * for what it lacks, ever more seldom. Runs until `signal` is aborted.
 */
export async function dealWithDamage(
  { env, repair, stores }: DamageOptions,
  signal: AbortSignal,
): Promise<void> {
  let waitMs = RETRY_MIN_MS;
  let dueAtMs = 0;
  for await (const _ of env.clock.every(RETRY_MIN_MS, { signal })) {
    try {
      if (env.clock.monotonic() < dueAtMs) continue;
      if ((await stores.damaged()).length === 0) {
        waitMs = RETRY_MIN_MS;
        continue;
      }
      await repair.repair({ isAutomatic: true, signal });
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.debug('damage of a store is not dealt with yet', { error });
    }
    dueAtMs = env.clock.monotonic() + waitMs;
    waitMs = Math.min(waitMs * 2, RETRY_MAX_MS);
  }
}

/**
 * Repair that, once nothing lacks shards any more, takes damage of stores for dealt with: of those
 * that were here when it began. It may not have asked a store that came while it ran.
 */
export function repairClearingDamage(
  repair: Repair,
  stores: { damaged(): Promise<readonly { store: Pick<ExtentStore, 'clearDamage'> }[]> },
): Repair {
  return {
    ...repair,
    async repair(run) {
      const damaged = await stores.damaged();
      const summary = await repair.repair(run);
      if (summary.incomplete + summary.skipped + summary.lost > 0) return summary;
      for (const { store } of damaged) {
        await store.clearDamage().catch((error) => {
          // One that has gone keeps the mark, for when it is back.
          if (errorCode(error) === undefined) throw error;
        });
      }
      return summary;
    },
  };
}

/** Repair as a user asks for it: stores that are away are written off now. */
export function repairWithWriteOff({ core, stores }: { core: Core; stores: StoreSet }): Repair {
  const { repair } = core;
  return {
    ...repair,
    async health(run) {
      await stores.refresh();
      return await repair.health(run);
    },
    async repair(run) {
      await stores.refresh();
      await writeOff(stores.awayFor(0), { core, stores });
      return await repair.repair(run);
    },
  };
}

/** What repair does now; `undefined` when the home gives no answer within a few seconds. */
export async function statusSoon(
  { clock }: Pick<Env, 'clock'>,
  repair: Pick<Repair, 'status'> | undefined,
): Promise<RepairStatus | undefined> {
  const asked = repair?.status().catch((error: unknown) => {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  });
  return asked && (await within(clock, asked, STATUS_MS));
}

/** @throws HF_TOO_FEW_STORES when too few would be left; then nothing is written off. */
async function writeOff(
  ids: readonly DeviceId[],
  { core, stores }: { core: Core; stores: StoreSet },
): Promise<void> {
  for (const id of ids) stores.setState(id, 'out');
  try {
    await core.cluster.setDevices(stores.devices());
  } catch (error) {
    for (const id of ids) stores.setState(id, 'in');
    throw error;
  }
}
