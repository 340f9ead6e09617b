/**
 * Scrub: reads everything that the store holds and checks it, at a bounded rate. Bad chunks are
 * marked, and lose the mark when their bytes turn out to be good; bad copies of metadata are
 * written again from good ones; nothing else changes. A read that fails says nothing of the chunk.
 */
import {
  type ChunkId,
  errorCode,
  errorMessage,
  HoldfastError,
  throwIfAborted,
} from '../base/index.ts';
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
  readonly mark: (record: ChunkRecord, kind: 'bad' | 'live') => Promise<void>;
}

/** So many chunks in a row that cannot be read are no bad spot: the rest would go the same way. */
const UNREADABLE_IN_A_ROW_MAX = 16;

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
  let unreadableInARow = 0;
  for (const number of inventory.index.partitions.keys()) {
    const records = inventory.index.recordsOf(number);
    // In the order of the device, as far as one partition goes.
    for (const { id } of records.toSorted((a, b) => startOf(a) - startOf(b))) {
      throwIfAborted(options.signal);
      const checked = await scrubChunk(parts, id);
      if (!checked) continue;
      if (checked.finding) findings.push(checked.finding);
      unreadableInARow = checked.finding?.kind === 'unreadable' ? unreadableInARow + 1 : 0;
      if (unreadableInARow === UNREADABLE_IN_A_ROW_MAX) throw tooManyUnreadable(parts, checked);
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

interface CheckedChunk {
  readonly bytes: number;
  readonly finding: ScrubFinding | undefined;
}

function tooManyUnreadable({ device }: ScrubParts, { finding }: CheckedChunk): HoldfastError {
  const reason = finding?.kind === 'unreadable' ? finding.reason : '';
  return new HoldfastError(
    'HF_IO',
    `${device.name}: ${UNREADABLE_IN_A_ROW_MAX} chunks in a row could not be read: ${reason}`,
  );
}

/** @returns `undefined` when the chunk is gone meanwhile. */
async function scrubChunk(
  { env, io, inventory, mark }: ScrubParts,
  id: ChunkId,
): Promise<CheckedChunk | undefined> {
  const { index, space } = inventory;
  const record = index.find(id);
  if (!record) return undefined;
  const bytes = chunkBlocks(record.lengthBytes) * BLOCK_BYTES;
  space.pin(record.extents);
  try {
    await io.read(record, { offset: 0, lengthBytes: record.lengthBytes }, undefined);
  } catch (error) {
    const code = errorCode(error);
    if (code !== 'HF_CORRUPT' && code !== 'HF_IO') throw error;
    const reason = errorMessage(error);
    // A chunk that was bad before is not better for being unreadable now.
    const isBad = code === 'HF_CORRUPT' || record.kind === 'bad';
    if (!isBad) return { bytes, finding: { kind: 'unreadable', id, reason } };
    if (record.kind === 'live') await mark(record, 'bad');
    return { bytes, finding: { kind: 'bad-chunk', id, reason } };
  } finally {
    space.unpin(record.extents);
  }
  if (record.kind === 'bad') await mark(record, 'live');
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
