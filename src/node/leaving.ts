/**
 * How a node leaves: its stores take no more shards, the home moves what they hold to the others,
 * and only when they are empty is the node taken out of the cluster. Each step can be repeated;
 * whoever gives up before the last one has a node that goes on as before.
 */
import {
  chunkIdParts,
  errorCode,
  formatPolicy,
  HoldfastError,
  METADATA_SCHEME_NUMBER,
  neededWidthOf,
  type NodeId,
} from '../base/index.ts';
import type { LeaveView } from '../api/index.ts';
import type { Env } from '../env/index.ts';
import type { RunOptions } from '../repair/index.ts';
import type { ChunkStore } from '../store/index.ts';
import type { Core } from './core.ts';
import type { StoreSet } from './store-set.ts';

/** Runs of repair that moved nothing, after which leaving is given up. */
const IDLE_RUNS_MAX = 5;
const PAUSE_MS = 1000;

export interface DrainOptions {
  readonly env: Env;
  readonly self: NodeId;
  readonly core: Pick<Core, 'cluster' | 'volumes' | 'repair'>;
  readonly stores: StoreSet;
}

/**
 * Moves all shards of this node's stores elsewhere.
 * @throws HF_TOO_FEW_STORES when the other nodes' stores are too few, or cannot take them all; then
 *   the stores are in use again.
 */
export async function drainOwnStores(
  options: DrainOptions,
  { signal, onProgress }: RunOptions,
): Promise<LeaveView> {
  const { stores } = options;
  assertOthersSuffice(options);
  const before = await held(stores.alive());
  await setAll(options, 'draining');
  try {
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
      if (left.chunks > 0 && idleRuns >= IDLE_RUNS_MAX) throw notMoved(left.chunks, summary);
      if (left.chunks > 0) await options.env.clock.sleep(PAUSE_MS, { signal });
    }
  } catch (error) {
    await setAll(options, 'in');
    throw error;
  }
  return { movedChunks: before.chunks, movedBytes: before.bytes };
}

function notMoved(count: number, summary: string): HoldfastError {
  const message =
    `${count} chunks of this node have no other place (${summary}); ` + 'add stores to others';
  return new HoldfastError('HF_TOO_FEW_STORES', message);
}

/** What a run of repair says; one that fails is no reason to give up yet. */
async function repairPatiently(
  { core, env }: DrainOptions,
  signal: AbortSignal | undefined,
): Promise<string> {
  try {
    const { repaired, incomplete, lost } = await core.repair.repair({ signal });
    return `${repaired} stripes repaired, ${incomplete} incomplete, ${lost} lost`;
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined || code === 'HF_INTERRUPTED') throw error;
    env.log.warn('a repair for leaving failed', { error });
    return (error as Error).message;
  }
}

/** Metadata copies do not count: the home keeps its own. */
async function held(stores: readonly ChunkStore[]): Promise<{ chunks: number; bytes: number }> {
  let [chunks, bytes] = [0, 0];
  for (const store of stores) {
    for await (const { id, lengthBytes } of store.list()) {
      if (chunkIdParts(id).schemeNumber === METADATA_SCHEME_NUMBER) continue;
      chunks += 1;
      bytes += lengthBytes;
    }
  }
  return { chunks, bytes };
}

/** Also on the stores themselves: a restart on the way goes on with it. */
async function setAll({ stores, core }: DrainOptions, state: 'draining' | 'in'): Promise<void> {
  for (const { id, open, state: before } of stores.slots) {
    if (before === 'out') continue;
    stores.setState(id, state);
    const store = open?.store;
    if (store && store.state !== 'failed') {
      await store.setState(state === 'draining' ? 'draining' : 'active');
    }
  }
  await core.cluster.setDevices(stores.devices());
}

/** @throws HF_TOO_FEW_STORES. */
function assertOthersSuffice({ core, self }: DrainOptions): void {
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
