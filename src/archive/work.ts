/** What every verb of an archive works with, and what it says of each file. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorCode, fromHex, HoldfastError, toHex } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import {
  type CombineOptions,
  combineShares,
  type CombineResult,
  digestOfShares,
  FileSeal,
  InputFile,
  type Progress,
  splitFile,
  type SplitOptions,
  verifyShares,
} from '../shares/index.ts';
import type { Catalogue } from './catalogue.ts';
import type { Disk } from './disk.ts';
import type { SchemeView, SharesState } from './tree.ts';

export interface Work {
  readonly view: SchemeView;
  readonly catalogue: Catalogue;
  readonly disk: Disk;
  readonly random: Pick<Random, 'bytes'>;
  /** For shares that are thrown away, and content that is read; made when it is needed. */
  readonly workPath: string;
  readonly shareKey: () => Promise<Uint8Array>;
  /** The share key, if there is one. */
  readonly knownKey: () => Promise<Uint8Array | undefined>;
  readonly isDryRun: boolean;
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Outcome {
  readonly scheme: string;
  readonly path: string;
  /** One word, or one of the marks. */
  readonly result: string;
  readonly detail?: string | undefined;
  /** Whether somebody has to do something about it. */
  readonly isFault: boolean;
}

export function outcome(
  { view }: Pick<Work, 'view'>,
  name: string,
  said: Pick<Outcome, 'result'> & Partial<Outcome>,
): Outcome {
  return { scheme: view.scheme.name, path: name, isFault: false, ...said };
}

export function failed(work: Pick<Work, 'view'>, name: string, detail: string): Outcome {
  return outcome(work, name, { result: 'failed', detail, isFault: true });
}

/** A stop and a store that has gone are not about one file. */
export function isForAll(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === 'HF_INTERRUPTED' || code === 'HF_UNAVAILABLE';
}

const SCRATCH_NAME = /^archive-(\d+)-/;

/** A folder of its own, gone when it is disposed; those of processes that were killed go too. */
export async function scratchFolder({
  workPath,
}: Pick<Work, 'workPath'>): Promise<AsyncDisposable & { readonly path: string }> {
  await fs.mkdir(workPath, { recursive: true, mode: 0o700 });
  for (const name of await fs.readdir(workPath)) {
    const [, processId] = SCRATCH_NAME.exec(name) ?? [];
    if (processId === undefined || isRunning(Number(processId))) continue;
    await fs.rm(path.join(workPath, name), { recursive: true, force: true });
  }
  const folder = await fs.mkdtemp(path.join(workPath, `archive-${process.pid}-`));
  return {
    path: folder,
    [Symbol.asyncDispose]: () => fs.rm(folder, { recursive: true, force: true }),
  };
}

function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** SHA-256 in hexadecimal. */
export async function digestOf(
  file: string,
  { progress, signal }: Pick<Work, 'progress' | 'signal'>,
): Promise<string> {
  await using input = await InputFile.open(file);
  return toHex(await input.digest({ progress, signal }));
}

/** The file from its good shares. The output is whole, or not there. */
export async function combineTo(
  work: Work,
  state: SharesState,
  output: string,
): Promise<CombineResult> {
  return await opened(state, () => combineShares({ ...sourceOf(work, state), output }));
}

/** What the good shares restore; `faults` are of shares that are wrong or there twice. */
export async function combinedOf(
  work: Work,
  state: SharesState,
): Promise<{ digest: string; isVerified: boolean; faults: string[] }> {
  const { digest, bad, repeated, isVerified } = await opened(state, () =>
    digestOfShares(sourceOf(work, state)),
  );
  const faults = [...bad, ...repeated].map(({ path: file, reason }) => `${file}: ${reason}`);
  return { digest: toHex(digest), isVerified, faults };
}

function sourceOf({ shareKey, progress, signal }: Work, { good }: SharesState): CombineOptions {
  return { paths: good.map(({ fact }) => fact.path), shareKey, progress, signal };
}

