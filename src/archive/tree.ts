/**
 * The tree of a scheme: master stores and share stores laid over each other. An *entry* is a path
 * below their roots and what each store has there: of the file `a/b`, a master store has `a/b`, and
 * share store i has `a/b-i.sf`.
 */
import type { Dirent } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorMessage, mapBounded, throwIfAborted, toHex } from '../base/index.ts';
import { inspectShare, type Share } from '../shares/index.ts';
import type { Catalogue } from './catalogue.ts';
import type { SchemeConfig } from './config.ts';
import { type FileFact, lookAt } from './file-fact.ts';
import { isOnline, MARKER_FILE, NEW_MARKER_FILE, type SchemeStores, type Store } from './stores.ts';
import { absent, LABEL_FILE } from './volumes.ts';

export interface SchemeView extends SchemeStores {
  readonly scheme: SchemeConfig;
}

export interface StoreFact {
  readonly store: Store;
  /** Absent also when the store is offline, or does not let us look. */
  readonly fact: FileFact | undefined;
}

/** What a store does not let us see: nothing is known of it, and it is not gone. */
export interface StoreFault {
  readonly store: Store;
  readonly reason: string;
}

export interface Entry {
  /** With '/', below the roots; '' is the root. */
  readonly path: string;
  readonly masters: readonly StoreFact[];
  /** By share number: the share file. */
  readonly shares: readonly StoreFact[];
  /** By share number: the folder of that path, if it is one. */
  readonly folders: readonly StoreFact[];
  /** Of this path, and from {@link walk} of what is in the folder. */
  readonly faults: readonly StoreFault[];
}

const LOOKS_MAX = 16;
/** Of the filesystem or ours, at the root of a store. */
const ROOT_NAMES = new Set([MARKER_FILE, NEW_MARKER_FILE, LABEL_FILE, 'lost+found']);

export function shareName(name: string, shareNumber: number): string {
  return `${name}-${shareNumber}.sf`;
}

/** The name of the file that a share file in this store is a share of. */
export function nameOfShare(name: string, shareNumber: number): string | undefined {
  const ending = shareName('', shareNumber);
  return name.endsWith(ending) && name !== ending ? name.slice(0, -ending.length) : undefined;
}

export async function entryOf(view: SchemeView, name: string): Promise<Entry> {
  const faults: StoreFault[] = [];
  const at = async (store: Store, file: string): Promise<StoreFact> => {
    if (!isOnline(store)) return { store, fact: undefined };
    try {
      return { store, fact: await lookAt(path.join(store.root, file)) };
    } catch (error) {
      // Of a file with the longest of names there is no share, which is no fault of the store.
      const isTooLong = (error as NodeJS.ErrnoException).code === 'ENAMETOOLONG' && file !== name;
      if (!isTooLong) faults.push({ store, reason: errorMessage(error) });
      return { store, fact: undefined };
    }
  };
  const { masters, shares } = view;
  return {
    path: name,
    masters: await mapBounded(masters, LOOKS_MAX, (store) => at(store, name)),
    shares: await mapBounded(shares, LOOKS_MAX, async (store, number) =>
      name === '' ? { store, fact: undefined } : await at(store, shareName(name, number)),
    ),
    folders: await mapBounded(shares, LOOKS_MAX, (store) => at(store, name)),
    faults,
  };
}

/** Whether a file of this path is there: whole, or in shares. */
export function isFile({ masters, shares }: Entry): boolean {
  return [...masters, ...shares].some(({ fact }) => fact?.kind === 'file');
}

export function isFolder({ masters, folders }: Entry): boolean {
  return [...masters, ...folders].some(({ fact }) => fact?.kind === 'directory');
}

/** Master stores that have the whole file. */
export function replicasOf({ masters }: Entry): (StoreFact & { readonly fact: FileFact })[] {
  return masters.flatMap(({ store, fact }) => (fact?.kind === 'file' ? [{ store, fact }] : []));
}

