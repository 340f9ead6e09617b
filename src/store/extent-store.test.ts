/**
 * Aim: the extent store behaves as every chunk store, on every kind of device; and what only it
 * does: refuses foreign devices, fills up without harm, grows, stops at a failed flush, mends its
 * metadata.
 * Method: the suite over each device; each rest as a small story on a simulated device.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ChunkStoreHarness, chunkStoreSuite } from '../../test/suites/chunk-store.ts';
import { TestRandom, testChunk, testEnv, testMetadata } from '../../test/suites/store-fixtures.ts';
import {
  asBuffer,
  bytesEqual,
  type ClusterId,
  type DeviceId,
  errorCode,
  KiB,
  LIMITS,
  MiB,
  type NodeId,
} from '../base/index.ts';
import {
  type BlockDevice,
  DirectoryDevice,
  MemoryDevice,
  SimulatedDevice,
} from '../device/index.ts';
import { type Env, realEnv } from '../env/index.ts';
import { SUPERBLOCK_BLOCKS } from './geometry.ts';
import { type ExtentStore, formatStore, openStore } from './index.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const { blockBytes } = LIMITS;

/** A device that stays when the store closes it, so that it can be opened again. */
function kept<Device extends BlockDevice>(device: Device): Device {
  return new Proxy(device, {
    get(target, key) {
      if (key === Symbol.asyncDispose) return async () => {};
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  });
}

/** Finds where bytes lie on the device; each test chunk is unlike any other. */
async function find(device: BlockDevice, bytes: Uint8Array): Promise<number> {
  const block = asBuffer(device.allocate(blockBytes));
  const start = bytes.subarray(0, blockBytes);
  for (let offset = 0; offset < device.sizeBytes; offset += blockBytes) {
    await device.read(block, offset);
    if (bytesEqual(block.subarray(0, start.length), start)) return offset;
  }
  throw new Error('the bytes are not on the device');
}

async function flipByte(device: BlockDevice, offset: number): Promise<void> {
  const block = device.allocate(blockBytes);
  const from = Math.floor(offset / blockBytes) * blockBytes;
  await device.read(block, from);
  block[offset - from]! ^= 1;
  await device.write([block], from);
}

async function harnessOn(
  env: Env,
  device: BlockDevice,
  options: { reopen?: () => Promise<BlockDevice>; cleanUp?: () => Promise<void> },
): Promise<ChunkStoreHarness> {
  await formatStore({ env, device, clusterId });
  let held = device;
  let store = await openStore({ env, device, clusterId });
  const { reopen } = options;
  const reopened = async (): Promise<ExtentStore> => {
    await store[Symbol.asyncDispose]();
    held = await reopen!();
    store = await openStore({ env, device: held, clusterId });
    return store;
  };
  return {
    store,
    damage: async ({ bytes }) => await flipByte(held, await find(held, bytes)),
    ...(reopen && { reopen: reopened }),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await options.cleanUp?.();
    },
  };
}

chunkStoreSuite('extents in memory', async () => {
  const device = kept(new MemoryDevice({ sizeBytes: 32 * MiB, name: 'memory' }));
  return await harnessOn(testEnv(), device, { reopen: async () => device });
});

chunkStoreSuite('extents on a simulated device that grows', async () => {
  const sizes = { sizeBytes: 16 * MiB, capacityBytes: 64 * MiB };
  const device = kept(new SimulatedDevice(sizes));
  return await harnessOn(testEnv({ sleeps: false }), device, { reopen: async () => device });
});

chunkStoreSuite('extents in a directory', async () => {
  const env = realEnv();
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-store-'));
  const path = join(folder, 'store');
  const uuid = 'd'.repeat(32) as DeviceId;
  const device = await DirectoryDevice.create({ env, path, uuid, capacityBytes: 64 * MiB });
  return await harnessOn(env, device, {
    reopen: async () => await DirectoryDevice.open({ env, path }),
    cleanUp: async () => await rm(folder, { recursive: true }),
  });
});

async function expectCode(work: Promise<unknown>, code: string): Promise<void> {
  await expect(work).rejects.toMatchObject({ code });
}

async function open(device: BlockDevice, env = testEnv({ sleeps: false })): Promise<ExtentStore> {
  return await openStore({ env, device: kept(device), clusterId });
}

