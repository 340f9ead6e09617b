/**
 * More shares of a file, from k of its shares or from the file itself; those that are there stay as
 * they are. A sealed share's row follows from its number, so a lost one is made again byte by byte.
 * A plain one gets a new row of the same Cauchy matrix, different from those of all shares given.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { bytesEqual, HoldfastError, mapBounded } from '../base/index.ts';
import type { Random } from '../env/index.ts';
import {
  assertEnough,
  assertGapless,
  type CheckedChunk,
  checkShares,
  type CheckOptions,
} from './check-shares.ts';
import { decodeChunk, rowsOf } from './decode.ts';
import { sealOf } from './file-seal.ts';
import { assertFree, assertRoom, InputFile, type OutputFile } from './files.ts';
import { isShareOf } from './same-file.ts';
import { ShareDigester } from './share-digester.ts';
import type { ShareField } from './share-field.ts';
import {
  cauchyRow,
  type Points,
  pointsOfRows,
  pointsOfSeed,
  randomSeed,
  seedOfFile,
} from './share-points.ts';
import { fileKey, findShareFiles, inspectShare, isOfPart, stemOf } from './share-set.ts';
import type { BadShare, Share, ShareSet } from './share-set.ts';
import { type NewShare, ShareWriters } from './share-writer.ts';
import { SHARES_MAX } from './share-plan.ts';
import { stripBytesOf, writeChunk } from './split.ts';

export interface AddOptions extends CheckOptions {
  readonly paths: readonly string[];
  /** The original; without it k good shares are needed. */
  readonly file?: string | undefined;
  /** One for each new share, or fewer, used in turn; by default where the first share is. */
  readonly folders?: readonly string[] | undefined;
  /**
   * Whether no folder may get a share beside another one of the file. Then, by default, new ones go
   * to folders of `candidates` that have none; or, where all are in one folder, to that.
   */
  readonly isSpread?: boolean | undefined;
  readonly candidates?: readonly string[] | undefined;
  /** By default one, above those given. */
  readonly shareNumbers?: readonly number[] | undefined;
  readonly count?: number | undefined;
  readonly random: Pick<Random, 'bytes'>;
}

interface AddWork extends AddOptions {
  readonly digester: ShareDigester;
}

export interface AddResult {
  readonly paths: readonly string[];
  readonly isVerified: boolean;
  readonly bad: readonly BadShare[];
  readonly repeated: readonly BadShare[];
}

const CHECKS_MAX = 16;

/** @throws as `combineShares`; nothing is left behind when it fails. */
export async function addShares(options: AddOptions): Promise<AddResult> {
  const checked = await checkShares(options.paths, options);
  const { set, field, chunks } = checked;
  if (options.file === undefined) assertEnough(checked);
  assertGapless(checked);
  const folders = options.isSpread ? await spreadFolders(set, options) : options.folders;
  const plan = await planNew(chunks, { ...options, folders });
  const work = chunks.map((chunk, index) => {
    const points = newPoints(field, { set, chunk, numbers: plan.numbers, options });
    const shares = plan.numbers.map((shareNumber, place) => ({
      path: plan.pathOf(shareNumber, chunkNumberOf(chunk, index)),
      shareNumber,
      row: cauchyRow(field, points.x[place]!, points.y),
    }));
    return { chunk, chunkNumber: chunkNumberOf(chunk, index), shares };
  });
  const paths = work.flatMap(({ shares }) => shares.map((share) => share.path));
  await mapBounded(paths, CHECKS_MAX, assertFree);
  await assertRoom(
    work.flatMap(({ chunk, shares }) =>
      shares.map((share) => ({ path: share.path, bytes: chunk.shares[0]!.size })),
    ),
  );
  const totalBytes = set.sealed ? set.sealed.size * plan.numbers.length : 0;
  await using digester = ShareDigester.open({
    totalBytes: totalBytes / set.k,
    signal: options.signal,
  });
  const made: OutputFile[] = [];
  const bad = [...checked.bad];
  let isVerified = true;
  try {
    if (options.file === undefined) {
      for (const part of work) {
        const result = await fromShares({ ...part, set, field }, { ...options, digester });
        made.push(...result.made);
        bad.push(...result.bad);
        isVerified &&= result.isVerified;
      }
    } else {
      await fromFile(options.file, { set, field, work, made, bad }, { ...options, digester });
    }
  } catch (error) {
    for (const output of made) await output.withdraw();
    throw error;
  }
  return { paths, isVerified, bad, repeated: checked.repeated };
}

