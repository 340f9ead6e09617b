/**
 * The superblock: who a store is, how it is cut up, and where its index starts. Four copies, two
 * distant pairs (geometry.ts). Byte by byte: docs/formats/store.md.
 *
 * Invariants: (1) a pair is written and flushed before the other is touched, and after a power cut
 * the torn pair comes first, so at any moment one pair is whole; (2) `seq` rises by one with each
 * write, and the highest valid copy counts, also when it is alone; (3) what a superblock names is
 * durable before its first copy is written, and what its predecessor named is given up only after
 * its last copy is durable; (4) a mount writes all copies before anything else.
 *
 * Why one copy is enough: what it names is durable by (3), so a copy without a twin is what a power
 * cut left of a pair. An older superblock that has two copies would do as well, but taking it would
 * bring its successor's number into the world twice, with other content.
 */
import {
  asBuffer,
  assert,
  type ClusterId,
  type DeviceId,
  errorCode,
  fromHex,
  HoldfastError,
  hexId,
  type NodeId,
  utf8,
  xxh64,
} from '../base/index.ts';
import type { BlockDevice, DeviceKind } from '../device/index.ts';
import type { Extent } from './allocator.ts';
import { type BlockPair, PAIR_BYTES, readPair, writePair } from './block-pairs.ts';
import { BLOCK_BYTES, SUPERBLOCK_BLOCKS } from './geometry.ts';

const MAGIC = Buffer.from('HFSTORE1');
const VERSION = 1;
const CHECKSUM_AT: number = BLOCK_BYTES - 8;
const LABEL_AT = 256;
export const LABEL_BYTES_MAX = 64;
const DIRECTORY_AT = 320;
const FLAG_CLEAN = 1;
const NO_ID = '0'.repeat(32);

/** Copies that are near each other, and are written together. */
const PAIRS = [
  [0, 1],
  [2, 3],
] as const;

const STATES = { 1: 'active', 2: 'draining' } as const;
const KIND_NUMBERS: Record<DeviceKind, number> = {
  raw: 0,
  image: 1,
  directory: 2,
  memory: 3,
  simulated: 4,
};

/** Where replay starts: the next batch expected, its place in the ring, the checksum before it. */
export interface JournalMark {
  readonly seq: number;
  /** Block of the ring. */
  readonly block: number;
  readonly chain: bigint;
}

/** Bytes; 0 means no limit. min < max < hardMax where they are set (pressure.ts). */
export interface StoreLimits {
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly hardMaxBytes: number;
}

export interface Superblock {
  readonly id: DeviceId;
  readonly nodeId: NodeId | undefined;
  readonly clusterId: ClusterId;
  readonly label: string;
  readonly state: 'active' | 'draining';
  readonly seq: number;
  readonly sizeBytes: number;
  readonly partitionBits: number;
  readonly journalStart: number;
  readonly journalBlocks: number;
  readonly mark: JournalMark;
  /** The images hold everything: no journal is left to replay. */
  readonly isClean: boolean;
  /** Blocks of the partition directory; none before the first checkpoint. */
  readonly directory: readonly BlockPair[];
  /** As of the last write, for those who look from outside. */
  readonly chunkCount: number;
  readonly usedBlocks: number;
  readonly limits: StoreLimits;
  /** Rises with each mount. */
  readonly mountEpoch: number;
  readonly formattedAtMs: number;
  /** End of the last complete scrub; 0 means never. */
  readonly scrubbedAtMs: number;
  /** The advisory bitmap (bitmap.ts); no blocks where there is none yet. */
  readonly bitmap: Extent;
  /** Block that the scrub under way has come to; 0 when none is. */
  readonly scrubCursor: number;
  /** When a mount last found damage; 0 when none did, or once it has been dealt with. */
  readonly damagedAtMs: number;
}

/** Seed of the checksums of the store's metadata. */
export function seedOf(id: DeviceId): bigint {
  return asBuffer(fromHex(id)).readBigUInt64LE(0);
}

function putNumbers(block: Buffer, at: number, values: readonly number[]): void {
  values.forEach((value, index) => block.writeBigUInt64LE(BigInt(value), at + index * 8));
}

