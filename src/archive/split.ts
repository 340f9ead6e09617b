/**
 * Makes the shares of a file, or those that are missing. They are made under other names, digested,
 * and renamed: a share that is there is replaced by a whole one, or stays.
 *
 * Only with `overwrites` does a share of other content go. Before a share is added to others, the
 * replica is read and compared with what they are of: a disk may have changed it.
 *
 * Before the first share has its name, the catalogue forgets the digests of the old ones; it has
 * those of the new ones after the last. Without digests nothing is taken for perfect unread.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { assert, fromHex, HoldfastError } from '../base/index.ts';
import { FileSeal, planShares } from '../shares/index.ts';
import type { FileRecord, ShareRecord } from './catalogue.ts';
import { assertUntouched, type FileFact, lookAt } from './file-fact.ts';
import { assertOnline, assertStillThere, isOnline, type Store } from './stores.ts';
import {
  type Entry,
  type GoodShare,
  isFolder,
  replicasOf,
  shareName,
  type SharesState,
  sharesState,
  type StoreFact,
} from './tree.ts';
import {
  badShares,
  combinedOf,
  digestOf,
  keyFault,
  type Outcome,
  outcome,
  scratchFolder,
  splitTo,
  withoutShares,
  type Work,
} from './work.ts';

/** Short, since names of files may be as long as a filesystem takes. */
const NEW_NAME = '.holdfast-new-';
const OTHER_CONTENT = 'its shares are of other content';

interface Known {
  readonly entry: Entry;
  readonly replica: StoreFact & { readonly fact: FileFact };
  readonly state: SharesState;
  readonly record: FileRecord | undefined;
}

export interface SplitModes {
  /** Shares are made again, also those that are there or are of other content. */
  readonly overwrites: boolean;
  /** Every byte of the shares is read, and those that are bad are made again. */
  readonly verifies?: boolean;
}

/** @returns nothing where there is no whole file to split. */
export async function splitEntry(
  work: Work,
  entry: Entry,
  modes: SplitModes,
): Promise<Outcome | undefined> {
  if (isFolder(entry) && !work.isDryRun) await removeLeftovers(work, entry.path);
  const [replica] = replicasOf(entry);
  if (!replica) return skipped(work, entry);
  const { catalogue, view } = work;
  const record = catalogue.file(view.scheme.name, entry.path);
  const known = { entry, replica, state: await sharesState(work, entry), record };
  const isUnread = modes.verifies || !isAsRecorded(known);
  const unread =
    isUnread && !modes.overwrites
      ? await badShares(work, { name: entry.path, state: known.state })
      : [];
  const state = withoutShares(known.state, unread);
  const planned = await plan(work, { ...known, state }, modes);
  if ('result' in planned) return planned;
  const { wanted, digest } = planned;
  const isAway = state.offline.length > 0;
  // Of a share that is away the catalogue may know that it was made.
  const isSafe =
    state.good.length >= view.scheme.quorum &&
    state.offline.every((number) => record?.shares[number]);
  const detail = isAway ? offlineDetail(state) : undefined;
  if (wanted.length === 0) {
    const result = isAway ? 'offline' : 'perfect';
    return outcome(work, entry.path, { result, detail, isFault: isAway && !isSafe });
  }
  if (!work.isDryRun) await makeShares(work, { ...known, state }, { wanted, digest });
  const isThere = known.state.good.length > 0;
  const result = isThere ? (modes.overwrites ? 'replaced' : 'completed') : 'split';
  return outcome(work, entry.path, { result, detail, isFault: isAway });
}

/** Numbers of the shares to make, or why none may be made. */
async function plan(
  work: Work,
  known: Known,
  { overwrites }: SplitModes,
): Promise<Outcome | { wanted: readonly number[]; digest: string | undefined }> {
  const { replica, state } = known;
  const { shares, masters } = work.view;
  const online = shares.flatMap((store, number) => (isOnline(store) ? [number] : []));
  const isGood = (number: number) => state.good.some((share) => share.number === number);
  const wanted = overwrites ? online : online.filter((number) => !isGood(number));
  const isWhole = wanted.length === 0;
  const isThere = state.good.length > 0;
  const reasonOf = async (digest: string) =>
    isThere ? await differenceOf(work, known, digest) : undefined;
  if (overwrites) {
    // What another master store has may be an old copy, or spoilt: it replaces no good share.
    if (replica.store === masters[0]) return { wanted, digest: undefined };
    const digest = await digestOf(replica.fact.path, work);
    const reason = await reasonOf(digest);
    return reason === undefined ? { wanted, digest } : differs(work, known, reason);
  }
  if (state.bad.some(({ isOther }) => isOther)) return differs(work, known, OTHER_CONTENT);
  if (isWhole && isAsRecorded(known)) {
    const reason = await keyFault(work, state);
    return reason === undefined ? { wanted, digest: undefined } : differs(work, known, reason);
  }
  const digest = await digestOf(replica.fact.path, work);
  const reason = await reasonOf(digest);
  if (reason !== undefined) return differs(work, known, reason);
  if (isWhole && !(await remember(work, known, digest))) return { wanted: online, digest };
  return { wanted, digest };
}

