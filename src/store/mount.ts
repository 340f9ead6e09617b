/**
 * Mount: from what is on the device to the state in memory.
 *
 *   flush ──▶ superblock ──▶ directory, images ──▶ replay ──▶ verify the last batch ──▶ gap check
 *         ──▶ bitmap and counts derived from the index
 *
 * - *damage*: findings after which the store may lack chunks that it held; its peers have to be
 *   asked.
 *
 * Invariants: (1) the flush comes first, so that nothing is decided on what a cache may still lose;
 * (2) the data of the last batch is read before it counts, since nobody has confirmed that batch:
 * bad chunks there were not acknowledged, or are rotten; they stay as known bad; (3) nothing is
 * written.
 */
import { HoldfastError, LIMITS, mapBounded } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import { Allocator, type Extent } from './allocator.ts';
import { BlockPairs } from './block-pairs.ts';
import { checkIndexBytes, directoryBlocks, readDirectory } from './directory.ts';
import type { ExtentIo } from './extent-io.ts';
import { BLOCK_BYTES, SUPERBLOCK_BLOCKS } from './geometry.ts';
import { ReadFailures } from './health.ts';
import { type IndexImage, readImage, runsOf } from './index-image.ts';
import { IndexTable, recordAt } from './index-table.ts';
import { Inventory } from './inventory.ts';
import { type Batch, recordsOf } from './journal.ts';
import { JournalReader } from './journal-reader.ts';
import { dropOverlaps, isPlausible } from './overlaps.ts';
import type { PlantedFault } from './planted-fault.ts';
import {
  type ChunkRecord,
  countOf,
  decodeRecord,
  encodeRecord,
  idAt,
  readExtent,
  WORD_EXTENT,
  WORD_LENGTH,
} from './slot.ts';
import { Space } from './space.ts';
import { type JournalMark, readSuperblock, seedOf, type Superblock } from './superblock.ts';

const PARTITIONS_AT_ONCE = 8;

export interface MountedStore {
  readonly superblock: Superblock;
  readonly inventory: Inventory;
  readonly images: readonly (IndexImage | undefined)[];
  readonly directoryExtents: readonly Extent[];
  readonly pairs: BlockPairs;
  readonly head: JournalMark;
  readonly journalUsedBlocks: number;
  /** Records of the last batch whose chunks are bad, as such, to be journaled. */
  readonly doubtful: readonly Uint32Array[];
  readonly damage: readonly string[];
}

interface MountOptions {
  readonly device: BlockDevice;
  readonly io: ExtentIo;
  readonly plantedFault: PlantedFault | undefined;
  /** Memory that the tables of the index may take; no limit when left out. */
  readonly indexBytesMax?: number | undefined;
  /** Told of each chunk that lost its blocks to another. */
  readonly onDropped?: ((record: ChunkRecord) => void) | undefined;
}

/**
 * @throws as {@link readSuperblock}; HF_CORRUPT when the device is smaller than it was,
 *   HF_NO_MEMORY when the index is too large.
 */
export async function mountStore(options: MountOptions): Promise<MountedStore> {
  const { device } = options;
  await device.flush();
  const { superblock } = await readSuperblock(device);
  if (superblock.sizeBytes > device.sizeBytes) {
    throw new HoldfastError('HF_CORRUPT', `${device.name} is smaller than the store on it`);
  }
  const damage: string[] = [];
  const pairs = new BlockPairs({ device, seed: seedOf(superblock.id) });
  const index = new IndexTable(superblock.partitionBits);
  const { indexBytesMax } = options;
  const images = await loadImages({ pairs, superblock, index, damage, indexBytesMax });
  const replayed = await replay(options, { superblock, index, images, damage });
  const { space, metadata } = openSpace(options, { superblock, index, images });
  const inventory = new Inventory({ index, space });
  await derive(options, { inventory, metadata, damage });
  const isAsClosed = superblock.isClean && superblock.sizeBytes === device.sizeBytes;
  // The bitmap of a store that was closed is as it should be; any other is written anew.
  if (isAsClosed && damage.length === 0) space.allocator.takeStale();
  return {
    superblock,
    inventory,
    images,
    directoryExtents: runsOf(superblock.directory.flatMap(({ first, second }) => [first, second])),
    pairs,
    damage,
    ...replayed,
    // Those that overlapped others have been dropped since.
    doubtful: replayed.doubtful.filter((record) => index.find(idAt(record, 0))?.kind === 'bad'),
  };
}