async function newStore(
  options: { sizeBytes?: number; capacityBytes?: number; hardMaxBytes?: number } = {},
): Promise<{ device: SimulatedDevice; store: ExtentStore }> {
  const { sizeBytes = 16 * MiB, capacityBytes = sizeBytes, hardMaxBytes = 0 } = options;
  const device = new SimulatedDevice({ sizeBytes, capacityBytes });
  const env = testEnv();
  await formatStore({ env, device, clusterId, limits: { hardMaxBytes }, journalBlocks: 64 });
  return { device, store: await open(device) };
}

/** Puts chunks until the store is full. @returns their numbers. */
async function fill(store: ExtentStore, lengthOf: (number: number) => number): Promise<number[]> {
  const numbers: number[] = [];
  for (let number = 0, misses = 0; misses < 3; number++) {
    const { id, bytes } = testChunk(number, lengthOf(number));
    try {
      await store.put(id, bytes, { generation: 0 });
      numbers.push(number);
    } catch (error) {
      if (errorCode(error) !== 'HF_NO_SPACE') throw error;
      misses += 1;
    }
  }
  return numbers;
}

describe('extent store, formatting and opening', () => {
  it('refuses what is not a store, what is another cluster’s, and formatting twice', async () => {
    const env = testEnv();
    const device = new MemoryDevice({ sizeBytes: 16 * MiB });
    await expectCode(openStore({ env, device: kept(device) }), 'HF_NOT_OURS');
    const small = new MemoryDevice({ sizeBytes: 8 * MiB });
    await expectCode(formatStore({ env, device: small, clusterId }), 'HF_BAD_ARGUMENT');
    const limits = { maxBytes: 9 * MiB, hardMaxBytes: 9 * MiB };
    await expectCode(formatStore({ env, device, clusterId, limits }), 'HF_BAD_ARGUMENT');
    await formatStore({ env, device, clusterId });
    await expectCode(formatStore({ env, device, clusterId }), 'HF_EXISTS');
    const other = 'a'.repeat(32) as ClusterId;
    await expect(openStore({ env, device: kept(device), clusterId: other })).rejects.toMatchObject({
      code: 'HF_NOT_OURS',
      message: expect.stringMatching(/cluster, c+/),
    });
    await formatStore({ env, device, clusterId, replacesStore: true });
  });

  it('takes nothing of a store with the same id that was there before', async () => {
    const env = testEnv();
    const device = new MemoryDevice({ sizeBytes: 16 * MiB });
    const id = await formatStore({ env, device, clusterId });
    const before = await openStore({ env, device: kept(device) });
    const chunks = Array.from({ length: 20 }, (_, number) => testChunk(number, 5000));
    for (const { id: chunk, bytes } of chunks) await before.put(chunk, bytes, { generation: 1 });
    // Not closed: the batches in the ring stay, valid and with the same seed.
    await formatStore({ env, device, clusterId, id, replacesStore: true });
    for (const isFirst of [true, false]) {
      const store = await openStore({ env, device: kept(device) });
      expect((await store.describe()).damage).toEqual([]);
      expect((await store.usage()).chunkCount).toBe(isFirst ? 0 : 1);
      if (isFirst) await store.put(chunks[0]!.id, chunks[0]!.bytes, { generation: 1 });
    }
  });

  it('describes itself', async () => {
    const env = testEnv();
    const device = new MemoryDevice({ sizeBytes: 16 * MiB, name: 'disk-1' });
    const nodeId = 'b'.repeat(32) as NodeId;
    const limits = { minBytes: 4 * MiB, maxBytes: 8 * MiB, hardMaxBytes: 12 * MiB };
    const id = await formatStore({ env, device, clusterId, nodeId, label: 'große Platte', limits });
    await (await open(device))[Symbol.asyncDispose]();
    const store = await open(device);
    expect(store.id).toBe(id);
    expect(await store.describe()).toMatchObject({
      id,
      nodeId,
      clusterId,
      limits,
      label: 'große Platte',
      state: 'active',
      mountEpoch: 2,
      deviceName: 'disk-1',
      deviceKind: 'memory',
      sizeBytes: 12 * MiB,
      damage: [],
    });
    await store[Symbol.asyncDispose]();
  });

  it('opens with any three superblock copies damaged, and mends them', async () => {
    for (const spared of SUPERBLOCK_BLOCKS.keys()) {
      const { device, store } = await newStore();
      const { id, bytes } = testChunk(1, 5000);
      await store.put(id, bytes, { generation: 0 });
      await store[Symbol.asyncDispose]();
      for (const [copy, block] of SUPERBLOCK_BLOCKS.entries()) {
        if (copy !== spared) device.flipBit(block * blockBytes + 100, 3);
      }
      const again = await open(device);
      expect(bytesEqual((await again.get(id))!, bytes)).toBe(true);
      expect((await again.scrub()).findings).toEqual([]);
    }
  });
});

