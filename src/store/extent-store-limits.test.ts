/**
 * Aim: limits, pressure, state and damage are told, kept over restarts and obeyed; memory and the
 * age of a checkpoint have their bounds.
 * Method: each as a small story on a simulated device.
 */
import { describe, expect, it } from 'vitest';
import {
  type TestChunk,
  testChunk,
  testEnv,
  testMetadata,
} from '../../test/suites/store-fixtures.ts';
import { bytesEqual, type ClusterId, KiB, LIMITS, MiB } from '../base/index.ts';
import { SimulatedDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { BLOCK_BYTES, JOURNAL_START_BLOCK } from './geometry.ts';
import { type ExtentStore, formatStore, openStore } from './index.ts';
import type { OpenOptions } from './extent-store.ts';
import { checkLimits, type Pressure, pressureOf } from './pressure.ts';
import type { StoreLimits } from './superblock.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const none: StoreLimits = { minBytes: 0, maxBytes: 0, hardMaxBytes: 0 };

async function formatted(limits: Partial<StoreLimits> = {}): Promise<SimulatedDevice> {
  const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
  await formatStore({ env: testEnv(), device, clusterId, limits, journalBlocks: 64 });
  return device;
}

type Options = Omit<Partial<OpenOptions>, 'device'>;

async function open(device: SimulatedDevice, options: Options = {}): Promise<ExtentStore> {
  return await openStore({ env: testEnv({ sleeps: false }), device, ...options });
}

/** The device as it is after a power cut. */
function powerCut(device: SimulatedDevice): SimulatedDevice {
  return new SimulatedDevice({ media: device.powerOff().durable });
}

async function put(store: ExtentStore, { id, bytes }: TestChunk): Promise<void> {
  await store.put(id, bytes, { generation: 0 });
}

const chunkOf = (number: number): TestChunk => testChunk(number, 100 * KiB);

describe('extent store, limits', () => {
  it('takes limits that rise, and none that do not', () => {
    const bad: Partial<StoreLimits>[] = [
      { minBytes: 2, maxBytes: 2 },
      { minBytes: 2, hardMaxBytes: 1 },
      { maxBytes: 3, hardMaxBytes: 3 },
      { minBytes: -1 },
      { maxBytes: 0.5 },
      { hardMaxBytes: Number.NaN },
    ];
    for (const limits of bad) expect(() => checkLimits({ ...none, ...limits })).toThrow(/limits/);
    checkLimits(none);
    checkLimits({ minBytes: 1, maxBytes: 0, hardMaxBytes: 2 });
  });

  it.each<[number, number, Partial<StoreLimits>, Pressure]>([
    [0, 100, {}, 'normal'],
    [100, 0, {}, 'full'],
    [9, 91, { minBytes: 10 }, 'hungry'],
    [10, 90, { minBytes: 10 }, 'normal'],
    [19, 81, { maxBytes: 20 }, 'normal'],
    [20, 80, { maxBytes: 20 }, 'high'],
    [20, 0, { maxBytes: 20 }, 'full'],
  ])('%i used, %i free and %j is %4$s', (usedBytes, freeBytes, limits, pressure) => {
    expect(pressureOf({ usedBytes, freeBytes }, { ...none, ...limits })).toBe(pressure);
  });

  it('tells of pressure when it changes, at the start too', async () => {
    const told: Pressure[] = [];
    const onPressure = (pressure: Pressure) => void told.push(pressure);
    const device = await formatted({ minBytes: 4 * MiB, maxBytes: 6 * MiB });
    const store = await open(device, { onPressure });
    expect(told).toEqual(['hungry']);
    let count = 0;
    const { usedBytes } = await store.usage();
    for (; (await store.usage()).usedBytes < 8 * MiB; count++) await put(store, chunkOf(count));
    expect(told).toEqual(['hungry', 'normal', 'high']);
    expect((await store.describe()).pressure).toBe('high');
    await store.setLimits({ ...none, maxBytes: 7 * MiB, hardMaxBytes: 8 * MiB });
    expect(told.splice(0)).toEqual(['hungry', 'normal', 'high', 'full']);
    await expect(put(store, chunkOf(count))).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    while (count > 0) await store.remove(chunkOf(--count).id, { generationMax: 0 });
    expect(told).toEqual(['high', 'normal']);
    expect((await store.usage()).usedBytes).toBeLessThanOrEqual(usedBytes);
    await store[Symbol.asyncDispose]();
  });

  it('keeps new limits over a power cut, and deletes when they are too low', async () => {
    const device = await formatted();
    const store = await open(device);
    const chunks = Array.from({ length: 50 }, (_, number) => chunkOf(number));
    for (const chunk of chunks) await put(store, chunk);
    const { usedBytes } = await store.usage();
    expect(usedBytes).toBeGreaterThan(5 * MiB);
    const limits = { minBytes: 0, maxBytes: 0, hardMaxBytes: 3 * MiB + 5 };
    await expect(store.setLimits({ ...limits, maxBytes: 4 * MiB })).rejects.toMatchObject({
      code: 'HF_BAD_ARGUMENT',
    });
    expect((await store.usage()).sizeBytes).toBe(16 * MiB);
    await store.setLimits(limits);
    const again = await open(powerCut(device));
    expect((await again.describe()).limits).toEqual(limits);
    const size = { sizeBytes: 3 * MiB, usedBytes: 3 * MiB, freeBytes: 0 };
    expect(await again.usage()).toMatchObject(size);
    await expect(put(again, testChunk(99, 400))).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    await expect(put(again, testMetadata(1, 10))).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    expect(bytesEqual((await again.get(chunks[0]!.id))!, chunks[0]!.bytes)).toBe(true);
    for (const { id } of chunks) await again.remove(id, { generationMax: 0 });
    expect((await again.usage()).freeBytes).toBeGreaterThan(MiB);
    await put(again, testChunk(99, 400));
    await again[Symbol.asyncDispose]();
  });
});

describe('extent store, state', () => {
  it('keeps over a power cut that it is drained, and serves all the same', async () => {
    const device = await formatted();
    const store = await open(device);
    expect(store.state).toBe('active');
    await store.setState('draining');
    expect(store.state).toBe('draining');
    const again = await open(powerCut(device));
    expect(again.state).toBe('draining');
    await put(again, chunkOf(1));
    expect(bytesEqual((await again.get(chunkOf(1).id))!, chunkOf(1).bytes)).toBe(true);
    await again.setState('active');
    await again[Symbol.asyncDispose]();
    await expect(again.setState('active')).rejects.toMatchObject({ code: 'HF_CLOSED' });
  });

  it('shows damage until it has been dealt with', async () => {
    const device = await formatted();
    const store = await open(device);
    for (let number = 0; number < 20; number++) await put(store, testChunk(number, 300));
    const { journalStart, mark } = await store.describe();
    const cut = powerCut(device);
    cut.flipBit((journalStart + mark.block + 5) * BLOCK_BYTES + 99, 1);
    const damaged = await open(cut);
    const { damage, damagedAtMs } = await damaged.describe();
    expect(damage).toEqual([expect.stringMatching(/^journal: batches/)]);
    expect(damagedAtMs).toBe(testEnv().clock.now());
    const second = powerCut(cut);
    const later = await open(second);
    expect(await later.describe()).toMatchObject({ damage: [], damagedAtMs });
    await later.clearDamage();
    expect(await later.describe()).toMatchObject({ damage: [], damagedAtMs: 0 });
    const last = await open(powerCut(second));
    expect(await last.describe()).toMatchObject({ damage: [], damagedAtMs: 0 });
  });

  it('describes itself in whole blocks, and where its index begins', async () => {
    const device = await formatted();
    const store = await open(device);
    const { usedBytes } = await store.usage();
    for (let number = 0; number < 30; number++) {
      await put(store, testChunk(number, 5000 * (number + 1)));
      const { usage, usedBlocks } = await store.describe();
      expect(usage.usedBytes).toBe(usedBlocks * BLOCK_BYTES);
      expect(usage.sizeBytes).toBe(usage.usedBytes + usage.freeBytes);
    }
    expect(await store.describe()).toMatchObject({
      indexRootBlock: JOURNAL_START_BLOCK,
      bitmap: { start: JOURNAL_START_BLOCK + 64, blocks: 1 },
      deviceNumber: { major: 0, minor: 0 },
      scrubCursor: 0,
    });
    await store[Symbol.asyncDispose]();
    const second = new SimulatedDevice({ media: device.crashPoint().durable });
    const again = await open(second);
    const { indexRootBlock, directory, usedBlocks } = await again.describe();
    expect(indexRootBlock).toBe(directory[0]!.first);
    expect(usedBlocks * BLOCK_BYTES).toBeGreaterThan(usedBytes);
    for (let number = 0; number < 30; number++) {
      await again.remove(testChunk(number, 5000 * (number + 1)).id, { generationMax: 0 });
    }
    expect((await again.describe()).usedBlocks * BLOCK_BYTES).toBe(usedBytes);
    await again[Symbol.asyncDispose]();
  });
});

describe('extent store, memory and time', () => {
  it('does not open a store whose index needs more memory than it may take', async () => {
    const device = await formatted();
    const store = await open(device);
    for (let number = 0; number < 300; number++) await put(store, testChunk(number, 300));
    await store[Symbol.asyncDispose]();
    const { durable: media } = device.crashPoint();
    const life = () => new SimulatedDevice({ media });
    await expect(open(life(), { indexBytesMax: 16_000 })).rejects.toMatchObject({
      code: 'HF_NO_MEMORY',
      message: 'the index needs 1 MiB of memory, and may take 0 MiB',
      details: { bytes: 4 * 128 * 64 },
    });
    const again = await open(life(), { indexBytesMax: 4 * 128 * 64 });
    let number = 300;
    const fill = async (): Promise<void> => {
      for (; number < 2000; number++) await put(again, testChunk(number, 300));
    };
    await expect(fill()).rejects.toMatchObject({
      code: 'HF_NO_SPACE',
      message: expect.stringMatching(/memory/),
    });
    expect(number).toBeGreaterThan(320);
    // Metadata still goes in, and so do shards after a delete.
    await put(again, testMetadata(1, 100));
    for (let each = 0; each < 60; each++) {
      await again.remove(testChunk(each, 300).id, { generationMax: 0 });
    }
    await put(again, testChunk(number, 300));
    await again[Symbol.asyncDispose]();
  });

  it('opens again with the same memory, whatever metadata has made of the index', async () => {
    const device = await formatted();
    const indexBytesMax = 4 * 128 * 64;
    const store = await open(device, { indexBytesMax });
    const fill = async (chunkOf: (number: number) => TestChunk): Promise<void> => {
      for (let number = 0; number < 2000; number++) await put(store, chunkOf(number));
    };
    const full = { code: 'HF_NO_SPACE', message: expect.stringMatching(/memory/) };
    await expect(fill((number) => testChunk(number, 300))).rejects.toMatchObject(full);
    const { chunkCount } = await store.usage();
    await expect(fill((number) => testMetadata(number, 100))).rejects.toMatchObject(full);
    const all = await store.usage();
    expect(all.chunkCount).toBeGreaterThan(chunkCount + 100);
    await store[Symbol.asyncDispose]();
    const media = device.crashPoint().durable;
    const again = await open(new SimulatedDevice({ media }), { indexBytesMax });
    expect((await again.usage()).chunkCount).toBe(all.chunkCount);
    await again[Symbol.asyncDispose]();
  });

  it('makes a checkpoint with the first commit ten minutes after the last one', async () => {
    const device = await formatted();
    let nowMs = 5000;
    const still = testEnv({ sleeps: false });
    const env: Env = { ...still, clock: { ...still.clock, monotonic: () => nowMs } };
    const store = await open(device, { env });
    const seqAfter = async (number: number): Promise<number> => {
      await put(store, testChunk(number, 300));
      // One that has begun is complete when the next superblock is.
      await store.setState('active');
      return (await store.describe()).seq;
    };
    const first = await seqAfter(1);
    nowMs += LIMITS.checkpointAgeMsMax - 1;
    expect(await seqAfter(2)).toBe(first + 1);
    nowMs += 1;
    expect(await seqAfter(3)).toBe(first + 3);
    expect((await store.describe()).mark.seq).toBeGreaterThan(3);
    expect(await seqAfter(4)).toBe(first + 4);
    await store[Symbol.asyncDispose]();
  });
});
