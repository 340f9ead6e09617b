/**
 * Mends an index in which two chunks claim the same blocks. That takes damage: when the batch that
 * deleted a chunk is lost, the chunk is back, on blocks that have been given to another since. Only
 * reading tells which of them is whole.
 */
import { Allocator, type Extent } from './allocator.ts';
import type { ExtentIo } from './extent-io.ts';
import { chunkBlocks } from './footer.ts';
import { ReadFailures } from './health.ts';
import type { IndexTable } from './index-table.ts';
import type { ChunkRecord } from './slot.ts';

interface Claim {
  readonly extent: Extent;
  readonly record: ChunkRecord | undefined;
}

/** Whether a record is one that a store of this size may have. */
export function isPlausible(
  { lengthBytes, extents }: Pick<ChunkRecord, 'lengthBytes' | 'extents'>,
  totalBlocks: number,
): boolean {
  let sum = 0;
  for (const { start, blocks } of extents) {
    if (start + blocks > totalBlocks) return false;
    sum += blocks;
  }
  return lengthBytes > 0 && sum === chunkBlocks(lengthBytes);
}

/** Removes the chunks that are not whole from the index. @returns the bitmap of what is left. */
export async function dropOverlaps(options: {
  readonly index: IndexTable;
  /** Extents that are no chunk's. */
  readonly metadata: readonly Extent[];
  readonly totalBlocks: number;
  readonly io: ExtentIo;
  readonly onDropped?: ((record: ChunkRecord) => void) | undefined;
}): Promise<Allocator> {
  const { index, metadata, totalBlocks, io } = options;
  const records = [...index.partitions.keys()].flatMap((number) => index.recordsOf(number));
  const suspects = overlapping([
    ...metadata.map((extent) => ({ extent, record: undefined })),
    ...records.flatMap((record) => record.extents.map((extent) => ({ extent, record }))),
  ]);
  const allocator = new Allocator(totalBlocks);
  const failures = new ReadFailures();
  for (const extent of metadata) allocator.take(extent);
  // Chunks beyond doubt first, so that a doubtful one never takes their blocks.
  for (const record of records.toSorted((a, b) => rank(a, suspects) - rank(b, suspects))) {
    const isWhole =
      isPlausible(record, totalBlocks) &&
      allocator.areFree(record.extents) &&
      (!suspects.has(record) || (await io.isWhole(record, failures)));
    if (isWhole) {
      for (const extent of record.extents) allocator.take(extent);
    } else {
      index.remove(record.id);
      options.onDropped?.(record);
    }
  }
  return allocator;
}

function rank(record: ChunkRecord, suspects: ReadonlySet<ChunkRecord>): number {
  return suspects.has(record) ? 1 : 0;
}

/** Records that share a block with another claim. */
function overlapping(claims: readonly Claim[]): Set<ChunkRecord> {
  const found = new Set<ChunkRecord>();
  let reaching: Claim | undefined;
  for (const claim of claims.toSorted((a, b) => a.extent.start - b.extent.start)) {
    const end = reaching ? reaching.extent.start + reaching.extent.blocks : 0;
    if (claim.extent.start < end) {
      if (claim.record) found.add(claim.record);
      if (reaching?.record) found.add(reaching.record);
    }
    if (claim.extent.start + claim.extent.blocks > end) reaching = claim;
  }
  return found;
}
