/**
 * Aim: what is whole on the device comes back when the index is lost, with its bytes, and nothing
 * else does; nothing is written over what could still be found.
 * Method: stores with chunks of every kind, of which some structures are overwritten; then salvage,
 * and a comparison of all that can be read. What is lost on purpose is compared with the report.
 */
import { describe, expect, it } from 'vitest';
import {
  type TestChunk,
  testChunk,
  testEnv,
  testMetadata,
  TestRandom,
  testStripe,
} from '../../test/suites/store-fixtures.ts';
import {
  bytesEqual,
  chunkIdParts,
  type ClusterId,
  type DeviceId,
  LIMITS,
  MiB,
  type Scheme,
  toHex,
} from '../base/index.ts';
import { type Media, SimulatedDevice } from '../device/index.ts';
import { BufferPool } from './buffer-pool.ts';
import { ExtentIo } from './extent-io.ts';
import { SUPERBLOCK_BLOCKS } from './geometry.ts';
import { blockNumbers } from './index-image.ts';
import {
  checkStore,
  type ExtentStore,
  formatStore,
  openStore,
  type SalvageReport,
  salvageStore,
} from './index.ts';
import { mountStore } from './mount.ts';
import type { ChunkRecord } from './slot.ts';
import { readSuperblock } from './superblock.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const id = 'd'.repeat(32) as DeviceId;
const { blockBytes } = LIMITS;
const RS: Scheme = { kind: 'rs', k: 4, n: 6 };

const copies = testStripe(1, { kind: 'copy', k: 1, n: 3 }, 5000);
const contiguous: readonly TestChunk[] = [
  ...Array.from({ length: 30 }, (_, number) => testChunk(100 + number, 200 + number * 1900)),
  ...Array.from({ length: 8 }, (_, number) => testChunk(200 + number, 66_000 + number * 99_000)),
  ...testStripe(2, RS, 3000),
  ...testStripe(3, RS, 200_000),
  ...copies,
  testMetadata(1, 70_000),
  testMetadata(2, 400_000),
];
const smallMetadata = Array.from({ length: 12 }, (_, number) => testMetadata(10 + number, 900));

interface Store {
  readonly media: Media;
  /** By hex of the id. */
  readonly records: ReadonlyMap<string, ChunkRecord>;
  /** Blocks of the directory and the images, and of old ones. */
  readonly imageBlocks: readonly number[];
}

async function recordsOf(media: Media): Promise<Store> {
  const device = new SimulatedDevice({ media });
  const io = new ExtentIo(device, new BufferPool(device));
  const { inventory, images, directoryExtents } = await mountStore({
    device,
    io,
    plantedFault: undefined,
  });
  const { index } = inventory;
  const records = [...index.partitions.keys()].flatMap((number) => index.recordsOf(number));
  const extents = [...directoryExtents, ...images.flatMap((image) => image?.extents ?? [])];
  return {
    media,
    records: new Map(records.map((record) => [toHex(record.id), record])),
    imageBlocks: blockNumbers(extents),
  };
}

/** A store that was closed, with the given chunks put in order. */
async function storeOf(chunks: readonly TestChunk[], sizeBytes = 32 * MiB): Promise<Store> {
  const device = new SimulatedDevice({ sizeBytes });
  const env = testEnv();
  await formatStore({ env, device, clusterId, id });
  const store = await openStore({ env, device });
  for (const chunk of chunks) await store.put(chunk.id, chunk.bytes, { generation: 7 });
  await store[Symbol.asyncDispose]();
  return await recordsOf(device.crashPoint().durable);
}

function wipe(media: Media, blocks: Iterable<number>): void {
  for (const block of blocks) media.write(new Uint8Array(blockBytes), block * blockBytes);
}

/** Wipes everything that says where chunks are, old images included. */
async function wipeAll(store: Store): Promise<Media> {
  const media = store.media.fork();
  const { superblock } = await readSuperblock(new SimulatedDevice({ media }));
  const { journalStart, journalBlocks, bitmap } = superblock;
  wipe(media, SUPERBLOCK_BLOCKS);
  wipe(media, blockNumbers([{ start: journalStart, blocks: journalBlocks }, bitmap]));
  // Only chunks are left.
  const held = new Set([...store.records.values()].flatMap(({ extents }) => blockNumbers(extents)));
  for (let block = 0; block * blockBytes < media.sizeBytes; block++) {
    if (!held.has(block)) wipe(media, [block]);
  }
  return media;
}