function encode(superblock: Superblock, kind: DeviceKind, copy: number): Buffer {
  const { mark, limits } = superblock;
  const block = Buffer.alloc(BLOCK_BYTES);
  MAGIC.copy(block);
  block.writeUInt32LE(VERSION, 8);
  block.writeUInt8(copy, 20);
  block.writeUInt8(superblock.state === 'active' ? 1 : 2, 21);
  block.writeUInt8(KIND_NUMBERS[kind], 22);
  block.writeUInt8(superblock.partitionBits, 23);
  block.set(fromHex(superblock.id), 24);
  block.set(fromHex(superblock.nodeId ?? NO_ID), 40);
  block.set(fromHex(superblock.clusterId), 56);
  putNumbers(block, 72, [superblock.seq, superblock.sizeBytes]);
  block.writeUInt32LE(BLOCK_BYTES, 88);
  block.writeUInt32LE(superblock.isClean ? FLAG_CLEAN : 0, 92);
  putNumbers(block, 96, [superblock.journalStart, superblock.journalBlocks, mark.seq]);
  block.writeUInt32LE(mark.block, 120);
  block.writeUInt32LE(superblock.directory.length, 124);
  block.writeBigUInt64LE(mark.chain, 128);
  putNumbers(block, 136, [superblock.chunkCount, superblock.usedBlocks]);
  putNumbers(block, 152, [limits.minBytes, limits.maxBytes, limits.hardMaxBytes]);
  putNumbers(block, 176, [superblock.mountEpoch, superblock.formattedAtMs]);
  putNumbers(block, 192, [superblock.scrubbedAtMs, superblock.bitmap.start]);
  block.writeUInt32LE(superblock.bitmap.blocks, 208);
  putNumbers(block, 216, [superblock.scrubCursor, superblock.damagedAtMs]);
  block.set(utf8(superblock.label), LABEL_AT);
  superblock.directory.forEach((pair, index) => {
    writePair(block, DIRECTORY_AT + index * PAIR_BYTES, pair);
  });
  block.writeBigUInt64LE(xxh64(block.subarray(0, CHECKSUM_AT)), CHECKSUM_AT);
  return block;
}

function decode(block: Buffer): Superblock {
  const number = (at: number): number => Number(block.readBigUInt64LE(at));
  const nodeId = hexId<NodeId>(block.subarray(40, 56));
  const label = block.subarray(LABEL_AT, LABEL_AT + LABEL_BYTES_MAX).toString('utf8');
  return {
    id: hexId<DeviceId>(block.subarray(24, 40)),
    nodeId: nodeId === NO_ID ? undefined : nodeId,
    clusterId: hexId<ClusterId>(block.subarray(56, 72)),
    label: label.replace(/\0.*$/su, ''),
    state: STATES[block.readUInt8(21) as 1 | 2] ?? 'active',
    seq: number(72),
    sizeBytes: number(80),
    partitionBits: block.readUInt8(23),
    journalStart: number(96),
    journalBlocks: number(104),
    mark: { seq: number(112), block: block.readUInt32LE(120), chain: block.readBigUInt64LE(128) },
    isClean: (block.readUInt32LE(92) & FLAG_CLEAN) !== 0,
    directory: Array.from({ length: block.readUInt32LE(124) }, (_, index) =>
      readPair(block, DIRECTORY_AT + index * PAIR_BYTES),
    ),
    chunkCount: number(136),
    usedBlocks: number(144),
    limits: { minBytes: number(152), maxBytes: number(160), hardMaxBytes: number(168) },
    mountEpoch: number(176),
    formattedAtMs: number(184),
    scrubbedAtMs: number(192),
    bitmap: { start: number(200), blocks: block.readUInt32LE(208) },
    scrubCursor: number(216),
    damagedAtMs: number(224),
  };
}

export interface SuperblockCopies {
  /** The copy that counts. */
  readonly superblock: Superblock;
  /** Copies that are not that one: torn, rotten or older. */
  readonly badCopies: number;
}

export type CopyFault = 'unreadable' | 'foreign' | 'corrupt' | 'misplaced' | 'unsupported';

/** One of the four copies: its content, or what is wrong with it. */
export interface SuperblockCopy {
  readonly block: number;
  readonly superblock: Superblock | undefined;
  readonly fault: CopyFault | undefined;
}

