/**
 * The advisory bitmap: which blocks are taken, on the device, for those who look from outside (`dev
 * query`, `dev check`). No mount reads it; what counts is the index.
 *
 * - *bitmap block*: 4088 bytes of bits, then their XXH64 with the store's seed. Bit i of the region
 *   (the lowest of a byte first) is set when block i of the device is taken. Bits of blocks past
 *   the end of the device mean nothing; a bitmap block that has no others may hold anything.
 *
 * Invariants: (1) it is written in place, before the flush of a checkpoint, and a power cut may
 * leave any of its blocks old or torn; (2) in a store that was closed cleanly it agrees with the
 * index.
 */
import { asBuffer, xxh64 } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Allocator, Extent } from './allocator.ts';
import { BITMAP_BLOCK_BITS, bitmapBlocksFor, BLOCK_BYTES } from './geometry.ts';
import { readAround } from './read-around.ts';

const CHECKSUM_AT: number = BLOCK_BYTES - 8;
const BLOCKS_PER_TRANSFER = 256;

/** Blocks of a bitmap that need not be moved before the device has doubled. */
export function roomyBitmapBlocks(sizeBlocks: number, capacityBlocks: number): number {
  return bitmapBlocksFor(Math.max(Math.min(capacityBlocks, 2 * sizeBlocks), sizeBlocks));
}

export interface BitmapPlace {
  readonly device: BlockDevice;
  readonly region: Extent;
  readonly seed: bigint;
}

/**
 * Writes bitmap blocks; durable after the next flush.
 * @param options.numbers of the bitmap blocks, rising; those outside the region are passed over.
 * @param options.freed extents that are still taken in the allocator, but are about to be free.
 */
export async function writeBitmap(
  { device, region, seed }: BitmapPlace,
  options: {
    readonly allocator: Allocator;
    readonly numbers: readonly number[];
    readonly freed?: readonly Extent[];
  },
): Promise<void> {
  const { allocator, freed = [] } = options;
  const numbers = options.numbers.filter((number) => number < region.blocks);
  for (let from = 0; from < numbers.length;) {
    let to = from + 1;
    while (
      to < numbers.length &&
      to - from < BLOCKS_PER_TRANSFER &&
      numbers[to] === numbers[to - 1]! + 1
    ) {
      to += 1;
    }
    const memory = device.allocate((to - from) * BLOCK_BYTES);
    for (let at = from; at < to; at++) {
      const words = allocator.bitsOf(numbers[at]!);
      for (const extent of freed) clearBits(words, numbers[at]! * BITMAP_BLOCK_BITS, extent);
      const start = (at - from) * BLOCK_BYTES;
      seal(memory.subarray(start, start + BLOCK_BYTES), words, seed);
    }
    await device.write([memory], (region.start + numbers[from]!) * BLOCK_BYTES);
    from = to;
  }
}

/** Clears the bits of an extent in the bitmap block whose first bit is `firstBit`. */
function clearBits(words: Uint32Array, firstBit: number, { start, blocks }: Extent): void {
  const to = Math.min(start + blocks - firstBit, BITMAP_BLOCK_BITS);
  for (let bit = Math.max(start - firstBit, 0); bit < to; bit++) {
    words[Math.floor(bit / 32)]! &= ~(1 << (bit % 32));
  }
}

function seal(target: Uint8Array, words: Uint32Array, seed: bigint): void {
  const block = asBuffer(target);
  block.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
  block.writeBigUInt64LE(xxh64(block.subarray(0, CHECKSUM_AT), seed), CHECKSUM_AT);
}

/**
 * Reads the bitmap as far as it tells of blocks of the device, block by block.
 * @returns for each bitmap block its bits as words of 32, or `undefined` when it is bad.
 */
export async function* readBitmap({
  device,
  region,
  seed,
}: BitmapPlace): AsyncGenerator<Uint32Array | undefined> {
  const blocks = Math.min(region.blocks, bitmapBlocksFor(device.sizeBytes / BLOCK_BYTES));
  for (let from = 0; from < blocks; from += BLOCKS_PER_TRANSFER) {
    const count = Math.min(BLOCKS_PER_TRANSFER, blocks - from);
    const memory = device.allocate(count * BLOCK_BYTES);
    const start = region.start + from;
    const unreadable = await readAround(device, memory, { start });
    for (let at = 0; at < count; at++) {
      const block = asBuffer(memory.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES));
      const bits = block.subarray(0, CHECKSUM_AT);
      const isWhole = xxh64(bits, seed) === block.readBigUInt64LE(CHECKSUM_AT);
      const isGood = isWhole && !unreadable.includes(start + at);
      yield isGood ? new Uint32Array(new Uint8Array(bits).buffer) : undefined;
    }
  }
}
