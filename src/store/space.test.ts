/**
 * Aim: what is in use is counted as it is said to be, comes back exactly, and never so much is
 * promised that a checkpoint lacks room.
 * Method: the allowance against its definition; random puts, removes, readers and checkpoints on a
 * space, compared with sums of a model. That images find their room is asserted by the space.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ChunkId, chunkId, LIMITS, metadataChunkId, MiB, stripeId } from '../base/index.ts';
import { Allocator, type Extent } from './allocator.ts';
import { allowanceBlocks, BLOCK_BYTES, metadataReserveBytes } from './geometry.ts';
import { imageBlocks } from './index-image.ts';
import { IndexTable } from './index-table.ts';
import { encodeRecord, SLOT_WORDS } from './slot.ts';
import { Space } from './space.ts';

const DIRECTORY_BLOCKS = 2;
const MARGIN_BLOCKS = 64;
const FIXED = [
  { start: 0, blocks: 1 },
  { start: 100, blocks: 60 },
];
const FIXED_BLOCKS = 61;
/** One block of a bitmap, which the fixed ones above do not have. */
const BITMAP_BLOCKS = 1;

function idOf(number: number, isMetadata: boolean): ChunkId {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, Math.imul(number + 1, 0x9e37_79b1));
  bytes[5] = number;
  bytes[6] = number >> 8;
  return isMetadata ? metadataChunkId(bytes) : chunkId(stripeId(bytes), 7, 0);
}

interface Chunk {
  readonly id: ChunkId;
  readonly isMetadata: boolean;
  readonly extents: readonly Extent[];
  readonly blocks: number;
}

/** A space with chunks, readers and images. */
class Bed {
  readonly index = new IndexTable(2);
  readonly space: Space;
  readonly held: Chunk[] = [];
  readonly pinned: Chunk[] = [];
  #images: Extent[] = [];
  #count = 0;

  constructor(sizeBlocks: number) {
    const allocator = new Allocator(sizeBlocks);
    for (const extent of FIXED) allocator.take(extent);
    this.space = new Space({
      allocator,
      index: this.index,
      capacityBlocks: sizeBlocks,
      hardMaxBytes: 0,
      directoryBlocks: DIRECTORY_BLOCKS,
      bitmapBlocks: 0,
    });
  }