describe('extent store, room', () => {
  it.each([
    ['small', (number: number) => 200 + ((number * 977) % 9000)],
    ['large', (number: number) => 66_000 + ((number * 97_777) % 400_000)],
    ['of one block', () => 4096],
  ])(
    'fills up with chunks that are %s, and still removes, closes and opens',
    async (_, lengthOf) => {
      const { device, store } = await newStore();
      const numbers = await fill(store, lengthOf);
      const { usedBytes, sizeBytes } = await store.usage();
      expect(usedBytes).toBeGreaterThan(sizeBytes * 0.85);
      expect(usedBytes).toBeLessThanOrEqual(sizeBytes);
      // Nothing is written for a put that has no room.
      // Larger than a step of the allowance: in another partition a smaller one may still fit.
      const huge = testChunk(99_998, 2_300_000);
      // A checkpoint that is under way is over when another superblock is written.
      await store.setState('active');
      const before = device.pending.length;
      await expectCode(store.put(huge.id, huge.bytes, { generation: 0 }), 'HF_NO_SPACE');
      expect(device.pending.length).toBeLessThanOrEqual(before);
      await store[Symbol.asyncDispose]();
      const again = await open(device);
      expect((await again.usage()).usedBytes).toBe(usedBytes);
      const random = new TestRandom(1);
      const left = new Set(numbers.filter(() => random.below(2) === 0));
      for (const number of numbers.filter((each) => !left.has(each))) {
        expect(
          await again.remove(testChunk(number, lengthOf(number)).id, { generationMax: 0 }),
        ).toBe(true);
      }
      // Room that is scattered is room.
      const { id, bytes } = testChunk(99_999, 900_000);
      await again.put(id, bytes, { generation: 0 });
      for (const number of left) {
        const chunk = testChunk(number, lengthOf(number));
        expect(bytesEqual((await again.get(chunk.id))!, chunk.bytes)).toBe(true);
      }
      expect(bytesEqual((await again.get(id))!, bytes)).toBe(true);
      await again[Symbol.asyncDispose]();
      const third = await open(device);
      expect(bytesEqual((await third.get(id))!, bytes)).toBe(true);
      expect((await third.describe()).damage).toEqual([]);
      await third[Symbol.asyncDispose]();
    },
  );

  it('stays below its hard maximum', async () => {
    const { store } = await newStore({ sizeBytes: 32 * MiB, hardMaxBytes: 20 * MiB });
    await fill(store, () => 100_000);
    const { usedBytes, sizeBytes, freeBytes } = await store.usage();
    expect(sizeBytes).toBe(20 * MiB);
    expect(usedBytes).toBeLessThanOrEqual(sizeBytes);
    expect(freeBytes).toBeLessThan(200_000);
    await store[Symbol.asyncDispose]();
  });

  it('grows when it has to and may, and mounts what it grew into', async () => {
    const { device, store } = await newStore({ capacityBytes: 40 * MiB });
    expect((await store.usage()).sizeBytes).toBe(40 * MiB);
    const numbers = await fill(store, () => 200_000);
    expect(device.sizeBytes).toBe(40 * MiB);
    expect(numbers.length * 200_000).toBeGreaterThan(34 * MiB);
    // A power cut: the superblock has not heard of the growth.
    const image = new SimulatedDevice({ media: device.powerOff().durable });
    const again = await open(image);
    for (const number of numbers) {
      const { id, bytes } = testChunk(number, 200_000);
      expect(bytesEqual((await again.get(id))!, bytes)).toBe(true);
    }
    await again[Symbol.asyncDispose]();
  });

  it('gives the room of its index back when the chunks are gone', async () => {
    const { device, store } = await newStore();
    const { usedBytes } = await store.usage();
    const chunks = Array.from({ length: 1000 }, (_, number) => testChunk(number, 3000));
    await Promise.all(chunks.map(({ id, bytes }) => store.put(id, bytes, { generation: 0 })));
    await Promise.all(chunks.map(({ id }) => store.remove(id, { generationMax: 0 })));
    const { usedBytes: usedWhenEmpty } = await store.usage();
    // Enough batches for two checkpoints.
    const { id, bytes } = chunks[0]!;
    for (let round = 0; round < 64; round++) {
      await store.put(id, bytes, { generation: 0 });
      await store.remove(id, { generationMax: 0 });
    }
    // The allowance for metadata has gone up a step, and down again.
    expect(usedWhenEmpty).toBe(usedBytes + MiB);
    expect((await store.usage()).usedBytes).toBe(usedBytes);
    await store[Symbol.asyncDispose]();
    const again = await open(device);
    expect((await again.usage()).usedBytes).toBe(usedBytes);
    await again[Symbol.asyncDispose]();
  });

  it('takes many puts at once while it grows and makes checkpoints', async () => {
    const { device, store } = await newStore({ capacityBytes: 64 * MiB });
    const chunks = Array.from({ length: 3000 }, (_, number) => testChunk(number, 8000));
    await Promise.all(chunks.map(({ id, bytes }) => store.put(id, bytes, { generation: 0 })));
    const { seq, chunkCount } = await store.describe();
    expect(seq).toBeGreaterThan(2);
    expect(chunkCount).toBe(3000);
    const again = await open(new SimulatedDevice({ media: device.powerOff().durable }));
    for (const { id, bytes } of chunks) {
      expect(bytesEqual((await again.get(id))!, bytes)).toBe(true);
    }
  });
});

