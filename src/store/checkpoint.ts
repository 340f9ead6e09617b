/**
 * Checkpoints: the index goes to new images, so that the journal can be used again.
 *
 *   idle ──start──▶ writing images, one partition after the other, while commits go on
 *        ──▶ directory ──flush──▶ superblock ──▶ old images and journal given back ──▶ idle
 *
 * Invariants: (1) only partitions that changed are written; the others keep their images; (2) an
 * image holds everything up to the batch it names: its table is copied in one turn, and the index
 * has applied exactly the durable batches then; an empty table gets no image; (3) the new mark is
 * the journal's head when the checkpoint began; replay passes over what an image holds already; (4)
 * nothing old is given back before all superblock copies are durable; (5) a failed write stops the
 * store.
 */
import { Mutex } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Extent } from './allocator.ts';
import { BlockPairs } from './block-pairs.ts';
import { type Directory, readDirectory, writeDirectory } from './directory.ts';
import type { Health } from './health.ts';
import { type IndexImage, readImage, writeImage } from './index-image.ts';
import { tableBytes } from './index-table.ts';
import type { Inventory } from './inventory.ts';
import type { Journal } from './journal.ts';
import type { PlantedFault } from './planted-fault.ts';
import { seedOf, type Superblock, writeSuperblock } from './superblock.ts';

export class Checkpointer {
  readonly #device: BlockDevice;
  readonly #health: Health;
  readonly #inventory: Inventory;
  readonly #journal: Journal;
  readonly #plantedFault: PlantedFault | undefined;
  readonly #pairs: BlockPairs;
  /** Held while the superblock or what it names is written or checked. */
  readonly #mutex = new Mutex();
  readonly #images: (IndexImage | undefined)[];
  #directoryExtents: readonly Extent[];
  #superblock: Superblock;
  #running: Promise<void> | undefined;

  constructor(options: {
    readonly device: BlockDevice;
    readonly health: Health;
    readonly inventory: Inventory;
    readonly journal: Journal;
    readonly superblock: Superblock;
    readonly images: readonly (IndexImage | undefined)[];
    readonly directoryExtents: readonly Extent[];
    readonly plantedFault: PlantedFault | undefined;
  }) {
    this.#device = options.device;
    this.#health = options.health;
    this.#inventory = options.inventory;
    this.#journal = options.journal;
    this.#superblock = options.superblock;
    this.#images = [...options.images];
    this.#directoryExtents = options.directoryExtents;
    this.#plantedFault = options.plantedFault;
    this.#pairs = new BlockPairs({ device: options.device, seed: seedOf(options.superblock.id) });
  }

  get superblock(): Superblock {
    return this.#superblock;
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
    for (const [number, partition] of index.partitions.entries()) {
      if (!partition.isDirty) continue;
      partition.isDirty = false;
      const isEmpty = partition.usedSlots === 0;
      const table = tableBytes(partition.words.slice());
      const seq = this.#journal.head.seq - 1;
      const image = isEmpty ? undefined : await writeImage(target, table, seq);
      old.push(...(this.#images[number]?.extents ?? []));
      this.#images[number] = image;
    }
    const directory = await writeDirectory(target, this.#images);
    if (this.#plantedFault !== 'images-not-flushed') await this.#device.flush();
    await this.#publish(directory, { mark, isClean });
    this.#journal.giveBack(usedBlocks);
    space.releaseMetadata(old);
    for (const [number, image] of this.#images.entries()) if (!image) index.dropEmpty(number);
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
