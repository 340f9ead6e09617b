/**
 * The reading end of the journal: the batches from the mark on, and what lies behind a hole.
 *
 * The chain ends where the expected batch is not whole. After a power cut nothing lies behind the
 * end, since batches are serial; a whole later batch proves that the expected one was durable once
 * and has rotted since (a *gap*).
 */
import { errorCode } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import { BLOCK_BYTES } from './geometry.ts';
import { type Batch, batchBytes, decodeBatch } from './journal.ts';
import type { JournalMark } from './superblock.ts';

const WINDOW_BLOCKS = 256;

export interface PlacedBatch extends Batch {
  /** Its first block in the ring. */
  readonly place: number;
}

export class JournalReader {
  readonly #device: BlockDevice;
  readonly #ringStart: number;
  readonly #ringBlocks: number;
  readonly #seed: bigint;
  #window: { readonly from: number; readonly bytes: Uint8Array } | undefined;

  constructor(options: {
    readonly device: BlockDevice;
    readonly ringStart: number;
    readonly ringBlocks: number;
    readonly seed: bigint;
  }) {
    this.#device = options.device;
    this.#ringStart = options.ringStart;
    this.#ringBlocks = options.ringBlocks;
    this.#seed = options.seed;
  }

  /**
   * The batch that a mark expects, and the mark after it.
   * @returns `undefined` at the end of the chain.
   */
  async next(
    mark: JournalMark,
  ): Promise<{ batch: Batch; after: JournalMark; usedBlocks: number } | undefined> {
    for (const block of mark.block === 0 ? [0] : [mark.block, 0]) {
      const batch = await this.#batchAt(block);
      if (batch?.seq !== mark.seq || batch.chain !== mark.chain) continue;
      const end = block + batch.blocks;
      const after = {
        seq: mark.seq + 1,
        block: end === this.#ringBlocks ? 0 : end,
        chain: batch.checksum,
      };
      const skipped = block === mark.block ? 0 : this.#ringBlocks - mark.block;
      return { batch, after, usedBlocks: skipped + batch.blocks };
    }
    return undefined;
  }

  /** Whole batches after the one expected, in order; none unless the journal has a gap. */
  async behindGap(expectedSeq: number): Promise<PlacedBatch[]> {
    const batches: PlacedBatch[] = [];
    for await (const batch of this.batches()) if (batch.seq > expectedSeq) batches.push(batch);
    return batches.toSorted((a, b) => a.seq - b.seq);
  }

  /** All whole batches, old ones too, in the order of their places. */
  async *batches(): AsyncGenerator<PlacedBatch> {
    for (let block = 0; block < this.#ringBlocks; block++) {
      const batch = await this.#batchAt(block);
      if (batch) yield { ...batch, place: block };
    }
  }

  async #batchAt(block: number): Promise<Batch | undefined> {
    const first = await this.#read(block, 1);
    const bytes = first && batchBytes(first, this.#seed);
    if (bytes === undefined || block + bytes / BLOCK_BYTES > this.#ringBlocks) return undefined;
    const whole = await this.#read(block, bytes / BLOCK_BYTES);
    return whole && decodeBatch(whole, this.#seed);
  }

  async #read(block: number, count: number): Promise<Uint8Array | undefined> {
    const at = (block - (this.#window?.from ?? Infinity)) * BLOCK_BYTES;
    const bytes = count * BLOCK_BYTES;
    if (this.#window && at >= 0 && at + bytes <= this.#window.bytes.length) {
      return this.#window.bytes.subarray(at, at + bytes);
    }
    const wanted = Math.min(Math.max(count, WINDOW_BLOCKS), this.#ringBlocks - block);
    const memory = await this.#transfer(block, wanted);
    // One bad block must not hide its neighbours.
    if (!memory) return wanted > count ? await this.#transfer(block, count) : undefined;
    this.#window = { from: block, bytes: memory };
    return memory.subarray(0, bytes);
  }

  async #transfer(block: number, count: number): Promise<Uint8Array | undefined> {
    const memory = this.#device.allocate(count * BLOCK_BYTES);
    try {
      await this.#device.read(memory, (this.#ringStart + block) * BLOCK_BYTES);
    } catch (error) {
      if (errorCode(error) !== 'HF_IO') throw error;
      return undefined;
    }
    return memory;
  }
}
