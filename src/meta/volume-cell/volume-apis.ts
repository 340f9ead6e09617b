/**
 * The doors of a volume's cell at its steward, and what they share: who has what open, and the
 * directory leases that they meet. An operation that meets one runs again when it is gone; when
 * that takes longer than a client waits it is HF_LEASED, and the client asks again: so nobody who
 * waits for a holder keeps what the holder brings from coming in.
 *
 * *Housekeeping*: what a steward does by itself: it ends sessions, and lets go of orphans that
 * nobody has open any more and of parts of uploads that are over. The references go with the next
 * collection: they are another cell's.
 */
import { errorCode, errorMessage, HoldfastError, LIMITS } from '../../base/index.ts';
import { type Clock, type Env, within } from '../../env/index.ts';
import type { Executor } from '../cells/executor.ts';
import { HandleTable, type HandleTableOptions } from '../handles/handle-table.ts';
import { handlesOf } from '../handles/handles-cell.ts';
import { recallingExecutor } from '../handles/lease-ops.ts';
import type { Circumstances, NamespaceFault } from '../namespace/inode-ops.ts';
import { circumstancesOf, namespaceOf } from '../namespace/namespace-cell.ts';
import type { Inode } from '../namespace/namespace.ts';
import { treeOf } from '../namespace/tree-cell.ts';
import type { Tree } from '../namespace/tree.ts';
import { uploadsOf } from '../uploads/uploads-cell.ts';
import type { Uploads } from '../uploads/uploads.ts';
import type { DoorName, VolumeDoors } from './volume-tables.ts';

export interface VolumeApisOptions {
  readonly env: Env;
  /** Runs what the steward does by itself. */
  readonly executor: Executor;
  readonly view: HandleTableOptions['view'];
  /**
   * Asks for a directory that is leased, in this cell or another one of the volume. What it meets
   * is asked for again; HF_LEASED thrown by it is passed on: whoever asked is to ask again.
   */
  readonly recall?: ((directory: Inode) => Promise<void>) | undefined;
  readonly fault?: NamespaceFault | undefined;
}

export interface VolumeApis {
  /** Each over an executor, which may know the options of one request. */
  readonly doors: {
    readonly [Name in DoorName]: (
      executor: Executor,
    ) => Omit<VolumeDoors[Name], typeof Symbol.asyncDispose>;
  };
  /** Keeps house until `signal` is aborted. */
  readonly run: (options: { readonly signal: AbortSignal }) => Promise<void>;
}

export function volumeApis(options: VolumeApisOptions): VolumeApis {
  const { env, executor: own, view, fault } = options;
  const table = new HandleTable({ env, executor: own, view, onClosed });
  const recallHere = (directory: Inode): Promise<void> => table.recalls.recall(directory);
  const { recall = recallHere } = options;
  const recalling = (executor: Executor): Executor =>
    recallingExecutor(executor, (directory) => soon(env.clock, recall(directory)));
  const now = (): Circumstances => ({
    ...circumstancesOf(env),
    isOpen: (inode, rows) => table.isOpen(inode, rows),
    fault,
  });
  const tree = treeOf(own, now);
  const uploads = uploadsOf(own, now);

  /** Orphans among them need not wait for the next minute. */
  async function onClosed(inodes: readonly Inode[]): Promise<void> {
    try {
      await tree.releaseOrphans(inodes);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      env.log.debug('orphans are released later', { reason: errorMessage(error) });
    }
  }

  async function tidy(): Promise<void> {
    await releaseOrphans(tree);
    await releaseParts(uploads);
  }

  return {
    doors: {
      namespace: (executor) => namespaceOf(recalling(executor), now),
      tree: (executor) => treeOf(recalling(executor), now),
      handles: (executor) => ({
        ...handlesOf(executor, { table, clock: env.clock }),
        recallDirectory: (directory) => soon(env.clock, recallHere(directory)),
      }),
      uploads: (executor) => uploadsOf(recalling(executor), now),
    },
    async run({ signal }) {
      await Promise.all([table.run({ signal }), tidyAtTimes(env, tidy, signal)]);
    },
  };
}

/** @throws HF_LEASED when it takes long; it goes on. */
async function soon(clock: Clock, recall: Promise<void>): Promise<void> {
  const recalled = recall.then(() => true);
  if (!(await within(clock, recalled, LIMITS.handleWaitMsMax))) {
    throw new HoldfastError('HF_LEASED');
  }
}

async function tidyAtTimes(
  { clock, log }: Env,
  tidy: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for await (const _ of clock.every(LIMITS.housekeepingMs, { signal })) {
    try {
      await tidy();
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      // The cell moved on, or cannot be written now: the next time begins anew.
      log.debug('a cell was not tidied', { reason: errorMessage(error) });
    }
  }
}

/** All that nobody has open, as far as this cell or these cells know. */
export async function releaseOrphans(
  tree: Pick<Tree, 'orphans' | 'releaseOrphans'>,
): Promise<void> {
  let after: Inode | undefined;
  for (;;) {
    const page = await tree.orphans({ after });
    if (page.length > 0) await tree.releaseOrphans(page);
    after = page.at(-1);
    if (after === undefined) return;
  }
}

/** Of all uploads that are over. */
export async function releaseParts(
  uploads: Pick<Uploads, 'endedUploads' | 'releaseParts'>,
): Promise<void> {
  for (const place of await uploads.endedUploads()) {
    while ((await uploads.releaseParts(place)).length > 0) continue;
  }
}
