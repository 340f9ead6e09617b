/**
 * What is checked of shares before they are decoded: a sealed share against its own sums, and that
 * no share is counted twice.
 */
import { assert, bytesEqual, HoldfastError, mapBounded } from '../base/index.ts';
import { decodeChunk, independentShares, tooFew } from './decode.ts';
import type { FileSeal } from './file-seal.ts';
import { faultOf, InputFile, type Reporting } from './files.ts';
import { SUMS_BYTES, sumsFault } from './sf-format.ts';
import { ShareDigester } from './share-digester.ts';
import { type ShareField, shareField } from './share-field.ts';
import {
  type BadShare,
  type ChunkShares,
  openShareSet,
  pickChunks,
  type Share,
  type ShareSet,
} from './share-set.ts';
import { stripBytesOf } from './split.ts';

/** Good shares, no two alike, and what is wrong with the others. */
export interface CheckedSet {
  readonly set: ShareSet;
  readonly field: ShareField;
  readonly chunks: readonly CheckedChunk[];
  readonly bad: readonly BadShare[];
  /** Shares that were given twice; they count once. */
  readonly repeated: readonly BadShare[];
}

export interface CheckedChunk extends ChunkShares {
  /** Of a sealed one, which has it in its trailers. */
  readonly chunkNumber: number | undefined;
  /** Independent shares among the good ones. */
  readonly have: number;
}

export interface CheckOptions extends Reporting {
  /** Asked for when the shares are sealed. Without it only their sums are checked. */
  readonly shareKey?: (() => Promise<Uint8Array>) | undefined;
}

export async function checkShares(
  paths: readonly string[],
  options: CheckOptions,
): Promise<CheckedSet> {
  const set = await openShareSet(paths, options);
  const field = shareField(set.width);
  const bad = [...set.bad];
  const repeated: BadShare[] = [];
  // A damaged header may say anything of a range, so the sums come before that.
  const good = set.sealed ? await withRightSums(set, bad, options) : set.shares;
  const chunks: CheckedChunk[] = [];
  for (const chunk of pickChunks(good, bad)) {
    const shares = await distinctShares(chunk.shares, { bad, repeated });
    const chunkNumber = chunk.shares[0]?.trailer?.chunkNumber;
    chunks.push({
      ...chunk,
      shares,
      chunkNumber,
      have: independentShares(field, shares).length,
    });
  }
  if (chunks.length === 0) throw tooFew({ have: 0, need: set.k, bad });
  return { set, field, chunks, bad, repeated };
}

async function withRightSums(
  { shares, seal }: ShareSet,
  bad: BadShare[],
  { signal }: Reporting,
): Promise<Share[]> {
  const totalBytes = shares.reduce((sum, { size }) => sum + size, 0);
  await using digester = ShareDigester.open({ totalBytes, signal });
  const faults = await mapBounded(shares, digester.width, (share) =>
    sumFault(share, seal, digester),
  );
  return shares.filter(({ path }, index) => {
    const reason = faults[index];
    if (reason !== undefined) bad.push({ path, reason });
    return reason === undefined;
  });
}

/** @throws HF_TOO_FEW_SHARDS, with the number that is there and the names of the bad ones. */
export function assertEnough({ set, chunks, bad }: CheckedSet): void {
  for (const chunk of chunks) {
    if (chunk.have >= set.k) continue;
    const where = chunks.length > 1 ? ` of ${rangeName(chunk)}` : '';
    throw tooFew({ have: chunk.have, need: set.k, where, bad });
  }
}

/** @throws HF_TOO_FEW_SHARDS when of some part of the file there is no share at all. */
export function assertGapless(checked: CheckedSet): void {
  const [missing] = missingRanges(checked);
  if (!missing) return;
  throw new HoldfastError('HF_TOO_FEW_SHARDS', `there are no shares of ${rangeName(missing)}`);
}

/** What is wrong with a sealed share, if anything. */
async function sumFault(
  { path, size, trailer }: Share,
  seal: FileSeal | undefined,
  digester: ShareDigester,
): Promise<string | undefined> {
  assert(trailer, 'shares of a sealed file have trailers');
  try {
    const digest = await digester.digest({ path, bytes: size - SUMS_BYTES });
    return sumsFault(trailer.sums, { seal, digest });
  } catch (error) {
    return faultOf(error, path);
  }
}

