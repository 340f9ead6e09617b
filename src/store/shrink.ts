/**
 * When a device gives room at its end back. It takes most of a half of it being empty, and leaves a
 * quarter free, so that a store does not grow and shrink by turns.
 */
import { LIMITS } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import { BLOCK_BYTES } from './geometry.ts';
import type { Space } from './space.ts';

/** Of what is left of the device, this much is free. */
const FREE_SHARE = 1 / 4;

/** No segment of a directory is larger than this share of the device, nor than the largest one. */
function segmentBlocksMax(sizeBlocks: number): number {
  return Math.min(sizeBlocks / 2, LIMITS.segmentFileBytesMax / BLOCK_BYTES);
}

/**
 * Blocks to shrink to by what is in use, wherever it lies; `undefined` when that is not worth it.
 * Only a directory has segments to give back.
 */
export function worthwhileBlocks(device: BlockDevice, space: Space): number | undefined {
  if (device.kind !== 'directory') return undefined;
  return target(space.allocator.totalBlocks, space.neededBlocks);
}

/** The same, by where it lies: what can be done now. */
export function possibleBlocks(device: BlockDevice, space: Space): number | undefined {
  if (worthwhileBlocks(device, space) === undefined) return undefined;
  const { totalBlocks, takenEnd } = space.allocator;
  return target(totalBlocks, Math.max(takenEnd, space.neededBlocks));
}

function target(sizeBlocks: number, usedBlocks: number): number | undefined {
  const least = LIMITS.deviceBytesMin / BLOCK_BYTES;
  const wanted = Math.max(Math.ceil(usedBlocks / (1 - FREE_SHARE)), least);
  return sizeBlocks - wanted >= segmentBlocksMax(sizeBlocks) ? wanted : undefined;
}
