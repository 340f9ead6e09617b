/**
 * Aim: however many bad chunks go at once, trying their blocks takes the memory of one, and closing
 * does not wait for all of them; nothing is tried after that, and no block is lost track of.
 * Method: a device whose transfers end when the test says so.
 */
import { expect, it } from 'vitest';
import { MiB } from '../base/index.ts';
import { SimulatedDevice } from '../device/index.ts';
import { silentLog } from '../env/index.ts';
import type { Extent } from './allocator.ts';
import { Quarantine } from './quarantine.ts';

const CHUNKS = 500;
const CHUNK_BLOCKS = 8;

it('tries one chunk at a time, and leaves the rest when it is closed', async () => {
  const device = new SimulatedDevice({ sizeBytes: 32 * MiB });
  let allocatedBytes = 0;
  let writes = 0;
  const gate = Promise.withResolvers<void>();
  const slow = {
    name: 'slow',
    allocate: (bytes: number) => {
      allocatedBytes += bytes;
      return device.allocate(bytes);
    },
    read: async (target: Uint8Array, offset: number) => await device.read(target, offset),
    write: async (sources: readonly Uint8Array[], offset: number) => {
      writes += 1;
      await gate.promise;
      await device.write(sources, offset);
    },
  } as unknown as SimulatedDevice;
  const free: Extent[] = [];
  const giveBack = (extent: Extent): void => void free.push(extent);
  const quarantine = new Quarantine({ device: slow, log: silentLog, giveBack });
  for (let number = 0; number < CHUNKS; number++) {
    quarantine.take([{ start: number * CHUNK_BLOCKS, blocks: CHUNK_BLOCKS }]);
  }
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
  expect(writes).toBe(1);
  expect(allocatedBytes).toBeLessThan(MiB);
  const closing = quarantine.close();
  gate.resolve();
  await closing;
  expect(writes).toBe(1);
  expect(free).toEqual([{ start: 0, blocks: CHUNK_BLOCKS }]);
  const blocks = quarantine.badExtents.reduce((sum, extent) => sum + extent.blocks, 0);
  expect(blocks).toBe((CHUNKS - 1) * CHUNK_BLOCKS);
});
