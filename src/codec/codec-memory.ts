/**
 * Where a codec computes: one WebAssembly memory with a *scratch* region, which holds the kernel's
 * tables and a *staging* area. Arrays over the memory are used in place; *foreign* arrays (over any
 * other buffer) pass through the staging area bit by bit, so that any length works.
 *
 * One thread uses a codec memory. Threads that share a WebAssembly memory have a codec memory each,
 * with disjoint scratch regions.
 */
import { assert, KiB, MiB } from '../base/index.ts';
import { BoundedCache } from './bounded-cache.ts';
import type { ErasureCodec } from './erasure-codec.ts';
import { type GaloisField, galoisField, type Matrix } from './galois.ts';
import { GaloisKernel, KERNEL_SCRATCH_BYTES_MIN } from './kernel.ts';

/** The field of Holdfast's own shards. */
export const SHARD_POLYNOMIAL = 0x11d;

const PAGE_BYTES = 64 * KiB;
/** Room for the tables of twelve and more targets at once; see KERNEL_SCRATCH_BYTES_MIN. */
const TABLE_BYTES = 64 * KiB;
/** What every length of array is a multiple of: a cache line. */
const UNIT_BYTES = 64;
/** Pieces and shards of one call at the most: the points of a Cauchy matrix. */
const ARRAYS_MAX = 256;

/** What one thread should have: tables and a staging area that fits its second-level cache. */
export const SCRATCH_BYTES: number = TABLE_BYTES + 1 * MiB;
/** The smallest that works. */
const SCRATCH_BYTES_MIN = TABLE_BYTES + ARRAYS_MAX * 2 * UNIT_BYTES;

/** Codecs kept, with their matrices: up to 64 KiB each, and milliseconds to make. */
const CODECS_MAX = 16;

export interface ScratchRegion {
  /** A multiple of 64. Nobody else touches the region. */
  readonly scratchOffset: number;
  readonly scratchBytes: number;
  /** By default the field of Holdfast's shards. */
  readonly field?: GaloisField | undefined;
}

export class CodecMemory {
  readonly memory: WebAssembly.Memory;
  readonly field: GaloisField;
  /** Of `openCodec`, by scheme. */
  readonly codecs = new BoundedCache<string, ErasureCodec>(CODECS_MAX);
  readonly #kernel: GaloisKernel;
  readonly #scratchOffset: number;
  readonly #scratchEnd: number;
  readonly #stagingOffset: number;

  private constructor(memory: WebAssembly.Memory, region: ScratchRegion) {
    const { scratchOffset, scratchBytes, field = galoisField(SHARD_POLYNOMIAL) } = region;
    assert(TABLE_BYTES >= KERNEL_SCRATCH_BYTES_MIN, 'the tables of a group fit their room');
    assert(scratchBytes >= SCRATCH_BYTES_MIN, 'the scratch region has room for staging');
    this.memory = memory;
    this.field = field;
    this.#scratchOffset = scratchOffset;
    this.#scratchEnd = scratchOffset + scratchBytes;
    this.#stagingOffset = scratchOffset + TABLE_BYTES;
    assert(this.#scratchEnd <= memory.buffer.byteLength, 'the scratch region lies in the memory');
    this.#kernel = new GaloisKernel({ memory, field, scratchOffset, scratchBytes: TABLE_BYTES });
  }

  /**
   * A memory for one thread.
   * @param options.pages of 64 KiB, from offset 0, for arrays that are to be used in place.
   */
  static create({ pages = 0, field }: { pages?: number; field?: GaloisField } = {}): CodecMemory {
    const scratchOffset = pages * PAGE_BYTES;
    const total = pages + Math.ceil(SCRATCH_BYTES / PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial: total, maximum: total });
    return CodecMemory.over(memory, { scratchOffset, scratchBytes: SCRATCH_BYTES, field });
  }

  /** For one thread of those that share `memory`; it must not grow. */
  static over(memory: WebAssembly.Memory, region: ScratchRegion): CodecMemory {
    return new CodecMemory(memory, region);
  }

  /**
   * target i = row i × sources, over the field.
   *
   * @param rows one coefficient for each source.
   * @param sources arrays of equal length, a multiple of 64 bytes. Read, never written.
   * @param targets one for each row, of that length, overwritten. A target may be the very array
   *   that its row copies; otherwise targets overlap neither sources nor each other.
   */
  transform(rows: Matrix, sources: readonly Uint8Array[], targets: readonly Uint8Array[]): void {
    assert(rows.length === targets.length, 'there is a row for each target');
    const lengthBytes = sources[0]?.length ?? 0;
    assert(lengthBytes % UNIT_BYTES === 0, 'lengths are multiples of 64 bytes');
    assert(
      sources.every(({ length }) => length === lengthBytes) &&
        targets.every(({ length }) => length === lengthBytes),
      'sources and targets are of one length',
    );
    const mixed: { row: Uint8Array; target: Uint8Array }[] = [];
    const copies: { source: Uint8Array; target: Uint8Array }[] = [];
    for (const [index, row] of rows.entries()) {
      assert(row.length === sources.length, 'a row has a coefficient for each source');
      const target = targets[index]!;
      const source = sources[copiedIndex(row)];
      if (!source) mixed.push({ row, target });
      else if (!isSameRange(source, target)) copies.push({ source, target });
    }
    const written = [...mixed, ...copies].map(({ target }) => target);
    assertDisjoint(sources, written);
    for (const { source, target } of copies) target.set(source);
    const mixedRows = mixed.map(({ row }) => row);
    this.#multiply(mixedRows, sources, written.slice(0, mixed.length));
  }

