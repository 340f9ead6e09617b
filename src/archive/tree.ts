/**
 * The tree of a scheme: master stores and share stores laid over each other. An *entry* is a path
 * below their roots and what each store has there: of the file `a/b`, a master store has `a/b`, and
 * share store i has `a/b-i.sf`.
 */
import type { Dirent } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError, mapBounded, throwIfAborted } from '../base/index.ts';
import type { SchemeConfig } from './config.ts';
import { type FileFact, lookAt, readShareHead, type ShareHead } from './share-head.ts';
import { isOnline, MARKER_FILE, type SchemeStores, type Store } from './stores.ts';
import { absent, LABEL_FILE } from './volumes.ts';

export interface SchemeView extends SchemeStores {
  readonly scheme: SchemeConfig;
}

export interface StoreFact {
  readonly store: Store;
  /** Absent also when the store is offline. */
  readonly fact: FileFact | undefined;
}

export interface Entry {
  /** With '/', below the roots; '' is the root. */
  readonly path: string;
  readonly masters: readonly StoreFact[];
  /** By share number: the share file. */
  readonly shares: readonly StoreFact[];
  /** By share number: the folder of that path, if it is one. */
  readonly folders: readonly StoreFact[];
}

const LOOKS_MAX = 16;
/** Of the filesystem or ours, at the root of a store. */
const ROOT_NAMES = new Set([MARKER_FILE, LABEL_FILE, 'lost+found']);

export function shareName(name: string, shareNumber: number): string {
  return `${name}-${shareNumber}.sf`;
}

/** The name of the file that a share file in this store is a share of. */
export function nameOfShare(name: string, shareNumber: number): string | undefined {
  const ending = shareName('', shareNumber);
  return name.endsWith(ending) && name !== ending ? name.slice(0, -ending.length) : undefined;
}

export async function entryOf(view: SchemeView, name: string): Promise<Entry> {
  const at = (store: Store, file: string) =>
    isOnline(store) ? lookAt(path.join(store.root, file)) : Promise.resolve(undefined);
  const { masters, shares } = view;
  return {
    path: name,
    masters: await mapBounded(masters, LOOKS_MAX, async (store) => {
      return { store, fact: await at(store, name) };
    }),
    shares: await mapBounded(shares, LOOKS_MAX, async (store, number) => {
      const fact = name === '' ? undefined : await at(store, shareName(name, number));
      return { store, fact };
    }),
    folders: await mapBounded(shares, LOOKS_MAX, async (store) => {
      return { store, fact: await at(store, name) };
    }),
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
  yield entry;
  if (!isFolder(entry)) return;
  for (const child of await childrenOf(view, name)) {
    if (options.isLocal) yield await entryOf(view, child);
    else yield* walk(view, child, options);
  }
}

async function childrenOf(view: SchemeView, folder: string): Promise<string[]> {
  const names = new Set<string>();
  const read = async (store: Store, nameOf: (entry: Dirent) => string | undefined) => {
    if (!isOnline(store)) return;
    const place = path.join(store.root, folder);
    const entries = await fs.readdir(place, { withFileTypes: true }).catch(absent);
    for (const entry of entries ?? []) {
      if (folder === '' && ROOT_NAMES.has(entry.name)) continue;
      const name = nameOf(entry);
      if (name === undefined) continue;
      if (name.includes('\ufffd')) {
        const message = `a name in ${place} is not UTF-8: rename it first`;
        throw new HoldfastError('HF_UNSUPPORTED', message);
      }
      names.add(name);
    }
  };
  for (const store of view.masters) await read(store, (entry) => entry.name);
  for (const [number, store] of view.shares.entries()) {
    await read(store, (entry) =>
      entry.isDirectory() ? entry.name : nameOfShare(entry.name, number),
    );
  }
  return [...names].toSorted().map((name) => (folder === '' ? name : `${folder}/${name}`));
}

export interface GoodShare {
  readonly number: number;
  readonly store: Store;
  readonly fact: FileFact;
  readonly head: ShareHead;
}

export interface SharesFault {
  readonly number: number;
  readonly store: Store;
  readonly reason: string;
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
  readonly mark: '*' | '!' | 'X' | '-' | '?';
}

/** @param plainBytes that the shares should have; by default what most of them say. */
export async function sharesState(
  { scheme }: SchemeView,
  entry: Entry,
  plainBytes: number | undefined = replicasOf(entry)[0]?.fact.size,
): Promise<SharesState> {
  const bad: SharesFault[] = [];
  const missing: number[] = [];
  const offline: number[] = [];
  const readable: GoodShare[] = [];
  for (const [number, { store, fact }] of entry.shares.entries()) {
    if (!isOnline(store)) offline.push(number);
    else if (fact?.kind !== 'file') missing.push(number);
    else {
      const head = await readShareHead(fact.path);
      const reason = typeof head === 'string' ? head : headFault(head, { scheme, number });
      if (reason !== undefined) bad.push({ number, store, reason, isOther: false });
      else readable.push({ number, store, fact, head: head as ShareHead });
    }
  }
  const groups = Map.groupBy(readable, ({ head }) => `${head.plainBytes}/${head.fileId}`);
  const sorted = [...groups.values()].toSorted((a, b) => b.length - a.length);
  const chosen =
    sorted.find(([share]) => plainBytes === undefined || share!.head.plainBytes === plainBytes) ??
    [];
  const good = chosen.filter(
    ({ head }, index) => chosen.findIndex((other) => other.head.row === head.row) === index,
  );
  for (const { number, store } of readable.filter((share) => !good.includes(share))) {
    const reason = 'it is a share of other content, or another one twice';
    bad.push({ number, store, reason, isOther: true });
  }
  return { good, bad, missing, offline, mark: markOf(scheme, { good, bad, offline }) };
}

function headFault(
  { k, width, fileId, shareNumber }: ShareHead,
  { scheme, number }: { scheme: SchemeConfig; number: number },
): string | undefined {
  if (k !== scheme.quorum || width !== scheme.width) return 'it is of another scheme';
  if (scheme.isSealed && fileId === undefined) return 'it is not sealed';
  if (!scheme.isSealed && fileId !== undefined) return 'it is sealed';
  if (shareNumber !== undefined && shareNumber !== number) return `it is share ${shareNumber}`;
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
