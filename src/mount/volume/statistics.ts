/** What df(1) shows of a volume: its content, and what of it still fits the stores. */
import { LIMITS } from '../../base/index.ts';
import type { MountableVolume } from '../../volume/index.ts';
import type { Statistics } from '../inode.ts';

const BLOCK_BYTES = 4096;
/** Inodes have no number of their own that could run out; tools like to see one. */
const FREE_INODES = 2 ** 32;

export async function statisticsOf(volume: MountableVolume): Promise<Statistics> {
  const [{ inodeCount, contentBytes }, freeBytes] = await Promise.all([
    volume.tree.usage(),
    volume.freeBytes(),
  ]);
  const usedBlocks = Math.ceil(contentBytes / BLOCK_BYTES);
  const freeBlockCount = Math.floor(freeBytes / BLOCK_BYTES);
  return {
    blockBytes: BLOCK_BYTES,
    blockCount: usedBlocks + freeBlockCount,
    freeBlockCount,
    availableBlockCount: freeBlockCount,
    inodeCount: inodeCount + FREE_INODES,
    freeInodeCount: FREE_INODES,
    nameBytesMax: LIMITS.nameBytesMax,
  };
}