/** @throws HF_BAD_ARGUMENT when losing one folder would lose several shares. */
async function spreadFolders(
  set: ShareSet,
  { folders, candidates = [], shareNumbers, count = 1 }: AddOptions,
): Promise<readonly string[]> {
  const real = (folder: string) => fs.realpath(folder).catch(() => folder);
  const holders = new Map<string, Set<string>>();
  for (const { path: file, header } of set.shares) {
    const folder = await real(path.dirname(file));
    holders.set(folder, (holders.get(folder) ?? new Set()).add(header.row.join()));
  }
  const needed = shareNumbers?.length ?? count;
  const advice = `name ${needed} other folders with --targets, or add --share-targets`;
  if (folders !== undefined) {
    for (const folder of folders) {
      if (!holders.has(await real(folder)) && !(await holdsShareOf(set, folder))) continue;
      const message = `${folder} has a share of the file already: losing it would lose several`;
      throw new HoldfastError('HF_BAD_ARGUMENT', `${message}; ${advice}`);
    }
    return folders;
  }
  const free: string[] = [];
  for (const folder of candidates) {
    if (!holders.has(await real(folder)) && !(await holdsShareOf(set, folder))) free.push(folder);
  }
  if (free.length >= needed) return free.slice(0, needed);
  const [[only, rows] = []] = holders;
  if (holders.size === 1 && rows!.size > 1 && free.length === 0) return [only!];
  const message = `each share is in a folder of its own, and new ones need theirs; ${advice}`;
  throw new HoldfastError('HF_BAD_ARGUMENT', message);
}

/** Whether one is there, named or not. */
async function holdsShareOf(set: ShareSet, folder: string): Promise<boolean> {
  for (const file of await findShareFiles([folder])) {
    const share = await inspectShare(file).catch(() => undefined);
    if (share && 'header' in share && fileKey(share) === fileKey(set.shares[0]!)) {
      if (share.trailer || anyStemOf(file) === anyStemOf(set.shares[0]!.path)) return true;
    }
  }
  return false;
}

/** Of `photos.tar-1-2.sf` as of `photos.tar-2.sf`. */
function anyStemOf(file: string): string {
  return path.basename(file).replace(/(-\d+){1,2}\.sf$/, '');
}

interface ChunkPart {
  readonly chunk: CheckedChunk;
  readonly chunkNumber: number;
  readonly shares: readonly NewShare[];
}

async function fromShares(
  part: ChunkPart & { readonly set: ShareSet; readonly field: ShareField },
  options: AddWork,
): Promise<{ made: OutputFile[]; bad: readonly BadShare[]; isVerified: boolean }> {
  const { set, field, chunk, chunkNumber, shares } = part;
  const { start, next, isFinal } = chunk;
  const header = { k: set.k, width: set.width, start, next, isFinal };
  await using writers = await ShareWriters.create(shares, { header, chunkNumber, seal: set.seal });
  const { bad, isVerified } = await decodeChunk(
    {
      field,
      chunk,
      comparesExtras: set.sealed === undefined,
      wanted: shares.map(({ row }) => row),
      stripBytes: stripBytesOf(set.k, set.seal),
      work: () => {},
      async write(lanes, { laneBytes, offset, bytes }) {
        await writers.append(lanes.map((lane) => lane.subarray(0, laneBytes)));
        options.progress?.({ done: offset + bytes, total: next });
      },
    },
    options,
  );
  return {
    made: await writers.commit(options.digester),
    bad,
    isVerified: isVerified || set.sealed !== undefined,
  };
}

