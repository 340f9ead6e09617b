/**
 * Checkpoints: the index goes to new images, so that the journal can be used again.
 *
 *   idle ──start──▶ writing images, one partition after the other, while commits go on
 *        ──▶ directory, bitmap ──flush──▶ superblock ──▶ old images and journal given back
 *        ──▶ (room at the end of the device given back) ──▶ idle
 *
 * Invariants: (1) only partitions that changed are written; the others keep their images; (2) an
 * image holds everything up to the batch it names: its table is copied in one turn, and the index
 * has applied exactly the durable batches then; an empty table gets no image; (3) the new mark is
 * the journal's head when the checkpoint began; replay passes over what an image holds already; (4)
 * nothing old is given back before all superblock copies are durable; (5) a failed write stops the
 * store; (6) a device shrinks only when a superblock of the smaller size is durable.
 */
import { errorCode, errorMessage, LIMITS, Mutex } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import type { Extent } from './allocator.ts';
import { roomyBitmapBlocks, writeBitmap } from './bitmap.ts';
import { BlockPairs } from './block-pairs.ts';
import { type Directory, readDirectory, writeDirectory } from './directory.ts';
import { bitmapBlocksFor, BLOCK_BYTES } from './geometry.ts';
import type { Health } from './health.ts';
import { type IndexImage, readImage, writeImage } from './index-image.ts';
import { tableBytes } from './index-table.ts';
import type { Inventory } from './inventory.ts';
import type { Journal } from './journal.ts';
import type { PlantedFault } from './planted-fault.ts';
import { possibleBlocks, worthwhileBlocks } from './shrink.ts';
import { seedOf, type Superblock, writeSuperblock } from './superblock.ts';

export class Checkpointer {
  readonly #env: Env;
  readonly #device: BlockDevice;
  readonly #health: Health;
  readonly #inventory: Inventory;
  readonly #journal: Journal;
  readonly #plantedFault: PlantedFault | undefined;
  readonly #pairs: BlockPairs;
  /** Held while the superblock or what it names is written or checked. */
  readonly #mutex = new Mutex();
  readonly #images: (IndexImage | undefined)[];
  readonly #badExtents: readonly Extent[];
  #directoryExtents: readonly Extent[];
  #superblock: Superblock;
  #running: Promise<void> | undefined;
  /** Of the monotonic clock. */
  #lastAtMs: number;

  constructor(options: {
    readonly env: Env;
    readonly device: BlockDevice;
    readonly health: Health;
    readonly inventory: Inventory;
    readonly journal: Journal;
    readonly superblock: Superblock;
    readonly images: readonly (IndexImage | undefined)[];
    readonly directoryExtents: readonly Extent[];
    /** Blocks that are out of use until the next mount; for the bitmap they are free. */
    readonly badExtents: readonly Extent[];
    readonly plantedFault: PlantedFault | undefined;
  }) {
    this.#env = options.env;
    this.#device = options.device;
    this.#health = options.health;
    this.#inventory = options.inventory;
    this.#journal = options.journal;
    this.#superblock = options.superblock;
    this.#images = [...options.images];
    this.#directoryExtents = options.directoryExtents;
    this.#plantedFault = options.plantedFault;
    this.#pairs = new BlockPairs({ device: options.device, seed: seedOf(options.superblock.id) });
    this.#lastAtMs = options.env.clock.monotonic();
    this.#badExtents = options.badExtents;
  }

  get superblock(): Superblock {
    return this.#superblock;
  }

  /** Asked when something was committed: the journal is half full, or the images are old. */
  get isDue(): boolean {
    const { usedBlocks, ringBlocks } = this.#journal;
    const ageMs = this.#env.clock.monotonic() - this.#lastAtMs;
    return usedBlocks * 2 >= ringBlocks || ageMs >= LIMITS.checkpointAgeMsMax;
  }

  /** Makes a checkpoint, or waits for the one under way. @throws HF_DEVICE_FAILED. */
  async start(): Promise<void> {
    this.#running ??= this.#checkpoint(false).finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  /** The last checkpoint: afterwards there is no journal to replay. Nothing commits meanwhile. */
  async close(): Promise<void> {
    await this.#running;
    await this.#checkpoint(true);
  }

  /** Writes the superblock with changes, all copies. @throws HF_DEVICE_FAILED. */
  async writeSuperblock(changes: Partial<Superblock>): Promise<void> {
    await this.#mutex.run(() => this.#write(changes));
  }

  /**
   * Reads the directory and all images, both copies of each block, and mends bad ones.
   * @returns how many copies were bad.
   */
  async scrubImages(): Promise<number> {
    return await this.#mutex.run(async () => {
      const seed = seedOf(this.#superblock.id);
      const pairs = new BlockPairs({ device: this.#device, seed, readsBoth: true });
      const count = this.#images.length;
      for (const entry of await readDirectory(pairs, this.#superblock.directory, count)) {
        if (entry && entry !== 'lost') await readImage(pairs, entry);
      }
      try {
        return await pairs.mend();
      } catch (error) {
        throw this.#health.stop(error);
      }
    });
  }

  async #checkpoint(isClean: boolean): Promise<void> {
    await this.#mutex.run(async () => {
      this.#health.check();
      try {
        await this.#writeAll(isClean);
        await this.#shrink();
        this.#lastAtMs = this.#env.clock.monotonic();
      } catch (error) {
        throw this.#health.stop(error);
      }
    });
  }

