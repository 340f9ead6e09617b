/**
 * Memory in which stripes of chunk files are coded: slots of one WebAssembly memory that the
 * reading and writing thread shares with the coding threads. A slot has room for the n blocks of a
 * stripe and, in front of them, for what a sealed stripe is in plain.
 */
import { assert, mapBounded, MiB, roundUp } from '../base/index.ts';
import { CodecMemory, SCRATCH_BYTES } from '../codec/index.ts';
import type { ChunkFileSet } from './chunk-format.ts';

const PAGE_BYTES = 65_536;
/** What the codec wants every length to be a multiple of. */
const UNIT_BYTES = 64;
/** Keeps the blocks of a stripe from competing for the same cache sets. */
const STAGGER_BYTES = 192;
/** Slots are as many as this holds: enough to read, code and write at once. */
const MEMORY_BYTES = 160 * MiB;
const SLOTS_MAX = 6;

/** Plain data, so that it can be handed to a thread. */
export interface ChunkSlab {
  readonly memory: WebAssembly.Memory;
  readonly slotCount: number;
  readonly slotBytes: number;
  readonly plainBytes: number;
  readonly strideBytes: number;
  readonly n: number;
}

/** @param threadCount how many threads code, each with scratch memory of its own. */
export function createChunkSlab(set: ChunkFileSet, threadCount: number): ChunkSlab {
  const { k, n, envelope } = set;
  // Of a set of one short stripe, no more than it needs.
  const blockBytes = Math.min(set.blockBytes, Math.ceil(set.contentBytes / k));
  // Whole pages, so that block 0 begins at a page.
  const plainBytes = envelope.length > 0 ? roundUp(blockBytes * k, PAGE_BYTES) : 0;
  const strideBytes = roundUp(blockBytes, UNIT_BYTES) + STAGGER_BYTES;
  const slotBytes = roundUp(plainBytes + n * strideBytes, PAGE_BYTES);
  const slotCount = Math.min(SLOTS_MAX, Math.max(2, Math.floor(MEMORY_BYTES / slotBytes)));
  const pages = Math.ceil((slotCount * slotBytes + threadCount * SCRATCH_BYTES) / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  return { memory, slotCount, slotBytes, plainBytes, strideBytes, n };
}

/** The codec's own part of the slab for one coding thread. */
export function codecMemory(slab: ChunkSlab, threadIndex: number): CodecMemory {
  const scratchOffset = slab.slotCount * slab.slotBytes + threadIndex * SCRATCH_BYTES;
  return CodecMemory.over(slab.memory, { scratchOffset, scratchBytes: SCRATCH_BYTES });
}

/** Where the plain content of a sealed stripe lies. */
export function plainView(slab: ChunkSlab, slot: number, bytes: number): Uint8Array {
  assert(bytes <= slab.plainBytes, 'the plain content fits its room');
  return new Uint8Array(slab.memory.buffer, slot * slab.slotBytes, bytes);
}

/** The n blocks of a stripe, each `bytes` long. */
export function blockViews(slab: ChunkSlab, slot: number, bytes: number): Uint8Array[] {
  const { memory, slotBytes, plainBytes, strideBytes, n } = slab;
  assert(bytes <= strideBytes, 'a block fits its room');
  const start = slot * slotBytes + plainBytes;
  return Array.from(
    { length: n },
    (_, index) => new Uint8Array(memory.buffer, start + index * strideBytes, bytes),
  );
}

/** Lengths as the codec takes them: the blocks with zeros up to a whole unit. */
export function paddedBlockViews(slab: ChunkSlab, slot: number, bytes: number): Uint8Array[] {
  const padded = blockViews(slab, slot, roundUp(bytes, UNIT_BYTES));
  for (const block of padded) block.fill(0, bytes);
  return padded;
}

/**
 * Does `work` for each stripe in order of asking, as many at once as there are slots; each has a
 * slot of its own for as long as it takes.
 */
export async function eachStripe<Result>(
  { slotCount }: ChunkSlab,
  stripeCount: number,
  work: (stripeIndex: number, slot: number) => Promise<Result>,
): Promise<Result[]> {
  const free = Array.from({ length: slotCount }, (_, slot) => slot);
  return await mapBounded(Array(stripeCount).keys(), slotCount, async (stripeIndex) => {
    const slot = free.pop();
    assert(slot !== undefined, 'there are as many slots as stripes at once');
    try {
      return await work(stripeIndex, slot);
    } finally {
      free.push(slot);
    }
  });
}

/** Lets those who called in an order go on in that order, one at a time. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Takes the next turn. @returns what runs `act` when all earlier turns are over. */
  next(): Turn {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    return {
      async run(act) {
        await before;
        await act();
        resolve();
      },
      [Symbol.dispose]: resolve,
    };
  }
}

export interface Turn extends Disposable {
  run(act: () => void | Promise<void>): Promise<void>;
}
