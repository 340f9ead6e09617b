/** What every verb of an archive works with, and what it says of each file. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { toHex } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import {
  combineShares,
  type CombineResult,
  InputFile,
  type Progress,
  splitFile,
  type SplitOptions,
} from '../shares/index.ts';
import type { Catalogue } from './catalogue.ts';
import type { Disk } from './disk.ts';
import type { SchemeView, SharesState } from './tree.ts';

export interface Work {
  readonly view: SchemeView;
  readonly catalogue: Catalogue;
  readonly disk: Disk;
  readonly random: Pick<Random, 'bytes'>;
  /** For what is compared and thrown away; made when it is needed. */
  readonly workPath: string;
  readonly shareKey: () => Promise<Uint8Array>;
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

/** A stop, another key and a store that has gone are not about one file. */
export function isForAll(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === 'HF_INTERRUPTED' || code === 'HF_WRONG_KEY' || code === 'HF_UNAVAILABLE';
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
  { shareKey, progress, signal }: Work,
  state: SharesState,
  output: string,
): Promise<CombineResult> {
  const paths = state.good.map(({ fact }) => fact.path);
  return await combineShares({ paths, output, shareKey, progress, signal });
}

/** What the good shares restore; `faults` are of shares that are wrong or there twice. */
export async function combinedOf(
  work: Work,
  state: SharesState,
): Promise<{ digest: string; isVerified: boolean; faults: string[] }> {
  await using scratch = await scratchFolder(work);
  const output = path.join(scratch.path, 'combined');
  const { bad, repeated, isVerified } = await combineTo(work, state, output);
  const faults = [...bad, ...repeated].map(({ path: file, reason }) => `${file}: ${reason}`);
  return { digest: await digestOf(output, work), isVerified, faults };
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
