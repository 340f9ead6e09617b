/**
 * The index slot, 64 bytes: the same bytes in memory, in the journal and in the index images.
 *
 * - *record*: one chunk as its owner sees it. It is one slot, and for each three extents after the
 *   first a *continuation* slot behind it.
 * - Journal only: a record of kind `removed` deletes the chunk.
 *
 * | bytes | field |
 * |---|---|
 * | 0  | chunk id, 32 bytes |
 * | 32 | length in bytes, u32 |
 * | 36 | kind, 4 bits; extents − 1 (or number of the continuation − 1), 4; generation, 24 |
 * | 40 | first extent: start block u40, blocks u24 |
 * | 48 | XXH64 of the payload, or of the footer of a large chunk |
 * | 56 | written at, seconds, u32; 60: last verified, seconds, u32 |
 *
 * A continuation has the same id and three extents at 40, 48 and 56.
 */
import { assert, CHUNK_ID_BYTES, type ChunkId, LIMITS, isMetadataScheme } from '../base/index.ts';
import type { Extent } from './allocator.ts';

export const SLOT_BYTES = 64;
export const SLOT_WORDS = 16;

export const SLOT_KINDS = { free: 0, live: 1, bad: 2, continuation: 3, removed: 4 } as const;
export type RecordKind = 'live' | 'bad' | 'removed';

/** Words (u32) of a slot; the id is in the first ones. */
export const ID_WORDS: number = CHUNK_ID_BYTES / 4;
export const WORD_LENGTH = 8;
export const WORD_INFO = 9;
export const WORD_EXTENT = 10;
export const WORD_VERIFIED = 15;
const WORD_CHECKSUM = 12;
const WORD_WRITTEN = 14;

const EXTENTS_PER_CONTINUATION = 3;
export const GENERATION_MAX = 0xff_ffff;

assert(LIMITS.extentsPerChunkMax <= 16, 'the number of extents fits four bits');

export interface ChunkRecord {
  /** A view; copy it to keep it. */
  readonly id: ChunkId;
  readonly kind: RecordKind;
  readonly lengthBytes: number;
  readonly generation: number;
  /** In the order of the content; none in a record that deletes. */
  readonly extents: readonly Extent[];
  readonly checksum: bigint;
  /** Seconds since 1970. */
  readonly writtenAt: number;
  readonly verifiedAt: number;
}

/** Slots of a record with so many extents. */
export function slotsFor(extentCount: number): number {
  return 1 + Math.ceil(Math.max(extentCount - 1, 0) / EXTENTS_PER_CONTINUATION);
}

/** Slots of the largest record. */
export const SLOTS_MAX: number = slotsFor(LIMITS.extentsPerChunkMax);

export function kindOf(words: Uint32Array, at: number): number {
  return words[at + WORD_INFO]! & 15;
}

/** Extents of a record, or the number of a continuation; from 1. */
export function countOf(words: Uint32Array, at: number): number {
  return ((words[at + WORD_INFO]! >>> 4) & 15) + 1;
}

export function generationOf(words: Uint32Array, at: number): number {
  return words[at + WORD_INFO]! >>> 8;
}

/** The id in a slot; a view. */
export function idAt(words: Uint32Array, at: number): ChunkId {
  return new Uint8Array(words.buffer, words.byteOffset + at * 4, CHUNK_ID_BYTES) as ChunkId;
}

/** Placement group of the id in a slot. */
export function groupAt(words: Uint32Array, at: number): number {
  const word = words[at]!;
  return ((word & 0xff) << 4) | ((word >>> 12) & 0xf);
}

/** Whether the id in a slot names a metadata chunk. */
export function isMetadataAt(words: Uint32Array, at: number): boolean {
  const word = words[at + ID_WORDS - 1]!;
  return isMetadataScheme(((word & 0xff) << 8) | ((word >>> 8) & 0xff)); // it is big-endian
}

export function readExtent(words: Uint32Array, at: number): Extent {
  const high = words[at + 1]!;
  return { start: words[at]! + (high & 0xff) * 2 ** 32, blocks: high >>> 8 };
}

function writeExtent(words: Uint32Array, at: number, { start, blocks }: Extent): void {
  assert(start < 2 ** 40, 'a block number has 40 bits');
  assert(blocks < 2 ** 24, 'an extent has fewer than 2^24 blocks');
  words[at] = start % 2 ** 32;
  words[at + 1] = Math.floor(start / 2 ** 32) + blocks * 256;
}

/** Word of a chunk id as a slot has it. */
function idWord(id: ChunkId, word: number): number {
  const at = word * 4;
  return (id[at]! | (id[at + 1]! << 8) | (id[at + 2]! << 16) | (id[at + 3]! << 24)) >>> 0;
}

