/**
 * Reads past bad sectors: a transfer that fails is halved until it is known which blocks the device
 * does not give. What is around them is read all the same. A block is bad when it was in two
 * transfers that failed: one may be a bad cable's.
 */
import { errorCode } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Extent } from './allocator.ts';
import { BLOCK_BYTES } from './geometry.ts';

/**
 * Fills `target`, whole blocks, from block `start`.
 * @param options.blocksMax so many bad blocks are looked for, and the rest is not read: each may
 *   take a disk seconds.
 * @returns the blocks that could not be read, in order; their bytes are undefined.
 */
export async function readAround(
  device: BlockDevice,
  target: Uint8Array,
  { start, blocksMax = Infinity }: { readonly start: number; readonly blocksMax?: number },
): Promise<number[]> {
  const bad: number[] = [];
  const read = async (at: number, blocks: number, isAgain: boolean): Promise<void> => {
    if (bad.length >= blocksMax) return;
    const part = target.subarray(at * BLOCK_BYTES, (at + blocks) * BLOCK_BYTES);
    try {
      await device.read(part, (start + at) * BLOCK_BYTES);
      return;
    } catch (error) {
      if (errorCode(error) !== 'HF_IO') throw error;
    }
    const half = Math.ceil(blocks / 2);
    if (blocks > 1) {
      await read(at, half, true);
      await read(at + half, blocks - half, true);
    } else if (isAgain) {
      bad.push(start + at);
    } else {
      await read(at, 1, true);
    }
  };
  if (target.length > 0) await read(0, target.length / BLOCK_BYTES, false);
  return bad;
}

/** For people: which bytes of the device these blocks are. */
export function describeBlocks(extents: readonly Extent[]): string {
  const ranges = extents.map(
    ({ start, blocks }) => `${start * BLOCK_BYTES}–${(start + blocks) * BLOCK_BYTES - 1}`,
  );
  return `bytes ${ranges.join(', ')} of the device`;
}