async function salvage(
  media: Media,
  options: { id?: DeviceId } = {},
): Promise<{ report: SalvageReport; media: Media }> {
  const device = new SimulatedDevice({ media });
  const report = await salvageStore({ env: testEnv(), device, clusterId, ...options });
  return { report, media: device.crashPoint().durable };
}

async function open(media: Media): Promise<ExtentStore> {
  return await openStore({
    env: testEnv({ sleeps: false }),
    device: new SimulatedDevice({ media }),
  });
}

async function missingOf(media: Media, chunks: readonly TestChunk[]): Promise<TestChunk[]> {
  const store = await open(media);
  const missing: TestChunk[] = [];
  for (const chunk of chunks) {
    const read = await store.get(chunk.id);
    if (!read) missing.push(chunk);
    else expect(bytesEqual(read, chunk.bytes)).toBe(true);
  }
  return missing;
}

describe('salvage', () => {
  it('brings back every chunk in one piece when all that names them is gone', async () => {
    const store = await storeOf([...contiguous, ...smallMetadata]);
    const wiped = await wipeAll(store);
    const { report, media } = await salvage(wiped, { id });
    expect(report).toMatchObject({
      id,
      isNewSuperblock: true,
      chunksBefore: 0,
      adopted: contiguous.length,
      adoptedBytes: contiguous.reduce((sum, { bytes }) => sum + bytes.length, 0),
      known: 0,
      refused: 0,
      incomplete: 0,
      incompleteIds: [],
      unreadableBlocks: 0,
    });
    expect(report.scannedBytes).toBeGreaterThan(20 * MiB);
    expect(await missingOf(media, contiguous)).toEqual([]);
    // Nothing on the device says which bytes of a block are a small metadata chunk.
    expect(await missingOf(media, smallMetadata)).toHaveLength(smallMetadata.length);
    const found = await checkStore({ env: testEnv(), device: new SimulatedDevice({ media }) });
    expect(found.findings).toEqual([]);
    // The node has to ask the others what else there was.
    const again = await open(media);
    expect((await again.describe()).damagedAtMs).toBeGreaterThan(0);
    await again[Symbol.asyncDispose]();
    const second = await salvage(media);
    expect(second.report).toMatchObject({
      id,
      isNewSuperblock: false,
      chunksBefore: contiguous.length,
      adopted: 0,
      known: 0,
    });
  });

  it('learns from old index pages what chunks do not say of themselves', async () => {
    const store = await storeOf([...contiguous, ...smallMetadata]);
    const wiped = store.media.fork();
    wipe(wiped, SUPERBLOCK_BLOCKS);
    const { report, media } = await salvage(wiped);
    expect(report).toMatchObject({ isNewSuperblock: true, incomplete: 0, incompleteIds: [] });
    expect(report.adopted).toBe(contiguous.length + smallMetadata.length);
    const all = [...contiguous, ...smallMetadata];
    expect(await missingOf(media, all)).toEqual([]);
    const again = await open(media);
    for (const chunk of all) expect(await again.stat(chunk.id)).toMatchObject({ generation: 7 });
  });

  it('learns from the journal, too', async () => {
    const device = new SimulatedDevice({ sizeBytes: 32 * MiB });
    const env = testEnv();
    await formatStore({ env, device, clusterId, id });
    const store = await openStore({ env, device });
    const all = [...contiguous.slice(0, 20), ...smallMetadata];
    for (const chunk of all) await store.put(chunk.id, chunk.bytes, { generation: 5 });
    const { durable } = device.powerOff();
    wipe(durable, SUPERBLOCK_BLOCKS);
    const { report, media } = await salvage(durable);
    expect(report.adopted).toBe(all.length);
    expect(await missingOf(media, all)).toEqual([]);
  });

  it('completes an index of which pages are lost, and keeps what that knows', async () => {
    const store = await storeOf(contiguous);
    const damaged = store.media.fork();
    const held = new Set(
      [...store.records.values()].flatMap(({ extents }) => blockNumbers(extents)),
    );
    // Both copies of every other block of the images; older images as well.
    const { superblock } = await readSuperblock(new SimulatedDevice({ media: damaged }));
    const directory = new Set(superblock.directory.flatMap(({ first, second }) => [first, second]));
    const pages = store.imageBlocks.filter((block) => !directory.has(block));
    wipe(damaged, pages.slice(pages.length / 4));
    const before = await (await open(damaged.fork())).describe();
    expect(before.damage.length).toBeGreaterThan(0);
    expect(before.chunkCount).toBeLessThan(contiguous.length);
    const { report, media } = await salvage(damaged);
    expect(report.isNewSuperblock).toBe(false);
    expect(report.chunksBefore + report.adopted).toBe(contiguous.length);
    expect(report.adopted).toBeGreaterThan(0);
    expect(await missingOf(media, contiguous)).toEqual([]);
    expect(held.size).toBeGreaterThan(0);
  });

  it('names scattered chunks, and brings them back if a page names them', async () => {
    const { media, scattered, whole } = await scatteredStore();
    const store = await recordsOf(media);
    expect(scattered.length).toBeGreaterThan(3);
    const wiped = await wipeAll(store);
    const lost = await salvage(wiped);
    expect(lost.report.incomplete).toBeGreaterThanOrEqual(scattered.length);
    expect(lost.report.incompleteIds.map(toHex)).toEqual(
      expect.arrayContaining(scattered.map((chunk) => toHex(chunk.id))),
    );
    expect(await missingOf(lost.media, whole)).toEqual([]);
    expect(await missingOf(lost.media, scattered)).toHaveLength(scattered.length);
    const named = media.fork();
    wipe(named, SUPERBLOCK_BLOCKS);
    const found = await salvage(named);
    expect(await missingOf(found.media, [...whole, ...scattered])).toEqual([]);
  });

  it('never adopts what is half written, altered, or not ours', async () => {
    const chunks = contiguous.filter((chunk) => !copies.includes(chunk));
    const store = await storeOf(chunks);
    const wiped = await wipeAll(store);
    const random = new TestRandom(5);
    const spoilt = chunks.filter((_, number) => number % 3 === 0);
    const device = new SimulatedDevice({ media: wiped });
    for (const chunk of spoilt) {
      const { extents, lengthBytes } = store.records.get(toHex(chunk.id))!;
      device.flipBit(extents[0]!.start * blockBytes + random.below(lengthBytes), random.below(8));
    }
    const media = device.crashPoint().durable;
    // Foreign data, with what looks like the start or the end of a chunk.
    const heads = chunks.slice(1, 4).map(({ bytes }) => bytes.subarray(0, 100));
    for (const [number, head] of heads.entries()) {
      const block = new Uint8Array(blockBytes).map(() => random.below(256));
      block.set(head, 0);
      block.set(Buffer.from('HFB1'), blockBytes - 64);
      media.write(block, media.sizeBytes - (number + 1) * 100 * blockBytes);
    }
    const { report, media: salvaged } = await salvage(media);
    expect(report.adopted).toBe(chunks.length - spoilt.length);
    const missing = await missingOf(salvaged, chunks);
    expect(missing.map((chunk) => toHex(chunk.id)).toSorted()).toEqual(
      spoilt.map((chunk) => toHex(chunk.id)).toSorted(),
    );
  });

  it('takes each copy for another one when nothing says which is which', async () => {
    const store = await storeOf(copies);
    const { media } = await salvage(await wipeAll(store));
    const opened = await open(media);
    const indexes: number[] = [];
    for await (const entry of opened.list()) indexes.push(chunkIdParts(entry.id).shardIndex);
    expect(new Set(indexes)).toEqual(new Set([0, 1, 2]));
  });

  it('brings a removed chunk back only if the journal has forgotten that', async () => {
    const device = new SimulatedDevice({ sizeBytes: 32 * MiB });
    const env = testEnv();
    await formatStore({ env, device, clusterId, id });
    const store = await openStore({ env, device });
    const [removed, kept] = contiguous.slice(30, 32) as [TestChunk, TestChunk];
    for (const chunk of [removed, kept]) await store.put(chunk.id, chunk.bytes, { generation: 3 });
    await store.remove(removed.id, { generationMax: 3 });
    await store[Symbol.asyncDispose]();
    const { durable } = device.crashPoint();
    const first = await salvage(durable);
    expect(first.report).toMatchObject({ chunksBefore: 1, adopted: 0, removed: 1 });
    const { superblock } = await readSuperblock(new SimulatedDevice({ media: durable }));
    const { journalStart: start, journalBlocks: blocks } = superblock;
    wipe(durable, blockNumbers([{ start, blocks }]));
    const second = await salvage(durable);
    expect(second.report).toMatchObject({ chunksBefore: 1, adopted: 1, removed: 0 });
    expect(await missingOf(second.media, [removed, kept])).toEqual([]);
    expect(await (await open(second.media)).stat(kept.id)).toMatchObject({ generation: 3 });
  });

  it('finds an older copy of a chunk that is bad', async () => {
    const device = new SimulatedDevice({ sizeBytes: 32 * MiB });
    const env = testEnv();
    await formatStore({ env, device, clusterId, id });
    const store = await openStore({ env, device });
    const chunk = contiguous[31]!;
    await store.put(chunk.id, chunk.bytes, { generation: 3 });
    await store.remove(chunk.id, { generationMax: 3 });
    await store.put(chunk.id, chunk.bytes, { generation: 4 });
    const { records } = await recordsOf(device.crashPoint().durable);
    device.flipBit(records.get(toHex(chunk.id))!.extents[0]!.start * blockBytes + 999, 1);
    expect((await store.scrub()).findings).toHaveLength(1);
    await store[Symbol.asyncDispose]();
    const { report, media } = await salvage(device.crashPoint().durable);
    expect(report).toMatchObject({ chunksBefore: 0, adopted: 1, known: 0 });
    expect(await missingOf(media, [chunk])).toEqual([]);
    expect(await (await open(media)).stat(chunk.id)).toMatchObject({ generation: 4 });
  });

  it('leaves alone what holds nothing of ours, or is of another cluster', async () => {
    const random = new TestRandom(3);
    const foreign = new SimulatedDevice({ sizeBytes: 16 * MiB });
    await foreign.write([random.bytes(64 * blockBytes)], 0);
    const pending = foreign.pending.length;
    const options = { env: testEnv(), clusterId };
    await expect(salvageStore({ ...options, device: foreign })).rejects.toMatchObject({
      code: 'HF_NOT_OURS',
    });
    expect(foreign.pending.length).toBe(pending);
    const { media } = await storeOf(contiguous.slice(0, 3), 16 * MiB);
    const device = new SimulatedDevice({ media });
    const other = 'e'.repeat(32) as ClusterId;
    await expect(salvageStore({ env: testEnv(), device, clusterId: other })).rejects.toMatchObject({
      code: 'HF_NOT_OURS',
    });
    expect(device.pending).toEqual([]);
  });

  it('is as it was when it is interrupted, and can be begun anew', async () => {
    const wiped = await wipeAll(await storeOf(contiguous));
    const stop = new AbortController();
    const device = new SimulatedDevice({ media: wiped });
    const onProgress = (): void => stop.abort();
    const { signal } = stop;
    await expect(
      salvageStore({ env: testEnv(), device, clusterId, onProgress, signal }),
    ).rejects.toMatchObject({ code: 'HF_INTERRUPTED' });
    const { report, media } = await salvage(device.crashPoint().durable);
    expect(report.adopted).toBe(contiguous.length);
    expect(await missingOf(media, contiguous)).toEqual([]);
  });
});

