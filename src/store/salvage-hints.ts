/**
 * What old pages of the index and old batches of the journal still say of chunks: where they are,
 * all of their extents, their generation. Nothing of it is believed before the bytes are read and
 * digested; but only so can scattered chunks and small metadata chunks be found. A journal also
 * says which chunks were removed: its batches are the end of the story, so its last word counts.
 */
import { asBuffer, type ChunkId, toHex } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Extent } from './allocator.ts';
import { chunkBlocks } from './footer.ts';
import { BLOCK_BYTES } from './geometry.ts';
import { IndexTable } from './index-table.ts';
import { type Batch, batchBytes, recordsOf } from './journal.ts';
import { JournalReader } from './journal-reader.ts';
import { isPlausible } from './overlaps.ts';
import { readAround } from './read-around.ts';
import {
  type ChunkRecord,
  countOf,
  decodeRecord,
  encodeRecord,
  kindOf,
  readExtent,
  SLOT_KINDS,
  SLOT_WORDS,
  WORD_EXTENT,
  WORD_LENGTH,
} from './slot.ts';
import type { JournalMark } from './superblock.ts';

const PARTITION_BITS = 8;
const NOWHERE: Extent = { start: 0, blocks: 1 };

/** Whether a block may be a page of an index image of a device of so many blocks. */
export function isIndexPage(block: Uint8Array, totalBlocks: number): boolean {
  const words = wordsOf(block);
  let chunks = 0;
  for (let at = 0; at < words.length; at += SLOT_WORDS) {
    const kind = kindOf(words, at);
    if (kind === SLOT_KINDS.free) {
      for (let word = at; word < at + SLOT_WORDS; word++) if (words[word] !== 0) return false;
    } else if (kind === SLOT_KINDS.live || kind === SLOT_KINDS.bad) {
      const { start, blocks } = readExtent(words, at + WORD_EXTENT);
      const isWhole = countOf(words, at) > 1 || blocks === chunkBlocks(words[at + WORD_LENGTH]!);
      if (blocks === 0 || start + blocks > totalBlocks || !isWhole) return false;
      chunks += 1;
    } else if (kind !== SLOT_KINDS.continuation) {
      return false;
    }
  }
  return chunks > 0;
}

function wordsOf(block: Uint8Array): Uint32Array {
  const isAligned = block.byteOffset % 4 === 0;
  const bytes = isAligned ? block : new Uint8Array(block);
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

export class Hints {
  readonly #index = new IndexTable(PARTITION_BITS);
  /** As records with a made-up place. */
  readonly #removed = new IndexTable(PARTITION_BITS);
  readonly #totalBlocks: number;

  /** @param totalBlocks of the device. */
  constructor(totalBlocks: number) {
    this.#totalBlocks = totalBlocks;
  }

  /** @param page {@link isIndexPage}. */
  addPage(page: Uint8Array): void {
    const words = wordsOf(page);
    const offsets = Array.from({ length: words.length / SLOT_WORDS }, (_, at) => at * SLOT_WORDS);
    const keyAt = (at: number): string => toHex(page.subarray(at * 4, at * 4 + 32));
    const rest = Map.groupBy(
      offsets.filter((at) => kindOf(words, at) === SLOT_KINDS.continuation),
      keyAt,
    );
    for (const at of offsets) {
      const kind = kindOf(words, at);
      if (kind !== SLOT_KINDS.live && kind !== SLOT_KINDS.bad) continue;
      const continuations = (rest.get(keyAt(at)) ?? []).toSorted(
        (a, b) => countOf(words, a) - countOf(words, b),
      );
      this.#add(decodeRecord(words, at, continuations));
    }
  }

  /**
   * Takes what a journal ring holds, before any page.
   * @param ring.seed of the store; left out, that of the first batch that is there.
   * @returns whose batches there are, and a number above all of theirs; `undefined` without any.
   */
  async addJournal(
    device: BlockDevice,
    ring: Extent & { readonly seed?: bigint | undefined },
  ): Promise<{ readonly seed: bigint; readonly nextSeq: number } | undefined> {
    const seed = ring.seed ?? (await seedOfRing(device, ring));
    if (seed === undefined) return undefined;
    const { start: ringStart, blocks: ringBlocks } = ring;
    const reader = new JournalReader({ device, ringStart, ringBlocks, seed });
    // Their places first: a large ring does not fit into memory.
    const marks: JournalMark[] = [];
    for await (const { seq, place, chain } of reader.batches()) {
      marks.push({ seq, block: place, chain });
    }
    marks.sort((a, b) => a.seq - b.seq);
    for (const mark of marks) {
      const step = await reader.next(mark);
      if (step) this.#addBatch(step.batch);
    }
    const last = marks.at(-1);
    return last && { seed, nextSeq: last.seq + 1 };
  }

  /** Whether a chunk, of this generation or of one that is not known, was removed. */
  isRemoved(id: ChunkId, generation = 0): boolean {
    const removed = this.#removed.find(id);
    return removed !== undefined && removed.generation >= generation;
  }

  /** One record for each chunk, as newer as can be had. */
  *records(): Generator<ChunkRecord> {
    for (const number of this.#index.partitions.keys()) yield* this.#index.recordsOf(number);
  }

  #addBatch({ words }: Batch): void {
    for (const at of recordsOf(words)) {
      const record = decodeRecord(words, at);
      if (record?.kind === 'removed') this.#remove(record);
      else if (record) this.#put(record);
    }
  }

  #remove(record: ChunkRecord): void {
    this.#index.remove(record.id);
    this.#removed.apply(encodeRecord({ ...record, kind: 'bad', extents: [NOWHERE] }));
  }

  #put(record: ChunkRecord): void {
    this.#removed.remove(record.id);
    this.#add(record);
  }

  #add(record: ChunkRecord | undefined): void {
    if (!record || !isPlausible(record, this.#totalBlocks)) return;
    if (this.isRemoved(record.id, record.generation)) return;
    const before = this.#index.find(record.id);
    const isNewer =
      !before ||
      record.generation > before.generation ||
      (record.generation === before.generation && record.writtenAt >= before.writtenAt);
    // Whether it is good is found out by reading it.
    if (isNewer) this.#index.apply(encodeRecord({ ...record, kind: 'live' }));
  }
}

/** The seed that the first batch of a ring carries. */
async function seedOfRing(
  device: BlockDevice,
  { start, blocks }: Extent,
): Promise<bigint | undefined> {
  const memory = device.allocate(BLOCK_BYTES);
  for (let block = start; block < start + blocks; block++) {
    const bad = await readAround(device, memory, { start: block });
    const seed = asBuffer(memory).readBigUInt64LE(56);
    if (bad.length === 0 && batchBytes(memory, seed) !== undefined) return seed;
  }
  return undefined;
}
