/**
 * Aim: the bitmap on the device says of a store that was closed exactly what the index says, in
 * whatever way the store came there; nothing depends on it; only what changed is written.
 * Method: loads, power cuts and growth on simulated devices; what the bitmap says is compared with
 * what a mount derives from the index.
 */
import { describe, expect, it } from 'vitest';
import { testChunk, testEnv, TestRandom } from '../../test/suites/store-fixtures.ts';
import { bytesEqual, type ClusterId, MiB } from '../base/index.ts';
import { type Media, SimulatedDevice } from '../device/index.ts';
import { readBitmap, roomyBitmapBlocks } from './bitmap.ts';
import { BufferPool } from './buffer-pool.ts';
import { ExtentIo } from './extent-io.ts';
import { BITMAP_BLOCK_BITS, bitmapBlocksFor, BLOCK_BYTES } from './geometry.ts';
import { type ExtentStore, formatStore, openStore } from './index.ts';
import { mountStore } from './mount.ts';
import { readSuperblock, seedOf, type Superblock } from './superblock.ts';

const clusterId = 'c'.repeat(32) as ClusterId;

async function open(device: SimulatedDevice): Promise<ExtentStore> {
  return await openStore({ env: testEnv({ sleeps: false }), device });
}

/** What is on the media of a device that was closed, for another life. */
function after(device: SimulatedDevice, capacityBytes?: number): SimulatedDevice {
  const { durable: media } = device.crashPoint();
  return new SimulatedDevice({ media, ...(capacityBytes && { capacityBytes }) });
}

/** Blocks that the bitmap says are taken, and those that the index says are. */
async function bothViews(media: Media): Promise<{ stored: number[]; derived: number[] }> {
  const device = new SimulatedDevice({ media });
  const { superblock } = await readSuperblock(device);
  expect(superblock.isClean).toBe(true);
  const io = new ExtentIo(device, new BufferPool(device));
  const { inventory } = await mountStore({ device, io, plantedFault: undefined });
  const { allocator } = inventory.space;
  const blocks = Array.from({ length: allocator.totalBlocks }, (_, block) => block);
  const words: Uint32Array[] = [];
  const place = { device, region: superblock.bitmap, seed: seedOf(superblock.id) };
  for await (const each of readBitmap(place)) {
    expect(each).toBeDefined();
    words.push(each!);
  }
  expect(words.length).toBe(bitmapBlocksFor(allocator.totalBlocks));
  const isStored = (block: number): boolean => {
    const bit = block % BITMAP_BLOCK_BITS;
    const word = words[Math.floor(block / BITMAP_BLOCK_BITS)]![Math.floor(bit / 32)]!;
    return ((word >>> (bit % 32)) & 1) === 1;
  };
  return {
    stored: blocks.filter(isStored),
    derived: blocks.filter((start) => !allocator.isFree({ start, blocks: 1 })),
  };
}

async function expectAgreement(media: Media): Promise<void> {
  const { stored, derived } = await bothViews(media);
  expect(stored).toEqual(derived);
}

/** Puts and removes chunks of all kinds. */
async function work(store: ExtentStore, seed: number): Promise<void> {
  const random = new TestRandom(seed);
  const chunkOf = (number: number) =>
    testChunk(number, number % 7 === 0 ? 66_000 + number * 1000 : 10 + ((number * 977) % 9000));
  for (let step = 0; step < 150; step++) {
    const { id, bytes } = chunkOf(random.below(90));
    if (random.below(3) < 2) await store.put(id, bytes, { generation: step });
    else await store.remove(id, { generationMax: step });
  }
}

async function formatted(
  sizeBytes = 16 * MiB,
  capacityBytes = sizeBytes,
): Promise<SimulatedDevice> {
  const device = new SimulatedDevice({ sizeBytes, capacityBytes });
  await formatStore({ env: testEnv(), device, clusterId, journalBlocks: 32, partitionBits: 2 });
  return device;
}