  async #writeAll(isClean: boolean): Promise<void> {
    const { space, index } = this.#inventory;
    const mark = this.#journal.head;
    const usedBlocks = this.#journal.usedBlocks;
    const target = { device: this.#device, space, pairs: this.#pairs };
    const old: Extent[] = [...this.#directoryExtents];
    // A device that is to shrink is written from its start; what lies near its end moves there.
    const endBlock = worthwhileBlocks(this.#device, space) ?? Infinity;
    if (endBlock < Infinity) space.allocator.startLow();
    for (const [number, partition] of index.partitions.entries()) {
      const isInside = (this.#images[number]?.extents ?? []).every(endsBefore(endBlock));
      if (!partition.isDirty && isInside) continue;
      partition.isDirty = false;
      const isEmpty = partition.usedSlots === 0;
      const table = tableBytes(partition.words.slice());
      const seq = this.#journal.head.seq - 1;
      const image = isEmpty ? undefined : await writeImage(target, table, seq);
      old.push(...(this.#images[number]?.extents ?? []));
      this.#images[number] = image;
    }
    const directory = await writeDirectory(target, this.#images);
    const bitmap = await this.#writeBitmap(old, endBlock);
    if (this.#plantedFault !== 'images-not-flushed') await this.#device.flush();
    const { bitmap: oldBitmap } = this.#superblock;
    await this.#publish(directory, { mark, isClean, bitmap });
    this.#journal.giveBack(usedBlocks);
    space.releaseImages(old);
    if (bitmap !== oldBitmap && oldBitmap.blocks > 0) space.allocator.release(oldBitmap);
    for (const [number, image] of this.#images.entries()) if (!image) index.dropEmpty(number);
  }

  /**
   * Brings the bitmap up to date, in another place if it has to move.
   * @param old images that are free once the checkpoint is complete.
   */
  async #writeBitmap(old: readonly Extent[], endBlock: number): Promise<Extent> {
    const { space } = this.#inventory;
    const { allocator } = space;
    const present = this.#superblock.bitmap;
    const isWide = present.blocks >= bitmapBlocksFor(allocator.totalBlocks);
    const wanted = roomyBitmapBlocks(
      allocator.totalBlocks,
      this.#device.capacityBytes / BLOCK_BYTES,
    );
    const isGood = isWide && endsBefore(endBlock)(present);
    const moved = isGood ? undefined : space.takeBitmap(wanted);
    const region = moved ?? present;
    const freed = [...old, ...this.#badExtents];
    if (moved && present.blocks > 0) freed.push(present);
    for (const extent of freed) allocator.markStale(extent);
    if (moved) allocator.markAllStale();
    const numbers = allocator.takeStale();
    const place = { device: this.#device, region, seed: seedOf(this.#superblock.id) };
    await writeBitmap(place, { allocator, numbers, freed });
    return region;
  }

  /** Gives room at the end of the device back, if that is worth it. */
  async #shrink(): Promise<void> {
    const { space } = this.#inventory;
    if (possibleBlocks(this.#device, space) === undefined) return;
    await space.resizing.run(async () => {
      const blocks = possibleBlocks(this.#device, space);
      if (blocks === undefined) return;
      space.allocator.shrink(blocks);
      await this.#write({ sizeBytes: blocks * BLOCK_BYTES });
      try {
        await this.#device.shrink(blocks * BLOCK_BYTES);
      } catch (error) {
        // The room stays in use: nothing is lost.
        if (errorCode(error) !== 'HF_IO') throw error;
        const fields = { device: this.#device.name, reason: errorMessage(error) };
        this.#env.log.warn('a store could not give room back', fields);
      }
      space.allocator.grow(this.#device.sizeBytes / BLOCK_BYTES);
    });
  }

  async #publish(directory: Directory, changes: Partial<Superblock>): Promise<void> {
    const { space } = this.#inventory;
    await this.#write({
      ...changes,
      directory: directory.pairs,
      chunkCount: this.#inventory.chunkCount,
      usedBlocks: space.usedBlocks,
      sizeBytes: this.#device.sizeBytes,
    });
    this.#directoryExtents = directory.extents;
  }

  async #write(changes: Partial<Superblock>): Promise<void> {
    this.#health.check();
    const superblock = { ...this.#superblock, ...changes, seq: this.#superblock.seq + 1 };
    const isFlushedOnce = this.#plantedFault === 'superblocks-flushed-once';
    try {
      await writeSuperblock(this.#device, superblock, { isFlushedOnce });
    } catch (error) {
      throw this.#health.stop(error);
    }
    this.#superblock = superblock;
  }
}

function endsBefore(endBlock: number): (extent: Extent) => boolean {
  return ({ start, blocks }) => start + blocks <= endBlock;
}