/** @throws HF_BAD_ARGUMENT when it is not the file of these shares, as far as they tell. */
async function fromFile(
  original: string,
  parts: {
    readonly set: ShareSet;
    readonly field: ShareField;
    readonly work: readonly ChunkPart[];
    readonly made: OutputFile[];
    readonly bad: BadShare[];
  },
  options: AddWork,
): Promise<void> {
  const { set, field, work, made, bad } = parts;
  await using file = await InputFile.open(original);
  const shareKey = set.sealed && (await options.shareKey?.());
  const seal = await sealOf(file, shareKey, options);
  const streamBytes = seal?.sealedBytes ?? file.size;
  const isSame = seal
    ? bytesEqual(seal.envelope, set.seal!.envelope)
    : await isPlainOf(file, { work, field, bad, options });
  if (!isSame) {
    const message = `${original} is not the file that these are shares of`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  for (const { chunk, chunkNumber, shares } of work) {
    const { start, next, isFinal } = chunk;
    const { digester } = options;
    const job = { file, seal, field, k: set.k, shares, streamBytes, digester };
    const range = { chunkNumber, start, next, isFinal };
    made.push(...(await writeChunk({ ...job, chunk: range }, options)));
  }
}

/** Whether a share of each chunk is one of the file's; notes those that are not. */
async function isPlainOf(
  file: InputFile,
  made: {
    readonly work: readonly ChunkPart[];
    readonly field: ShareField;
    readonly bad: BadShare[];
    readonly options: AddOptions;
  },
): Promise<boolean> {
  const { work, field, bad, options } = made;
  for (const { chunk } of work) {
    const { next, isFinal } = chunk;
    const fits = isFinal ? next === file.size : next <= file.size;
    let isFound = false;
    for (const share of fits ? chunk.shares : []) {
      isFound = await isShareOf(file, { share, field }, options);
      if (isFound) break;
      bad.push({ path: share.path, reason: `it is no share of ${file.path}` });
    }
    if (!isFound) return false;
  }
  return true;
}

/** Points of the new shares only. */
function newPoints(
  field: ShareField,
  made: {
    readonly set: ShareSet;
    readonly chunk: CheckedChunk;
    readonly numbers: readonly number[];
    readonly options: AddOptions;
  },
): Points {
  const { set, chunk, numbers, options } = made;
  const { k } = set;
  if (set.sealed) {
    const seed = seedOfFile(set.sealed.fileId);
    const { x, y } = pointsOfSeed(field, { seed, k, n: Math.max(...numbers) + 1 });
    return { y, x: numbers.map((number) => x[number]!) };
  }
  const known = pointsOfRows(field, rowsOf(chunk.shares));
  if (!known) {
    const message = 'the shares come from different splits; combine them and split again';
    throw new HoldfastError('HF_UNSUPPORTED', message);
  }
  const taken = new Set([...known.x, ...known.y]);
  const all = pointsOfSeed(field, {
    seed: randomSeed(options.random),
    k: 0,
    n: Math.min(field.order, taken.size + numbers.length),
  });
  const free = all.x.filter((x) => !taken.has(x));
  if (free.length < numbers.length) {
    throw new HoldfastError('HF_BAD_SCHEME', 'there are no more rows for units of this width');
  }
  return { y: known.y, x: free.slice(0, numbers.length) };
}

interface NewNames {
  readonly numbers: readonly number[];
  pathOf(shareNumber: number, chunkNumber: number): string;
}

/** Names after the pattern of the shares given; numbers above theirs whose names are free. */
async function planNew(chunks: readonly CheckedChunk[], options: AddOptions): Promise<NewNames> {
  const shares = chunks.flatMap((chunk) => chunk.shares);
  const [first] = shares;
  if (!first) throw new HoldfastError('HF_TOO_FEW_SHARDS', 'there is no good share');
  const isChunked = isOfPart(first);
  const stem = stemOf(first);
  const folders = options.folders ?? [path.dirname(first.path)];
  const numbers: number[] = [...(options.shareNumbers ?? [])];
  const pathOf = (shareNumber: number, chunkNumber: number) => {
    const folder = folders[Math.max(0, numbers.indexOf(shareNumber)) % folders.length]!;
    const marks = isChunked ? `${chunkNumber}-${shareNumber}` : `${shareNumber}`;
    return path.join(folder, `${stem}-${marks}.sf`);
  };
  const count = options.shareNumbers ? 0 : (options.count ?? 1);
  const most = Math.max(count - 1, ...numbers);
  if (most >= SHARES_MAX || new Set(numbers).size < numbers.length) {
    const message = `shares have different numbers below ${SHARES_MAX}`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  let number = Math.max(...shares.map((share) => shareNumberOf(share) ?? shares.length - 1));
  while (numbers.length < count) {
    number += 1;
    if (number >= SHARES_MAX) {
      throw new HoldfastError('HF_BAD_SCHEME', `there are no more than ${SHARES_MAX} shares`);
    }
    const isFree = await assertFree(pathOf(number, chunkNumberOf(chunks[0]!, 0))).then(
      () => true,
      () => false,
    );
    if (isFree) numbers.push(number);
  }
  return { numbers, pathOf };
}

function shareNumberOf({ trailer, path: name }: Share): number | undefined {
  const digits = /-(\d{1,6})\.sf$/.exec(name)?.[1];
  return trailer?.shareNumber ?? (digits === undefined ? undefined : Number(digits));
}

function chunkNumberOf(chunk: CheckedChunk, index: number): number {
  return chunk.shares[0]?.trailer?.chunkNumber ?? index;
}