  put(blocks: number, isMetadata: boolean): boolean {
    const { space, index } = this;
    const id = idOf(this.#count++, isMetadata);
    const before = space.usage();
    if (space.reserve(id, blocks) > 0) {
      expect(space.usage()).toEqual(before);
      return false;
    }
    if (!isMetadata) expect(space.neededBlocks).toBeLessThanOrEqual(space.sizeBlocks);
    this.check(isMetadata ? { metadata: blocks } : { shards: blocks });
    const extents = space.takeExtents(blocks);
    if (extents) {
      const record = { id, kind: 'live', extents, lengthBytes: blocks * BLOCK_BYTES } as const;
      const times = { writtenAt: 0, verifiedAt: 0 };
      index.apply(encodeRecord({ ...record, ...times, generation: 0, checksum: 0n }));
      this.held.push({ id, isMetadata, extents, blocks });
    } else {
      space.unreserve(id, blocks);
    }
    space.settle(id);
    return extents !== undefined;
  }

  remove(at: number, isRead: boolean): void {
    const [chunk] = this.held.splice(at % Math.max(this.held.length, 1), 1);
    if (!chunk) return;
    if (isRead) {
      this.space.pin(chunk.extents);
      this.pinned.push(chunk);
    }
    this.index.remove(chunk.id);
    this.space.release({ ...chunk, kind: 'live' });
  }

  unpinAll(): void {
    for (const { extents } of this.pinned.splice(0)) this.space.unpin(extents);
  }

  checkpoint(): void {
    const { space, index } = this;
    const old = this.#images;
    this.#images = space.takeImage(DIRECTORY_BLOCKS / 2).flat();
    for (const { words, usedSlots } of index.partitions) {
      const blocks = imageBlocks(words.length / SLOT_WORDS) / 2;
      if (usedSlots > 0) this.#images.push(...space.takeImage(blocks).flat());
    }
    space.releaseImages(old);
    for (const [number, { usedSlots }] of index.partitions.entries()) {
      if (usedSlots === 0) index.dropEmpty(number);
    }
  }

  /** What is reported is what its definition says, with so much reserved. */
  check(reserved: { shards?: number; metadata?: number } = {}): void {
    const sum = (chunks: readonly Chunk[], isMetadata: boolean): number =>
      chunks.reduce((total, it) => total + (it.isMetadata === isMetadata ? it.blocks : 0), 0);
    const all = [...this.held, ...this.pinned];
    const images = this.#images.reduce((total, { blocks }) => total + blocks, 0);
    const kept = 2 * (this.index.goalBlocks + DIRECTORY_BLOCKS) + MARGIN_BLOCKS;
    const metadata = sum(all, true) + (reserved.metadata ?? 0);
    const actual = Math.max(kept, images) + metadata;
    const { totalBlocks } = this.space.allocator;
    const needed =
      FIXED_BLOCKS +
      BITMAP_BLOCKS +
      sum(all, false) +
      (reserved.shards ?? 0) +
      allowanceBlocks(totalBlocks, actual);
    expect(this.space.neededBlocks).toBe(needed);
    const usedBlocks = Math.min(needed, totalBlocks);
    const usage = { sizeBlocks: totalBlocks, usedBlocks, freeBlocks: totalBlocks - usedBlocks };
    expect(this.space.usage()).toEqual(usage);
  }
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ shard: fc.integer({ min: 1, max: 90 }) }) },
  { weight: 3, arbitrary: fc.record({ metadata: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 4, arbitrary: fc.record({ remove: fc.nat(1000), isRead: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ checkpoint: true }) },
  { weight: 1, arbitrary: fc.constant({ unpin: true }) },
);

describe('space', () => {
  it('sets metadata aside in steps, with half a reserve to spare', () => {
    const size = fc.integer({ min: 1, max: 2 ** 34 });
    fc.assert(
      fc.property(size, fc.nat(2 ** 24), (sizeBlocks, actual) => {
        const reserve = metadataReserveBytes(sizeBlocks * BLOCK_BYTES) / BLOCK_BYTES;
        const setAside = Math.max(Math.ceil(reserve), 1);
        const allowance = allowanceBlocks(sizeBlocks, actual);
        const doublings = Math.log2(allowance / setAside);
        expect(Number.isInteger(doublings)).toBe(true);
        expect(actual).toBeLessThanOrEqual(allowance - setAside / 2);
        if (doublings > 0) expect(actual).toBeGreaterThan(allowance / 2 - setAside / 2);
        expect(allowanceBlocks(sizeBlocks, actual + 1)).toBeGreaterThanOrEqual(allowance);
      }),
    );
    // A full-grown store keeps the whole reserve from shards while there is little metadata.
    const reserveBlocks = LIMITS.metadataReserveBytesMax / BLOCK_BYTES;
    expect(allowanceBlocks((64 * 1024 * MiB) / BLOCK_BYTES, 0)).toBe(reserveBlocks);
    expect(allowanceBlocks(0, 0)).toBe(1);
  });

  it('counts everything as its definition says, and gives it all back', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 40, maxLength: 200 }), (steps) => {
        const bed = new Bed(1500);
        const atFirst = bed.space.usage();
        bed.check();
        for (const each of steps) {
          if ('shard' in each) bed.put(each.shard, false);
          else if ('metadata' in each) bed.put(each.metadata, true);
          else if ('remove' in each) bed.remove(each.remove, each.isRead);
          else if ('checkpoint' in each) bed.checkpoint();
          else bed.unpinAll();
          bed.check();
        }
        while (bed.held.length > 0) bed.remove(0, false);
        bed.unpinAll();
        bed.checkpoint();
        bed.checkpoint();
        expect(bed.space.usage()).toEqual(atFirst);
      }),
      { numRuns: 150 },
    );
  });

  it('does not move with metadata until the allowance does', () => {
    const bed = new Bed(8000);
    const { usedBlocks } = bed.space.usage();
    const reserve = 8000 / 16;
    // What is kept for images and the log share the first half of the reserve.
    const kept = 2 * (imageBlocks(64) + DIRECTORY_BLOCKS) + MARGIN_BLOCKS;
    let metadata = 0;
    while (kept + metadata + 5 <= reserve / 2) {
      expect(bed.put(5, true)).toBe(true);
      metadata += 5;
      expect(bed.space.usage().usedBlocks).toBe(usedBlocks);
    }
    expect(metadata).toBeGreaterThan(100);
    expect(bed.put(5, true)).toBe(true);
    expect(bed.space.usage().usedBlocks).toBe(usedBlocks + reserve);
  });

  it('refuses shards, not metadata, that make the index larger than its memory', () => {
    const index = new IndexTable(0);
    const space = new Space({
      allocator: new Allocator(100_000),
      index,
      capacityBlocks: 100_000,
      hardMaxBytes: 0,
      directoryBlocks: DIRECTORY_BLOCKS,
      bitmapBlocks: 4,
      indexBytesMax: 128 * 64,
    });
    let count = 0;
    const reserveAll = (): void => {
      for (; count < 100; count++) expect(space.reserve(idOf(count, false), 1)).toBe(0);
    };
    expect(reserveAll).toThrow(/no memory for another chunk: the index may take 8192 bytes/);
    // Three quarters of 128 slots, at six slots promised to each.
    expect(count).toBe(16);
    const { usedBlocks } = space.usage();
    expect(space.reserve(idOf(1000, true), 1)).toBe(0);
    // The table is too large now, but it has room: what does not make it larger is taken.
    expect(space.reserve(idOf(count, false), 1)).toBe(0);
    expect(space.usage().usedBlocks).toBeGreaterThan(usedBlocks);
  });
});