describe('extent store, a filesystem that is full before the store', () => {
  const metadataOf = (number: number) => testMetadata(number, 1000);

  /** A store that may grow, as far as it knows, and cannot. */
  async function fullStore(): Promise<{
    device: SimulatedDevice;
    store: ExtentStore;
    numbers: number[];
  }> {
    const { device, store } = await newStore({ sizeBytes: 32 * MiB, capacityBytes: 512 * MiB });
    device.fault = ({ kind }) => (kind === 'grow' ? 'HF_NO_SPACE' : undefined);
    expect((await store.usage()).freeBytes).toBeGreaterThan(400 * MiB);
    const numbers = await fill(store, () => 100_000);
    numbers.push(...(await fill(store, (number) => 5000 + number)).map((number) => -number - 1));
    return { device, store, numbers };
  }

  const chunkOf = (number: number) =>
    number < 0 ? testChunk(-number - 1, 5000 - number - 1) : testChunk(number, 100_000);

  it('says what shards may take, and refuses them before the reserve', async () => {
    const { store } = await fullStore();
    const { freeBytes, sizeBytes } = await store.usage();
    expect(freeBytes).toBeLessThan(12_000);
    expect(sizeBytes).toBe(32 * MiB);
    const { id, bytes } = testChunk(77_777, 20_000);
    await expectCode(store.put(id, bytes, { generation: 0 }), 'HF_NO_SPACE');
    await store[Symbol.asyncDispose]();
  });

  it('takes metadata, deletes and restarts, and shards again after deletes', async () => {
    const { device, store, numbers } = await fullStore();
    // A reserve of 2 MiB is 512 blocks; the index may need a few of them.
    for (let number = 0; number < 200; number++) {
      const { id, bytes } = metadataOf(number);
      await store.put(id, bytes, { generation: 1 });
    }
    await store[Symbol.asyncDispose]();
    const again = await open(device);
    expect((await again.describe()).damage).toEqual([]);
    const { id, bytes } = metadataOf(1000);
    await again.put(id, bytes, { generation: 1 });
    const shard = testChunk(88_888, 90_000);
    await expectCode(again.put(shard.id, shard.bytes, { generation: 0 }), 'HF_NO_SPACE');
    for (const number of numbers.slice(0, 20)) {
      expect(await again.remove(chunkOf(number).id, { generationMax: 0 })).toBe(true);
    }
    expect((await again.usage()).freeBytes).toBeGreaterThan(MiB / 2);
    await again.put(shard.id, shard.bytes, { generation: 0 });
    await again[Symbol.asyncDispose]();
    // Power is cut, too, and nothing that was acknowledged is gone.
    const third = await open(new SimulatedDevice({ media: device.crashPoint().durable }));
    for (const chunk of [...numbers.slice(20).map(chunkOf), shard, metadataOf(0), { id, bytes }]) {
      expect(bytesEqual((await third.get(chunk.id))!, chunk.bytes)).toBe(true);
    }
  });

  it('takes metadata to the last block and then refuses it, too', async () => {
    const { store } = await fullStore();
    const numbers = await fill(store, () => 30);
    expect(numbers.length).toBeGreaterThan(200);
    await store[Symbol.asyncDispose]();
  });

  it('grows again once the filesystem has room, and fills up its reserve', async () => {
    const { device, store } = await fullStore();
    for (let number = 0; number < 200; number++) {
      const { id, bytes } = metadataOf(number);
      await store.put(id, bytes, { generation: 1 });
    }
    expect((await store.usage()).freeBytes).toBe(0);
    device.fault = undefined;
    const { id, bytes } = testChunk(88_888, 100);
    await store.put(id, bytes, { generation: 0 });
    expect(device.sizeBytes).toBeGreaterThan(32 * MiB);
    expect((await store.usage()).freeBytes).toBeGreaterThan(400 * MiB);
    await store[Symbol.asyncDispose]();
  });
});

