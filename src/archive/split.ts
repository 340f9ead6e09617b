/**
 * Makes the shares of a file, or those that are missing. They are made under other names (ending
 * in `.new`), digested, and renamed: a share that is there is replaced by a whole one, or stays.
 *
 * Sealed shares follow from key and content. The points of plain ones are in the catalogue before
 * the first share has its name: whoever goes on after an interruption makes the same shares, and no
 * two matrices are mixed.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { assert, fromHex, HoldfastError, toHex } from '../base/index.ts';
import { FileSeal, splitFile } from '../shares/index.ts';
import type { FileRecord, ShareRecord } from './catalogue.ts';
import type { FileFact } from './share-head.ts';
import { assertOnline, assertStillThere, isOnline } from './stores.ts';
import { type Entry, replicasOf, shareName, type SharesState, sharesState } from './tree.ts';
import {
  assertUntouched,
  combineTo,
  digestOf,
  type Outcome,
  outcome,
  scratchFolder,
  type Work,
} from './work.ts';

const NEW_ENDING = '.new';

/** @returns nothing where there is no whole file to split. */
export async function splitEntry(
  work: Work,
  entry: Entry,
  { overwrites }: { readonly overwrites: boolean },
): Promise<Outcome | undefined> {
  const replica = replicasOf(entry)[0]?.fact;
  if (!replica) return skipped(work, entry);
  const { catalogue, view } = work;
  const state = await sharesState(view, entry);
  const isThere = state.good.length > 0;
  const record = catalogue.file(view.scheme.name, entry.path);
  if (!overwrites) {
    if (state.bad.some(({ isOther }) => isOther)) {
      return otherContent(work, entry);
    }
    const current = isThere && (await isCurrent(work, { replica, state, record, entry }));
    if (isThere && !current) return otherContent(work, entry);
    if (state.mark === '*') return outcome(work, entry.path, { result: 'perfect' });
  }
  const absent = [...state.missing, ...state.bad.map(({ number }) => number)];
  const online = view.shares.flatMap((store, number) => (isOnline(store) ? [number] : []));
  const wanted = overwrites ? online : absent;
  const detail = state.offline.length > 0 ? offlineDetail(state) : undefined;
  if (wanted.length === 0) return outcome(work, entry.path, { result: 'offline', detail });
  if (!work.isDryRun) {
    await makeShares(work, { entry, replica, wanted, keepsOthers: isThere && !overwrites });
  }
  const result = isThere ? (overwrites ? 'replaced' : 'completed') : 'split';
  return outcome(work, entry.path, { result, detail, isFault: state.offline.length > 0 });
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

function otherContent(work: Work, { path: name }: Entry): Outcome {
  const detail = 'its shares are of other content; --overwrite replaces them';
  return outcome(work, name, { result: 'differs', detail, isFault: true });
}

interface Known {
  readonly entry: Entry;
  readonly replica: FileFact;
  readonly state: SharesState;
  readonly record: FileRecord | undefined;
}

/** Whether the shares are of what the replica is now; read only as far as needed. */
async function isCurrent(work: Work, known: Known): Promise<boolean> {
  const { entry, replica, state, record } = known;
  if (record && record.size === replica.size && record.mtimeNs === replica.mtimeNs) {
    const isSame = state.good.every(({ number, fact }) => {
      const share = record.shares[number];
      return share === undefined ? record.shares.length === 0 : share.size === fact.size;
    });
    if (isSame) return true;
  }
  const digest = await digestOf(replica.path, work);
  const { fileId } = state.good[0]!.head;
  let isSame: boolean;
  if (fileId !== undefined) {
    const sealed = { key: await work.shareKey(), size: replica.size, digest: fromHex(digest) };
    isSame = toHex(FileSeal.forPlain(sealed).fileId) === fileId;
  } else if (record) isSame = record.digest === digest;
  else isSame = (await combinedDigest(work, state)) === digest;
  if (isSame && !work.isDryRun && state.mark === '*') {
    const shares: ShareRecord[] = [];
    for (const { number, fact } of state.good) {
      shares[number] = { size: fact.size, digest: await digestOf(fact.path, work) };
    }
    const fresh = recordOf(work, { replica, digest, shares, points: record?.points });
    await work.catalogue.putFile(work.view.scheme.name, entry.path, fresh);
  }
  return isSame;
}

async function combinedDigest(work: Work, state: SharesState): Promise<string | undefined> {
  if (state.good.length < work.view.scheme.quorum) return undefined;
  await using scratch = await scratchFolder(work);
  const output = path.join(scratch.path, 'combined');
  await combineTo(work, state, output);
  return await digestOf(output, work);
}

interface Making {
  readonly entry: Entry;
  readonly replica: FileFact;
  /** Numbers of the shares that get their names. */
  readonly wanted: readonly number[];
  /** Whether shares that are not made stay. */
  readonly keepsOthers: boolean;
}

async function makeShares(work: Work, making: Making): Promise<void> {
  const { view, catalogue, disk } = work;
  const { entry, replica } = making;
  const { scheme } = view;
  const digest = await digestOf(replica.path, work);
  const old = catalogue.file(scheme.name, entry.path);
  const { points, wanted } = pointsAndWanted(work, { ...making, digest, old });
  const record = recordOf(work, { replica, digest, shares: [], points });
  await catalogue.putFile(scheme.name, entry.path, record);
  await using scratch = await scratchFolder(work);
  const folder = path.dirname(entry.path);
  const folders: string[] = [];
  for (const [number, store] of view.shares.entries()) {
    const isMade = isOnline(store) && wanted.includes(number);
    folders.push(isMade ? path.join(store.root!, folder) : scratch.path);
    if (!isMade) continue;
    // A drive that has just been pulled must not be made anew on the disk below.
    await assertStillThere(store);
    await disk.makeFolder(folders[number]!);
  }
  const base = path.basename(entry.path);
  const finals = folders.map((place, number) => path.join(place, shareName(base, number)));
  for (const file of finals) await fs.rm(file + NEW_ENDING, { force: true });
  const { paths } = await splitFile({
    file: replica.path,
    scheme: { k: scheme.quorum, n: scheme.shareStores.length, width: scheme.width },
    folders,
    namePattern: `%f-%s.sf${NEW_ENDING}`,
    protection: scheme.isSealed
      ? { shareKey: await work.shareKey() }
      : { shareKey: undefined, points, random: work.random },
    progress: work.progress,
    signal: work.signal,
  });
  assert(paths.length === finals.length, 'one share for each store');
  const shares: ShareRecord[] = [];
  for (const file of paths) {
    shares.push({ size: (await fs.stat(file)).size, digest: await digestOf(file, work) });
  }
  await assertUntouched([replica]);
  for (const number of wanted) await disk.rename(paths[number]!, finals[number]!);
  await catalogue.putFile(scheme.name, entry.path, { ...record, shares });
}

/** For plain shares, the points known to fit the others; else all are made anew. */
function pointsAndWanted(
  { view, random }: Work,
  making: Making & { readonly digest: string; readonly old: FileRecord | undefined },
): { points: readonly number[] | undefined; wanted: readonly number[] } {
  const { wanted, old, digest, keepsOthers } = making;
  const { isSealed, quorum, width, shareStores } = view.scheme;
  if (isSealed) return { points: undefined, wanted };
  const count = quorum + shareStores.length;
  const isKnown =
    old?.points?.length === count && old.digest === digest && old.width === width && !old.isSealed;
  if (isKnown) return { points: old.points, wanted };
  if (keepsOthers || wanted.length < shareStores.length) {
    assertOnline(view.shares, 'plain shares are made anew all together');
  }
  if (count > 2 ** (8 * width)) {
    throw new HoldfastError('HF_BAD_SCHEME', 'so many plain shares need units of 2 bytes');
  }
  const points = new Set<number>();
  while (points.size < count) {
    points.add(Buffer.from(random.bytes(width)).readUIntBE(0, width));
  }
  return { points: [...points], wanted: [...shareStores.keys()] };
}

function recordOf(
  { view: { scheme } }: Work,
  known: {
    readonly replica: FileFact;
    readonly digest: string;
    readonly shares: readonly ShareRecord[];
    readonly points: readonly number[] | undefined;
  },
): FileRecord {
  const { replica, digest, shares, points } = known;
  return {
    size: replica.size,
    digest,
    mtimeNs: replica.mtimeNs,
    quorum: scheme.quorum,
    width: scheme.width,
    isSealed: scheme.isSealed,
    ...(points === undefined ? {} : { points }),
    shares,
    isCommitted: false,
  };
}
