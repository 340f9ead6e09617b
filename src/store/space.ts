/**
 * How much room there is and who may use it, so that a full store is found out before a byte is
 * written, and deletes and checkpoints always have what they need.
 *
 * - *fixed*: superblocks, journal, bitmap. *shards*: chunks that are not metadata.
 * - *reserved*: blocks promised to chunks that have none yet.
 * - *images*: blocks held by index images and the directory, those being written included.
 * - *kept*: what images need when every table is at its goal, one set in use and one being written.
 * - *actual*: blocks of metadata: images or what is kept for them, and chunks of metadata.
 * - *allowance*: room set aside for metadata, in steps (geometry.ts): the log can say what goes
 *   when shards have filled up the rest, and what is in use does not move with each of its entries.
 * - *pin*: a reader of a chunk; its extents stay as they are until it is done.
 *
 * Invariants: (1) fixed + shards + reserved + actual ≤ size, so a checkpoint never lacks room; (2)
 * after a shard is promised room, fixed + shards + reserved + allowance ≤ size; (3) what is
 * reported is used + free = size, with used = fixed + shards + reserved + allowance; (4) extents
 * are given back only when the batch that frees them is durable and no reader is pinned. A hard
 * maximum that was lowered suspends (1) and (2) while more is in use; the device has the room.
 */
import { assert, type ChunkId, HoldfastError, LIMITS, Mutex } from '../base/index.ts';
import { Allocator, type Extent } from './allocator.ts';
import { isMetadataChunk } from './chunk-format.ts';
import { allowanceBlocks, bitmapBlocksFor, BLOCK_BYTES } from './geometry.ts';
import type { IndexTable } from './index-table.ts';
import { type ChunkRecord, SLOTS_MAX } from './slot.ts';

/**
 * Metadata says what goes, so its chunks may make the index this many times as large as shards may.
 * The mount allows it too, or a store would not open again.
 */
export const METADATA_INDEX_FACTOR = 2;

/** Kept free beyond what the arithmetic asks for. */
const MARGIN_BLOCKS = 64;

type Held = Pick<ChunkRecord, 'id' | 'extents'> & { readonly kind?: ChunkRecord['kind'] };

/** In blocks; sizeBlocks = usedBlocks + freeBlocks. */
export interface SpaceUsage {
  /** What the store may grow to, as far as is known. */
  readonly sizeBlocks: number;
  readonly usedBlocks: number;
  /** What shards may still take. */
  readonly freeBlocks: number;
}

interface Pin {
  readers: number;
  /** To be given back with the last reader. */
  freed: Held | undefined;
}

function countBlocks(extents: readonly Extent[]): number {
  return extents.reduce((sum, { blocks }) => sum + blocks, 0);
}

export class Space {
  /** Held while the device grows or shrinks. */
  readonly resizing = new Mutex();
  /** Whether the filesystem had no room when the device was to grow last. */
  isGrowthRefused = false;
  /** Takes care of the blocks of a chunk that was bad: they are not free before they are tried. */
  onDoubtful: ((extents: readonly Extent[]) => void) | undefined;
  #allocator: Allocator;
  readonly #index: IndexTable;
  readonly #indexBytesMax: number;
  readonly #capacityBlocks: number;
  readonly #directoryBlocks: number;
  #hardMaxBlocks = Infinity;
  #bitmapBlocks: number;
  /** By the first block of the chunk. */
  readonly #pins = new Map<number, Pin>();
  #reservedBlocks = 0;
  #imageBlocks = 0;
  /** Of metadata chunks, those reserved included. */
  #metadataChunkBlocks = 0;

  constructor(options: {
    readonly allocator: Allocator;
    readonly index: IndexTable;
    /** What the device may grow to. */
    readonly capacityBlocks: number;
    /** 0 means no limit. */
    readonly hardMaxBytes: number;
    /** Both copies. */
    readonly directoryBlocks: number;
    /** Of the region that is there; 0 when none is. */
    readonly bitmapBlocks: number;
    /** Memory that shards may make the tables of the index take; no limit when left out. */
    readonly indexBytesMax?: number | undefined;
  }) {
    this.#allocator = options.allocator;
    this.#index = options.index;
    this.#indexBytesMax = options.indexBytesMax ?? Infinity;
    this.#capacityBlocks = options.capacityBlocks;
    this.#directoryBlocks = options.directoryBlocks;
    this.#bitmapBlocks = options.bitmapBlocks;
    this.setHardMax(options.hardMaxBytes);
  }