describe('extent store, failures', () => {
  it('stops at a failed flush, and keeps what it acknowledged', async () => {
    const { device, store } = await newStore();
    const acknowledged: number[] = [];
    for (let number = 0; number < 20; number++) {
      if (number === 10) device.fault = ({ kind }) => (kind === 'flush' ? 'HF_IO' : undefined);
      const { id, bytes } = testChunk(number, 5000);
      const put = store.put(id, bytes, { generation: 0 });
      if (number < 10) await put.then(() => acknowledged.push(number));
      else await expectCode(put, 'HF_DEVICE_FAILED');
    }
    expect(store.state).toBe('failed');
    await expectCode(store.get(testChunk(0, 5000).id), 'HF_DEVICE_FAILED');
    await expectCode(store.remove(testChunk(0, 5000).id, { generationMax: 0 }), 'HF_DEVICE_FAILED');
    await store[Symbol.asyncDispose]();
    const again = await open(new SimulatedDevice({ media: device.crashPoint().durable }));
    for (const number of acknowledged) {
      const { id, bytes } = testChunk(number, 5000);
      expect(bytesEqual((await again.get(id))!, bytes)).toBe(true);
    }
  });

  it('gives the room of a large chunk back when its write fails, and goes on', async () => {
    const { device, store } = await newStore();
    const { usedBytes } = await store.usage();
    const { id, bytes } = testChunk(1, 300_000);
    device.fault = ({ kind, lengthBytes }) =>
      kind === 'write' && lengthBytes > 200_000 ? 'HF_IO' : undefined;
    await expectCode(store.put(id, bytes, { generation: 0 }), 'HF_IO');
    device.fault = undefined;
    expect((await store.usage()).usedBytes).toBe(usedBytes);
    expect(store.state).toBe('active');
    await store.put(id, bytes, { generation: 0 });
    expect(bytesEqual((await store.get(id))!, bytes)).toBe(true);
  });

  it('remembers over a power cut that a chunk is bad', async () => {
    const { device, store } = await newStore();
    const { id, bytes } = testChunk(1, 5000);
    await store.put(id, bytes, { generation: 4 });
    device.flipBit(await find(device, bytes), 2);
    await expectCode(store.get(id), 'HF_CORRUPT');
    const again = await open(new SimulatedDevice({ media: device.powerOff().durable }));
    expect(await again.stat(id)).toMatchObject({ isGood: false, generation: 4 });
  });

  it('keeps what a reader reads until it has read it', async () => {
    const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
    await formatStore({ env: testEnv(), device, clusterId });
    const reads: (() => void)[] = [];
    const slow = new SimulatedDevice({
      media: device.crashPoint().durable,
      delay: async ({ kind, lengthBytes }) => {
        if (kind !== 'read' || lengthBytes < 100_000) return;
        await new Promise<void>((resolve) => reads.push(resolve));
      },
    });
    const opening = open(slow);
    // The mount reads the journal and the chunks of its last batch; let those pass.
    const timer = setInterval(() => reads.shift()?.(), 1);
    const store = await opening;
    clearInterval(timer);
    const { id, bytes } = testChunk(1, 300_000);
    await store.put(id, bytes, { generation: 0 });
    const reading = store.get(id);
    await store.remove(id, { generationMax: 0 });
    // Everything that is free is written over.
    await fill(store, () => 300_000);
    for (const resolve of reads) resolve();
    expect(bytesEqual((await reading)!, bytes)).toBe(true);
  });
});