/** Links and the like are told: who archives a tree should know what is not in it. */
function skipped(work: Work, { path: name, masters }: Entry): Outcome | undefined {
  const other = masters.find(({ fact }) => fact?.kind === 'other');
  if (!other) return undefined;
  const detail = `${other.fact!.path} is no regular file`;
  return outcome(work, name, { result: 'skipped', detail });
}

function offlineDetail({ offline }: SharesState): string {
  return `without ${offline.map((number) => `share-${number}`).join(', ')}: offline`;
}

function differs(work: Work, { entry, replica, state }: Known, reason: string): Outcome {
  const { path: file } = replica.fact;
  const [master] = work.view.masters;
  const isMaster = replica.store === master;
  const remedy = isMaster
    ? `extract restores what they hold, split --overwrite replaces them by ${file}`
    : `${file} is not in the master place, ${master!.name}: recover restores what the shares ` +
      `hold there; if ${file} is the right one, copy it there`;
  const isSame = state.plainBytes === undefined || state.plainBytes === replica.fact.size;
  const lengths = isSame ? '' : ` (${state.plainBytes} bytes; ${file} has ${replica.fact.size})`;
  const detail = `${reason}${lengths}; ${remedy}`;
  return outcome(work, entry.path, { result: 'differs', detail, isFault: true });
}

/** As far as times and lengths tell. */
function isAsRecorded({ replica: { fact }, state, record }: Known): boolean {
  return (
    record?.size === fact.size &&
    record.mtimeNs === fact.mtimeNs &&
    state.good.every((share) => record.shares[share.number]?.size === share.fact.size)
  );
}

/** Why the good shares are not of this content; `undefined`: they are. */
async function differenceOf(
  work: Work,
  { state, record, replica }: Known,
  digest: string,
): Promise<string | undefined> {
  const [{ head }] = state.good as [GoodShare];
  const reason = await keyFault(work, state);
  if (reason !== undefined) return reason;
  let isSame: boolean;
  if (head.trailer) {
    const key = await work.shareKey();
    const seal = FileSeal.fromEnvelope({ key, envelope: head.trailer.envelope });
    isSame = seal.isOf(key, fromHex(digest));
  } else if (record) isSame = record.digest === digest;
  else if (state.good.length < work.view.scheme.quorum) isSame = false;
  else isSame = (await combinedOf(work, state)).digest === digest;
  if (isSame) return undefined;
  const { path: file, size, mtimeNs } = replica.fact;
  const isRotten = record?.size === size && record.mtimeNs === mtimeNs && record.digest !== digest;
  return isRotten
    ? `${file} is not what was split, though nobody wrote to it: is its disk bad?`
    : OTHER_CONTENT;
}

/** @returns whether all shares that are there are known to be of this content. */
async function remember(work: Work, known: Known, digest: string): Promise<boolean> {
  const { entry, state, record } = known;
  // Plain shares do not tell of which content they are: some may be of the one before.
  if (record?.shares.length === 0 && !record.isSealed) return false;
  if (work.isDryRun) return true;
  const shares: ShareRecord[] = record?.digest === digest ? [...record.shares] : [];
  for (const { number, fact } of state.good) {
    shares[number] = { size: fact.size, digest: await digestOf(fact.path, work) };
  }
  const fresh = await recordOf(work, known, { digest, shares, points: record?.points });
  await work.catalogue.putFile(work.view.scheme.name, entry.path, fresh);
  return true;
}