/** Numbers of shares that are not what the catalogue has, or else not what their sums say. */
export async function badShares(
  work: Work,
  { name, state }: { readonly name: string; readonly state: SharesState },
): Promise<number[]> {
  const record = work.catalogue.file(work.view.scheme.name, name);
  const bad: number[] = [];
  for (const { number, fact, head } of state.good) {
    const should = record?.shares[number]?.digest;
    if (should === undefined && !head.trailer) continue; // nothing vouches for it
    const isRight =
      should === undefined
        ? await hasRightSums(work, fact.path)
        : (await digestOf(fact.path, work).catch(unlessForAll)) === should;
    if (!isRight) bad.push(number);
  }
  return bad;
}

async function hasRightSums({ signal }: Work, share: string): Promise<boolean> {
  try {
    return (await verifyShares([share], { signal })).bad.length === 0;
  } catch (error) {
    if (errorCode(error) !== 'HF_TOO_FEW_SHARDS') throw error;
    return false;
  }
}

/** What the disk does not give back is bad, and the others are looked at still. */
export function unlessForAll(error: unknown): undefined {
  if (isForAll(error)) throw error;
}

export function withoutShares(state: SharesState, numbers: readonly number[]): SharesState {
  return { ...state, good: state.good.filter(({ number }) => !numbers.includes(number)) };
}

/** Another key is told with the share that it does not open. */
export async function opened<Result>(
  { good }: SharesState,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    if (errorCode(cause) !== 'HF_WRONG_KEY' || !good[0]?.head.trailer) throw cause;
    throw new HoldfastError('HF_WRONG_KEY', otherKey(good[0].fact.path), { cause });
  }
}

export function otherKey(share: string): string {
  return `${share} is sealed with another key; name its key file with --key`;
}

/**
 * Whether the file is what was split: by the catalogue, else by sealed shares and their key;
 * `undefined` where nobody knows.
 */
export async function isWhatWasSplit(
  work: Pick<Work, 'catalogue' | 'knownKey' | 'view'>,
  { name, state, digest }: { name: string; state: SharesState; digest: string },
): Promise<boolean | undefined> {
  const record = work.catalogue.file(work.view.scheme.name, name);
  if (record) return record.digest === digest;
  const key = await work.knownKey();
  const envelope = state.good[0]?.head.trailer?.envelope;
  return key && envelope && sealOf(key, envelope)?.isOf(key, fromHex(digest));
}

/** `undefined` when it is of another key. */
function sealOf(key: Uint8Array, envelope: Uint8Array): FileSeal | undefined {
  try {
    return FileSeal.fromEnvelope({ key, envelope });
  } catch (error) {
    if (errorCode(error) !== 'HF_WRONG_KEY') throw error;
    return undefined;
  }
}

/** Why the key that is at hand does not open the good shares; nothing when there is none. */
export async function keyFault(
  { knownKey }: Pick<Work, 'knownKey'>,
  { good }: SharesState,
): Promise<string | undefined> {
  const sealed = good.find(({ head }) => head.trailer);
  const key = sealed && (await knownKey());
  return key && !sealOf(key, sealed.head.trailer!.envelope)
    ? otherKey(sealed.fact.path)
    : undefined;
}

/** Splits a file as the scheme says. @returns paths, by share number. */
export async function splitTo(
  { view: { scheme }, shareKey, random, progress, signal }: Work,
  split: Pick<SplitOptions, 'file' | 'folders' | 'namePattern'> & {
    /** Of plain shares. */
    readonly points: readonly number[] | undefined;
  },
): Promise<readonly string[]> {
  const { points, ...places } = split;
  const { quorum: k, width, shareStores } = scheme;
  const protection = scheme.isSealed
    ? { shareKey: await shareKey() }
    : { shareKey: undefined, points, random };
  const shape = { scheme: { k, n: shareStores.length, width }, protection };
  return (await splitFile({ ...places, ...shape, progress, signal })).paths;
}
