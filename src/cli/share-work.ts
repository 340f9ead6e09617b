/** What the verbs of share files and of chunk files have in common. */
import { createReadStream } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import type { Session } from './session.ts';
import { KEY_OPTIONS, type KeyOptions } from './share-key.ts';
import { parseSize } from './sizes.ts';

/** Something is bad or missing, and the file can be restored; or it cannot. */
export const EXIT_DEGRADED = 1;
export const EXIT_LOST = 6;

export const NAME_OPTION = {
  '--name <file>': 'only those of this file, as their names have it (photos.tar)',
};

/** Of the verbs that restore a file. */
export const RESTORE_OPTIONS = {
  '-o, --output <file>': 'the file to make; - is standard output',
  '--force': 'replace a file that exists',
  ...NAME_OPTION,
  '--key <file>': KEY_OPTIONS['--key <file>'],
};

export interface RestoreOptions extends KeyOptions {
  readonly output?: string;
  readonly force?: boolean;
  readonly name?: string;
}

/** Of faults that concern one file, while the others have their turn. */
const ONE_FILE_CODES: readonly unknown[] = [
  'HF_TOO_FEW_SHARDS',
  'HF_NOT_OURS',
  'HF_CORRUPT',
  'HF_NOT_FOUND',
  'HF_WRONG_KEY',
];

/** Bytes of a regular file. @throws HF_NOT_FOUND, HF_IS_DIRECTORY, HF_BAD_ARGUMENT. */
export async function sizeOf(file: string): Promise<number> {
  const { InputFile } = await import('../shares/index.ts');
  await using input = await InputFile.open(file);
  return input.size;
}

/** Bytes of a file that is named, or that `--size` says. @throws HF_BAD_ARGUMENT, as sizeOf. */
export async function plannedSize(
  session: Session,
  file: string | undefined,
  size: string | undefined,
): Promise<number> {
  if (file !== undefined && size === undefined) return await sizeOf(session.resolve(file));
  if (file === undefined && size !== undefined) return parseSize(size);
  throw new HoldfastError('HF_BAD_ARGUMENT', 'name a file, or give its --size');
}

/** Folders that are named with commas between. */
export function folderList(session: Session, text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  return names.filter((name) => name !== '').map((name) => session.resolve(name));
}

/** @throws HF_NOT_FOUND when none has the name. */
export function onlyNamed(
  paths: readonly string[],
  name: string | undefined,
  isNamedFor: (name: string, file: string) => boolean,
): string[] {
  const named = paths.filter((file) => name === undefined || isNamedFor(name, file));
  if (named.length > 0 || name === undefined) return named;
  throw new HoldfastError('HF_NOT_FOUND', `none of the ${paths.length} files there is of ${name}`);
}

/** A path in a folder that only the user can enter, and that goes when `work` is over. */
export async function withPrivateFile<Result>(
  session: Session,
  work: (file: string) => Promise<Result>,
): Promise<Result> {
  await fs.mkdir(session.dataPath, { recursive: true, mode: 0o700 });
  const folder = await fs.mkdtemp(path.join(session.dataPath, 'passing-'));
  try {
    return await work(path.join(folder, 'content'));
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
}

/**
 * Makes the file that `-o` names; `-` is standard output, which gets what was found right only.
 * @throws HF_BAD_ARGUMENT when there is no `-o`.
 */
export async function withOutput<Result>(
  session: Session,
  output: string | undefined,
  make: (file: string) => Promise<Result>,
): Promise<Result> {
  if (output === undefined) {
    const message = 'name the file to make with -o; -o - is standard output';
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  if (output !== '-') return await make(session.resolve(output));
  if (session.isJson) throw new HoldfastError('HF_BAD_ARGUMENT', 'give -o - or --json, not both');
  return await withPrivateFile(session, async (file) => {
    const result = await make(file);
    const { signal } = session;
    await pipeline(createReadStream(file), session.io.stdout, { end: false, signal });
    return result;
  });
}

interface Verified<Result> {
  readonly result: Result;
  readonly exitCode: number;
}

/** Each file by itself; with several, each under its name. @returns the worst exit code. */
export async function verifyEach<Group extends { readonly name: string }, Result>(
  session: Session,
  groups: readonly Group[],
  work: {
    readonly verify: (group: Group) => Promise<Verified<Result>>;
    readonly lines: (result: Result) => Promise<readonly string[]>;
  },
): Promise<number> {
  const [first, ...others] = groups;
  if (!first)
    throw new HoldfastError('HF_NOT_FOUND', 'there are no such files in the places named');
  if (others.length === 0) {
    const { result, exitCode } = await work.verify(first);
    const lines = await work.lines(result);
    session.show(result, () => lines);
    return exitCode;
  }
  const found: object[] = [];
  let worst = 0;
  for (const group of groups) {
    const verified = await work.verify(group).catch((error: unknown) => failure(error));
    worst = Math.max(worst, verified.exitCode);
    const { name } = group;
    if ('message' in verified) found.push({ name, error: verified.message });
    else found.push({ name, ...verified.result });
    if (session.isJson) continue;
    const lines = 'message' in verified ? [verified.message] : await work.lines(verified.result);
    session.print(...lines.map((line) => `${name}: ${line}`));
  }
  if (session.isJson) session.print(JSON.stringify({ files: found }));
  return worst;
}

/** Of one file; the others have their turn. @throws whatever is about all. */
function failure(error: unknown): { message: string; exitCode: number } {
  if (!ONE_FILE_CODES.includes(errorCode(error))) throw error;
  return { message: errorMessage(error), exitCode: EXIT_LOST };
}
