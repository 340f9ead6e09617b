/** What every verb of an archive works with, and what it says of each file. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { HoldfastError, toHex } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import { combineShares, type CombineResult, InputFile, type Progress } from '../shares/index.ts';
import type { Catalogue } from './catalogue.ts';
import type { Disk } from './disk.ts';
import { type FileFact, isUntouched } from './share-head.ts';
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

/** A folder of its own, gone when it is disposed. */
export async function scratchFolder({
  workPath,
}: Pick<Work, 'workPath'>): Promise<AsyncDisposable & { readonly path: string }> {
  await fs.mkdir(workPath, { recursive: true, mode: 0o700 });
  const folder = await fs.mkdtemp(path.join(workPath, 'archive-'));
  return {
    path: folder,
    [Symbol.asyncDispose]: () => fs.rm(folder, { recursive: true, force: true }),
  };
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

/** @throws HF_BUSY. */
export async function assertUntouched(facts: readonly FileFact[]): Promise<void> {
  for (const fact of facts) {
    if (await isUntouched(fact)) continue;
    const message = `${fact.path} was changed while it was looked at; try again`;
    throw new HoldfastError('HF_BUSY', message);
  }
}
