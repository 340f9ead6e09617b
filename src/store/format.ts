/**
 * Formats a device as an empty store. Nothing of the device is touched but the superblocks and the
 * bitmap.
 */
import {
  type ClusterId,
  type DeviceId,
  errorCode,
  HoldfastError,
  hexId,
  LIMITS,
  type NodeId,
  utf8,
} from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { Allocator, type Extent } from './allocator.ts';
import { roomyBitmapBlocks, writeBitmap } from './bitmap.ts';
import { directoryBlocks } from './directory.ts';
import {
  BLOCK_BYTES,
  JOURNAL_START_BLOCK,
  journalBlocksFor,
  partitionBitsFor,
  SUPERBLOCK_BLOCKS,
} from './geometry.ts';
import { IndexTable } from './index-table.ts';
import { checkLimits } from './pressure.ts';
import { Space } from './space.ts';
import {
  LABEL_BYTES_MAX,
  readSuperblock,
  seedOf,
  type StoreLimits,
  type Superblock,
  writeSuperblock,
} from './superblock.ts';

export interface FormatOptions {
  readonly env: Env;
  readonly device: BlockDevice;
  readonly clusterId: ClusterId;
  /** Random when left out; a directory has one already. */
  readonly id?: DeviceId | undefined;
  readonly nodeId?: NodeId | undefined;
  /** Up to 64 bytes of UTF-8, for people. */
  readonly label?: string | undefined;
  readonly limits?: Partial<StoreLimits> | undefined;
  /** Formats over a store that is there; all of its chunks are lost. */
  readonly replacesStore?: boolean | undefined;
  /** Else by the capacity of the device; tests want small ones. */
  readonly journalBlocks?: number | undefined;
  readonly partitionBits?: number | undefined;
  /** Number of the first batch, above all that the ring may still hold (salvage-layout.ts). */
  readonly firstSeq?: number | undefined;
}

/** The store that is on the device; @throws HF_EXISTS unless it may be replaced. */
async function storeBefore(
  device: BlockDevice,
  mayReplace: boolean,
): Promise<Superblock | undefined> {
  try {
    const { superblock } = await readSuperblock(device);
    if (mayReplace) return superblock;
    throw new HoldfastError('HF_EXISTS', `${device.name} holds the store ${superblock.id} already`);
  } catch (error) {
    // One that cannot be read is replaced as well.
    if (errorCode(error) !== 'HF_NOT_OURS' && !mayReplace) throw error;
    return undefined;
  }
}

/**
 * Makes a device a store; durable when it resolves.
 * @returns the id of the store.
 * @throws HF_EXISTS when a store is there; HF_BAD_ARGUMENT when the device is too small.
 */
export async function formatStore(options: FormatOptions): Promise<DeviceId> {
  const { env, device } = options;
  const limits = { minBytes: 0, maxBytes: 0, hardMaxBytes: 0, ...options.limits };
  checkLimits(limits);
  const label = options.label ?? '';
  if (utf8(label).length > LABEL_BYTES_MAX) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `a label has up to ${LABEL_BYTES_MAX} bytes`);
  }
  if (device.sizeBytes < LIMITS.deviceBytesMin) {
    const message = `${device.name} has ${device.sizeBytes} bytes; a store needs 16 MiB`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  const before = await storeBefore(device, options.replacesStore ?? false);
  const journalBlocks =
    options.journalBlocks ?? journalBlocksFor(device.sizeBytes, device.capacityBytes);
  const partitionBits = options.partitionBits ?? partitionBitsFor(device.capacityBytes);
  const id = options.id ?? hexId<DeviceId>(env.random.bytes(16));
  const { hardMaxBytes } = limits;
  const { space, bitmap } = layOut(device, { journalBlocks, partitionBits, hardMaxBytes });
  const { allocator } = space;
  const numbers = allocator.takeStale();
  // Batches of a store with the same id that lie in the ring are never taken for new ones.
  const firstSeq = before?.id === id ? before.mark.seq + 2 ** 32 : (options.firstSeq ?? 1);
  await writeBitmap({ device, region: bitmap, seed: seedOf(id) }, { allocator, numbers });
  await writeSuperblock(device, {
    id,
    nodeId: options.nodeId,
    clusterId: options.clusterId,
    label,
    state: 'active',
    seq: 1,
    sizeBytes: device.sizeBytes,
    partitionBits,
    journalStart: JOURNAL_START_BLOCK,
    journalBlocks,
    mark: { seq: firstSeq, block: 0, chain: 0n },
    isClean: true,
    directory: [],
    chunkCount: 0,
    usedBlocks: space.usage().usedBlocks,
    limits,
    mountEpoch: 0,
    formattedAtMs: env.clock.now(),
    scrubbedAtMs: 0,
    bitmap,
    scrubCursor: 0,
    damagedAtMs: 0,
  });
  return id;
}

/** An empty store: what is fixed is taken. */
function layOut(
  { sizeBytes, capacityBytes }: BlockDevice,
  options: {
    readonly journalBlocks: number;
    readonly partitionBits: number;
    readonly hardMaxBytes: number;
  },
): { space: Space; bitmap: Extent } {
  const { journalBlocks, partitionBits, hardMaxBytes } = options;
  const [sizeBlocks, capacityBlocks] = [sizeBytes / BLOCK_BYTES, capacityBytes / BLOCK_BYTES];
  const journal = { start: JOURNAL_START_BLOCK, blocks: journalBlocks };
  const bitmap = {
    start: journal.start + journal.blocks,
    blocks: roomyBitmapBlocks(sizeBlocks, capacityBlocks),
  };
  const allocator = new Allocator(sizeBlocks);
  const copies = SUPERBLOCK_BLOCKS.map((start) => ({ start, blocks: 1 }));
  for (const extent of [...copies, journal, bitmap]) allocator.take(extent);
  const space = new Space({
    allocator,
    index: new IndexTable(partitionBits),
    capacityBlocks,
    hardMaxBytes,
    directoryBlocks: 2 * directoryBlocks(2 ** partitionBits),
    bitmapBlocks: bitmap.blocks,
  });
  return { space, bitmap };
}
