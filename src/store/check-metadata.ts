/**
 * The structures of a store, each looked at on its own and with both copies: superblocks, directory
 * and index images, journal, bitmap. Reads only.
 */
import { asBuffer } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Allocator, Extent } from './allocator.ts';
import { readBitmap } from './bitmap.ts';
import { type BadCopy, BlockPairs } from './block-pairs.ts';
import type { CheckPlace, CheckReporter } from './check-report.ts';
import { readDirectory } from './directory.ts';
import { BITMAP_BLOCK_BITS, BLOCK_BYTES } from './geometry.ts';
import { readImage } from './index-image.ts';
import { batchBytes } from './journal.ts';
import { JournalReader, type PlacedBatch } from './journal-reader.ts';
import { readAround } from './read-around.ts';
import {
  type CopyFault,
  type JournalMark,
  latestOf,
  readCopies,
  seedOf,
  type Superblock,
} from './superblock.ts';

const COPY_FAULTS: Record<CopyFault, string> = {
  unreadable: 'it cannot be read',
  foreign: 'it is not a superblock',
  corrupt: 'its checksum does not match',
  misplaced: 'it is another copy',
  unsupported: 'a newer program wrote it',
};

/** @returns the superblock that counts; `undefined` when no copy is good. */
export async function checkSuperblocks(
  device: BlockDevice,
  report: CheckReporter,
): Promise<Superblock | undefined> {
  const copies = await readCopies(device);
  const latest = latestOf(copies);
  for (const [number, { block, superblock, fault }] of copies.entries()) {
    report.totals.superblocks += 1;
    const isOld = superblock && superblock.seq !== latest?.seq;
    if (!fault && !isOld) continue;
    const reason = fault ? COPY_FAULTS[fault] : `it is older: ${superblock?.seq} of ${latest?.seq}`;
    report.find('superblock', [{ start: block, blocks: 1 }], {
      what: `copy ${number}: ${reason}`,
      isMended: latest !== undefined,
    });
  }
  return latest;
}

/** Directory, maps and pages, both copies of each block. */
export async function checkImages(
  device: BlockDevice,
  superblock: Superblock,
  report: CheckReporter,
): Promise<void> {
  let where: CheckPlace = 'directory';
  let what = 'a block of the directory';
  const onBadCopy = ({ block, copy, isReadable, isMended }: BadCopy): void => {
    const fault = isReadable ? 'does not match its checksum' : 'cannot be read';
    const line = `${what}, ${copy} copy: it ${fault}`;
    report.find(where, [{ start: block, blocks: 1 }], { what: line, isMended });
  };
  const seed = seedOf(superblock.id);
  const pairs = new BlockPairs({ device, seed, readsBoth: true, onBadCopy });
  const partitionCount = 2 ** superblock.partitionBits;
  const entries = await readDirectory(pairs, superblock.directory, partitionCount);
  report.totals.indexBlocks += 2 * superblock.directory.length;
  where = 'index';
  for (const [partition, entry] of entries.entries()) {
    if (!entry || entry === 'lost') continue;
    what = `a block of partition ${partition}`;
    const { image } = await readImage(pairs, entry);
    report.totals.indexBlocks += image.extents.reduce((sum, { blocks }) => sum + blocks, 0);
  }
}

/** The batches from the mark on, and holes between them. */
export async function checkJournal(
  device: BlockDevice,
  superblock: Superblock,
  report: CheckReporter,
): Promise<void> {
  if (superblock.isClean) return;
  const { journalStart: ringStart, journalBlocks: ringBlocks } = superblock;
  const seed = seedOf(superblock.id);
  const reader = new JournalReader({ device, ringStart, ringBlocks, seed });
  let mark = superblock.mark;
  for (let step = await reader.next(mark); step; step = await reader.next(mark)) {
    mark = step.after;
    report.totals.journalBatches += 1;
  }
  const behind = await reader.behindGap(mark.seq);
  report.totals.journalBatches += behind.length;
  let expected = { seq: mark.seq, place: mark.block };
  for (const batch of behind) {
    if (batch.seq > expected.seq) {
      const ring = { start: ringStart, blocks: ringBlocks };
      report.find('journal', await holeAt(device, { ring, seed, expected, batch }), {
        what: `batches ${expected.seq} to ${batch.seq - 1} are lost`,
        isMended: false,
      });
    }
    expected = { seq: batch.seq + 1, place: (batch.place + batch.blocks) % ringBlocks };
  }
  if (behind.length === 0) await noteTornEnd(device, { superblock, mark }, report);
}

