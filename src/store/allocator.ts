/**
 * Which blocks are free: a bitmap in memory, derived from the index at mount. What is stored of it
 * (bitmap.ts) is never read back; the allocator only remembers which parts of that are stale.
 *
 * - *extent*: a run of blocks. Next fit finds one run; when there is none, the largest runs are
 *   gathered, which keeps fragmentation harmless up to 95 % full (design/store.md §4).
 *
 * Invariants: (1) `freeBlocks` is the number of clear bits; (2) a block is taken and given back
 * once each in turn, asserted; (3) bits past the end are set.
 */
import { assert } from '../base/index.ts';
import { BITMAP_BLOCK_BITS, bitmapBlocksFor } from './geometry.ts';

export interface Extent {
  /** Block number. */
  readonly start: number;
  readonly blocks: number;
}

const FULL = 0xffff_ffff;
const WORDS_PER_BITMAP_BLOCK: number = BITMAP_BLOCK_BITS / 32;

/** Bits of the blocks from `block` to `end` that share a word with `block`. */
function maskOf(block: number, end: number): number {
  const shift = block % 32;
  const count = Math.min(32 - shift, end - block);
  return count === 32 ? FULL : ((2 ** count - 1) << shift) >>> 0;
}

export class Allocator {
  #bits: Uint32Array;
  #totalBlocks = 0;
  #freeBlocks = 0;
  #cursor = 0;
  /** No free run is longer; known after a search that failed, forgotten when blocks come free. */
  #longestRun = Infinity;
  /** By block of the stored bitmap: 1 when it says something else now. */
  #stale = new Uint8Array(0);

  constructor(totalBlocks: number) {
    this.#bits = new Uint32Array(0);
    this.grow(totalBlocks);
  }

  get totalBlocks(): number {
    return this.#totalBlocks;
  }

  get freeBlocks(): number {
    return this.#freeBlocks;
  }

