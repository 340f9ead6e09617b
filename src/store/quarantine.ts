/**
 * Blocks of a bad chunk are tried before they are used again: a disk puts another sector in the
 * place of a bad one when it is written. Blocks that do not give back what was written stay out of
 * use, counted as used, until the next mount; so do those whose turn has not come when the store is
 * closed.
 */
import { bytesEqual, errorCode, Mutex } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Log } from '../env/index.ts';
import type { Extent } from './allocator.ts';
import { BLOCK_BYTES } from './geometry.ts';
import { runsOf } from './index-image.ts';
import { describeBlocks } from './read-around.ts';

const PIECE_BLOCKS = 64;
const PATTERN = 0x5a;

export class Quarantine {
  readonly #device: BlockDevice;
  readonly #log: Log;
  readonly #giveBack: (extent: Extent) => void;
  readonly #underWay = new Set<Promise<void>>();
  /** One chunk after the other: each piece takes memory, and there is no hurry. */
  readonly #turns = new Mutex();
  #isClosing = false;
  /** Blocks out of use, which nothing on the device says. */
  readonly badExtents: Extent[] = [];

  /** @param options.giveBack makes good blocks free. */
  constructor(options: {
    readonly device: BlockDevice;
    readonly log: Log;
    readonly giveBack: (extent: Extent) => void;
  }) {
    this.#device = options.device;
    this.#log = options.log;
    this.#giveBack = options.giveBack;
  }

  /** Starts to try blocks that nothing uses and nobody else may take. */
  take(extents: readonly Extent[]): void {
    const trying = this.#turns
      .run(() => this.#try(extents))
      .finally(() => this.#underWay.delete(trying));
    this.#underWay.add(trying);
  }

  /** Waits for what is being tried; the rest is left to the next mount, which finds it free. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.all(this.#underWay);
  }

  async #try(extents: readonly Extent[]): Promise<void> {
    const bad: number[] = [];
    for (const { start, blocks } of extents) {
      for (let at = 0; at < blocks; at += PIECE_BLOCKS) {
        if (this.#isClosing) {
          this.badExtents.push({ start: start + at, blocks: blocks - at });
          break;
        }
        const piece = { start: start + at, blocks: Math.min(PIECE_BLOCKS, blocks - at) };
        if (await this.#isGood(piece)) this.#giveBack(piece);
        else bad.push(...(await this.#trySingly(piece)));
      }
    }
    if (bad.length === 0) return;
    this.badExtents.push(...runsOf(bad));
    const where = describeBlocks(runsOf(bad));
    this.#log.error('blocks are out of use', { device: this.#device.name, where });
  }

  /** @returns the bad blocks. */
  async #trySingly({ start, blocks }: Extent): Promise<number[]> {
    const bad: number[] = [];
    for (let block = start; block < start + blocks; block++) {
      const single = { start: block, blocks: 1 };
      if (await this.#isGood(single)) this.#giveBack(single);
      else bad.push(block);
    }
    return bad;
  }

  async #isGood({ start, blocks }: Extent): Promise<boolean> {
    const written = this.#device.allocate(blocks * BLOCK_BYTES).fill(PATTERN);
    const read = this.#device.allocate(written.length);
    try {
      await this.#device.write([written], start * BLOCK_BYTES);
      await this.#device.read(read, start * BLOCK_BYTES);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return false;
    }
    return bytesEqual(written, read);
  }
}