  #multiply(rows: Matrix, sources: readonly Uint8Array[], targets: readonly Uint8Array[]): void {
    if (rows.length === 0) return;
    const lengthBytes = sources[0]!.length;
    const slots = this.#slots([...sources, ...targets]);
    const sourceSlots = slots.slice(0, sources.length);
    const targetSlots = slots.slice(sources.length);
    const pieceBytes = slots.reduce(
      (least, { roomBytes }) => Math.min(least, roomBytes),
      lengthBytes,
    );
    for (let start = 0; start < lengthBytes; start += pieceBytes) {
      const end = Math.min(start + pieceBytes, lengthBytes);
      for (const slot of sourceSlots) slot.staged?.set(slot.array.subarray(start, end));
      this.#kernel.multiply({
        rows,
        sourceOffsets: sourceSlots.map((slot) => offsetAt(slot, start)),
        targetOffsets: targetSlots.map((slot) => offsetAt(slot, start)),
        lengthBytes: end - start,
      });
      for (const { array, staged } of targetSlots) {
        if (staged) array.set(staged.subarray(0, end - start), start);
      }
    }
  }

  /** Where each array is worked on: itself, or its share of the staging area. */
  #slots(arrays: readonly Uint8Array[]): Slot[] {
    const { buffer } = this.memory;
    const foreignCount = arrays.filter((array) => array.buffer !== buffer).length;
    // An odd number of lines apart, so that the slots do not compete for the same cache sets.
    const lines = Math.floor((this.#scratchEnd - this.#stagingOffset) / UNIT_BYTES);
    const roomBytes = (2 * Math.floor(lines / foreignCount / 2) - 1) * UNIT_BYTES;
    let next = this.#stagingOffset;
    return arrays.map((array) => {
      if (array.buffer === buffer) {
        this.#assertOutsideScratch(array);
        return { array, offset: array.byteOffset, staged: undefined, roomBytes: Infinity };
      }
      const offset = next;
      next += roomBytes;
      return { array, offset, staged: new Uint8Array(buffer, offset, roomBytes), roomBytes };
    });
  }

  #assertOutsideScratch({ byteOffset, length }: Uint8Array): void {
    assert(
      byteOffset + length <= this.#scratchOffset || byteOffset >= this.#scratchEnd,
      'no array lies in the scratch region',
    );
  }
}

interface Slot {
  readonly array: Uint8Array;
  readonly offset: number;
  /** The slot of a foreign array. */
  readonly staged: Uint8Array | undefined;
  readonly roomBytes: number;
}

/** The offset of what is worked on from `start` of the array on. */
function offsetAt({ offset, staged }: Slot, start: number): number {
  return staged ? offset : offset + start;
}

/** The index of the one source that the row copies, or −1 when it mixes several. */
function copiedIndex(row: Uint8Array): number {
  const index = row.indexOf(1);
  for (let i = 0; i < row.length; i++) {
    if (row[i] !== 0 && i !== index) return -1;
  }
  return index;
}

function isSameRange(a: Uint8Array, b: Uint8Array): boolean {
  return a === b || (a.buffer === b.buffer && a.byteOffset === b.byteOffset);
}

interface Range {
  readonly buffer: ArrayBufferLike;
  readonly start: number;
  readonly end: number;
}

/** Read once, as each of these costs a call. */
function rangeOf({ buffer, byteOffset, byteLength }: Uint8Array): Range {
  return { buffer, start: byteOffset, end: byteOffset + byteLength };
}

function assertDisjoint(sources: readonly Uint8Array[], targets: readonly Uint8Array[]): void {
  const sourceRanges = sources.map(rangeOf);
  const earlier: Range[] = [];
  for (const target of targets.map(rangeOf)) {
    for (const source of sourceRanges) {
      assert(!overlap(source, target), 'a target that is not a copy overlaps no source');
    }
    for (const other of earlier) assert(!overlap(other, target), 'targets do not overlap');
    earlier.push(target);
  }
}

function overlap(a: Range, b: Range): boolean {
  return a.start < b.end && b.start < a.end && a.buffer === b.buffer;
}
