/**
 * Where the fixed parts of a store are, and how large the adjustable ones are made.
 *
 * - The four superblock copies are two distant pairs at places that depend on nothing.
 * - The journal ring follows the last one, and the advisory bitmap follows the ring, until the
 *   device has outgrown it. All other blocks are one free area, for the data and for the index
 *   images, both written once and never in place.
 */
import { assert, KiB, LIMITS, MiB } from '../base/index.ts';

export const BLOCK_BYTES: number = LIMITS.blockBytes;

/** Block numbers of the superblock copies; a pair is written at a time. */
export const SUPERBLOCK_BLOCKS = [0, 16, 2048, 2064] as const;

export const JOURNAL_START_BLOCK = 2080;

/** Chunks up to this are staged with others and checked as a whole. */
export const SMALL_CHUNK_BYTES: number = 64 * KiB;

/** Unit of a verified range read of a large chunk: each has its checksum in the footer. */
export const PAGE_BYTES: number = 64 * KiB;

/** Blocks that one block of the advisory bitmap tells of; its last 8 bytes are a checksum. */
export const BITMAP_BLOCK_BITS: number = (BLOCK_BYTES - 8) * 8;

const JOURNAL_BYTES_MIN = 4 * MiB;
const JOURNAL_BYTES_MAX = 1024 * MiB;
/** A full index checkpoint per this share of the device's bytes is cheap (design notes, 1/1024). */
const JOURNAL_SHARE = 1024;

const PARTITION_BITS_MAX = 8;
/** A partition's image takes at least eight blocks in all; small devices have fewer partitions. */
const BYTES_PER_PARTITION = 4 * MiB;

assert(LIMITS.deviceBytesMin >= 16 * MiB, 'superblocks and journal fit the smallest device');

/** Of so many bytes that a store has, those that only metadata chunks may take. */
export function metadataReserveBytes(sizeBytes: number): number {
  return Math.min(LIMITS.metadataReserveBytesMax, Math.floor(sizeBytes / 16));
}

/**
 * Blocks set aside for metadata (chunks of it, index images) in a store of `sizeBlocks`: in steps,
 * so that what shards may take does not move with each entry of a log. It is the reserve, doubled
 * until half a reserve of it is left beside the `actual` blocks of metadata.
 */
export function allowanceBlocks(sizeBlocks: number, actual: number): number {
  const setAside = Math.max(blocksFor(metadataReserveBytes(sizeBlocks * BLOCK_BYTES)), 1);
  let allowance = setAside;
  while (actual > allowance - setAside / 2) allowance *= 2;
  return allowance;
}

/** Blocks of a bitmap of a device of `sizeBlocks`. */
export function bitmapBlocksFor(sizeBlocks: number): number {
  return Math.ceil(sizeBlocks / BITMAP_BLOCK_BITS);
}

/** Blocks that hold `bytes`. */
export function blocksFor(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES);
}

/** Blocks of the journal ring of a device that is `sizeBytes` now and may grow. */
export function journalBlocksFor(sizeBytes: number, capacityBytes: number): number {
  const wanted = Math.min(
    Math.max(capacityBytes / JOURNAL_SHARE, JOURNAL_BYTES_MIN),
    JOURNAL_BYTES_MAX,
  );
  return Math.floor(Math.min(wanted, sizeBytes / 4) / BLOCK_BYTES);
}

/** Log2 of the number of index partitions. */
export function partitionBitsFor(capacityBytes: number): number {
  const bits = Math.floor(Math.log2(capacityBytes / BYTES_PER_PARTITION));
  return Math.min(Math.max(bits, 0), PARTITION_BITS_MAX);
}