/** A store so full of holes that large chunks are in several pieces. */
async function scatteredStore(): Promise<{
  media: Media;
  scattered: TestChunk[];
  whole: TestChunk[];
}> {
  const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
  const env = testEnv();
  await formatStore({ env, device, clusterId, id });
  const store = await openStore({ env, device });
  const fillers: TestChunk[] = [];
  for (let number = 0; ; number++) {
    const chunk = testChunk(1000 + number, 30_000);
    try {
      await store.put(chunk.id, chunk.bytes, { generation: 7 });
    } catch {
      break;
    }
    fillers.push(chunk);
  }
  const holes = fillers.filter((_, number) => number % 4 === 0);
  for (const chunk of holes) await store.remove(chunk.id, { generationMax: 7 });
  const large: TestChunk[] = [];
  for (let number = 0; number < 20; number++) {
    const chunk = testChunk(number, 90_000);
    await store.put(chunk.id, chunk.bytes, { generation: 7 });
    large.push(chunk);
  }
  await store[Symbol.asyncDispose]();
  const media = device.crashPoint().durable;
  const { records } = await recordsOf(media);
  const isWhole = (chunk: TestChunk): boolean => records.get(toHex(chunk.id))?.extents.length === 1;
  const all = [...fillers.filter((chunk) => !holes.includes(chunk)), ...large];
  return {
    media,
    whole: all.filter(isWhole),
    scattered: all.filter((chunk) => !isWhole(chunk)),
  };
}
