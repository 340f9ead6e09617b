/**
 * New superblocks for a device on which none is good, without writing over a chunk. The ring goes
 * to its usual place, with the bitmap behind it; both end before the first chunk that is there.
 */
import { HoldfastError, LIMITS, MiB } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import { roomyBitmapBlocks } from './bitmap.ts';
import { formatStore } from './format.ts';
import {
  BLOCK_BYTES,
  JOURNAL_START_BLOCK,
  journalBlocksFor,
  SUPERBLOCK_BLOCKS,
} from './geometry.ts';
import type { SalvageOptions } from './salvage.ts';
import type { Hints } from './salvage-hints.ts';
import { ChunkScanner } from './salvage-scan.ts';
import { seedOf } from './superblock.ts';

const JOURNAL_BLOCKS_MIN = 16;
const ZEROS_BYTES = 4 * MiB;

/**
 * Nothing is written before it is certain that the device was a store.
 * @param hints gets what the ring still says.
 * @throws HF_NOT_OURS, HF_CORRUPT, HF_INTERRUPTED.
 */
export async function writeNewSuperblock(options: SalvageOptions, hints: Hints): Promise<void> {
  const { env, device, clusterId, id, label, signal } = options;
  if (device.sizeBytes < LIMITS.deviceBytesMin) throw nothingFound(device);
  const isSuperblock = new Set<number>(SUPERBLOCK_BLOCKS);
  const scanner = new ChunkScanner({
    device,
    isFree: ({ start, blocks }) => blocks > 1 || !isSuperblock.has(start),
    signal,
  });
  const sizeBlocks = device.sizeBytes / BLOCK_BYTES;
  const bitmapBlocks = roomyBitmapBlocks(sizeBlocks, device.capacityBytes / BLOCK_BYTES);
  const usual = journalBlocksFor(device.sizeBytes, device.capacityBytes);
  const ring = { start: JOURNAL_START_BLOCK, blocks: usual };
  const seed = id && seedOf(id);
  const hasBatches = await hints.addJournal(device, { ...ring, seed });
  if (!hasBatches && !(await hasChunk(scanner, sizeBlocks))) throw nothingFound(device);
  const wanted = { start: ring.start, blocks: usual + bitmapBlocks };
  const found = (await firstChunk(scanner, wanted)) ?? wanted.start + wanted.blocks;
  const end = Math.min(found, hints.firstBlock);
  const journalBlocks = end - ring.start - bitmapBlocks;
  if (journalBlocks < JOURNAL_BLOCKS_MIN) {
    throw new HoldfastError('HF_CORRUPT', `${device.name}: chunks are where its journal should be`);
  }
  await writeZeros(device, ring.start, journalBlocks);
  await formatStore({ env, device, clusterId, id, label, journalBlocks, replacesStore: true });
}

function nothingFound(device: BlockDevice): HoldfastError {
  return new HoldfastError('HF_NOT_OURS', `${device.name} holds nothing of a Holdfast store`);
}

async function hasChunk(scanner: ChunkScanner, sizeBlocks: number): Promise<boolean> {
  for await (const { kind } of scanner.scan({ start: 0, blocks: sizeBlocks })) {
    if (kind === 'chunk') return true;
  }
  return false;
}

/** The first block of an area where a chunk starts, or did: what is half there counts. */
async function firstChunk(
  scanner: ChunkScanner,
  area: { readonly start: number; readonly blocks: number },
): Promise<number | undefined> {
  for await (const found of scanner.scan(area)) {
    if (found.kind === 'chunk') return found.extents[0]!.start;
    if (found.kind !== 'page') return found.block;
  }
  return undefined;
}

/** An empty ring: what it held has been read. */
async function writeZeros(device: BlockDevice, start: number, blocks: number): Promise<void> {
  const zeros = device.allocate(ZEROS_BYTES);
  const end = (start + blocks) * BLOCK_BYTES;
  for (let at = start * BLOCK_BYTES; at < end; at += zeros.length) {
    await device.write([zeros.subarray(0, Math.min(zeros.length, end - at))], at);
  }
  await device.flush();
}
