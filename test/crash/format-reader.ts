/**
 * A second reader of the format, from its description (docs/formats/store.md) and from nothing of
 * the engine: where the blocks of the index are, and where the chunks are that it names. The rot
 * drill takes its places from here, so that page and engine are held against each other.
 */
import type { Media } from '../../src/device/index.ts';
import type { StoreDescription } from '../../src/store/index.ts';

export const BLOCK_BYTES = 4096;
export const JOURNAL_START_BLOCK = 2080;
/** "HFJ1" */
const JOURNAL_MAGIC = 0x314a4648;
const ENTRY_BYTES = 64;
const SLOT_BYTES = 64;
const SLOTS_PER_PAGE: number = BLOCK_BYTES / SLOT_BYTES;
const PAIR_BYTES = 24;
const MAP_HEADER_BYTES = 32;
const KIND_LIVE = 1;
const KIND_BAD = 2;
const KIND_CONTINUATION = 3;
const EXTENTS_PER_CONTINUATION = 3;

export interface Run {
  readonly start: number;
  readonly blocks: number;
}

export interface IndexBlocks {
  readonly directory: readonly number[];
  readonly maps: readonly number[];
  readonly pages: readonly number[];
  /** By the id of the chunk in hex, in the order of its content. */
  readonly chunks: ReadonlyMap<string, readonly Run[]>;
}

type Pair = readonly [first: number, second: number];

/** Reads the images that the superblock names; they have to be sound. */
export function readIndex(media: Media, { directory }: StoreDescription): IndexBlocks {
  const maps: number[] = [];
  const pages: number[] = [];
  const slots: Buffer[] = [];
  for (const { first } of directory) {
    const block = readBlock(media, first);
    for (let at = 0; at < BLOCK_BYTES; at += ENTRY_BYTES) {
      let pagesLeft = Math.ceil(block.readUInt32LE(at + 32) / SLOTS_PER_PAGE);
      let map: Pair = pairAt(block, at);
      while (pagesLeft > 0) {
        maps.push(...map);
        const mapBlock = readBlock(media, map[0]);
        const count = mapBlock.readUInt32LE(PAIR_BYTES);
        for (let index = 0; index < count; index++) {
          const page = pairAt(mapBlock, MAP_HEADER_BYTES + index * PAIR_BYTES);
          pages.push(...page);
          slots.push(...slotsOf(readBlock(media, page[0])));
        }
        pagesLeft -= count;
        map = pairAt(mapBlock, 0);
      }
    }
  }
  const named = directory.flatMap(({ first, second }) => [first, second]);
  return { directory: named, maps, pages, chunks: chunksOf(slots) };
}

export interface JournalBatch {
  /** In the ring. */
  readonly block: number;
  readonly blocks: number;
  readonly seq: number;
}

/** Batches by their headers, whole or not, in the order of the ring; stale ones too. */
export function journalBatches(media: Media, ringBlocks: number): JournalBatch[] {
  const batches: JournalBatch[] = [];
  for (let block = 0; block < ringBlocks; block++) {
    const header = readBlock(media, JOURNAL_START_BLOCK + block);
    if (header.readUInt32LE(0) !== JOURNAL_MAGIC) continue;
    const blocks = header.readUInt32LE(32) / BLOCK_BYTES;
    batches.push({ block, blocks, seq: Number(header.readBigUInt64LE(8)) });
  }
  return batches;
}

export function readBlock(media: Media, block: number): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES);
  media.read(bytes, block * BLOCK_BYTES);
  return bytes;
}

function pairAt(block: Buffer, at: number): Pair {
  return [Number(block.readBigUInt64LE(at)), Number(block.readBigUInt64LE(at + 8))];
}

function slotsOf(page: Buffer): Buffer[] {
  return Array.from({ length: SLOTS_PER_PAGE }, (_, index) =>
    page.subarray(index * SLOT_BYTES, (index + 1) * SLOT_BYTES),
  );
}

function idOf(slot: Buffer): string {
  return slot.toString('hex', 0, 32);
}

function infoOf(slot: Buffer): { kind: number; count: number } {
  const info = slot.readUInt32LE(36);
  return { kind: info & 15, count: ((info >>> 4) & 15) + 1 };
}

function extentAt(slot: Buffer, at: number): Run {
  const start = slot.readUInt32LE(at) + slot.readUInt8(at + 4) * 2 ** 32;
  return { start, blocks: slot.readUIntLE(at + 5, 3) };
}

function chunksOf(slots: readonly Buffer[]): Map<string, Run[]> {
  const chunks = new Map<string, Run[]>();
  const isKind = (slot: Buffer, ...kinds: number[]): boolean => kinds.includes(infoOf(slot).kind);
  for (const slot of slots.filter((each) => isKind(each, KIND_LIVE, KIND_BAD))) {
    const { count } = infoOf(slot);
    const runs = [extentAt(slot, 40)];
    const rest = slots
      .filter((each) => isKind(each, KIND_CONTINUATION) && idOf(each) === idOf(slot))
      .toSorted((a, b) => infoOf(a).count - infoOf(b).count);
    for (const continuation of rest) {
      for (let index = 0; index < EXTENTS_PER_CONTINUATION && runs.length < count; index++) {
        runs.push(extentAt(continuation, 40 + index * 8));
      }
    }
    chunks.set(idOf(slot), runs);
  }
  return chunks;
}