  get allocator(): Allocator {
    return this.#allocator;
  }

  /** For the mount only, which may have to begin anew. */
  replaceAllocator(allocator: Allocator): void {
    this.#allocator = allocator;
  }

  /** @param bytes 0 means no limit. It may be below what is in use. */
  setHardMax(bytes: number): void {
    this.#hardMaxBlocks = bytes > 0 ? Math.floor(bytes / BLOCK_BYTES) : Infinity;
  }

  /** As it is reported: of the size that the device may grow to, unless that was refused. */
  usage(): SpaceUsage {
    const { totalBlocks } = this.allocator;
    const growth = this.isGrowthRefused ? 0 : this.growthBlocks;
    const sizeBlocks = Math.min(totalBlocks + growth, this.#hardMaxBlocks);
    const wanted = this.#heldBlocks(sizeBlocks) + allowanceBlocks(sizeBlocks, this.#actualBlocks);
    const usedBlocks = Math.min(wanted, sizeBlocks);
    return { sizeBlocks, usedBlocks, freeBlocks: sizeBlocks - usedBlocks };
  }

  /** Fixed, shards, reserved and allowance, if the device stays as large as it is. */
  get neededBlocks(): number {
    const { totalBlocks } = this.allocator;
    return this.#heldBlocks(totalBlocks) + allowanceBlocks(totalBlocks, this.#actualBlocks);
  }

  /** Blocks that the store may use without growing. */
  get sizeBlocks(): number {
    return Math.min(this.allocator.totalBlocks, this.#hardMaxBlocks);
  }

  /** Blocks that the device may still grow by, if its filesystem has them. */
  get growthBlocks(): number {
    const limit = Math.min(this.#capacityBlocks, this.#hardMaxBlocks);
    return Math.max(limit - this.allocator.totalBlocks, 0);
  }

  get usedBlocks(): number {
    return this.usage().usedBlocks;
  }

  /**
   * Promises room for a chunk and its slots.
   * @returns how many blocks the device has to grow by; 0: promised.
   * @throws HF_NO_SPACE when the index would need more memory than it may have.
   */
  reserve(id: ChunkId, blocks: number): number {
    const isMetadata = isMetadataChunk(id);
    const { tableBytes } = this.#index;
    this.#index.plan(id, SLOTS_MAX);
    const bytesMax = this.#indexBytesMax * (isMetadata ? METADATA_INDEX_FACTOR : 1);
    if (this.#index.tableBytes > Math.max(bytesMax, tableBytes)) {
      this.#index.unplan(id, SLOTS_MAX);
      throw new HoldfastError(
        'HF_NO_SPACE',
        `there is no memory for another chunk: the index may take ${bytesMax} bytes`,
      );
    }
    const size = this.sizeBlocks;
    const actual = this.#actualBlocks;
    const aside = isMetadata ? actual : allowanceBlocks(size, actual);
    const missing = this.#heldBlocks(size) + aside + blocks - size;
    if (missing > 0) {
      this.#index.unplan(id, SLOTS_MAX);
      return missing;
    }
    this.#reservedBlocks += blocks;
    if (isMetadata) this.#metadataChunkBlocks += blocks;
    return 0;
  }

  /** Takes back the promise of the slots, when the operation is over either way. */
  settle(id: ChunkId): void {
    this.#index.unplan(id, SLOTS_MAX);
  }

  /** Takes back the promise of blocks that were not taken. */
  unreserve(id: ChunkId, blocks: number): void {
    this.#takeReserved(blocks);
    if (isMetadataChunk(id)) this.#metadataChunkBlocks -= blocks;
  }

  /** Turns reserved blocks into one run; `undefined` when no run is so long. */
  takeRun(blocks: number): Extent | undefined {
    const run = this.allocator.takeRun(blocks);
    if (run) this.#takeReserved(blocks);
    return run;
  }

  /** Turns reserved blocks into a chunk's extents; `undefined` when they are too scattered. */
  takeExtents(blocks: number): Extent[] | undefined {
    const extents = this.allocator.takeExtents(blocks, LIMITS.extentsPerChunkMax);
    if (extents) this.#takeReserved(blocks);
    return extents;
  }

  /** Counts a chunk that the mount has found, and whose extents it has taken. */
  countChunk({ id, extents }: Held): void {
    if (isMetadataChunk(id)) this.#metadataChunkBlocks += countBlocks(extents);
  }

  /**
   * Takes the blocks that a chunk has been found on (salvage.ts). A hard maximum and the allowance
   * do not count: the chunk is there.
   * @returns false when images of the index would lack room then.
   */
  adopt({ id, extents }: Held): boolean {
    const size = this.allocator.totalBlocks;
    const blocks = countBlocks(extents);
    this.#index.plan(id, SLOTS_MAX);
    const hasRoom = this.#heldBlocks(size) + this.#actualBlocks + blocks <= size;
    this.#index.unplan(id, SLOTS_MAX);
    if (!hasRoom) return false;
    for (const extent of extents) this.allocator.take(extent);
    this.countChunk({ id, extents });
    return true;
  }

  /** Counts extents that index images have taken already. */
  countImages(extents: readonly Extent[]): void {
    this.#imageBlocks += countBlocks(extents);
  }

  /** Free blocks for both copies of `blocks` blocks of an image; there is room by invariant 1. */
  takeImage(blocks: number): [Extent[], Extent[]] {
    const first = this.#allocator.takeExtents(blocks, Infinity);
    const second = this.#allocator.takeExtents(blocks, Infinity);
    assert(first, 'room for metadata is kept free');
    assert(second, 'room for metadata is kept free');
    this.#imageBlocks += 2 * blocks;
    return [first, second];
  }

  /** Nothing on the device names these extents of images any more. */
  releaseImages(extents: readonly Extent[]): void {
    for (const extent of extents) {
      this.#allocator.release(extent);
      this.#imageBlocks -= extent.blocks;
    }
    assert(this.#imageBlocks >= 0, 'images give back what they took');
  }

  /** A run for a bitmap of so many blocks beside the one that is in use; `undefined` without. */
  takeBitmap(blocks: number): Extent | undefined {
    const size = this.sizeBlocks;
    if (this.#heldBlocks(size) + this.#actualBlocks + blocks > size) return undefined;
    const region = this.#allocator.takeRun(blocks);
    if (region) this.#bitmapBlocks = blocks;
    return region;
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
    if (pin.freed) this.#giveBack(pin.freed);
  }

  /** Gives the extents of a chunk back, now or with the last reader. */
  release(chunk: Held): void {
    const pin = this.#pins.get(chunk.extents[0]!.start);
    if (pin) pin.freed = chunk;
    else this.#giveBack(chunk);
  }

  #giveBack({ id, extents, kind }: Held): void {
    if (kind === 'bad' && this.onDoubtful) this.onDoubtful(extents);
    else for (const extent of extents) this.allocator.release(extent);
    if (isMetadataChunk(id)) this.#metadataChunkBlocks -= countBlocks(extents);
    assert(this.#metadataChunkBlocks >= 0, 'metadata gives back what it took');
  }

  #takeReserved(blocks: number): void {
    this.#reservedBlocks -= blocks;
    assert(this.#reservedBlocks >= 0, 'what is taken was reserved');
  }

  /** Fixed, shards and reserved. A bitmap that is yet to grow with the device is counted whole. */
  #heldBlocks(sizeBlocks: number): number {
    const { totalBlocks, freeBlocks } = this.allocator;
    const taken = totalBlocks - freeBlocks + this.#reservedBlocks;
    const missingBitmap = Math.max(bitmapBlocksFor(sizeBlocks) - this.#bitmapBlocks, 0);
    return taken - this.#imageBlocks - this.#metadataChunkBlocks + missingBitmap;
  }

  get #actualBlocks(): number {
    const kept = 2 * (this.#index.goalBlocks + this.#directoryBlocks) + MARGIN_BLOCKS;
    return Math.max(kept, this.#imageBlocks) + this.#metadataChunkBlocks;
  }
}