describe('bitmap', () => {
  it('agrees with the index of a store that was formatted, and of one closed', async () => {
    const device = await formatted();
    await expectAgreement(device.crashPoint().durable);
    let life = device;
    for (const seed of [1, 2, 3]) {
      const store = await open(life);
      await work(store, seed);
      await store[Symbol.asyncDispose]();
      await expectAgreement(life.crashPoint().durable);
      life = after(life);
    }
  });

  it('agrees again once a store that lost its power was opened and closed', async () => {
    const device = await formatted();
    await work(await open(device), 4);
    const second = new SimulatedDevice({ media: device.powerOff().durable });
    await (await open(second))[Symbol.asyncDispose]();
    await expectAgreement(second.crashPoint().durable);
  });

  it('is read by no mount, and mended by a scrub', async () => {
    const device = await formatted();
    const store = await open(device);
    const { id, bytes } = testChunk(1, 5000);
    await store.put(id, bytes, { generation: 0 });
    const { bitmap } = await store.describe();
    await store[Symbol.asyncDispose]();
    const second = after(device);
    const garbage = second.allocate(BLOCK_BYTES).fill(0xff);
    await second.write([garbage], bitmap.start * BLOCK_BYTES);
    const again = await open(second);
    expect((await again.describe()).damage).toEqual([]);
    expect(bytesEqual((await again.get(id))!, bytes)).toBe(true);
    expect((await again.scrub()).findings).toEqual([
      { kind: 'mended', what: expect.stringMatching(/bitmap/) },
    ]);
    expect((await again.scrub()).findings).toEqual([]);
    await again[Symbol.asyncDispose]();
    await expectAgreement(second.crashPoint().durable);
  });

  it('is written where something changed, and nowhere else', async () => {
    const device = await formatted(1024 * MiB);
    const { bitmap } = (await readSuperblock(device)).superblock;
    expect(bitmap).toEqual({ start: 2080 + 32, blocks: 9 });
    let written = 0;
    const second = new SimulatedDevice({
      media: device.crashPoint().durable,
      onEvent: (event) => {
        if (event.kind !== 'write-end') return;
        const { offset, bytes } = event.write;
        const block = offset / BLOCK_BYTES - bitmap.start;
        if (block >= 0 && block < bitmap.blocks) written += bytes.length / BLOCK_BYTES;
      },
    });
    const store = await open(second);
    const { id, bytes } = testChunk(1, 5000);
    await store.put(id, bytes, { generation: 0 });
    await store[Symbol.asyncDispose]();
    expect(written).toBe(1);
  });

  it('moves when the device has outgrown it, which nobody sees in what is in use', async () => {
    const capacityBytes = 1024 * MiB;
    const device = await formatted(16 * MiB, capacityBytes);
    const first = (await readSuperblock(device)).superblock;
    expect(first.bitmap.blocks).toBe(roomyBitmapBlocks(4096, capacityBytes / BLOCK_BYTES));
    await device.grow(300 * MiB);
    const store = await open(device);
    const { usedBytes } = await store.usage();
    expect(usedBytes).toBe(first.usedBlocks * BLOCK_BYTES);
    await store[Symbol.asyncDispose]();
    const second = after(device, capacityBytes);
    const { superblock } = await readSuperblock(second);
    expect(superblock.bitmap.blocks).toBe(bitmapBlocksFor((2 * 316 * MiB) / BLOCK_BYTES));
    await expectAgreement(second.crashPoint().durable);
    const again = await open(second);
    expect((await again.usage()).usedBytes).toBe(usedBytes);
    await again[Symbol.asyncDispose]();
    // The old place is free: nothing is taken but what an empty store has.
    const taken = (await bothViews(second.crashPoint().durable)).stored.length;
    expect(taken).toBe(takenWhenEmpty(superblock));
  });
});

/** Superblocks, journal, bitmap, and one block of the directory twice. */
function takenWhenEmpty({ journalBlocks, bitmap }: Superblock): number {
  return 4 + journalBlocks + bitmap.blocks + 2;
}