/** The record as slots, owned by the caller. */
export function encodeRecord(record: ChunkRecord): Uint32Array {
  const words = new Uint32Array(slotsFor(record.extents.length) * SLOT_WORDS);
  writeRecord(words, 0, record);
  return words;
}

/** Writes a record over the slots from `at` on, which are zeros. @returns the end of its slots. */
export function writeRecord(words: Uint32Array, at: number, record: ChunkRecord): number {
  const { id, extents } = record;
  const count = Math.max(extents.length, 1);
  assert(extents.length <= LIMITS.extentsPerChunkMax, 'a chunk has few extents');
  assert(record.generation <= GENERATION_MAX, 'a generation has 24 bits');
  for (let word = 0; word < ID_WORDS; word++) words[at + word] = idWord(id, word);
  words[at + WORD_LENGTH] = record.lengthBytes;
  words[at + WORD_INFO] = SLOT_KINDS[record.kind] + (count - 1) * 16 + record.generation * 256;
  if (extents.length > 0) writeExtent(words, at + WORD_EXTENT, extents[0]!);
  words[at + WORD_CHECKSUM] = Number(record.checksum & 0xffff_ffffn);
  words[at + WORD_CHECKSUM + 1] = Number(record.checksum >> 32n);
  words[at + WORD_WRITTEN] = record.writtenAt;
  words[at + WORD_VERIFIED] = record.verifiedAt;
  const end = at + slotsFor(extents.length) * SLOT_WORDS;
  for (let slot = at + SLOT_WORDS, next = 1; slot < end; slot += SLOT_WORDS) {
    words.copyWithin(slot, at, at + ID_WORDS);
    words[slot + WORD_INFO] =
      SLOT_KINDS.continuation + ((next - 1) / EXTENTS_PER_CONTINUATION) * 16;
    for (let place = 0; place < EXTENTS_PER_CONTINUATION && next < extents.length; place++) {
      writeExtent(words, slot + WORD_EXTENT + place * 2, extents[next++]!);
    }
  }
  return end;
}

const RECORD_KINDS: Readonly<Record<number, RecordKind>> = { 1: 'live', 2: 'bad', 4: 'removed' };

/**
 * The record whose own slot is at `at`.
 * @param continuations offsets of its further slots in order; those that follow it when left out.
 * @returns `undefined` when the slots are no record.
 */
export function decodeRecord(
  words: Uint32Array,
  at: number,
  continuations?: readonly number[],
): ChunkRecord | undefined {
  const kind = RECORD_KINDS[kindOf(words, at)];
  if (!kind) return undefined;
  const extents: Extent[] = [];
  const extentCount = kind === 'removed' ? 0 : countOf(words, at);
  if (extentCount > 0) extents.push(readExtent(words, at + WORD_EXTENT));
  for (let index = 0; index < extentCount - 1; index++) {
    const number = Math.floor(index / EXTENTS_PER_CONTINUATION);
    const slot = continuations ? continuations[number] : at + (number + 1) * SLOT_WORDS;
    if (slot === undefined || slot >= words.length) return undefined;
    const place = index % EXTENTS_PER_CONTINUATION;
    extents.push(readExtent(words, slot + WORD_EXTENT + place * 2));
  }
  return {
    id: idAt(words, at),
    kind,
    lengthBytes: words[at + WORD_LENGTH]!,
    generation: generationOf(words, at),
    extents,
    checksum: BigInt(words[at + WORD_CHECKSUM]!) | (BigInt(words[at + WORD_CHECKSUM + 1]!) << 32n),
    writtenAt: words[at + WORD_WRITTEN]!,
    verifiedAt: words[at + WORD_VERIFIED]!,
  };
}

/** Slots of the record at `at`, as a journal has them: its continuations follow it. */
export function slotsAt(words: Uint32Array, at: number): number {
  return kindOf(words, at) === SLOT_KINDS.removed ? 1 : slotsFor(countOf(words, at));
}

/** Slots of records one behind the other, for a batch of the journal. */
export class SlotList {
  #words = new Uint32Array(8 * SLOT_WORDS);
  #end = 0;

  /** The slots so far; a view. */
  get words(): Uint32Array {
    return this.#words.subarray(0, this.#end);
  }

  add(record: Uint32Array): void {
    this.#makeRoom(record.length);
    this.#words.set(record, this.#end);
    this.#end += record.length;
  }

  write(record: ChunkRecord): void {
    this.#makeRoom(SLOTS_MAX * SLOT_WORDS);
    this.#end = writeRecord(this.#words, this.#end, record);
  }

  #makeRoom(count: number): void {
    if (this.#end + count <= this.#words.length) return;
    const words = new Uint32Array(2 * this.#words.length + count);
    words.set(this.words);
    this.#words = words;
  }
}