describe('extent store, scrub', () => {
  it('mends superblocks, index images and the journal', async () => {
    const { device, store } = await newStore();
    const chunks = Array.from({ length: 100 }, (_, number) => testChunk(number, 3000));
    await Promise.all(chunks.map(({ id, bytes }) => store.put(id, bytes, { generation: 0 })));
    await store[Symbol.asyncDispose]();
    const again = await open(device);
    const { directory, journalStart, mark } = await again.describe();
    device.flipBit(SUPERBLOCK_BLOCKS[1] * blockBytes + 77, 1);
    device.flipBit(directory[0]!.first * blockBytes + 9, 1);
    device.flipBit((journalStart + mark.block) * blockBytes + 100, 1);
    const { findings } = await again.scrub();
    expect(findings.map((finding) => (finding.kind === 'mended' ? finding.what : ''))).toEqual([
      '1 copies of index blocks',
      '1 copies of the superblock',
      'the journal',
    ]);
    expect((await again.scrub()).findings).toEqual([]);
    const third = await open(new SimulatedDevice({ media: device.powerOff().durable }));
    expect((await third.describe()).damage).toEqual([]);
    for (const { id, bytes } of chunks) {
      expect(bytesEqual((await third.get(id))!, bytes)).toBe(true);
    }
  });

  it('takes the mark of a chunk away when its bytes are good after all', async () => {
    for (const lengthBytes of [5000, 100_000]) {
      const { device, store } = await newStore();
      const { id, bytes } = testChunk(1, lengthBytes);
      await store.put(id, bytes, { generation: 3 });
      const offset = await find(device, bytes);
      const digests = await store.digests();
      device.flipBit(offset, 2);
      expect((await store.scrub()).findings).toMatchObject([{ kind: 'bad-chunk', id }]);
      expect((await store.scrub()).findings).toMatchObject([{ kind: 'bad-chunk', id }]);
      expect(await store.stat(id)).toMatchObject({ isGood: false });
      // What the device gave was wrong, not what it has.
      device.flipBit(offset, 2);
      expect((await store.scrub()).findings).toEqual([]);
      expect(await store.stat(id)).toMatchObject({ isGood: true, generation: 3 });
      expect((await store.usage()).badChunkCount).toBe(0);
      expect(await store.digests()).toEqual(digests);
      const again = await open(new SimulatedDevice({ media: device.powerOff().durable }));
      expect(bytesEqual((await again.get(id))!, bytes)).toBe(true);
    }
  });

  it('replaces a chunk that is marked bad', async () => {
    const { device, store } = await newStore();
    const { id, bytes } = testChunk(1, 100_000);
    await store.put(id, bytes, { generation: 3 });
    device.flipBit(await find(device, bytes), 2);
    await store.scrub();
    await store.put(id, bytes, { generation: 3 });
    expect((await store.scrub()).findings).toEqual([]);
    expect(bytesEqual((await store.get(id))!, bytes)).toBe(true);
  });

  it('keeps to its rate, reports progress, and can be interrupted', async () => {
    const device = new MemoryDevice({ sizeBytes: 16 * MiB });
    const env = testEnv();
    await formatStore({ env, device, clusterId });
    const store = await openStore({ env, device });
    for (let number = 0; number < 10; number++) {
      const { id, bytes } = testChunk(number, 100 * KiB);
      await store.put(id, bytes, { generation: 0 });
    }
    const startedAt = env.clock.monotonic();
    const progress: number[] = [];
    await store.scrub({ rateBytesPerSecond: 100 * KiB, onProgress: (done) => progress.push(done) });
    expect(env.clock.monotonic() - startedAt).toBeGreaterThanOrEqual(10_000);
    expect(progress).toHaveLength(10);
    expect((await store.describe()).scrubbedAtMs).toBeGreaterThan(0);
    await expectCode(store.scrub({ signal: AbortSignal.abort() }), 'HF_INTERRUPTED');
  });
});
