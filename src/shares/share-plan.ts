/**
 * How a file becomes share files, before anything is written. The *stream* is what is dispersed:
 * the file itself, or its sealed segments. It is cut into *chunks*, one set of share files each,
 * that can be combined without each other: a chunk of a plain stream holds whole columns, one of a
 * sealed stream whole segments as well.
 */
import { HoldfastError } from '../base/index.ts';
import { SEALED_SEGMENT_BYTES, sealedBytes } from './file-seal.ts';
import { headerBytes, shareDataBytes, TRAILER_BYTES } from './sf-format.ts';
import type { UnitWidth } from './share-field.ts';

export interface ShareScheme {
  readonly k: number;
  readonly n: number;
  readonly width: UnitWidth;
}

/** At most one of these; none means one chunk. */
export interface Chunking {
  readonly chunkCount?: number | undefined;
  /** Bytes of the stream in each chunk, at the most. */
  readonly inputChunkBytes?: number | undefined;
  /** Bytes of the stream's share in each share file, without header and trailer, at the most. */
  readonly outputChunkBytes?: number | undefined;
  /** Bytes of each share file, at the most. */
  readonly outputFileBytes?: number | undefined;
}

export interface PlannedChunk {
  readonly chunkNumber: number;
  readonly start: number;
  readonly next: number;
  readonly isFinal: boolean;
  /** Length of each of the n share files. */
  readonly shareBytes: number;
}

export interface SharePlan {
  readonly streamBytes: number;
  readonly chunks: readonly PlannedChunk[];
  /** Of all share files together. */
  readonly totalBytes: number;
}

/** Of one file; their numbers end below. */
export const SHARES_MAX = 255;
/** Chunks of one split: each has n share files, and a name of its own. */
const CHUNKS_MAX = 100_000;

/** @throws HF_BAD_ARGUMENT, HF_BAD_SCHEME. */
export function planShares(file: {
  /** Of the plain file. */
  readonly size: number;
  readonly scheme: ShareScheme;
  readonly isSealed: boolean;
  readonly chunking?: Chunking | undefined;
}): SharePlan {
  const { size, scheme, isSealed, chunking = {} } = file;
  checkScheme(scheme);
  const streamBytes = isSealed ? sealedBytes(size) : size;
  const step = chunkStep(scheme, isSealed);
  const shape = { scheme, isSealed, streamBytes, step };
  const chunkBytes = chunkBytesOf(shape, chunking);
  const count = chunking.chunkCount ?? Math.max(1, Math.ceil(streamBytes / chunkBytes));
  if (count > CHUNKS_MAX) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `${count} chunks are too many; make them larger`);
  }
  const chunks = Array.from({ length: count }, (_, chunkNumber) => {
    const isFinal = chunkNumber === count - 1;
    const start = chunkNumber * chunkBytes;
    const next = isFinal ? streamBytes : start + chunkBytes;
    const range = { k: scheme.k, width: scheme.width, start, next };
    return { chunkNumber, start, next, isFinal, shareBytes: shareFileBytes(range, isSealed) };
  });
  const bytes = chunks.reduce((sum, { shareBytes }) => sum + shareBytes, 0);
  return { streamBytes, chunks, totalBytes: bytes * scheme.n };
}

function shareFileBytes(
  range: {
    readonly k: number;
    readonly width: UnitWidth;
    readonly start: number;
    readonly next: number;
  },
  isSealed: boolean,
): number {
  return headerBytes(range) + shareDataBytes(range) + (isSealed ? TRAILER_BYTES : 0);
}

/** Bytes of the stream that are dispersed at once: whole columns, whole segments. */
function chunkStep({ k, width }: Pick<ShareScheme, 'k' | 'width'>, isSealed: boolean): number {
  const columnBytes = k * width;
  return isSealed
    ? (columnBytes / greatestCommonDivisor(columnBytes, SEALED_SEGMENT_BYTES)) *
        SEALED_SEGMENT_BYTES
    : columnBytes;
}

/** @throws HF_BAD_SCHEME. */
function checkScheme({ k, n }: ShareScheme): void {
  if (Number.isInteger(k) && Number.isInteger(n) && k >= 1 && k <= n && n <= SHARES_MAX) return;
  const message = `k = ${k}, n = ${n}: 1 ≤ k ≤ n ≤ ${SHARES_MAX} must hold`;
  throw new HoldfastError('HF_BAD_SCHEME', message);
}

interface Shape {
  readonly scheme: ShareScheme;
  readonly isSealed: boolean;
  readonly streamBytes: number;
  readonly step: number;
}

function chunkBytesOf(shape: Shape, chunking: Chunking): number {
  const { scheme, isSealed, streamBytes, step } = shape;
  const ways = Object.values(chunking).filter((value) => value !== undefined);
  if (ways.length > 1) {
    const message = 'give at most one of number of chunks, input chunk, output chunk, output file';
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  const { chunkCount, inputChunkBytes, outputChunkBytes, outputFileBytes } = chunking;
  if (chunkCount !== undefined) {
    const most = Math.max(1, Math.ceil(streamBytes / step));
    if (chunkCount < 1 || chunkCount > most) {
      const why = isSealed
        ? ' (sealed chunks hold whole segments; --plain ones may be smaller)'
        : '';
      throw new HoldfastError('HF_BAD_ARGUMENT', `there can be 1 to ${most} chunks${why}`);
    }
    // As gnetraid: equal chunks rounded down, and the last one takes what is left.
    return Math.max(step, floorTo(streamBytes / chunkCount, step));
  }
  if (inputChunkBytes !== undefined) return atLeast(step, floorTo(inputChunkBytes, step));
  if (outputChunkBytes !== undefined) return atLeast(step, inputOf(shape, outputChunkBytes));
  if (outputFileBytes === undefined) return Math.max(1, streamBytes);
  // The longest header that a chunk of this stream can have.
  const range = { ...scheme, start: streamBytes, next: streamBytes };
  return atLeast(step, inputOf(shape, outputFileBytes - shareFileBytes(range, isSealed)));
}

function inputOf({ scheme, step }: Shape, shareBytes: number): number {
  return floorTo(floorTo(shareBytes, scheme.width) * scheme.k, step);
}

function floorTo(value: number, step: number): number {
  return Math.floor(value / step) * step;
}

function atLeast(step: number, chunkBytes: number): number {
  if (chunkBytes >= step) return chunkBytes;
  const message = `chunks that small are not possible; the smallest holds ${step} bytes`;
  throw new HoldfastError('HF_BAD_ARGUMENT', message);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