/** Shares with one row count once; when their bytes differ, nobody knows which one is right. */
async function distinctShares(
  shares: readonly Share[],
  { bad, repeated }: { bad: BadShare[]; repeated: BadShare[] },
): Promise<Share[]> {
  const alike = Map.groupBy(shares, ({ header }) => header.row.join());
  const distinct: Share[] = [];
  for (const [first, ...others] of alike.values()) {
    let isClear = true;
    for (const { path } of others) {
      if (await isSame(first!, path)) {
        repeated.push({ path, reason: `it is the same share as ${first!.path}, and counts once` });
      } else {
        bad.push({ path, reason: `it differs from ${first!.path}, which has the same row` });
        isClear = false;
      }
    }
    if (isClear) distinct.push(first!);
    else bad.push({ path: first!.path, reason: 'another share with its row differs from it' });
  }
  return distinct;
}

async function isSame(share: Share, otherPath: string): Promise<boolean> {
  await using input = await InputFile.open(share.path);
  await using other = await InputFile.open(otherPath);
  return input.isSameAs(other) || bytesEqual(await input.digest(), await other.digest());
}

/** A part of the stream. */
export interface NamedRange {
  /** Where that is known; of a gap the first, when several chunks may have filled it. */
  readonly chunkNumber: number | undefined;
  readonly start: number;
  /** The byte after it; absent of what goes on to an end that nobody knows. */
  readonly next: number | undefined;
}

/** `chunk 1 (bytes 1376592 to 2753184)` */
export function rangeName({ chunkNumber, start, next }: NamedRange): string {
  const bytes = next === undefined ? `byte ${start} on` : `bytes ${start} to ${next}`;
  return chunkNumber === undefined ? `the part from ${bytes}` : `chunk ${chunkNumber} (${bytes})`;
}

export interface VerifiedChunk extends NamedRange {
  readonly goodCount: number;
  /** Of the good ones, those that no others make superfluous; k are enough. */
  readonly have: number;
  /** Sealed, or more than k shares agreed. */
  readonly isVerified: boolean;
}

export interface VerifyResult {
  readonly isSealed: boolean;
  readonly k: number;
  readonly bad: readonly BadShare[];
  readonly repeated: readonly BadShare[];
  readonly chunks: readonly VerifiedChunk[];
  /** Parts of which there is no share. */
  readonly missing: readonly NamedRange[];
  /** Whether the file can be restored from these shares. */
  readonly isRestorable: boolean;
}

/** Reads every byte of the shares and changes nothing. */
export async function verifyShares(
  paths: readonly string[],
  options: CheckOptions,
): Promise<VerifyResult> {
  const checked = await checkShares(paths, options);
  const { set, field } = checked;
  const bad = [...checked.bad];
  const chunks: VerifiedChunk[] = [];
  for (const chunk of checked.chunks) {
    const { chunkNumber, start, next } = chunk;
    const range = { chunkNumber, start, next };
    if (set.sealed || chunk.have < set.k) {
      const isVerified = set.sealed !== undefined;
      chunks.push({ ...range, goodCount: chunk.shares.length, have: chunk.have, isVerified });
      continue;
    }
    const result = await decodeChunk(
      {
        field,
        chunk,
        comparesExtras: true,
        wanted: [],
        stripBytes: stripBytesOf(set.k, undefined),
        work: () => {},
        write: async () => {},
      },
      options,
    );
    bad.push(...result.bad);
    const goodCount = chunk.shares.length - result.bad.length;
    chunks.push({ ...range, goodCount, have: chunk.have, isVerified: result.isVerified });
  }
  const missing = missingRanges(checked);
  const isRestorable = missing.length === 0 && chunks.every(({ have }) => have >= set.k);
  return {
    isSealed: set.sealed !== undefined,
    k: set.k,
    bad,
    repeated: checked.repeated,
    chunks,
    missing,
    isRestorable,
  };
}

/** Parts of the stream of which there is no share. */
function missingRanges({ chunks }: CheckedSet): NamedRange[] {
  const missing: NamedRange[] = [];
  let start = 0;
  let number: number | undefined = 0;
  for (const chunk of chunks) {
    const chunkNumber: number | undefined = chunk.chunkNumber === undefined ? undefined : number;
    if (chunk.start > start) missing.push({ chunkNumber, start, next: chunk.start });
    start = chunk.next;
    number = chunk.chunkNumber === undefined ? undefined : chunk.chunkNumber + 1;
  }
  if (!chunks.at(-1)?.isFinal) missing.push({ chunkNumber: number, start, next: undefined });
  return missing;
}
