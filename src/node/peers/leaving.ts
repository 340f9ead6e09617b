/**
 * How a node leaves: its stores take no more shards, the home moves what they hold to the others,
 * and only when nothing wanted is left on them is the node taken out of the cluster. Each step can
 * be repeated; whoever gives up before the last one has a node that goes on as before.
 *
 * What was placed by a layout from before may arrive at any time. So it is refused from the first
 * step on, and what had been let pass is waited for: then no chunk can come behind the last look.
 */
import {
  type ChunkId,
  chunkIdParts,
  errorCode,
  errorMessage,
  formatPolicy,
  HoldfastError,
  mapBounded,
  neededWidthOf,
  type NodeId,
} from '../../base/index.ts';
import type { LeaveView } from '../../api/index.ts';
import type { Env } from '../../env/index.ts';
import type { RunOptions } from '../../repair/index.ts';
import type { ChunkEntry, ChunkStore } from '../../store/index.ts';
import type { Core } from '../core.ts';
import { contentOf, noteState } from '../stores/store-slot.ts';
import type { StoreSet } from '../stores/store-set.ts';

/** Runs of repair that moved nothing, after which leaving is given up. */
const IDLE_RUNS_MAX = 5;
const PAUSE_MS = 1000;
/** What nothing names goes when it is older: as long as in the collections of the home. */
const GRACE_MS = 86_400_000;
/** Stripes asked about at once. */
const ASKED_AT_ONCE = 64;

export interface LeaveOptions {
  readonly env: Env;
  readonly self: NodeId;
  readonly core: Pick<Core, 'cluster' | 'volumes' | 'repair' | 'stripes' | 'references'>;
  readonly stores: Pick<StoreSet, 'alive' | 'slots' | 'setState' | 'devices'>;
  /** See Serving. */
  readonly refusePutsBefore: (epoch: number) => Promise<void>;
  /** Waits until others have its part in the metadata. @throws HF_TOO_FEW_STORES. */
  readonly letGo?: ((signal: AbortSignal | undefined) => Promise<void>) | undefined;
  /** Has the home take this node out of the cluster. */
  readonly takeOut: () => Promise<void>;
}

/**
 * Moves all shards of this node's stores elsewhere, and takes it out of the cluster.
 * @throws HF_TOO_FEW_STORES when the other nodes' stores are too few, or cannot take them all; what
 *   `takeOut` throws. Then the stores are in use again.
 */
export async function leave(options: LeaveOptions, run: RunOptions): Promise<LeaveView> {
  assertOthersSuffice(options);
  try {
    await setAll(options, 'draining');
    await endOlderPuts(options);
    const moved = await moveAll(options, run);
    await options.letGo?.(run.signal);
    await options.takeOut();
    return moved;
  } catch (error) {
    await setAll(options, 'in').catch((failure: unknown) => {
      // What kept it from leaving is what the caller must see.
      options.env.log.warn('the stores could not be stated anew yet', { error: failure });
    });
    throw error;
  }
}

/** Of other nodes, and of this one. */
async function endOlderPuts({ core, refusePutsBefore }: LeaveOptions): Promise<void> {
  await refusePutsBefore(core.cluster.topology().epoch);
  await core.stripes.spreadsSettled();
}

async function moveAll(
  options: LeaveOptions,
  { signal, onProgress }: RunOptions,
): Promise<LeaveView> {
  const { env, stores } = options;
  const before = await held(stores.alive());
  let left = before;
  for (let idleRuns = 0; left.chunks > 0;) {
    const summary = await repairPatiently(options, signal);
    const now = await held(stores.alive());
    onProgress?.({
      doneCount: before.chunks - now.chunks,
      totalCount: before.chunks,
      bytes: before.bytes - now.bytes,
    });
    idleRuns = now.chunks < left.chunks ? 0 : idleRuns + 1;
    left = now;
    if (left.chunks === 0) break;
    if (idleRuns === 1) await collectPatiently(options, signal);
    if (idleRuns > 0 && !(await mayBeWanted(options))) break;
    if (idleRuns >= IDLE_RUNS_MAX) throw notMoved(left.chunks, summary);
    await env.clock.sleep(PAUSE_MS, { signal });
  }
  return { movedChunks: before.chunks - left.chunks, movedBytes: before.bytes - left.bytes };
}

