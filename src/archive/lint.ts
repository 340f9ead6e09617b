/**
 * Shares without a file, and files without need of shares.
 *
 * - `lint` names shares whose file is in no master store; `delint` removes them.
 * - `discard` removes the shares of files that are in a master store.
 *
 * That a file is gone is believed only while every master store of the scheme is online and has its
 * marker, looked at again after the look for the file: an unplugged drive deletes nothing. Nor does
 * one that is mounted within a master store, or behind a link.
 */
import path from 'node:path';
import { HoldfastError } from '../base/index.ts';
import { assertUntouched, lookAt } from './file-fact.ts';
import { SHARE_STORE_NAME } from './config.ts';
import { assertOnline, assertStillThere, type OnlineStore } from './stores.ts';
import { type Entry, entryOf, replicasOf } from './tree.ts';
import { sharesState, type StoreFact } from './tree.ts';
import { digestOf, type Outcome, outcome, type Work } from './work.ts';

/** @throws HF_UNAVAILABLE when nobody can tell which files are gone. */
export function assertLintable({ view, catalogue }: Work): void {
  const { name, replicas, masterStores } = view.scheme;
  assertOnline(view.masters, 'nobody can tell which files are gone');
  for (const store of catalogue.storeNames(name)) {
    if (masterStores.has(store) || SHARE_STORE_NAME.test(store)) continue;
    const both = `${name}/${store}`;
    const message =
      `store ${both} was there, and the configuration has left it out: what it has is not gone; ` +
      `if it is: holdfast archive init --forget ${both}`;
    throw new HoldfastError('HF_UNAVAILABLE', message);
  }
  if (replicas === 0) {
    const message = `scheme ${name} keeps no replicas: shares without a file are the file`;
    throw new HoldfastError('HF_UNSUPPORTED', message);
  }
  assertNoMove({ view, catalogue });
}

/** One outcome for each share whose file is gone. */
export async function lintEntry(
  work: Work,
  entry: Entry,
  { removes }: { readonly removes: boolean },
): Promise<Outcome[]> {
  const shares = entry.shares.filter(({ fact }) => fact?.kind === 'file');
  if (shares.length === 0 || entry.faults.length > 0 || hasMaster(entry)) return [];
  const { view, catalogue } = work;
  if (catalogue.file(view.scheme.name, entry.path)?.isCommitted) return [];
  const detail = await hiddenBy(work, entry);
  if (detail) return [outcome(work, entry.path, { result: 'unknown', detail, isFault: true })];
  const outcomes: Outcome[] = [];
  for (const share of shares) {
    if (removes) await removeOrphan(work, entry, share);
    const result = removes ? 'removed' : 'no master';
    const detail = share.fact!.path;
    outcomes.push(outcome(work, entry.path, { result, detail, isFault: !removes }));
  }
  if (removes && !work.isDryRun) {
    const isLast = entry.shares.every(({ store }) => store.root !== undefined);
    if (isLast) await catalogue.removeFile(view.scheme.name, entry.path);
  }
  return outcomes;
}

async function removeOrphan(work: Work, entry: Entry, { fact, store }: StoreFact): Promise<void> {
  const { view, disk } = work;
  if (work.isDryRun) return;
  // First the file, then the markers: a drive that is pulled in between is seen to be gone.
  const now = await entryOf(view, entry.path);
  if (hasMaster(now) || now.faults.length > 0 || (await hiddenBy(work, entry))) {
    throw new HoldfastError('HF_BUSY', `${entry.path} has come back`);
  }
  for (const master of assertOnline(view.masters, '')) await assertStillThere(master);
  await assertUntouched([fact!]);
  await disk.remove(fact!.path);
  await removeEmptyFolders(work, { root: (store as OnlineStore).root, entry });
}

/** Those of the share store that no master store has any more. */
async function removeEmptyFolders(
  { view, disk }: Work,
  { root, entry }: { root: string; entry: Entry },
): Promise<void> {
  for (let name = path.dirname(entry.path); name !== '.'; name = path.dirname(name)) {
    const { masters } = await entryOf(view, name);
    if (masters.some(({ fact }) => fact !== undefined)) return;
    if (!(await disk.removeFolder(path.join(root, name)))) return;
  }
}

/**
 * What may hide the file: its name in other bytes (some filesystems spell é as e and an accent), a
 * link on the way to it, or a drive that was mounted within a store.
 */
async function hiddenBy(
  { view, catalogue }: Work,
  { path: name }: Entry,
): Promise<string | undefined> {
  for (const other of ['NFC', 'NFD'].map((form) => name.normalize(form))) {
    if (other === name || !hasMaster(await entryOf(view, other))) continue;
    return `${other} is there: the same letters in other bytes`;
  }
  const mountedIn = catalogue.file(view.scheme.name, name)?.mountedIn;
  for (const { root, name: storeName } of assertOnline(view.masters, '')) {
    const store = await lookAt(root);
    let above = path.dirname(name);
    let fact = await lookAt(path.join(root, above));
    while (!fact && above !== '.') {
      above = path.dirname(above);
      fact = await lookAt(path.join(root, above));
    }
    if (fact?.kind === 'other') return `${fact.path} is a link: nobody looked behind it`;
    if (storeName === mountedIn && fact?.dev === store?.dev) {
      return `it was on a drive mounted within ${root}, at ${fact?.path} or below; nothing is now`;
    }
  }
  return undefined;
}

/** Whatever stands in the place of the file is left to its owner to sort out. */
function hasMaster({ masters }: Entry): boolean {
  return masters.some(({ fact }) => fact !== undefined && fact.kind !== 'directory');
}

/** @returns nothing for files without a replica, or without shares. */
export async function discardEntry(work: Work, entry: Entry): Promise<Outcome | undefined> {
  const { view, catalogue, disk } = work;
  const [replica] = replicasOf(entry);
  const shares = entry.shares.flatMap(({ fact }) => (fact?.kind === 'file' ? [fact] : []));
  if (!replica || shares.length === 0) return undefined;
  const detail = `${shares.length} shares`;
  if (work.isDryRun) return outcome(work, entry.path, { result: 'discarded', detail });
  const record = catalogue.file(view.scheme.name, entry.path);
  if (record && record.digest !== (await digestOf(replica.fact.path, work))) {
    const reason = `${replica.fact.path} is not what was split; its shares stay`;
    return outcome(work, entry.path, { result: 'refused', detail: reason, isFault: true });
  }
  const state = await sharesState(work, entry);
  const isOther = state.plainBytes !== undefined && state.plainBytes !== replica.fact.size;
  if (!record && (isOther || state.bad.some((share) => share.isOther))) {
    const reason = `its shares are of other content than ${replica.fact.path}; they stay`;
    return outcome(work, entry.path, { result: 'refused', detail: reason, isFault: true });
  }
  for (const share of shares) {
    await assertUntouched([replica.fact, share]);
    await assertStillThere(replica.store as OnlineStore);
    await disk.remove(share.path);
  }
  if (entry.shares.every(({ store }) => store.root !== undefined)) {
    await catalogue.removeFile(view.scheme.name, entry.path);
  }
  return outcome(work, entry.path, { result: 'discarded', detail });
}

/** A move that was interrupted has left files and shares in two places. */
export function assertNoMove({ view, catalogue }: Pick<Work, 'catalogue' | 'view'>): void {
  const { name } = view.scheme;
  const move = catalogue.move(name);
  if (!move) return;
  const both = `"${name}:${move.from}" "${name}:${move.to}"`;
  const message = `a move was interrupted; finish it with: holdfast archive move ${both}`;
  throw new HoldfastError('HF_BUSY', message);
}