async function makeShares(
  work: Work,
  known: Known,
  made: { readonly wanted: readonly number[]; readonly digest: string | undefined },
): Promise<void> {
  const { view, catalogue, disk } = work;
  const { entry, replica } = known;
  const file = replica.fact.path;
  const digest = made.digest ?? (await digestOf(file, work));
  const { points, wanted } = pointsAndWanted(work, known, { ...made, digest });
  await using scratch = await scratchFolder(work);
  const folders: string[] = [];
  for (const [number, store] of view.shares.entries()) {
    folders.push(wanted.includes(number) ? await folderIn(work, store, known) : scratch.path);
  }
  const news = folders.map((folder, number) => path.join(folder, NEW_NAME + number));
  for (const place of news) await fs.rm(place, { force: true });
  try {
    await splitTo(work, { file, folders, namePattern: `${NEW_NAME}%s`, points });
    const shares: ShareRecord[] = [];
    for (const place of news) {
      shares.push({ size: (await fs.stat(place)).size, digest: await digestOf(place, work) });
    }
    await assertUntouched([replica.fact]);
    const record = await recordOf(work, known, { digest, shares, points });
    await catalogue.putFile(view.scheme.name, entry.path, { ...record, shares: [] });
    const base = path.basename(entry.path);
    for (const number of wanted) {
      await disk.rename(news[number]!, path.join(folders[number]!, shareName(base, number)));
    }
    await catalogue.putFile(view.scheme.name, entry.path, record);
  } catch (error) {
    for (const number of wanted) await disk.remove(news[number]!).catch(() => {});
    throw error;
  }
}

/** Where a share goes. @throws HF_UNAVAILABLE, HF_NO_SPACE. */
async function folderIn(work: Work, store: Store, { entry, replica }: Known): Promise<string> {
  const { quorum: k, width, shareStores, isSealed } = work.view.scheme;
  assert(isOnline(store), 'shares are wanted where they can go');
  // A drive that has just been pulled must not be made anew on the disk below.
  await assertStillThere(store);
  const folder = path.join(store.root, path.dirname(entry.path));
  await work.disk.makeFolder(folder);
  const scheme = { k, n: shareStores.length, width };
  const { shareBytes } = planShares({ size: replica.fact.size, scheme, isSealed }).chunks[0]!;
  const { bavail, bsize } = await fs.statfs(folder);
  if (bavail * bsize >= shareBytes) return folder;
  const message = `store ${store.scheme}/${store.name} has no room for ${shareBytes} bytes more`;
  throw new HoldfastError('HF_NO_SPACE', message);
}

/** Of a run that was killed. */
async function removeLeftovers({ view, disk }: Work, folder: string): Promise<void> {
  for (const { root } of view.shares) {
    if (root === undefined) continue;
    const place = path.join(root, folder);
    for (const name of await fs.readdir(place).catch(() => [])) {
      if (name.startsWith(NEW_NAME)) await disk.remove(path.join(place, name));
    }
  }
}

/** For plain shares, the points known to fit the others; else all are made anew. */
function pointsAndWanted(
  { view, random }: Work,
  { record: old }: Known,
  { wanted, digest }: { readonly wanted: readonly number[]; readonly digest: string },
): { points: readonly number[] | undefined; wanted: readonly number[] } {
  const { isSealed, quorum, width, shareStores } = view.scheme;
  if (isSealed) return { points: undefined, wanted };
  const count = quorum + shareStores.length;
  const isKnown = old?.points?.length === count && old.digest === digest && old.width === width;
  if (isKnown && old.shares.length > 0) return { points: old.points, wanted };
  assertOnline(view.shares, 'plain shares are made anew all together');
  const points = new Set<number>();
  while (points.size < count) {
    points.add(Buffer.from(random.bytes(width)).readUIntBE(0, width));
  }
  return { points: [...points], wanted: [...shareStores.keys()] };
}

async function recordOf(
  { view: { scheme } }: Work,
  { replica: { fact, store } }: Known,
  made: Pick<FileRecord, 'digest' | 'shares'> & {
    readonly points: FileRecord['points'] | undefined;
  },
): Promise<FileRecord> {
  const { digest, shares, points } = made;
  const root = await lookAt(store.root!);
  return {
    size: fact.size,
    digest,
    mtimeNs: fact.mtimeNs,
    quorum: scheme.quorum,
    width: scheme.width,
    isSealed: scheme.isSealed,
    ...(points === undefined ? {} : { points }),
    shares,
    isCommitted: false,
    ...(root?.dev === fact.dev ? {} : { mountedIn: store.name }),
  };
}