async function readCopy(device: BlockDevice, copy: number): Promise<Superblock | CopyFault> {
  const offset = SUPERBLOCK_BLOCKS[copy]! * BLOCK_BYTES;
  if (offset + BLOCK_BYTES > device.sizeBytes) return 'unreadable';
  const block = asBuffer(device.allocate(BLOCK_BYTES));
  try {
    await device.read(block, offset);
  } catch (error) {
    if (errorCode(error) !== 'HF_IO') throw error;
    return 'unreadable';
  }
  if (!block.subarray(0, MAGIC.length).equals(MAGIC)) return 'foreign';
  if (block.readBigUInt64LE(CHECKSUM_AT) !== xxh64(block.subarray(0, CHECKSUM_AT))) {
    return 'corrupt';
  }
  if (block.readUInt8(20) !== copy) return 'misplaced';
  if (block.readUInt32LE(8) !== VERSION || block.readUInt32LE(12) !== 0) return 'unsupported';
  return decode(block);
}

/** All copies, in the order of the device, whatever is wrong with them. */
export async function readCopies(device: BlockDevice): Promise<readonly SuperblockCopy[]> {
  const copies: SuperblockCopy[] = [];
  for (const [copy, block] of SUPERBLOCK_BLOCKS.entries()) {
    const read = await readCopy(device, copy);
    const isWhole = typeof read === 'object';
    copies.push({
      block,
      superblock: isWhole ? read : undefined,
      fault: isWhole ? undefined : read,
    });
  }
  return copies;
}

/** The copy that counts: the one written last. */
export function latestOf(copies: readonly SuperblockCopy[]): Superblock | undefined {
  const found = copies.flatMap(({ superblock }) => superblock ?? []);
  return found.toSorted((a, b) => b.seq - a.seq)[0];
}

/**
 * The superblock of the device.
 * @throws HF_NOT_OURS when none of its copies is there, HF_CORRUPT when none is good,
 *   HF_UNSUPPORTED when a newer program wrote it.
 */
export async function readSuperblock(device: BlockDevice): Promise<SuperblockCopies> {
  const copies = await readCopies(device);
  if (copies.some(({ fault }) => fault === 'unsupported')) {
    throw new HoldfastError('HF_UNSUPPORTED', `${device.name}: a newer program wrote this store`);
  }
  const superblock = latestOf(copies);
  if (!superblock) {
    const isOurs = copies.some(({ fault }) => fault === 'corrupt' || fault === 'misplaced');
    if (!isOurs) throw new HoldfastError('HF_NOT_OURS', `${device.name} holds no Holdfast store`);
    throw new HoldfastError('HF_CORRUPT', `${device.name}: every superblock copy is bad`);
  }
  const good = copies.filter((copy) => copy.superblock?.seq === superblock.seq).length;
  return { superblock, badCopies: copies.length - good };
}

/**
 * Writes all copies, pair by pair: an even number on the first pair first, an odd one on the
 * second. So after a power cut the mount begins with the pair that the cut may have torn, and a
 * second cut finds the other one whole.
 * @param options.isFlushedOnce leaves out the flush between the pairs: a planted fault for tests.
 */
export async function writeSuperblock(
  device: BlockDevice,
  superblock: Superblock,
  options: { isFlushedOnce?: boolean } = {},
): Promise<void> {
  assert(DIRECTORY_AT + superblock.directory.length * PAIR_BYTES <= CHECKSUM_AT, 'it fits a block');
  const isEven = superblock.seq % 2 === 0;
  const [first, second] = isEven ? PAIRS : [PAIRS[1], PAIRS[0]];
  await writeCopies(device, superblock, first);
  if (!options.isFlushedOnce) await device.flush();
  await writeCopies(device, superblock, second);
  await device.flush();
}

async function writeCopies(
  device: BlockDevice,
  superblock: Superblock,
  copies: readonly number[],
): Promise<void> {
  for (const copy of copies) {
    const memory = device.allocate(BLOCK_BYTES);
    memory.set(encode(superblock, device.kind, copy));
    await device.write([memory], SUPERBLOCK_BLOCKS[copy]! * BLOCK_BYTES);
  }
}
