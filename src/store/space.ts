/**
 * How much room there is and who may use it, so that a full store is found out before a byte is
 * written, and deletes and checkpoints always have what they need.
 *
 * - *reserve*: room that only metadata chunks may take, of what the device has now: the log must be
 *   able to say what goes when the filesystem has nothing more to give.
 * - *reserved*: blocks promised to chunks that have none yet.
 * - *metadata*: blocks held by index images and the directory, those being written included.
 * - *pin*: a reader of a chunk; its extents stay as they are until it is done.
 *
 * Invariants: (1) free + metadata ≥ reserved + 2 × (images of the index at its goal, directory),
 * with both copies each: one set in use and one being written; hence a checkpoint never lacks room.
 * (2) A shard is taken only if the reserve is free afterwards. (3) Extents are given back only when
 * the batch that frees them is durable and no reader is pinned.
 */
import { assert, type ChunkId, LIMITS } from '../base/index.ts';
import { Allocator, type Extent } from './allocator.ts';
import { isMetadataChunk } from './chunk-format.ts';
import { BLOCK_BYTES, blocksFor, metadataReserveBytes } from './geometry.ts';
import type { IndexTable } from './index-table.ts';
import { SLOTS_MAX } from './slot.ts';

/** Kept free beyond what the arithmetic asks for. */
const MARGIN_BLOCKS = 64;

function reserveBlocks(sizeBlocks: number): number {
  return blocksFor(metadataReserveBytes(sizeBlocks * BLOCK_BYTES));
}

interface Pin {
  readers: number;
  /** To be given back with the last reader. */
  freed: readonly Extent[] | undefined;
}

export class Space {
  #allocator: Allocator;
  readonly #index: IndexTable;
  readonly #hardMaxBlocks: number;
  readonly #directoryBlocks: number;
  /** By the first block of the chunk. */
  readonly #pins = new Map<number, Pin>();
  #reservedBlocks = 0;
  #metadataBlocks = 0;

  constructor(options: {
    readonly allocator: Allocator;
    readonly index: IndexTable;
    /** 0 means no limit. */
    readonly hardMaxBytes: number;
    readonly directoryBlocks: number;
  }) {
    this.#allocator = options.allocator;
    this.#index = options.index;
    this.#directoryBlocks = options.directoryBlocks;
    const { hardMaxBytes } = options;
    this.#hardMaxBlocks = hardMaxBytes > 0 ? Math.floor(hardMaxBytes / BLOCK_BYTES) : Infinity;
  }

  get allocator(): Allocator {
    return this.#allocator;
  }

  /** For the mount only, which may have to begin anew. */
  replaceAllocator(allocator: Allocator): void {
    this.#allocator = allocator;
  }

  /** Blocks in use: taken, reserved, or kept for metadata. */
  get usedBlocks(): number {
    const taken = this.allocator.totalBlocks - this.allocator.freeBlocks;
    const kept = 2 * (this.#index.goalBlocks + this.#directoryBlocks) + MARGIN_BLOCKS;
    return taken + this.#reservedBlocks + Math.max(kept - this.#metadataBlocks, 0);
  }

  /** Blocks that the store may use now. */
  get sizeBlocks(): number {
    return Math.min(this.allocator.totalBlocks, this.#hardMaxBlocks);
  }

  /** Blocks that a shard may take when the device has grown by so many. */
  freeBlocks(growthBlocks: number): number {
    const sizeBlocks = this.sizeBlocks + growthBlocks;
    return Math.max(sizeBlocks - this.usedBlocks - reserveBlocks(sizeBlocks), 0);
  }

  /** Blocks by which growing the device would help, at the most. */
  get growthBlocks(): number {
    return this.#hardMaxBlocks - this.allocator.totalBlocks;
  }

  /**
   * Promises room for a chunk and its slots.
   * @returns how many blocks the device has to grow by; 0: promised.
   */
  reserve(id: ChunkId, blocks: number): number {
    this.#index.plan(id, SLOTS_MAX);
    const keptBlocks = isMetadataChunk(id) ? 0 : reserveBlocks(this.sizeBlocks);
    const missing = this.usedBlocks + blocks + keptBlocks - this.sizeBlocks;
    if (missing > 0) {
      this.#index.unplan(id, SLOTS_MAX);
      return missing;
    }
    this.#reservedBlocks += blocks;
    return 0;
  }

  /** Takes back the promise of the slots, when the operation is over either way. */
  settle(id: ChunkId): void {
    this.#index.unplan(id, SLOTS_MAX);
  }

  /** Takes back the promise of blocks that were not taken. */
  unreserve(blocks: number): void {
    this.#reservedBlocks -= blocks;
    assert(this.#reservedBlocks >= 0, 'what is taken back was reserved');
  }

  /** Turns reserved blocks into one run; `undefined` when no run is so long. */
  takeRun(blocks: number): Extent | undefined {
    const run = this.allocator.takeRun(blocks);
    if (run) this.unreserve(blocks);
    return run;
  }

  /** Turns reserved blocks into a chunk's extents; `undefined` when they are too scattered. */
  takeExtents(blocks: number): Extent[] | undefined {
    const extents = this.allocator.takeExtents(blocks, LIMITS.extentsPerChunkMax);
    if (extents) this.unreserve(blocks);
    return extents;
  }

  /** Counts extents that metadata has taken already. */
  countMetadata(extents: readonly Extent[]): void {
    this.#metadataBlocks += extents.reduce((sum, { blocks }) => sum + blocks, 0);
  }

  /** Free blocks for both copies of `blocks` blocks of metadata; there is room by invariant 1. */
  takeMetadata(blocks: number): [Extent[], Extent[]] {
    const first = this.#allocator.takeExtents(blocks, Infinity);
    const second = this.#allocator.takeExtents(blocks, Infinity);
    assert(first, 'room for metadata is kept free');
    assert(second, 'room for metadata is kept free');
    this.#metadataBlocks += 2 * blocks;
    return [first, second];
  }

  /** Nothing on the device names these extents of metadata any more. */
  releaseMetadata(extents: readonly Extent[]): void {
    for (const extent of extents) {
      this.#allocator.release(extent);
      this.#metadataBlocks -= extent.blocks;
    }
    assert(this.#metadataBlocks >= 0, 'metadata gives back what it took');
  }

  pin(extents: readonly Extent[]): void {
    const { start } = extents[0]!;
    const pin = this.#pins.get(start);
    if (pin) pin.readers += 1;
    else this.#pins.set(start, { readers: 1, freed: undefined });
  }

  unpin(extents: readonly Extent[]): void {
    const { start } = extents[0]!;
    const pin = this.#pins.get(start);
    assert(pin, 'what is unpinned was pinned');
    pin.readers -= 1;
    if (pin.readers > 0) return;
    this.#pins.delete(start);
    for (const extent of pin.freed ?? []) this.allocator.release(extent);
  }

  /** Gives the extents of a chunk back, now or with the last reader. */
  release(extents: readonly Extent[]): void {
    const pin = this.#pins.get(extents[0]!.start);
    if (pin) pin.freed = extents;
    else for (const extent of extents) this.allocator.release(extent);
  }
}
