/**
 * The partition directory: where the image of each partition starts. Its blocks are pairs that the
 * superblock names (index-image.ts has the chain of trust).
 *
 * Entry, 64 bytes: pair of the first map (24), journal batch contained (u64), slots (u32).
 */
import { asBuffer, assert, HoldfastError, MiB } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Extent } from './allocator.ts';
import { type BlockPair, type BlockPairs, readPair, writePair } from './block-pairs.ts';
import { BLOCK_BYTES, blocksFor } from './geometry.ts';
import { blockNumbers, type IndexImage, writeExtents } from './index-image.ts';
import { SLOT_BYTES } from './slot.ts';
import { METADATA_INDEX_FACTOR, type Space } from './space.ts';

const ENTRY_BYTES = 64;
const ENTRIES_PER_BLOCK: number = BLOCK_BYTES / ENTRY_BYTES;

/** Blocks of one copy. */
export function directoryBlocks(partitionCount: number): number {
  return blocksFor(partitionCount * ENTRY_BYTES);
}

export interface Directory {
  readonly pairs: readonly BlockPair[];
  /** Both copies. */
  readonly extents: readonly Extent[];
}

/** Writes the directory to free blocks; durable after the next flush. */
export async function writeDirectory(
  { device, space, pairs }: { device: BlockDevice; space: Space; pairs: BlockPairs },
  images: readonly (IndexImage | undefined)[],
): Promise<Directory> {
  const count = directoryBlocks(images.length);
  const content = asBuffer(device.allocate(count * BLOCK_BYTES));
  images.forEach((image, index) => {
    if (!image) return;
    const at = index * ENTRY_BYTES;
    writePair(content, at, image.map);
    content.writeBigUInt64LE(BigInt(image.seq), at + 24);
    content.writeUInt32LE(image.slots, at + 32);
  });
  const copies = space.takeImage(count);
  for (const extents of copies) await writeExtents(device, extents, content);
  const [first, second] = copies.map(blockNumbers) as [number[], number[]];
  assert(first.length === second.length, 'each block has two copies');
  return {
    pairs: first.map((block, index) => ({
      first: block,
      second: second[index]!,
      checksum: pairs.checksum(content.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)),
    })),
    extents: copies.flat(),
  };
}

/**
 * Finds out before an image is loaded whether the tables fit the memory that they may take.
 * @throws HF_NO_MEMORY.
 */
export function checkIndexBytes(
  entries: readonly (DirectoryEntry | undefined | 'lost')[],
  indexBytesMax = Infinity,
): void {
  const slots = entries.reduce(
    (sum, entry) => sum + (entry && entry !== 'lost' ? entry.slots : 0),
    0,
  );
  const bytes = slots * SLOT_BYTES;
  if (bytes <= indexBytesMax * METADATA_INDEX_FACTOR) return;
  const [needed, allowed] = [Math.ceil(bytes / MiB), Math.floor(indexBytesMax / MiB)];
  throw new HoldfastError(
    'HF_NO_MEMORY',
    `the index needs ${needed} MiB of memory, and may take ${allowed} MiB`,
    { details: { bytes, indexBytesMax } },
  );
}

export type DirectoryEntry = Pick<IndexImage, 'map' | 'seq' | 'slots'>;

/** By partition: `undefined` without an image, 'lost' when both copies of the block are bad. */
export async function readDirectory(
  pairs: BlockPairs,
  directory: readonly BlockPair[],
  partitionCount: number,
): Promise<(DirectoryEntry | undefined | 'lost')[]> {
  const blocks = await pairs.read(directory);
  return Array.from({ length: directory.length > 0 ? partitionCount : 0 }, (_, index) => {
    const block = blocks[Math.floor(index / ENTRIES_PER_BLOCK)];
    if (!block) return 'lost';
    const buffer = asBuffer(block);
    const at = (index % ENTRIES_PER_BLOCK) * ENTRY_BYTES;
    const slots = buffer.readUInt32LE(at + 32);
    if (slots === 0) return undefined;
    return { map: readPair(buffer, at), seq: Number(buffer.readBigUInt64LE(at + 24)), slots };
  });
}
