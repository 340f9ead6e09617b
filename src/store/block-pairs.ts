/**
 * Blocks that are stored twice, with their checksum in the parent (see index-image.ts).
 *
 * Reading takes whichever copy is good and notes the other when it is bad; `mend` then writes the
 * good content over it. Nothing else is ever written in place.
 */
import { asBuffer, errorCode, xxh64 } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import { BLOCK_BYTES } from './geometry.ts';

/** Two block numbers of eight bytes each, and the XXH64. */
export const PAIR_BYTES = 24;

const BLOCKS_PER_READ = 256;

export interface BlockPair {
  readonly first: number;
  readonly second: number;
  readonly checksum: bigint;
}

export function writePair(target: Uint8Array, at: number, pair: BlockPair): void {
  const view = new DataView(target.buffer, target.byteOffset + at, PAIR_BYTES);
  view.setBigUint64(0, BigInt(pair.first), true);
  view.setBigUint64(8, BigInt(pair.second), true);
  view.setBigUint64(16, pair.checksum, true);
}

export function readPair(source: Buffer, at: number): BlockPair {
  return {
    first: Number(source.readBigUInt64LE(at)),
    second: Number(source.readBigUInt64LE(at + 8)),
    checksum: source.readBigUInt64LE(at + 16),
  };
}

interface MendableCopy {
  readonly block: number;
  readonly content: Uint8Array;
}

/** A copy of a block that is not what its parent says. */
export interface BadCopy {
  readonly block: number;
  readonly copy: 'first' | 'second';
  readonly isReadable: boolean;
  /** The other copy is good. */
  readonly isMended: boolean;
}

export class BlockPairs {
  readonly #device: BlockDevice;
  readonly #seed: bigint;
  readonly #readsBoth: boolean;
  readonly #onBadCopy: ((bad: BadCopy) => void) | undefined;
  #badCopies: MendableCopy[] = [];

  /**
   * @param options.seed of the checksums: differs from store to store.
   * @param options.readsBoth look at the second copy even when the first is good.
   * @param options.onBadCopy told of each copy that was looked at and is bad.
   */
  constructor(options: {
    device: BlockDevice;
    seed: bigint;
    readsBoth?: boolean;
    onBadCopy?: (bad: BadCopy) => void;
  }) {
    this.#device = options.device;
    this.#seed = options.seed;
    this.#readsBoth = options.readsBoth ?? false;
    this.#onBadCopy = options.onBadCopy;
  }

  get badCopies(): number {
    return this.#badCopies.length;
  }

  checksum(block: Uint8Array): bigint {
    return xxh64(block, this.#seed);
  }

  /** The content of each pair; `undefined` where both copies are bad. */
  async read(pairs: readonly BlockPair[]): Promise<(Uint8Array | undefined)[]> {
    const first = await this.#readBlocks(pairs.map((pair) => pair.first));
    const isGood = (block: Uint8Array | undefined, pair: BlockPair): boolean =>
      block !== undefined && this.checksum(block) === pair.checksum;
    const contents = first.map((block, index) =>
      isGood(block, pairs[index]!) ? block : undefined,
    );
    const others = [...pairs.keys()].filter((at) => this.#readsBoth || !contents[at]);
    const second = await this.#readBlocks(others.map((at) => pairs[at]!.second));
    others.forEach((at, index) => {
      const pair = pairs[at]!;
      const isFirstGood = contents[at] !== undefined;
      const isSecondGood = isGood(second[index], pair);
      contents[at] ??= isSecondGood ? second[index] : undefined;
      const content = contents[at];
      if (!isFirstGood) this.#note(pair.first, 'first', { read: first[at], content });
      if (!isSecondGood) this.#note(pair.second, 'second', { read: second[index], content });
    });
    return contents;
  }

  /** Writes the good content over the copies that were found bad. @returns how many there were. */
  async mend(): Promise<number> {
    const bad = this.#badCopies;
    this.#badCopies = [];
    for (const { block, content } of bad) {
      const memory = this.#device.allocate(BLOCK_BYTES);
      memory.set(content);
      await this.#device.write([memory], block * BLOCK_BYTES);
    }
    if (bad.length > 0) await this.#device.flush();
    return bad.length;
  }

  /** @param what.content of the other copy, if that is good. */
  #note(
    block: number,
    copy: BadCopy['copy'],
    { read, content }: { read: Uint8Array | undefined; content: Uint8Array | undefined },
  ): void {
    if (content) this.#badCopies.push({ block, content });
    const isMended = content !== undefined;
    this.#onBadCopy?.({ block, copy, isReadable: read !== undefined, isMended });
  }

  /** Blocks in the order asked for, neighbours in one transfer; `undefined` where it failed. */
  async #readBlocks(blocks: readonly number[]): Promise<(Uint8Array | undefined)[]> {
    const contents: (Uint8Array | undefined)[] = [];
    for (let from = 0; from < blocks.length;) {
      let to = from + 1;
      while (
        to < blocks.length &&
        to - from < BLOCKS_PER_READ &&
        blocks[to] === blocks[to - 1]! + 1
      ) {
        to += 1;
      }
      const run = await this.#readRun(blocks[from]!, to - from);
      if (!run && to - from > 1) {
        // One bad block must not hide its neighbours.
        for (let at = from; at < to; at++) contents.push(await this.#readRun(blocks[at]!, 1));
      } else {
        for (let at = 0; at < to - from; at++) {
          contents.push(run?.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES));
        }
      }
      from = to;
    }
    return contents;
  }

  async #readRun(start: number, count: number): Promise<Uint8Array | undefined> {
    const end = (start + count) * BLOCK_BYTES;
    if (!Number.isSafeInteger(end) || end > this.#device.sizeBytes) return undefined;
    const memory = this.#device.allocate(count * BLOCK_BYTES);
    try {
      await this.#device.read(memory, start * BLOCK_BYTES);
    } catch (error) {
      if (errorCode(error) !== 'HF_IO') throw error;
      return undefined;
    }
    return asBuffer(memory);
  }
}
