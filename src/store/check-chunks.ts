/** The chunks of a store, page by page, in the order of the device. Reads only. */
import type { BlockDevice } from '../device/index.ts';
import { errorMessage, mapBounded, throwIfAborted, toHex, xxh64 } from '../base/index.ts';
import type { Extent } from './allocator.ts';
import { BufferPool } from './buffer-pool.ts';
import type { CheckReporter } from './check-report.ts';
import { nextPortion } from './device-order.ts';
import { sliceExtents } from './extent-io.ts';
import { checkFooter, checkPages, chunkBlocks, footerBytes, pageCount } from './footer.ts';
import { BLOCK_BYTES, blocksFor, PAGE_BYTES, SMALL_CHUNK_BYTES } from './geometry.ts';
import { runsOf } from './index-image.ts';
import type { IndexTable } from './index-table.ts';
import { readAround } from './read-around.ts';
import type { ChunkRecord } from './slot.ts';

const CHUNKS_AT_ONCE = 4;
const PAGE_BLOCKS: number = PAGE_BYTES / BLOCK_BYTES;

export interface ChunkCheck {
  readonly device: BlockDevice;
  readonly index: IndexTable;
  readonly report: CheckReporter;
  readonly turn: () => Promise<void>;
  readonly onProgress?: ((checkedBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface ChunkFault {
  readonly what: string;
  readonly extents: readonly Extent[];
  readonly page?: number | undefined;
}

export async function checkChunks(options: ChunkCheck): Promise<void> {
  const { device, index, report, turn, onProgress, signal } = options;
  const pool = new BufferPool(device);
  let totalBytes = 0;
  for (let from = 0; ;) {
    const { chunks, bytesAhead } = await nextPortion(index, from, { turn });
    if (chunks.length === 0) return;
    totalBytes ||= bytesAhead;
    await mapBounded(chunks, CHUNKS_AT_ONCE, async ({ id }) => {
      throwIfAborted(signal);
      const record = index.find(id)!;
      reportChunk(record, await faultsOf({ device, pool }, record), report);
      report.totals.chunkBytes += chunkBlocks(record.lengthBytes) * BLOCK_BYTES;
      onProgress?.(report.totals.chunkBytes, totalBytes);
    });
    from = chunks.at(-1)!.start + 1;
  }
}

function reportChunk(
  record: ChunkRecord,
  faults: readonly ChunkFault[],
  report: CheckReporter,
): void {
  const { id, kind } = record;
  const isMarked = kind === 'bad';
  report.totals.chunks += 1;
  if (isMarked || faults.length > 0) report.totals.badChunks += 1;
  if (isMarked && faults.length === 0) {
    report.note(
      `chunk ${toHex(id)} is marked bad, but its bytes are good: a scrub clears the mark`,
    );
  }
  for (const { what, extents, page } of faults) {
    const suffix = isMarked ? ' (the chunk is marked bad)' : '';
    report.find('chunk', extents, { what: what + suffix, isMended: false, chunkId: id, page });
  }
}

/** What is wrong with a chunk, as exactly as its checksums tell. */
async function faultsOf(
  { device, pool }: { readonly device: BlockDevice; readonly pool: BufferPool },
  record: ChunkRecord,
): Promise<ChunkFault[]> {
  const { lengthBytes, extents, checksum } = record;
  using lent = pool.lend(chunkBlocks(lengthBytes));
  const memory = lent.bytes;
  const unreadable = await readExtents(device, extents, memory);
  if (lengthBytes > SMALL_CHUNK_BYTES) return faultsOfLarge(record, memory, unreadable);
  if (unreadable.length > 0) return [unreadableAt(record, unreadable)];
  const isGood = xxh64(memory.subarray(0, lengthBytes)) === checksum;
  return isGood ? [] : [{ what: 'the payload does not match its checksum', extents, page: 0 }];
}

/** @returns the numbers of the blocks within the chunk that could not be read. */
async function readExtents(
  device: BlockDevice,
  extents: readonly Extent[],
  memory: Uint8Array,
): Promise<number[]> {
  const unreadable: number[] = [];
  let first = 0;
  for (const { start, blocks } of extents) {
    const part = memory.subarray(first * BLOCK_BYTES, (first + blocks) * BLOCK_BYTES);
    const bad = await readAround(device, part, { start });
    unreadable.push(...bad.map((block) => first + block - start));
    first += blocks;
  }
  return unreadable;
}

function unreadableAt(record: ChunkRecord, blocks: readonly number[], page = 0): ChunkFault {
  const extents = runsOf(blocks).flatMap((run) =>
    sliceExtents(record.extents, run.start, run.blocks),
  );
  return { what: 'it cannot be read', extents, page };
}

function faultsOfLarge(
  record: ChunkRecord,
  memory: Uint8Array,
  unreadable: readonly number[],
): ChunkFault[] {
  const { lengthBytes, extents } = record;
  const faults: ChunkFault[] = [];
  const pages = pageCount(lengthBytes);
  const footerFrom = Math.floor((memory.length - footerBytes(lengthBytes)) / BLOCK_BYTES);
  const footerCount = memory.length / BLOCK_BYTES - footerFrom;
  const footer = memory.subarray(memory.length - footerBytes(lengthBytes));
  let isFooterGood = unreadable.every((block) => block < footerFrom);
  try {
    if (isFooterGood) checkFooter(footer, record);
  } catch (error) {
    isFooterGood = false;
    const where = sliceExtents(extents, footerFrom, footerCount);
    faults.push({ what: errorMessage(error), extents: where });
  }
  const behind = unreadable.filter((block) => block * BLOCK_BYTES >= lengthBytes);
  if (behind.length > 0) faults.push({ ...unreadableAt(record, behind), page: undefined });
  for (let page = 0; page < pages; page++) {
    const from = page * PAGE_BLOCKS;
    const to = Math.min(from + PAGE_BLOCKS, blocksFor(lengthBytes));
    const bad = unreadable.filter((block) => block >= from && block < to);
    if (bad.length > 0) {
      faults.push(unreadableAt(record, bad, page));
    } else if (isFooterGood) {
      const end = Math.min((page + 1) * PAGE_BYTES, lengthBytes);
      const bytes = memory.subarray(page * PAGE_BYTES, end);
      const what = faultOfPage(bytes, page, footer);
      if (what) faults.push({ what, extents: sliceExtents(extents, from, to - from), page });
    }
  }
  return faults;
}

function faultOfPage(bytes: Uint8Array, page: number, footer: Uint8Array): string | undefined {
  try {
    checkPages(bytes, page, footer);
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}