export interface WalkOptions {
  /** What is in folders that are named, and not in those below. */
  readonly isLocal?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** The entry, and everything below it, folders before what is in them. */
export async function* walk(
  view: SchemeView,
  name: string,
  options: WalkOptions = {},
): AsyncGenerator<Entry> {
  throwIfAborted(options.signal);
  const entry = await entryOf(view, name);
  if (!isFolder(entry)) {
    yield entry;
    return;
  }
  const { names, faults } = await childrenOf(view, name);
  yield { ...entry, faults: [...entry.faults, ...faults] };
  for (const child of names) {
    if (options.isLocal) yield await entryOf(view, child);
    else yield* walk(view, child, options);
  }
}

async function childrenOf(
  view: SchemeView,
  folder: string,
): Promise<{ names: string[]; faults: StoreFault[] }> {
  const names = new Set<string>();
  const faults: StoreFault[] = [];
  const read = async (store: Store, nameOf: (entry: Dirent) => string | undefined) => {
    if (!isOnline(store)) return;
    const place = path.join(store.root, folder);
    const entries = await fs
      .readdir(place, { withFileTypes: true })
      .catch(absent)
      .catch((error: unknown) => void faults.push({ store, reason: errorMessage(error) }));
    for (const entry of entries ?? []) {
      if (folder === '' && ROOT_NAMES.has(entry.name)) continue;
      const name = nameOf(entry);
      if (name === undefined) continue;
      if (!name.includes('\ufffd')) names.add(name);
      else faults.push({ store, reason: `${place}/${name}: its name is not UTF-8; rename it` });
    }
  };
  for (const store of view.masters) await read(store, (entry) => entry.name);
  for (const [number, store] of view.shares.entries()) {
    await read(store, (entry) =>
      entry.isDirectory() ? entry.name : nameOfShare(entry.name, number),
    );
  }
  const sorted = [...names].toSorted();
  return { names: sorted.map((name) => (folder === '' ? name : `${folder}/${name}`)), faults };
}

export interface GoodShare {
  readonly number: number;
  readonly store: Store;
  readonly fact: FileFact;
  readonly head: Share;
}

export interface SharesFault extends StoreFault {
  readonly number: number;
  /** It is a good share, but not of this content, or one that is there twice. */
  readonly isOther: boolean;
}

/** What headers and lengths tell of the shares of a file. */
export interface SharesState {
  readonly good: readonly GoodShare[];
  readonly bad: readonly SharesFault[];
  /** Numbers of those that are not there though their store is. */
  readonly missing: readonly number[];
  readonly offline: readonly number[];
  /** Length of the file of which the good ones are. */
  readonly plainBytes: number | undefined;
  readonly mark: '*' | '!' | 'X' | '-' | '?';
}

/**
 * Headers and lengths of all shares of a file. The good ones are of one content: such as restores
 * it, before what was split last, before what is as long as the first replica.
 */
export async function sharesState(
  { view: { scheme }, catalogue }: { readonly view: SchemeView; readonly catalogue: Catalogue },
  entry: Entry,
): Promise<SharesState> {
  const bad: SharesFault[] = [];
  const missing: number[] = [];
  const offline: number[] = [];
  const readable: GoodShare[] = [];
  for (const [number, { store, fact }] of entry.shares.entries()) {
    if (!isOnline(store)) offline.push(number);
    else if (fact?.kind !== 'file') missing.push(number);
    else {
      const head = await inspectShare(fact.path).catch((error: unknown) => ({
        reason: errorMessage(error),
      }));
      const reason = 'reason' in head ? head.reason : headFault(head, { scheme, number });
      if (reason !== undefined) bad.push({ number, store, reason, isOther: false });
      else readable.push({ number, store, fact, head: head as Share });
    }
  }
  const likely = [catalogue.file(scheme.name, entry.path)?.size, replicasOf(entry)[0]?.fact.size];
  const chosen = chooseContent(readable, { quorum: scheme.quorum, likely });
  const good: GoodShare[] = [];
  for (const share of chosen) {
    const row = share.head.header.row.join();
    const first = good.find(({ head }) => head.header.row.join() === row);
    if (!first) good.push(share);
    else bad.push({ ...share, reason: `it is the share of share-${first.number}`, isOther: true });
  }
  for (const share of readable.filter((one) => !chosen.includes(one))) {
    bad.push({ ...share, reason: 'it is of other content than most', isOther: true });
  }
  const plainBytes = good[0] && plainBytesOf(good[0].head);
  return { good, bad, missing, offline, plainBytes, mark: markOf(scheme, { good, bad, offline }) };
}

/** @param known.likely lengths of the file, the likeliest first. */
function chooseContent(
  shares: readonly GoodShare[],
  { quorum, likely }: { quorum: number; likely: readonly (number | undefined)[] },
): readonly GoodShare[] {
  const groups = [...Map.groupBy(shares, ({ head }) => contentOf(head)).values()];
  const lengths = [...likely, undefined];
  const place = ([share]: readonly GoodShare[]) =>
    lengths.findIndex((bytes) => bytes === undefined || bytes === plainBytesOf(share!.head));
  const [best = []] = groups.toSorted(
    (a, b) =>
      Number(b.length >= quorum) - Number(a.length >= quorum) ||
      place(a) - place(b) ||
      b.length - a.length,
  );
  return best;
}

/** Of the whole file. */
function plainBytesOf({ header, trailer }: Share): number {
  return trailer ? trailer.file.size : header.next;
}

/** What shares of one file have in common. */
function contentOf(head: Share): string {
  return `${plainBytesOf(head)}/${head.trailer ? toHex(head.trailer.envelope) : ''}`;
}

function headFault(
  { header: { k, width, start, isFinal }, trailer }: Share,
  { scheme, number }: { scheme: SchemeConfig; number: number },
): string | undefined {
  if (start !== 0 || !isFinal) return 'it is a share of a part of a file';
  if (k !== scheme.quorum || width !== scheme.width) return 'it is of another scheme';
  if (scheme.isSealed && !trailer) return 'it is not sealed';
  if (!scheme.isSealed && trailer) return 'it is sealed';
  if (trailer && trailer.shareNumber !== number) return `it is share ${trailer.shareNumber}`;
  return undefined;
}

function markOf(
  scheme: SchemeConfig,
  { good, bad, offline }: Pick<SharesState, 'good' | 'bad' | 'offline'>,
): SharesState['mark'] {
  if (bad.length > 0) return 'X';
  if (good.length === scheme.shareStores.length) return '*';
  if (good.length >= scheme.quorum) return '!';
  if (good.length > 0) return offline.length > 0 ? '?' : 'X';
  return offline.length > 0 ? '?' : '-';
}
