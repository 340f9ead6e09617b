/**
 * Aim: a directory that has become too large for what it holds gives whole segments back, and
 * neither loses a chunk nor grows and shrinks by turns.
 * Method: the rule on spaces made up; a real directory that is filled and emptied; a simulated
 * device that calls itself a directory and loses its power around the shrinking.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type TestChunk, testChunk, testEnv } from '../../test/suites/store-fixtures.ts';
import { bytesEqual, type ClusterId, type DeviceId, GiB, hexId, MiB } from '../base/index.ts';
import { type BlockDevice, DirectoryDevice, type Media, SimulatedDevice } from '../device/index.ts';
import { realEnv } from '../env/index.ts';
import { Allocator } from './allocator.ts';
import { BLOCK_BYTES } from './geometry.ts';
import { type ExtentStore, formatStore, openStore } from './index.ts';
import { IndexTable } from './index-table.ts';
import { possibleBlocks, worthwhileBlocks } from './shrink.ts';
import { Space } from './space.ts';
import { readSuperblock } from './superblock.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const chunkOf = (number: number): TestChunk => testChunk(number, MiB);

async function fill(store: ExtentStore, from: number, to: number): Promise<void> {
  for (let number = from; number < to; number++) {
    const { id, bytes } = chunkOf(number);
    await store.put(id, bytes, { generation: 0 });
  }
}

async function empty(store: ExtentStore, from: number, to: number): Promise<void> {
  for (let number = from; number < to; number++) {
    await store.remove(chunkOf(number).id, { generationMax: 0 });
  }
}

async function expectHeld(store: ExtentStore, from: number, to: number): Promise<void> {
  for (let number = from; number < to; number++) {
    const { id, bytes } = chunkOf(number);
    expect(bytesEqual((await store.get(id))!, bytes)).toBe(true);
  }
}

/** The device under another kind; it stays when the store closes it. */
function asDirectory(device: SimulatedDevice): BlockDevice {
  return new Proxy<BlockDevice>(device, {
    get(target, key) {
      if (key === 'kind') return 'directory';
      if (key === Symbol.asyncDispose) return async () => {};
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

async function open(device: BlockDevice): Promise<ExtentStore> {
  return await openStore({ env: testEnv({ sleeps: false }), device });
}

describe('shrinking, the rule', () => {
  /** Of a directory of so many bytes with one run that is taken. */
  function blocksFor(sizeBytes: number, taken: { start: number; bytes: number }) {
    const device = asDirectory(new SimulatedDevice({ sizeBytes: 16 * MiB }));
    const allocator = new Allocator(sizeBytes / BLOCK_BYTES);
    const start = taken.start / BLOCK_BYTES;
    if (taken.bytes > 0) allocator.take({ start, blocks: taken.bytes / BLOCK_BYTES });
    const space = new Space({
      allocator,
      index: new IndexTable(0),
      capacityBlocks: allocator.totalBlocks,
      hardMaxBytes: 0,
      directoryBlocks: 2,
      bitmapBlocks: 100,
    });
    const bytesOf = (blocks: number | undefined) => blocks && blocks * BLOCK_BYTES;
    return {
      worthwhile: bytesOf(worthwhileBlocks(device, space)),
      possible: bytesOf(possibleBlocks(device, space)),
    };
  }

  it('leaves a quarter free, and waits until half of it or a gibibyte can go', () => {
    // The allowance is a 16th of the size: 8 MiB of 128.
    const small = blocksFor(128 * MiB, { start: 0, bytes: 40 * MiB });
    expect(small).toEqual({ worthwhile: 64 * MiB, possible: 64 * MiB });
    expect(blocksFor(128 * MiB, { start: 0, bytes: 41 * MiB }).worthwhile).toBeUndefined();
    const large = blocksFor(8 * GiB, { start: 0, bytes: 5 * GiB });
    expect(large.possible).toBeGreaterThan(6 * GiB);
    expect(large.possible).toBeLessThan(7 * GiB);
    expect(blocksFor(8 * GiB, { start: 0, bytes: 5.5 * GiB }).worthwhile).toBeUndefined();
    expect(blocksFor(16 * MiB, { start: 0, bytes: 0 }).worthwhile).toBeUndefined();
  });

  it('waits until the end is free', () => {
    const blocked = blocksFor(128 * MiB, { start: 100 * MiB, bytes: 4096 });
    expect(blocked).toEqual({ worthwhile: 16 * MiB, possible: undefined });
  });
});

describe('shrinking', () => {
  it('takes segments off a directory, which grows again', async () => {
    const env = realEnv();
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-shrink-'));
    const path = join(folder, 'store');
    const uuid = hexId<DeviceId>(env.random.bytes(16));
    try {
      const device = await DirectoryDevice.create({ env, path, uuid, capacityBytes: 256 * MiB });
      await formatStore({ env, device, id: uuid, clusterId });
      let store = await openStore({ env, device });
      const segments = async () => (await readdir(path)).filter((name) => name.startsWith('seg.'));
      const reopen = async () => {
        await store[Symbol.asyncDispose]();
        store = await openStore({ env, device: await DirectoryDevice.open({ env, path }) });
      };
      const { usedBytes } = await store.usage();
      await fill(store, 0, 60);
      expect((await segments()).length).toBe(4);
      await reopen();
      expect((await segments()).length).toBe(4);
      await empty(store, 4, 60);
      // What the last checkpoint wrote may lie at the end; the next one moves it.
      await reopen();
      await reopen();
      expect((await segments()).length).toBeLessThanOrEqual(2);
      await expectHeld(store, 0, 4);
      await fill(store, 4, 60);
      expect((await segments()).length).toBe(4);
      await expectHeld(store, 0, 60);
      await empty(store, 0, 60);
      expect((await store.usage()).usedBytes).toBe(usedBytes);
      await store[Symbol.asyncDispose]();
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  /** A device of 128 MiB in use by far less, and media of the moment before it shrinks. */
  async function emptied(): Promise<{ device: SimulatedDevice; moments: Media[] }> {
    const moments: Media[] = [];
    const device = new SimulatedDevice({ sizeBytes: 16 * MiB, capacityBytes: 128 * MiB });
    const directory = asDirectory(device);
    await formatStore({ env: testEnv(), device: directory, clusterId });
    const store = await open(directory);
    await fill(store, 0, 60);
    await empty(store, 4, 60);
    device.fault = ({ kind }) => {
      if (kind === 'shrink') moments.push(device.crashPoint().durable);
      return undefined;
    };
    await store[Symbol.asyncDispose]();
    return { device, moments };
  }

  it('is no matter when the power fails before the device has shrunk', async () => {
    const { device, moments } = await emptied();
    expect(moments).toHaveLength(1);
    expect(device.sizeBytes).toBeLessThan(32 * MiB);
    for (const media of [...moments, device.crashPoint().durable]) {
      const life = new SimulatedDevice({ media });
      const { superblock } = await readSuperblock(life);
      expect(superblock.sizeBytes).toBe(device.sizeBytes);
      expect(superblock.isClean).toBe(true);
      const store = await open(life);
      expect((await store.describe()).damage).toEqual([]);
      await expectHeld(store, 0, 4);
    }
  });

  it('is put off when the device cannot, and everything works', async () => {
    const device = new SimulatedDevice({ sizeBytes: 16 * MiB, capacityBytes: 128 * MiB });
    const directory = asDirectory(device);
    await formatStore({ env: testEnv(), device: directory, clusterId });
    let store = await open(directory);
    await fill(store, 0, 60);
    const { sizeBytes } = device;
    await empty(store, 4, 60);
    device.fault = ({ kind }) => (kind === 'shrink' ? 'HF_IO' : undefined);
    await store[Symbol.asyncDispose]();
    expect(device.sizeBytes).toBe(sizeBytes);
    device.fault = undefined;
    store = await open(directory);
    await fill(store, 4, 30);
    await expectHeld(store, 0, 30);
    await store[Symbol.asyncDispose]();
  });

  it('leaves other kinds of devices as they are', async () => {
    const device = new SimulatedDevice({ sizeBytes: 64 * MiB });
    await formatStore({ env: testEnv(), device, clusterId });
    const store = await open(device);
    await fill(store, 0, 4);
    await store[Symbol.asyncDispose]();
    expect(device.sizeBytes).toBe(64 * MiB);
  });
});
