/**
 * Aim: a scrub goes over the device once, in order, at the pace that it is told, and goes on where
 * it was interrupted, however that happened; closing a store does not wait for it.
 * Method: a simulated device that notes what is read; time that passes only when something sleeps.
 */
import { describe, expect, it } from 'vitest';
import { testChunk, testEnv, TestRandom } from '../../test/suites/store-fixtures.ts';
import { type ChunkId, type ClusterId, KiB, LIMITS, MiB } from '../base/index.ts';
import { SimulatedDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { nextPortion } from './device-order.ts';
import { type ExtentStore, formatStore, openStore, type ScrubOptions } from './index.ts';
import { IndexTable } from './index-table.ts';
import { encodeRecord } from './slot.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const { blockBytes } = LIMITS;

interface Bed {
  readonly device: SimulatedDevice;
  readonly store: ExtentStore;
  readonly env: Env;
  /** Offsets of reads, in order. */
  readonly reads: number[];
}

async function newBed(lengths: readonly number[], env: Env = testEnv()): Promise<Bed> {
  const device = new SimulatedDevice({ sizeBytes: 64 * MiB });
  await formatStore({ env, device, clusterId });
  const store = await openStore({ env, device });
  for (const [number, lengthBytes] of lengths.entries()) {
    const { id, bytes } = testChunk(number, lengthBytes);
    await store.put(id, bytes, { generation: 0 });
  }
  const reads: number[] = [];
  device.fault = ({ kind, offset }) => {
    if (kind === 'read') reads.push(offset);
    return undefined;
  };
  return { device, store, env, reads };
}

/** Scrubs until so many bytes are checked. @returns how many chunks that were. */
async function scrubUntil(
  store: ExtentStore,
  chunks: number,
  options: ScrubOptions = {},
): Promise<number> {
  const stop = new AbortController();
  let checked = 0;
  const onProgress = (): void => {
    checked += 1;
    if (checked === chunks) stop.abort();
  };
  await expect(store.scrub({ ...options, onProgress, signal: stop.signal })).rejects.toMatchObject({
    code: 'HF_INTERRUPTED',
  });
  return checked;
}

const LARGE = Array.from({ length: 20 }, () => 100 * KiB);

describe('the order of a scrub', () => {
  it('is that of the device, whatever the partition', async () => {
    const { store, reads } = await newBed(LARGE);
    await store.scrub();
    const data = reads.filter((offset) => offset % MiB !== 0).slice(-20);
    expect(data).toEqual(data.toSorted((a, b) => a - b));
  });

  it('takes small neighbours in one read', async () => {
    const { store, reads } = await newBed(Array.from({ length: 200 }, () => 4000));
    reads.length = 0;
    expect(await store.scrub()).toMatchObject({ checkedChunks: 200, findings: [] });
    expect(reads.length).toBeLessThan(60);
  });

  it('comes in portions of bounded size that miss nothing', async () => {
    const random = new TestRandom(4);
    const index = new IndexTable(3);
    const starts = Array.from({ length: 500 }, (_, number) => number * 7 + 3);
    for (const start of starts.toSorted(() => random.below(3) - 1)) {
      const id = random.bytes(32) as ChunkId;
      const extents = [{ start, blocks: 1 }];
      const times = { writtenAt: 0, verifiedAt: 0 };
      const record = { id, kind: 'live', lengthBytes: 9, generation: 0, checksum: 0n } as const;
      index.apply(encodeRecord({ ...record, extents, ...times }));
    }
    const turn = async (): Promise<void> => {};
    const seen: number[] = [];
    for (let from = 0; ;) {
      const { chunks, bytesAhead } = await nextPortion(index, from, { turn, portionMax: 16 });
      if (chunks.length === 0) break;
      expect(chunks.length).toBeLessThanOrEqual(16);
      expect(bytesAhead).toBe((starts.length - seen.length) * blockBytes);
      seen.push(...chunks.map(({ start }) => start));
      from = seen.at(-1)! + 1;
    }
    expect(seen).toEqual(starts);
  });
});

describe('an interrupted scrub', () => {
  it('goes on after a signal, and begins anew when it is told to', async () => {
    const { store } = await newBed(LARGE);
    expect(await scrubUntil(store, 5)).toBe(5);
    const { scrubCursor, scrubbedAtMs } = await store.describe();
    expect(scrubCursor).toBeGreaterThan(0);
    expect(scrubbedAtMs).toBe(0);
    expect(await store.scrub()).toMatchObject({ checkedChunks: 15 });
    expect((await store.describe()).scrubCursor).toBe(0);
    expect((await store.describe()).scrubbedAtMs).toBeGreaterThan(0);
    expect(await store.scrub()).toMatchObject({ checkedChunks: 20 });
    await scrubUntil(store, 5);
    expect(await store.scrub({ startsOver: true })).toMatchObject({ checkedChunks: 20 });
  });

  it('goes on in the next mount, and closing does not wait for it', async () => {
    const real = testEnv();
    const isAsleep = Promise.withResolvers<void>();
    const sleep: Env['clock']['sleep'] = async (ms, { signal } = {}) => {
      if (ms < 1e6) return;
      isAsleep.resolve();
      await new Promise((_, reject) => {
        signal!.addEventListener('abort', () => reject(signal!.reason as Error));
      });
    };
    const env: Env = { ...real, clock: { ...real.clock, sleep } };
    const { store, device } = await newBed(LARGE, env);
    const scrubbing = store.scrub({ rateBytesPerSecond: 1 });
    scrubbing.catch(() => undefined);
    await isAsleep.promise;
    await store[Symbol.asyncDispose]();
    await expect(scrubbing).rejects.toBeDefined();
    const { durable: media } = device.crashPoint();
    const again = await openStore({ env: testEnv(), device: new SimulatedDevice({ media }) });
    expect(await again.scrub()).toMatchObject({ checkedChunks: 19 });
  });

  it('loses at most a minute to a power cut', async () => {
    // Each chunk takes ten seconds; the power fails after the fifteenth.
    const { store, device } = await newBed(LARGE);
    let media = device.crashPoint().durable;
    const onProgress = (checkedBytes: number): void => {
      if (checkedBytes <= 15 * 104 * KiB) media = device.crashPoint().durable;
    };
    await store.scrub({ rateBytesPerSecond: 10 * KiB, onProgress });
    const again = await openStore({ env: testEnv(), device: new SimulatedDevice({ media }) });
    const { checkedChunks } = await again.scrub();
    expect(checkedChunks).toBeGreaterThanOrEqual(5);
    expect(checkedChunks).toBeLessThanOrEqual(12);
  });

  it('does not begin for a caller that has given up', async () => {
    const { store, reads } = await newBed(LARGE);
    reads.length = 0;
    await expect(store.scrub({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'HF_INTERRUPTED',
    });
    expect(reads).toEqual([]);
  });
});

describe('the pace of a scrub', () => {
  it('is what a pass may take, as long as the device is left to others', async () => {
    const { store, env } = await newBed(LARGE);
    const { usage } = await store.describe();
    const startedAt = env.clock.monotonic();
    await store.scrub({ passMs: 1_000_000, busyShareMax: 0.05 });
    const tookMs = env.clock.monotonic() - startedAt;
    // The pass reads a part of what is in use: the rest is room for the index.
    const share = (20 * 104 * KiB) / usage.usedBytes;
    expect(tookMs / (1_000_000 * share)).toBeGreaterThan(0.9);
    expect(tookMs / (1_000_000 * share)).toBeLessThan(1.1);
  });

  it('leaves the device free for its share of the time', async () => {
    const real = testEnv();
    let nowMs = 0;
    let sleptMs = 0;
    const env: Env = {
      ...real,
      clock: {
        ...real.clock,
        monotonic: () => nowMs,
        sleep: async (ms) => {
          sleptMs += ms;
          nowMs += ms;
        },
      },
    };
    const { store, device } = await newBed(LARGE, env);
    sleptMs = 0;
    device.fault = ({ kind, lengthBytes }) => {
      // A read takes 10 ms; those of the metadata are not counted.
      if (kind === 'read' && lengthBytes > 100 * KiB) nowMs += 10;
      return undefined;
    };
    await store.scrub({ busyShareMax: 0.1 });
    expect(sleptMs).toBeGreaterThanOrEqual(20 * 10 * 9);
    expect(sleptMs).toBeLessThan(20 * 10 * 9 + 200);
  });
});

describe('scrub and the bitmap', () => {
  it('writes blocks of it that are bad again', async () => {
    const { store, device } = await newBed(LARGE);
    const { bitmap } = await store.describe();
    device.flipBit(bitmap.start * blockBytes + 55, 3);
    expect((await store.scrub()).findings).toEqual([
      { kind: 'mended', what: '1 blocks of the bitmap' },
    ]);
    expect((await store.scrub()).findings).toEqual([]);
  });
});

describe('a chunk whose bytes are disputed', () => {
  it('is marked when they are not what its id names, whatever its checksum says', async () => {
    const { store } = await newBed([1000, 200_000]);
    const [good, wrong] = [testChunk(1, 200_000), testChunk(2, 200_000)];
    const bytes = wrong.bytes.slice();
    bytes[100_000]! ^= 1;
    await store.put(wrong.id, bytes, { generation: 3, isVerified: true });
    expect(await store.dispute(good.id)).toBe(false);
    expect(await store.dispute(testChunk(9, 10).id)).toBe(false); // it is not there
    expect(await store.get(wrong.id)).toBeDefined();
    expect(await store.dispute(wrong.id)).toBe(true);
    await store.scrub(); // which finds nothing by the checksum
    expect(await store.stat(wrong.id)).toMatchObject({ isGood: false, generation: 3 });
    expect((await store.usage()).badChunkCount).toBe(1);
    await store.put(wrong.id, wrong.bytes, { generation: 3 });
    expect(await store.get(wrong.id)).toEqual(wrong.bytes);
    expect(await store.get(good.id)).toEqual(good.bytes);
    await store[Symbol.asyncDispose]();
  });
});