interface Hole {
  readonly ring: Extent;
  readonly seed: bigint;
  /** What should be there. */
  readonly expected: { readonly seq: number; readonly place: number };
  /** The next one that is whole. */
  readonly batch: PlacedBatch;
}

/** The blocks of the batches that are lost, as exactly as can be said. */
async function holeAt(device: BlockDevice, hole: Hole): Promise<Extent[]> {
  const { ring, expected, batch } = hole;
  const wraps = batch.place < expected.place;
  const blocksAt = (place: number, blocks: number): Extent[] => [
    { start: ring.start + place, blocks: Math.max(blocks, 1) },
  ];
  if (batch.seq === expected.seq + 1) {
    const bytes = await headAt(device, ring.start + expected.place, hole.seed);
    if (bytes) return blocksAt(expected.place, bytes / BLOCK_BYTES);
    // It did not fit before the end of the ring.
    if (wraps && batch.place > 0) return blocksAt(0, batch.place);
  }
  return blocksAt(expected.place, (wraps ? ring.blocks : batch.place) - expected.place);
}

/** Bytes of the batch whose head is in this block, if it is one. */
async function headAt(
  device: BlockDevice,
  block: number,
  seed: bigint,
): Promise<number | undefined> {
  const memory = device.allocate(BLOCK_BYTES);
  const bad = await readAround(device, memory, { start: block });
  return bad.length > 0 ? undefined : batchBytes(memory, seed);
}

/** After a power cut the last batch may be torn; nobody was told that it is there. */
async function noteTornEnd(
  device: BlockDevice,
  { superblock, mark }: { readonly superblock: Superblock; readonly mark: JournalMark },
  report: CheckReporter,
): Promise<void> {
  const { journalStart, id } = superblock;
  for (const place of mark.block === 0 ? [0] : [mark.block, 0]) {
    const memory = asBuffer(device.allocate(BLOCK_BYTES));
    const block = journalStart + place;
    const bad = await readAround(device, memory, { start: block });
    if (bad.length > 0 || !batchBytes(memory, seedOf(id))) continue;
    if (Number(memory.readBigUInt64LE(8)) !== mark.seq) continue;
    const at = `block ${block} of the device`;
    report.note(`the last batch of the journal, at ${at}, is not whole: a write was cut off there`);
    return;
  }
}

/**
 * The bitmap, block by block; after a clean close it must agree with the index.
 * @param allocator of the index; `undefined` when what is in use is not known for certain.
 */
export async function checkBitmap(
  device: BlockDevice,
  { superblock, allocator }: { superblock: Superblock; allocator: Allocator | undefined },
  report: CheckReporter,
): Promise<void> {
  // A power cut leaves it torn or old, and the next checkpoint writes all of it.
  if (!superblock.isClean) return;
  const { bitmap, id } = superblock;
  let number = 0;
  for await (const words of readBitmap({ device, region: bitmap, seed: seedOf(id) })) {
    report.totals.bitmapBlocks += 1;
    const place = [{ start: bitmap.start + number, blocks: 1 }];
    const isMended = true;
    if (!words) {
      const what = 'it cannot be read or does not match its checksum';
      report.find('bitmap', place, { what, isMended });
    } else if (allocator) {
      const wrong = wrongBits(words, number, allocator);
      const what = `${wrong} blocks are free that it calls taken, or the other way round`;
      if (wrong > 0) report.find('bitmap', place, { what, isMended });
    }
    number += 1;
  }
}

/** Bits of one bitmap block that are not as they should be; those past the end mean nothing. */
function wrongBits(words: Uint32Array, number: number, allocator: Allocator): number {
  const wanted = allocator.bitsOf(number);
  const count = Math.min(BITMAP_BLOCK_BITS, allocator.totalBlocks - number * BITMAP_BLOCK_BITS);
  let wrong = 0;
  for (let bit = 0; bit < count; bit++) {
    const word = Math.floor(bit / 32);
    if (words[word] === wanted[word]) bit += 31 - (bit % 32);
    else if ((((words[word]! ^ wanted[word]!) >>> (bit % 32)) & 1) === 1) wrong += 1;
  }
  return wrong;
}
