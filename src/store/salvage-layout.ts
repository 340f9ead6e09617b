/**
 * New superblocks for a device on which none is good, without writing over a chunk. The ring goes
 * to its usual place, with the bitmap behind it; both end before the first chunk that is there.
 */
import { asBuffer, type DeviceId, hexId, HoldfastError, LIMITS } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import type { Extent } from './allocator.ts';
import { roomyBitmapBlocks } from './bitmap.ts';
import { BufferPool } from './buffer-pool.ts';
import { ExtentIo } from './extent-io.ts';
import { formatStore } from './format.ts';
import {
  BLOCK_BYTES,
  JOURNAL_START_BLOCK,
  journalBlocksFor,
  SUPERBLOCK_BLOCKS,
} from './geometry.ts';
import type { SalvageOptions } from './salvage.ts';
import type { Hints } from './salvage-hints.ts';
import { ChunkScanner, isChunkThere } from './salvage-scan.ts';
import { seedOf } from './superblock.ts';

const JOURNAL_BLOCKS_MIN = 16;

/**
 * Nothing is written before it is certain that the device was a store. The ring keeps its batches,
 * until others go over them once the salvage is complete: an interrupted one needs them again. For
 * that the store takes over the seed that they carry, and goes on counting where they end.
 * @param hints gets what the ring and old pages say.
 * @throws HF_NOT_OURS, HF_CORRUPT, HF_INTERRUPTED.
 */
export async function writeNewSuperblock(options: SalvageOptions, hints: Hints): Promise<void> {
  const { env, device, clusterId, label } = options;
  if (device.sizeBytes < LIMITS.deviceBytesMin) throw nothingFound(device);
  const bitmapBlocks = roomyBitmapBlocks(
    device.sizeBytes / BLOCK_BYTES,
    device.capacityBytes / BLOCK_BYTES,
  );
  const usual = journalBlocksFor(device.sizeBytes, device.capacityBytes);
  const ring = { start: JOURNAL_START_BLOCK, blocks: usual };
  const seed = options.id && seedOf(options.id);
  const batches = await hints.addJournal(device, { ...ring, seed });
  const area = { start: ring.start, blocks: usual + bitmapBlocks };
  const { hasChunk, firstBlock } = await survey(options, { area, hints });
  if (!batches && !hasChunk) throw nothingFound(device);
  const end = Math.min(firstBlock, await firstHinted(device, hints, area));
  const journalBlocks = end - ring.start - bitmapBlocks;
  if (journalBlocks < JOURNAL_BLOCKS_MIN) {
    throw new HoldfastError('HF_CORRUPT', `${device.name}: chunks are where its journal should be`);
  }
  const id = options.id ?? (batches && idWithSeed(env, batches.seed));
  const firstSeq = batches?.nextSeq;
  const layout = { journalBlocks, firstSeq, replacesStore: true };
  await formatStore({ env, device, clusterId, id, label, ...layout });
}

function nothingFound(device: BlockDevice): HoldfastError {
  return new HoldfastError('HF_NOT_OURS', `${device.name} holds nothing of a Holdfast store`);
}

function idWithSeed(env: Env, seed: bigint): DeviceId {
  const bytes = asBuffer(env.random.bytes(16));
  bytes.writeBigUInt64LE(seed, 0);
  return hexId<DeviceId>(bytes);
}

/**
 * Looks through the whole device: whether it has a chunk, and in which block of an area the first
 * one starts, or did (what is half there counts); the end of the area when none does.
 */
async function survey(
  { device, signal }: SalvageOptions,
  { area, hints }: { readonly area: Extent; readonly hints: Hints },
): Promise<{ hasChunk: boolean; firstBlock: number }> {
  const isSuperblock = new Set<number>(SUPERBLOCK_BLOCKS);
  const scanner = new ChunkScanner({
    device,
    isFree: ({ start, blocks }) => blocks > 1 || !isSuperblock.has(start),
    signal,
  });
  const areaEnd = area.start + area.blocks;
  let hasChunk = false;
  let firstBlock = areaEnd;
  for await (const found of scanner.scan({ start: 0, blocks: device.sizeBytes / BLOCK_BYTES })) {
    if (found.kind === 'page') {
      hints.addPage(found.bytes);
      continue;
    }
    hasChunk ||= found.kind === 'chunk';
    const block = found.kind === 'chunk' ? found.extents[0]!.start : found.block;
    if (block >= area.start) firstBlock = Math.min(firstBlock, block);
  }
  return { hasChunk, firstBlock };
}

/** First block of an area that a chunk has of which only the hints tell; else the area's end. */
async function firstHinted(device: BlockDevice, hints: Hints, area: Extent): Promise<number> {
  const io = new ExtentIo(device, new BufferPool(device));
  let first = area.start + area.blocks;
  for (const record of hints.records()) {
    const starts = record.extents.map(({ start }) => start);
    const start = Math.min(...starts.filter((block) => block >= area.start));
    if (start < first && (await isChunkThere(io, record))) first = start;
  }
  return first;
}