  /** Adds free blocks at the end. */
  grow(totalBlocks: number): void {
    assert(totalBlocks >= this.#totalBlocks, 'it grows or stays');
    const bits = new Uint32Array(Math.ceil(totalBlocks / 32)).fill(FULL);
    bits.set(this.#bits);
    this.#bits = bits;
    const stale = new Uint8Array(bitmapBlocksFor(totalBlocks));
    stale.set(this.#stale);
    this.#stale = stale;
    const added = { start: this.#totalBlocks, blocks: totalBlocks - this.#totalBlocks };
    this.#totalBlocks = totalBlocks;
    if (added.blocks > 0) this.release(added);
  }

  /** Gives up free blocks at the end; the search for free ones begins at the start again. */
  shrink(totalBlocks: number): void {
    assert(totalBlocks >= this.takenEnd, 'what is given up is free');
    if (totalBlocks >= this.#totalBlocks) return;
    this.take({ start: totalBlocks, blocks: this.#totalBlocks - totalBlocks });
    this.#totalBlocks = totalBlocks;
    this.#bits = this.#bits.slice(0, Math.ceil(totalBlocks / 32));
    this.#stale = this.#stale.slice(0, bitmapBlocksFor(totalBlocks));
    this.startLow();
  }

  /** The next search for free blocks begins at the start of the device. */
  startLow(): void {
    this.#cursor = 0;
  }

  /** The block behind the last one that is taken. */
  get takenEnd(): number {
    let end = this.#totalBlocks;
    while (end > 0) {
      const bits = this.#bits[Math.floor((end - 1) / 32)]!;
      if (bits === 0) end = Math.floor((end - 1) / 32) * 32;
      else if (this.#isTaken(end - 1)) break;
      else end -= 1;
    }
    return end;
  }

  /** Numbers of the blocks of the stored bitmap that have become stale since the last call. */
  takeStale(): number[] {
    const numbers: number[] = [];
    for (const [number, isStale] of this.#stale.entries()) if (isStale === 1) numbers.push(number);
    this.#stale.fill(0);
    return numbers;
  }

  /** Nothing of the stored bitmap can be relied on. */
  markAllStale(): void {
    this.#stale.fill(1);
  }

  /** What the stored bitmap says of these blocks is to be written again. */
  markStale({ start, blocks }: Extent): void {
    const last = Math.floor((start + blocks - 1) / BITMAP_BLOCK_BITS);
    for (let at = Math.floor(start / BITMAP_BLOCK_BITS); at <= last; at++) this.#stale[at] = 1;
  }

  /** Bits of one block of the stored bitmap; a copy. Past the end of the device they are set. */
  bitsOf(bitmapBlock: number): Uint32Array {
    const from = bitmapBlock * WORDS_PER_BITMAP_BLOCK;
    const words = new Uint32Array(WORDS_PER_BITMAP_BLOCK).fill(FULL);
    words.set(this.#bits.subarray(from, from + WORDS_PER_BITMAP_BLOCK));
    return words;
  }

  isInside({ start, blocks }: Extent): boolean {
    return blocks > 0 && start + blocks <= this.#totalBlocks;
  }

  isFree({ start, blocks }: Extent): boolean {
    const end = start + blocks;
    for (let block = start; block < end; block += 32 - (block % 32)) {
      if ((this.#bits[Math.floor(block / 32)]! & maskOf(block, end)) !== 0) return false;
    }
    return true;
  }

  /** Whether all are free, and none overlaps another. */
  areFree(extents: readonly Extent[]): boolean {
    if (extents.length === 1) return this.isInside(extents[0]!) && this.isFree(extents[0]!);
    const sorted = extents.toSorted((a, b) => a.start - b.start);
    return sorted.every((extent, index) => {
      const before = sorted[index - 1];
      const isApart = !before || before.start + before.blocks <= extent.start;
      return isApart && this.isInside(extent) && this.isFree(extent);
    });
  }

  take(extent: Extent): void {
    assert(this.isInside(extent), 'an extent lies inside the device');
    this.#set(extent, true);
    this.#freeBlocks -= extent.blocks;
  }

  release(extent: Extent): void {
    assert(this.isInside(extent), 'an extent lies inside the device');
    this.#set(extent, false);
    this.#freeBlocks += extent.blocks;
    this.#longestRun = Infinity;
  }

  /** One run, taken; `undefined` when no run is so long. */
  takeRun(blocks: number): Extent | undefined {
    assert(blocks > 0, 'an extent has blocks');
    if (blocks > this.#freeBlocks || blocks > this.#longestRun) return undefined;
    let start = this.#search(this.#cursor, this.#totalBlocks, blocks);
    if (start < 0)
      start = this.#search(0, Math.min(this.#cursor + blocks, this.#totalBlocks), blocks);
    if (start < 0) {
      this.#longestRun = blocks - 1;
      return undefined;
    }
    this.#cursor = start + blocks;
    const extent = { start, blocks };
    this.take(extent);
    return extent;
  }

  /** Up to `extentsMax` runs, taken; `undefined` when even the largest runs are too small. */
  takeExtents(blocks: number, extentsMax: number): Extent[] | undefined {
    const run = this.takeRun(blocks);
    if (run) return [run];
    if (blocks > this.#freeBlocks) return undefined;
    const extents: Extent[] = [];
    let left = blocks;
    for (const free of this.#freeRuns().toSorted((a, b) => b.blocks - a.blocks)) {
      if (left === 0 || extents.length === extentsMax) break;
      const taken = Math.min(free.blocks, left);
      extents.push({ start: free.start, blocks: taken });
      left -= taken;
    }
    if (left > 0) return undefined;
    for (const extent of extents) this.take(extent);
    return extents;
  }

  #isTaken(block: number): boolean {
    return ((this.#bits[Math.floor(block / 32)]! >>> (block % 32)) & 1) === 1;
  }

  #set({ start, blocks }: Extent, isTaken: boolean): void {
    const end = start + blocks;
    for (let block = start; block < end; block += 32 - (block % 32)) {
      const word = Math.floor(block / 32);
      const mask = maskOf(block, end);
      const before = this.#bits[word]!;
      const wanted = isTaken ? 0 : mask;
      assert((before & mask) >>> 0 === wanted, 'a block is taken and given back in turn');
      this.#bits[word] = isTaken ? before | mask : before & ~mask;
    }
    this.markStale({ start, blocks });
  }

  /** First run of `blocks` free blocks inside [from, to); −1 when there is none. */
  #search(from: number, to: number, blocks: number): number {
    let run = 0;
    for (let block = from; block < to;) {
      const bits = this.#bits[Math.floor(block / 32)]!;
      const shift = block % 32;
      if (shift === 0 && bits === FULL) {
        run = 0;
        block += 32;
      } else if (shift === 0 && bits === 0 && block + 32 <= to) {
        if (run + 32 >= blocks) return block - run;
        run += 32;
        block += 32;
      } else {
        run = (bits >>> shift) & 1 ? 0 : run + 1;
        if (run >= blocks) return block + 1 - run;
        block += 1;
      }
    }
    return -1;
  }

  #freeRuns(): Extent[] {
    const runs: Extent[] = [];
    let start = -1;
    for (let block = 0; block < this.#totalBlocks;) {
      const bits = this.#bits[Math.floor(block / 32)]!;
      const isWhole = block % 32 === 0 && (bits === FULL || bits === 0);
      const isTaken = isWhole ? bits === FULL : this.#isTaken(block);
      if (!isTaken && start < 0) start = block;
      if (isTaken && start >= 0) {
        runs.push({ start, blocks: block - start });
        start = -1;
      }
      block += isWhole ? 32 : 1;
    }
    if (start >= 0) runs.push({ start, blocks: this.#totalBlocks - start });
    return runs;
  }
}
