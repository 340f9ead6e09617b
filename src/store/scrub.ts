/**
 * Scrub: reads everything that the store holds and checks it, at a bounded rate. Bad chunks are
 * marked; bad copies of metadata are written again from good ones; nothing else changes.
 */
import { type ChunkId, errorCode, errorMessage, throwIfAborted } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import type { Checkpointer } from './checkpoint.ts';
import type { ScrubFinding, ScrubReport } from './chunk-store.ts';
import type { ExtentIo } from './extent-io.ts';
import { chunkBlocks } from './footer.ts';
import { BLOCK_BYTES } from './geometry.ts';
import type { Inventory } from './inventory.ts';
import type { Journal } from './journal.ts';
import { JournalReader } from './journal-reader.ts';
import type { ChunkRecord } from './slot.ts';
import { readSuperblock, seedOf } from './superblock.ts';

export interface ScrubParts {
  readonly env: Env;
  readonly device: BlockDevice;
  readonly io: ExtentIo;
  readonly inventory: Inventory;
  readonly journal: Journal;
  readonly checkpointer: Checkpointer;
  readonly markBad: (record: ChunkRecord) => Promise<void>;
}

export interface ScrubOptions {
  readonly rateBytesPerSecond?: number;
  readonly onProgress?: (checkedBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export async function scrubStore(parts: ScrubParts, options: ScrubOptions): Promise<ScrubReport> {
  const findings: ScrubFinding[] = await scrubMetadata(parts);
  const { env, inventory, checkpointer } = parts;
  const startedAt = env.clock.monotonic();
  const totalBytes = inventory.space.usedBlocks * BLOCK_BYTES;
  let checkedChunks = 0;
  let checkedBytes = 0;
  for (const number of inventory.index.partitions.keys()) {
    const records = inventory.index.recordsOf(number);
    // In the order of the device, as far as one partition goes.
    for (const { id } of records.toSorted((a, b) => startOf(a) - startOf(b))) {
      throwIfAborted(options.signal);
      const checked = await scrubChunk(parts, id);
      if (!checked) continue;
      if (checked.finding) findings.push(checked.finding);
      checkedChunks += 1;
      checkedBytes += checked.bytes;
      options.onProgress?.(checkedBytes, totalBytes);
      const rate = options.rateBytesPerSecond ?? Infinity;
      const aheadMs = (checkedBytes / rate) * 1000 - (env.clock.monotonic() - startedAt);
      if (aheadMs > 0) await env.clock.sleep(aheadMs, { signal: options.signal });
    }
  }
  await checkpointer.writeSuperblock({ scrubbedAtMs: env.clock.now() });
  return { checkedChunks, checkedBytes, findings };
}

function startOf(record: ChunkRecord): number {
  return record.extents[0]!.start;
}

/** @returns `undefined` when the chunk is gone meanwhile. */
async function scrubChunk(
  { env, io, inventory, markBad }: ScrubParts,
  id: ChunkId,
): Promise<{ bytes: number; finding: ScrubFinding | undefined } | undefined> {
  const { index, space } = inventory;
  const record = index.find(id);
  if (!record) return undefined;
  if (record.kind === 'bad') {
    return { bytes: 0, finding: { kind: 'bad-chunk', id, reason: 'it is known to be bad' } };
  }
  const bytes = chunkBlocks(record.lengthBytes) * BLOCK_BYTES;
  space.pin(record.extents);
  try {
    await io.read(record, { offset: 0, lengthBytes: record.lengthBytes }, undefined);
  } catch (error) {
    const code = errorCode(error);
    if (code !== 'HF_CORRUPT' && code !== 'HF_IO') throw error;
    const reason = errorMessage(error);
    await markBad(record);
    return { bytes, finding: { kind: 'bad-chunk', id, reason } };
  } finally {
    space.unpin(record.extents);
  }
  index.setVerified(id, Math.floor(env.clock.now() / 1000));
  return { bytes, finding: undefined };
}

async function scrubMetadata(parts: ScrubParts): Promise<ScrubFinding[]> {
  const { device, checkpointer } = parts;
  const findings: ScrubFinding[] = [];
  const copies = await checkpointer.scrubImages();
  if (copies > 0) findings.push({ kind: 'mended', what: `${copies} copies of index blocks` });
  const { badCopies } = await readSuperblock(device);
  if (badCopies > 0) {
    await checkpointer.writeSuperblock({});
    findings.push({ kind: 'mended', what: `${badCopies} copies of the superblock` });
  }
  if (!(await isJournalWhole(parts))) {
    // The index in memory has what the journal says; a checkpoint makes the journal unnecessary.
    await checkpointer.start();
    findings.push({ kind: 'mended', what: 'the journal' });
  }
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
