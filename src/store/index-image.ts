/**
 * Index images: the tables of the index on the device, every block of them twice.
 *
 * - *pair*: two blocks with the same content and its checksum, kept in the parent. Chain of trust:
 *   superblock → directory → map → page, each link a pair, so a block that is stale or misdirected
 *   is found out, and either copy mends the other.
 * - *page*: one block of a table. *map*: pairs of up to 169 pages, and of the next map.
 * - *image*: maps and pages of one partition, written to free blocks wherever those are.
 *
 * Invariant: blocks of an image that a superblock reaches are not written, but to mend a bad copy.
 */
import { asBuffer } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Extent } from './allocator.ts';
import { type BlockPair, BlockPairs, PAIR_BYTES, readPair, writePair } from './block-pairs.ts';
import { BLOCK_BYTES, blocksFor } from './geometry.ts';
import { SLOT_BYTES } from './slot.ts';
import type { Space } from './space.ts';

const MAP_HEADER_BYTES = 32;
const PAIRS_PER_MAP: number = Math.floor((BLOCK_BYTES - MAP_HEADER_BYTES) / PAIR_BYTES);

export interface IndexImage {
  /** First map. */
  readonly map: BlockPair;
  /** Highest journal batch that it contains. */
  readonly seq: number;
  readonly slots: number;
  /** All blocks, both copies. */
  readonly extents: readonly Extent[];
}

function pagesOf(slots: number): number {
  return blocksFor(slots * SLOT_BYTES);
}

/** Blocks of an image of a table with so many slots, both copies. */
export function imageBlocks(slots: number): number {
  const pages = pagesOf(slots);
  return 2 * (pages + Math.ceil(pages / PAIRS_PER_MAP));
}

/** Extents as single block numbers. */
export function blockNumbers(extents: readonly Extent[]): number[] {
  return extents.flatMap(({ start, blocks }) =>
    Array.from({ length: blocks }, (_, index) => start + index),
  );
}

interface WriteOptions {
  readonly device: BlockDevice;
  readonly space: Space;
  readonly pairs: BlockPairs;
}

/**
 * Writes a table to free blocks; durable after the next flush.
 * @param table the slots at one moment, nobody changes them meanwhile.
 */
export async function writeImage(
  { device, space, pairs }: WriteOptions,
  table: Uint8Array,
  seq: number,
): Promise<IndexImage> {
  const slots = table.length / SLOT_BYTES;
  const pages = pagesOf(slots);
  const maps = Math.ceil(pages / PAIRS_PER_MAP);
  const copies = space.takeImage(maps + pages);
  const [first, second] = copies.map(blockNumbers) as [number[], number[]];
  const content = device.allocate((maps + pages) * BLOCK_BYTES);
  content.set(table, maps * BLOCK_BYTES);
  const pairOf = (index: number): BlockPair => ({
    first: first[index]!,
    second: second[index]!,
    checksum: pairs.checksum(content.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)),
  });
  // From the last map to the first, since each carries the checksum of the next.
  for (let map = maps - 1; map >= 0; map--) {
    const block = asBuffer(content.subarray(map * BLOCK_BYTES, (map + 1) * BLOCK_BYTES));
    const from = map * PAIRS_PER_MAP;
    const count = Math.min(PAIRS_PER_MAP, pages - from);
    if (map + 1 < maps) writePair(block, 0, pairOf(map + 1));
    block.writeUInt32LE(count, PAIR_BYTES);
    for (let index = 0; index < count; index++) {
      writePair(block, MAP_HEADER_BYTES + index * PAIR_BYTES, pairOf(maps + from + index));
    }
  }
  for (const extents of copies) await writeExtents(device, extents, content);
  return { map: pairOf(0), seq, slots, extents: copies.flat() };
}

/** Writes `content` over the extents in order. */
export async function writeExtents(
  device: BlockDevice,
  extents: readonly Extent[],
  content: Uint8Array,
): Promise<void> {
  let at = 0;
  for (const { start, blocks } of extents) {
    const bytes = blocks * BLOCK_BYTES;
    await device.write([content.subarray(at, at + bytes)], start * BLOCK_BYTES);
    at += bytes;
  }
}

export interface ReadImage {
  /** The table; pages of which both copies are bad are zeros. */
  readonly words: Uint32Array;
  readonly image: IndexImage;
  readonly lostPages: number;
}

/** Reads an image; bad copies are noted in `pairs`. */
export async function readImage(
  pairs: BlockPairs,
  entry: Pick<IndexImage, 'map' | 'seq' | 'slots'>,
): Promise<ReadImage> {
  const pages = pagesOf(entry.slots);
  const words = new Uint32Array((entry.slots * SLOT_BYTES) / 4);
  const table = new Uint8Array(words.buffer);
  const blocks: number[] = [];
  let lostPages = 0;
  let page = 0;
  let map: BlockPair | undefined = entry.map;
  while (page < pages && map) {
    blocks.push(map.first, map.second);
    const [block] = await pairs.read([map]);
    if (!block) break;
    const buffer = asBuffer(block);
    const count = Math.min(buffer.readUInt32LE(PAIR_BYTES), PAIRS_PER_MAP, pages - page);
    const pagePairs = Array.from({ length: count }, (_, index) =>
      readPair(buffer, MAP_HEADER_BYTES + index * PAIR_BYTES),
    );
    for (const content of await pairs.read(pagePairs)) {
      if (content) table.set(content, page * BLOCK_BYTES);
      else lostPages += 1;
      page += 1;
    }
    blocks.push(...pagePairs.flatMap(({ first, second }) => [first, second]));
    const next = readPair(buffer, 0);
    map = next.first === 0 ? undefined : next;
  }
  const image = { map: entry.map, seq: entry.seq, slots: entry.slots, extents: runsOf(blocks) };
  return { words, image, lostPages: lostPages + pages - page };
}

/** Block numbers as extents. */
export function runsOf(blocks: readonly number[]): Extent[] {
  const runs: { start: number; blocks: number }[] = [];
  for (const block of blocks.toSorted((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && last.start + last.blocks === block) last.blocks += 1;
    else runs.push({ start: block, blocks: 1 });
  }
  return runs;
}