interface LoadContext {
  readonly pairs: BlockPairs;
  readonly superblock: Superblock;
  readonly index: IndexTable;
  readonly damage: string[];
  readonly indexBytesMax: number | undefined;
}

async function loadImages(context: LoadContext): Promise<(IndexImage | undefined)[]> {
  const { pairs, superblock, index, damage } = context;
  const count = index.partitions.length;
  const entries = await readDirectory(pairs, superblock.directory, count);
  checkIndexBytes(entries, context.indexBytesMax);
  return await mapBounded(index.partitions, PARTITIONS_AT_ONCE, async (partition, number) => {
    const entry = entries[number];
    if (!entry) return undefined;
    if (entry === 'lost') {
      damage.push(`partition ${number}: its directory entry is lost`);
      partition.isDirty = true;
      return undefined;
    }
    const { words, image, lostPages } = await readImage(pairs, entry);
    if (lostPages === 0) {
      index.load(number, words);
    } else {
      damage.push(`partition ${number}: ${lostPages} pages of its index are lost`);
      index.salvage(number, words);
    }
    return image;
  });
}

interface ReplayContext {
  readonly superblock: Superblock;
  readonly index: IndexTable;
  readonly images: readonly (IndexImage | undefined)[];
  readonly damage: string[];
}

/** Applies the journal to the index. @returns where it ended. */
async function replay(
  options: MountOptions,
  context: ReplayContext,
): Promise<Pick<MountedStore, 'head' | 'journalUsedBlocks' | 'doubtful'>> {
  const { superblock, damage } = context;
  const reader = new JournalReader({
    device: options.device,
    ringStart: superblock.journalStart,
    ringBlocks: superblock.journalBlocks,
    seed: seedOf(superblock.id),
  });
  let head = superblock.mark;
  let journalUsedBlocks = 0;
  let last: Batch | undefined;
  if (superblock.isClean) return { head, journalUsedBlocks, doubtful: [] };
  for (let step = await reader.next(head); step; step = await reader.next(head)) {
    // A batch is confirmed by the one that follows it.
    if (last) applyBatch(last, context);
    last = step.batch;
    head = step.after;
    journalUsedBlocks += step.usedBlocks;
  }
  const behind = await reader.behindGap(head.seq);
  if (behind.length > 0) {
    if (last) applyBatch(last, context);
    for (const batch of behind) applyBatch(batch, context);
    damage.push(`journal: batches from ${head.seq} to ${behind[0]!.seq - 1} are lost`);
    // Numbers beyond all that is in the ring, so that nothing there is taken for new.
    const seq = behind.at(-1)!.seq + 1;
    return { head: { ...head, seq }, journalUsedBlocks: 0, doubtful: [] };
  }
  const doubtful = last ? await applyUnconfirmed(last, options, context) : [];
  return { head, journalUsedBlocks, doubtful };
}

/** Whether the image of the partition of a chunk lacks what this batch says. */
function isNews(firstByte: number, seq: number, { index, images }: ReplayContext): boolean {
  return seq > (images[index.partitionOf(firstByte)]?.seq ?? -1);
}

function applyBatch(batch: Batch, context: ReplayContext): void {
  const { words, seq } = batch;
  for (const at of recordsOf(words)) {
    if (isNews(words[at]! & 0xff, seq, context)) context.index.apply(words, at);
  }
}

/**
 * Applies the last batch; chunks that are not whole become known bad.
 * @returns their records.
 * @throws HF_IO when the device cannot be read: that is nothing to hold against the chunks.
 */
