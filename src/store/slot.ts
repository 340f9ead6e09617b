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
import { asBuffer, assert, type ChunkId, LIMITS } from '../base/index.ts';
import type { Extent } from './allocator.ts';

export const SLOT_BYTES = 64;
export const SLOT_WORDS = 16;

export const SLOT_KINDS = { free: 0, live: 1, bad: 2, continuation: 3, removed: 4 } as const;
export type RecordKind = 'live' | 'bad' | 'removed';

/** Words (u32) of a slot. */
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

/** The record as slots, owned by the caller. */
export function encodeRecord(record: ChunkRecord): Uint32Array {
  const { extents } = record;
  assert(extents.length <= LIMITS.extentsPerChunkMax, 'a chunk has few extents');
  assert(record.generation <= GENERATION_MAX, 'a generation has 24 bits');
  const slots = slotsFor(extents.length);
  const words = new Uint32Array(slots * SLOT_WORDS);
  const id = asBuffer(record.id);
  for (let slot = 0; slot < slots; slot++) {
    const at = slot * SLOT_WORDS;
    for (let word = 0; word < 8; word++) words[at + word] = id.readUInt32LE(word * 4);
  }
  words[WORD_LENGTH] = record.lengthBytes;
  const count = Math.max(extents.length, 1) - 1;
  words[WORD_INFO] = SLOT_KINDS[record.kind] + count * 16 + record.generation * 256;
  new BigUint64Array(words.buffer)[WORD_CHECKSUM / 2] = record.checksum;
  words[WORD_WRITTEN] = record.writtenAt;
  words[WORD_VERIFIED] = record.verifiedAt;
  extents.forEach((extent, index) => {
    if (index === 0) return writeExtent(words, WORD_EXTENT, extent);
    const place = index - 1;
    const number = Math.floor(place / EXTENTS_PER_CONTINUATION);
    const at = (number + 1) * SLOT_WORDS;
    words[at + WORD_INFO] = SLOT_KINDS.continuation + number * 16;
    writeExtent(words, at + WORD_EXTENT + (place % EXTENTS_PER_CONTINUATION) * 2, extent);
  });
  return words;
}

/** Where the slots of one record are: offsets into `words`, the record's own first. */
export interface SlotPlaces {
  readonly words: Uint32Array;
  readonly offsets: readonly number[];
}

const RECORD_KINDS: Readonly<Record<number, RecordKind>> = { 1: 'live', 2: 'bad', 4: 'removed' };

/** @returns `undefined` when the slots are no record. */
export function decodeRecord({ words, offsets }: SlotPlaces): ChunkRecord | undefined {
  const at = offsets[0]!;
  const kind = RECORD_KINDS[kindOf(words, at)];
  if (!kind) return undefined;
  const extents: Extent[] = [];
  const extentCount = kind === 'removed' ? 0 : countOf(words, at);
  for (let index = 0; index < extentCount; index++) {
    const slot = index === 0 ? at : offsets[1 + Math.floor((index - 1) / EXTENTS_PER_CONTINUATION)];
    if (slot === undefined) return undefined;
    const place = index === 0 ? 0 : (index - 1) % EXTENTS_PER_CONTINUATION;
    extents.push(readExtent(words, slot + WORD_EXTENT + place * 2));
  }
  const byteOffset = words.byteOffset + at * 4;
  return {
    id: new Uint8Array(words.buffer, byteOffset, 32) as ChunkId,
    kind,
    lengthBytes: words[at + WORD_LENGTH]!,
    generation: generationOf(words, at),
    extents,
    checksum: BigInt(words[at + WORD_CHECKSUM]!) | (BigInt(words[at + WORD_CHECKSUM + 1]!) << 32n),
    writtenAt: words[at + WORD_WRITTEN]!,
    verifiedAt: words[at + WORD_VERIFIED]!,
  };
}
