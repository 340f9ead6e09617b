/**
 * The part of a scrub that looks at the store's own structures: both copies of the index images and
 * the directory, the four superblocks, the journal, the bitmap. What is bad is written again from
 * what is good.
 */
import { readBitmap } from './bitmap.ts';
import type { ScrubFinding } from './chunk-store.ts';
import { JournalReader } from './journal-reader.ts';
import type { ScrubParts } from './scrub.ts';
import { readCopies, seedOf } from './superblock.ts';

/** @returns what was mended. */
export async function scrubMetadata(parts: ScrubParts): Promise<ScrubFinding[]> {
  const { device, checkpointer, inventory } = parts;
  const findings: ScrubFinding[] = [];
  const copies = await checkpointer.scrubImages();
  if (copies > 0) findings.push({ kind: 'mended', what: `${copies} copies of index blocks` });
  // What the store goes by is in memory, so even four bad copies cost nothing.
  const superblocks = await readCopies(device);
  const { seq } = checkpointer.superblock;
  const badCopies = superblocks.filter((copy) => copy.superblock?.seq !== seq).length;
  if (badCopies > 0) {
    await checkpointer.writeSuperblock({});
    findings.push({ kind: 'mended', what: `${badCopies} copies of the superblock` });
  }
  const isJournalBad = !(await isJournalWhole(parts));
  const badBits = await badBitmapBlocks(parts);
  if (isJournalBad) findings.push({ kind: 'mended', what: 'the journal' });
  if (badBits > 0) {
    inventory.space.allocator.markAllStale();
    findings.push({ kind: 'mended', what: `${badBits} blocks of the bitmap` });
  }
  // Memory has what the journal says: a checkpoint makes the journal unnecessary, and it writes the
  // bitmap.
  if (isJournalBad || badBits > 0) await checkpointer.start();
  return findings;
}

async function isJournalWhole({ device, journal, checkpointer }: ScrubParts): Promise<boolean> {
  const { superblock } = checkpointer;
  const endSeq = journal.head.seq;
  const reader = new JournalReader({
    device,
    ringStart: superblock.journalStart,
    ringBlocks: superblock.journalBlocks,
    seed: seedOf(superblock.id),
  });
  let mark = superblock.mark;
  for (let step = await reader.next(mark); step; step = await reader.next(mark)) mark = step.after;
  // A checkpoint meanwhile has moved the mark, and the blocks may be in use again.
  const hasMoved = checkpointer.superblock.mark.seq !== superblock.mark.seq;
  return hasMoved || mark.seq >= endSeq;
}

async function badBitmapBlocks({ device, checkpointer }: ScrubParts): Promise<number> {
  const { bitmap, id } = checkpointer.superblock;
  let bad = 0;
  for await (const words of readBitmap({ device, region: bitmap, seed: seedOf(id) })) {
    if (!words) bad += 1;
  }
  // A checkpoint that writes them meanwhile may look torn: then one too many is written again.
  return bad;
}
