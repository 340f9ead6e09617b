/**
 * Aim: a sector that cannot be read costs its chunk and no other, and heals; a device that gives
 * nothing at all costs none; blocks that do not hold what is written are not used again.
 * Method: a simulated device with a set of blocks that cannot be read, some of them until they are
 * written, as disks do it.
 */
import { describe, expect, it } from 'vitest';
import { type TestChunk, testChunk, testEnv } from '../../test/suites/store-fixtures.ts';
import { bytesEqual, type ClusterId, KiB, LIMITS, MiB } from '../base/index.ts';
import { SimulatedDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { type ExtentStore, formatStore, openStore } from './index.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const { blockBytes } = LIMITS;

interface Bed {
  readonly device: SimulatedDevice;
  readonly store: ExtentStore;
  /** Blocks that cannot be read. */
  readonly bad: Set<number>;
  /** What the store has logged. */
  readonly lines: string[];
}

/** @param options.isRemapped a write makes a bad block good. */
async function newBed(options: { isRemapped?: boolean } = {}): Promise<Bed> {
  const bad = new Set<number>();
  const device = new SimulatedDevice({ sizeBytes: 32 * MiB });
  const lines: string[] = [];
  const silent = testEnv();
  const log = { ...silent.log, error: (line: string) => void lines.push(line) };
  const env: Env = { ...silent, log };
  await formatStore({ env, device, clusterId });
  device.fault = ({ kind, offset, lengthBytes }) => {
    const blocks = Array.from({ length: lengthBytes / blockBytes }, (_, at) => at);
    const hit = blocks.map((at) => offset / blockBytes + at).filter((block) => bad.has(block));
    if (hit.length === 0) return undefined;
    if (kind === 'write' && options.isRemapped) for (const block of hit) bad.delete(block);
    return kind === 'read' ? 'HF_IO' : undefined;
  };
  return { device, store: await openStore({ env, device }), bad, lines };
}

async function expectCode(work: Promise<unknown>, code: string): Promise<void> {
  await expect(work).rejects.toMatchObject({ code });
}

/** The block where content starts. */
async function blockOf(device: SimulatedDevice, bytes: Uint8Array): Promise<number> {
  const head = bytes.subarray(0, Math.min(bytes.length, blockBytes));
  const block = device.allocate(blockBytes);
  for (let at = 0; at < device.sizeBytes; at += blockBytes) {
    await device.read(block, at);
    if (bytesEqual(block.subarray(0, head.length), head)) return at / blockBytes;
  }
  throw new Error('it is nowhere');
}

async function putMany(store: ExtentStore, count: number, lengthBytes: number) {
  const chunks = Array.from({ length: count }, (_, number) => testChunk(number, lengthBytes));
  for (const { id, bytes } of chunks) await store.put(id, bytes, { generation: 0 });
  return chunks;
}

/** Blocks of chunks, each with so many bytes. */
async function blocksOf(device: SimulatedDevice, chunks: readonly TestChunk[]): Promise<number[]> {
  const blocks: number[] = [];
  for (const { bytes } of chunks) blocks.push(await blockOf(device, bytes));
  return blocks;
}

describe('extent store, a sector that cannot be read', () => {
  it('costs nothing when it can be read a moment later', async () => {
    const { device, store } = await newBed();
    const [chunk] = await putMany(store, 1, 3000);
    let failures = 1;
    device.fault = ({ kind }) => (kind === 'read' && failures-- > 0 ? 'HF_IO' : undefined);
    expect(bytesEqual((await store.get(chunk!.id))!, chunk!.bytes)).toBe(true);
    expect(failures).toBeLessThan(1);
    expect((await store.usage()).badChunkCount).toBe(0);
  });

  it.each([
    ['small', 5000, 1],
    ['large', 300_000, 40],
  ])('costs a %s chunk, names the bytes, and heals', async (_, lengthBytes, at) => {
    const { device, store, bad, lines } = await newBed({ isRemapped: true });
    const [chunk, other] = await putMany(store, 2, lengthBytes);
    const { usedBytes } = await store.usage();
    const block = (await blockOf(device, chunk!.bytes)) + at;
    bad.add(block);
    const first = block * blockBytes;
    await expect(store.get(chunk!.id)).rejects.toMatchObject({
      code: 'HF_CORRUPT',
      message: expect.stringContaining(`bytes ${first}–${first + blockBytes - 1} of the device`),
    });
    expect(await store.stat(chunk!.id)).toMatchObject({ isGood: false });
    expect(bytesEqual((await store.get(other!.id))!, other!.bytes)).toBe(true);
    await store.put(chunk!.id, chunk!.bytes, { generation: 0 });
    expect(bytesEqual((await store.get(chunk!.id))!, chunk!.bytes)).toBe(true);
    expect((await store.scrub()).findings).toEqual([]);
    // The old blocks were written, the disk has mended them, and they are free.
    expect(bad.size).toBe(0);
    expect((await store.usage()).usedBytes).toBe(usedBytes);
    expect(lines).toEqual([]);
  });

  it('is found by a scrub, among small neighbours, and healed as well', async () => {
    const { device, store, bad } = await newBed({ isRemapped: true });
    const chunks = await putMany(store, 30, 3000);
    const blocks = await blocksOf(device, chunks);
    for (const at of [3, 4, 17]) bad.add(blocks[at]!);
    const { findings, checkedChunks } = await store.scrub();
    expect(findings.map(({ kind }) => kind)).toEqual(Array(3).fill('bad-chunk'));
    expect(checkedChunks).toBe(30);
    expect((await store.usage()).badChunkCount).toBe(3);
    for (const at of [3, 4, 17]) {
      const { id, bytes } = chunks[at]!;
      await store.put(id, bytes, { generation: 0 });
    }
    expect((await store.scrub()).findings).toEqual([]);
  });

  it('stays out of use when it does not hold what is written to it', async () => {
    const { device, store, bad, lines } = await newBed();
    const [chunk] = await putMany(store, 1, 300_000);
    const { usedBytes } = await store.usage();
    const block = await blockOf(device, chunk!.bytes);
    bad.add(block + 7);
    bad.add(block + 8);
    await expectCode(store.get(chunk!.id), 'HF_CORRUPT');
    await store.remove(chunk!.id, { generationMax: 0 });
    await store.put(chunk!.id, chunk!.bytes, { generation: 0 });
    // Nothing is put there, however full the store becomes.
    for (let number = 10; ; number++) {
      const { id, bytes } = testChunk(number, 60_000);
      try {
        await store.put(id, bytes, { generation: 0 });
      } catch {
        break;
      }
      expect(bytesEqual((await store.get(id))!, bytes)).toBe(true);
    }
    expect((await store.scrub()).findings).toEqual([]);
    expect(lines).toEqual(['blocks are out of use']);
    for await (const { id } of store.list()) await store.remove(id, { generationMax: 0 });
    expect((await store.usage()).usedBytes).toBeLessThan(usedBytes + MiB);
    await store[Symbol.asyncDispose]();
  });

  it('is no loss when it can be read in smaller parts', async () => {
    const { device, store } = await newBed();
    const chunks = await putMany(store, 20, 100_000);
    device.fault = ({ kind, lengthBytes }) =>
      kind === 'read' && lengthBytes > 32 * KiB ? 'HF_IO' : undefined;
    for (const { id, bytes } of chunks) {
      expect(bytesEqual((await store.get(id))!, bytes)).toBe(true);
    }
    expect((await store.scrub()).findings).toEqual([]);
  });
});

describe('extent store, a device that gives nothing', () => {
  it('costs no more chunks after many reads in a row, until one is good', async () => {
    const { device, store, bad } = await newBed();
    const chunks = await putMany(store, 40, 3000);
    const blocks = await blocksOf(device, chunks);
    for (const block of blocks.slice(0, 39)) bad.add(block);
    // The same chunk over and over is not the device.
    for (let turn = 0; turn < 20; turn++) await expectCode(store.get(chunks[0]!.id), 'HF_CORRUPT');
    for (const { id } of chunks.slice(1, 15)) await expectCode(store.get(id), 'HF_CORRUPT');
    for (const { id } of chunks.slice(15, 39)) await expectCode(store.get(id), 'HF_IO');
    expect((await store.usage()).badChunkCount).toBe(15);
    expect(await store.get(chunks[39]!.id)).toBeDefined();
    await expectCode(store.get(chunks[20]!.id), 'HF_CORRUPT');
    bad.clear();
    expect((await store.scrub()).findings).toEqual([]);
    expect((await store.usage()).badChunkCount).toBe(0);
  });

  it('ends a scrub, and the next one goes on from there', async () => {
    const { device, store, bad } = await newBed();
    const chunks = await putMany(store, 40, 3000);
    for (const block of await blocksOf(device, chunks)) bad.add(block);
    await expectCode(store.scrub(), 'HF_IO');
    expect((await store.usage()).badChunkCount).toBe(15);
    expect((await store.describe()).scrubCursor).toBeGreaterThan(0);
    await expectCode(store.scrub(), 'HF_IO');
    expect((await store.usage()).badChunkCount).toBe(30);
    expect((await store.scrub()).findings).toHaveLength(10);
    expect((await store.describe()).scrubCursor).toBe(0);
  });

  it('does not mount rather than blame the last batch for its device', async () => {
    const { device, store } = await newBed();
    const chunks = Array.from({ length: 60 }, (_, number) => testChunk(number, 4000));
    await Promise.all(chunks.map(({ id, bytes }) => store.put(id, bytes, { generation: 0 })));
    const blocks = await Promise.all(chunks.map(({ id }) => store.locate(id)));
    const wanted = new Set(blocks.map((block) => block! * blockBytes));
    const again = new SimulatedDevice({ media: device.powerOff().durable });
    const env = testEnv({ sleeps: false });
    // The cable, for a moment.
    again.fault = ({ kind, offset }) =>
      kind === 'read' && wanted.has(offset) ? 'HF_IO' : undefined;
    await expectCode(openStore({ env, device: again }), 'HF_IO');
    const well = new SimulatedDevice({ media: device.powerOff().durable });
    const mounted = await openStore({ env, device: well });
    expect((await mounted.usage()).badChunkCount).toBe(0);
    for (const { id, bytes } of chunks) expect(await mounted.get(id)).toEqual(bytes);
  });
});