function notMoved(count: number, summary: string): HoldfastError {
  const reason = `${count} chunks of this node have no other place (${summary})`;
  return new HoldfastError('HF_TOO_FEW_STORES', `${reason}; add stores to others`);
}

/** What a run of repair says; one that fails is no reason to give up yet. */
async function repairPatiently(
  { core, env }: LeaveOptions,
  signal: AbortSignal | undefined,
): Promise<string> {
  try {
    const { repaired, incomplete, lost } = await core.repair.repair({ signal });
    return `${repaired} stripes repaired, ${incomplete} incomplete, ${lost} lost`;
  } catch (error) {
    throwUnlessPassing(error);
    env.log.warn('a repair for leaving failed', { error });
    return errorMessage(error);
  }
}

/** Writers that are gone may have left what keeps this node. */
async function collectPatiently(
  { core, env }: LeaveOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await core.repair.collect({ graceMs: GRACE_MS, signal });
  } catch (error) {
    throwUnlessPassing(error);
    env.log.warn('a collection for leaving failed', { error });
  }
}

/** Whether anything names a stripe of which chunks are left here; also when nobody can say. */
async function mayBeWanted({ core, env, stores }: LeaveOptions): Promise<boolean> {
  try {
    return await isAnyNamed(core, contentOfAll(stores.alive()));
  } catch (error) {
    throwUnlessPassing(error);
    env.log.warn('what is left here cannot be looked up', { error });
    return true;
  }
}

function throwUnlessPassing(error: unknown): void {
  const code = errorCode(error);
  if (code === undefined || code === 'HF_INTERRUPTED') throw error;
}

async function held(stores: readonly ChunkStore[]): Promise<{ chunks: number; bytes: number }> {
  let [chunks, bytes] = [0, 0];
  for await (const { lengthBytes } of contentOfAll(stores)) {
    chunks += 1;
    bytes += lengthBytes;
  }
  return { chunks, bytes };
}

/** Metadata copies do not count: the home keeps its own. */
async function* contentOfAll(stores: readonly ChunkStore[]): AsyncGenerator<ChunkEntry> {
  for (const store of stores) yield* contentOf(store);
}

async function isAnyNamed(
  { references }: Pick<Core, 'references'>,
  chunks: AsyncIterable<ChunkEntry>,
): Promise<boolean> {
  let batch: ChunkId[] = [];
  const isOneNamed = async (): Promise<boolean> => {
    const records = await mapBounded(batch, ASKED_AT_ONCE, (id) =>
      references.stripe(chunkIdParts(id).stripe),
    );
    batch = [];
    return records.some((record) => record !== undefined);
  };
  for await (const { id } of chunks) {
    batch.push(id);
    if (batch.length === ASKED_AT_ONCE && (await isOneNamed())) return true;
  }
  return await isOneNamed();
}

/** Also on the stores themselves: a restart on the way goes on with it. */
async function setAll({ stores, core }: LeaveOptions, state: 'draining' | 'in'): Promise<void> {
  for (const slot of stores.slots) {
    if (slot.state === 'out') continue;
    stores.setState(slot.id, state);
    await noteState(slot, state);
  }
  await core.cluster.setDevices(stores.devices());
}

/** @throws HF_TOO_FEW_STORES. */
function assertOthersSuffice({ core, self }: LeaveOptions): void {
  const { devices } = core.cluster.topology();
  const used = devices.filter(({ state }) => state === 'in');
  const others = used.filter(({ id }) => core.cluster.nodeOf(id) !== self).length;
  for (const { name, policy } of core.volumes.records) {
    // Copies that have too few stores already are no reason to stay.
    const copies = policy.map(({ n }) => n).filter((n) => n <= used.length);
    const needed = Math.max(1, neededWidthOf(policy), ...copies);
    if (others >= needed) continue;
    const message =
      `the other nodes have ${others} stores, and volume "${name}" (${formatPolicy(policy)}) ` +
      `needs ${needed}: add stores to them first (holdfast dev add)`;
    throw new HoldfastError('HF_TOO_FEW_STORES', message);
  }
}