async function applyUnconfirmed(
  { words, seq }: Batch,
  { device, io, plantedFault }: MountOptions,
  context: ReplayContext,
): Promise<Uint32Array[]> {
  const totalBlocks = device.sizeBytes / BLOCK_BYTES;
  const places = [...recordsOf(words)].filter((at) => isNews(words[at]! & 0xff, seq, context));
  const failures = new ReadFailures();
  const doubtful = await mapBounded(places, LIMITS.deviceOperationsMax, async (at) => {
    const record = decodeRecord(words, at);
    if (record?.kind !== 'live' || plantedFault === 'tail-not-verified') return undefined;
    const isWhole = isPlausible(record, totalBlocks) && (await io.isWhole(record, failures));
    return isWhole ? undefined : encodeRecord({ ...record, kind: 'bad' });
  });
  places.forEach((at, index) => {
    const bad = doubtful[index];
    if (bad) context.index.apply(bad);
    else context.index.apply(words, at);
  });
  return doubtful.filter((bad) => bad !== undefined);
}

interface SpaceContext {
  readonly superblock: Superblock;
  readonly index: IndexTable;
  readonly images: readonly (IndexImage | undefined)[];
}

function openSpace(
  { device, indexBytesMax }: MountOptions,
  { superblock, index, images }: SpaceContext,
): { space: Space; metadata: readonly Extent[] } {
  const space = new Space({
    allocator: new Allocator(device.sizeBytes / BLOCK_BYTES),
    index,
    capacityBlocks: device.capacityBytes / BLOCK_BYTES,
    hardMaxBytes: superblock.limits.hardMaxBytes,
    directoryBlocks: 2 * directoryBlocks(index.partitions.length),
    bitmapBlocks: superblock.bitmap.blocks,
    indexBytesMax,
  });
  const directory = superblock.directory.flatMap(({ first, second }) => [first, second]);
  const owned = [...runsOf(directory), ...images.flatMap((image) => image?.extents ?? [])];
  space.countImages(owned);
  const journal = { start: superblock.journalStart, blocks: superblock.journalBlocks };
  const bitmap = superblock.bitmap.blocks > 0 ? [superblock.bitmap] : [];
  return { space, metadata: [...runsOf([...SUPERBLOCK_BLOCKS]), journal, ...bitmap, ...owned] };
}

/** Takes the blocks of everything that the index names, and counts it. */
async function derive(
  { io, onDropped }: MountOptions,
  parts: {
    readonly inventory: Inventory;
    readonly metadata: readonly Extent[];
    readonly damage: string[];
  },
): Promise<void> {
  const { inventory, metadata, damage } = parts;
  const { index, space } = inventory;
  const { allocator } = space;
  for (const extent of metadata) allocator.take(extent);
  let isConsistent = true;
  for (const number of index.partitions.keys()) {
    index.visit(number, (words, at) => {
      const chunk = placedChunkAt(words, at);
      const isTakeable =
        isPlausible(chunk, allocator.totalBlocks) && allocator.areFree(chunk.extents);
      if (isTakeable) for (const extent of chunk.extents) allocator.take(extent);
      else isConsistent = false;
    });
  }
  if (!isConsistent) {
    // Only after damage: a lost delete leaves a chunk whose blocks others have now.
    damage.push('index: chunks shared blocks; those that are not whole were dropped');
    const { totalBlocks } = allocator;
    const fresh = await dropOverlaps({ index, metadata, totalBlocks, io, onDropped });
    space.replaceAllocator(fresh);
  }
  inventory.countAll();
}

/** What the mount needs of a record, at less cost where it has one extent, as nearly all have. */
function placedChunkAt(
  words: Uint32Array,
  at: number,
): Pick<ChunkRecord, 'lengthBytes' | 'extents'> {
  if (countOf(words, at) > 1) return recordAt(words, at);
  return { lengthBytes: words[at + WORD_LENGTH]!, extents: [readExtent(words, at + WORD_EXTENT)] };
}
