/**
 * Removes replicas that the shares make redundant. Of each file, in this order:
 *
 * 1. all replicas and what the shares restore are read, and are the same;
 * 2. every share is there, good, and synced to its store;
 * 3. where no replica stays, the catalogue says so, durably: `delint` leaves such shares alone;
 * 4. nothing has been touched since, and the stores are still there;
 * 5. a replica is removed, the last in the order of the stores first.
 *
 * Stopped anywhere, the file is in its shares and in every replica that was not yet removed.
 */
import { HoldfastError } from '../base/index.ts';
import type { FileRecord } from './catalogue.ts';
import { assertUntouched } from './file-fact.ts';
import { assertOnline, assertStillThere, type OnlineStore } from './stores.ts';
import { type Entry, replicasOf, type SharesState, sharesState } from './tree.ts';
import { combinedOf, digestOf, type Outcome, outcome, type Work } from './work.ts';

export async function commitEntry(work: Work, entry: Entry): Promise<Outcome | undefined> {
  const { view, disk, isDryRun } = work;
  const replicas = replicasOf(entry);
  if (replicas.length === 0) return undefined;
  const redundant = replicas.slice(view.scheme.replicas);
  if (redundant.length === 0) return outcome(work, entry.path, { result: 'kept' });
  const stores = assertOnline(view.shares, 'a replica is redundant when all shares are there');
  const state = await sharesState(work, entry);
  if (state.mark !== '*') {
    const [fault] = state.bad;
    const bad = fault ? `; ${fault.store.name}: ${fault.reason}` : '';
    const detail = `${state.good.length} of ${stores.length} shares are there${bad}`;
    return outcome(work, entry.path, { result: 'refused', detail, isFault: true });
  }
  const detail = redundant.map(({ fact }) => fact.path).join(', ');
  await assertRestorable(work, entry, state);
  const isLast = redundant.length === replicas.length;
  if (isLast) assertKnown(work, entry);
  if (isDryRun) return outcome(work, entry.path, { result: 'committed', detail });
  for (const { fact } of state.good) await disk.sync(fact.path);
  if (isLast) await markCommitted(work, entry);
  while (replicas.length > view.scheme.replicas) {
    // Also those that stay: where none does, the catalogue would have to know.
    const files = [...replicas, ...state.good];
    for (const { store } of files) await assertStillThere(store as OnlineStore);
    await assertUntouched(files.map(({ fact }) => fact));
    await disk.remove(replicas.pop()!.fact.path);
  }
  return outcome(work, entry.path, { result: 'committed', detail });
}

/** @throws HF_CORRUPT when shares and replicas are not all of one content. */
async function assertRestorable(work: Work, entry: Entry, state: SharesState): Promise<void> {
  const { digest, faults } = await combinedOf(work, state);
  if (faults[0] !== undefined) throw new HoldfastError('HF_CORRUPT', faults[0]);
  for (const { fact } of replicasOf(entry)) {
    if ((await digestOf(fact.path, work)) === digest) continue;
    throw new HoldfastError('HF_CORRUPT', `${fact.path} is not what its shares restore`);
  }
}

/** @throws HF_NOT_FOUND when the catalogue does not know the file. */
function assertKnown({ catalogue, view }: Work, { path: name }: Entry): FileRecord {
  const record = catalogue.file(view.scheme.name, name);
  if (record) return record;
  const message = 'the catalogue does not know it; run "holdfast archive split" first';
  throw new HoldfastError('HF_NOT_FOUND', message);
}

async function markCommitted(work: Work, entry: Entry): Promise<void> {
  const { catalogue, view } = work;
  const record = assertKnown(work, entry);
  await catalogue.putFile(view.scheme.name, entry.path, { ...record, isCommitted: true });
}
