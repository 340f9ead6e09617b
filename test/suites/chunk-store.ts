/**
 * What every ChunkStore does, wherever its bytes lie. A kind of store runs this suite from a test
 * of its own with a *harness* that makes an empty store of at least 32 MiB and can damage what it
 * holds.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  bytesEqual,
  type ChunkId,
  type ErrorCode,
  groupOf,
  KiB,
  parseScheme,
  schemeNumber,
  toHex,
  xxh64,
} from '../../src/base/index.ts';
import type { ChunkEntry, ChunkStore } from '../../src/store/index.ts';
import {
  TEST_SCHEME,
  type TestChunk,
  testChunk,
  testMetadata,
  testStripe,
} from './store-fixtures.ts';

export interface ChunkStoreHarness extends AsyncDisposable {
  readonly store: ChunkStore;
  /** Damages one bit of the chunk's bytes where they lie. */
  damage(chunk: TestChunk): Promise<void>;
  /** Closes the store and opens it again, where it outlives the closing. */
  reopen?(): Promise<ChunkStore>;
}

/** Lengths around every border of the formats: blocks, pages, the first chunk with a footer. */
const LENGTHS: readonly number[] = [
  1,
  4095,
  4096,
  4097,
  64 * KiB - 1,
  64 * KiB,
  64 * KiB + 1,
  128 * KiB,
  1024 * KiB - 4 * KiB,
  1024 * KiB,
  1024 * KiB + 17,
];

async function codeOf(work: Promise<unknown>): Promise<ErrorCode | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return (error as { code?: ErrorCode }).code;
  }
}

async function listed(entries: AsyncIterable<ChunkEntry>): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of entries) ids.push(toHex(id));
  return ids.toSorted();
}

function idsOf(chunks: readonly TestChunk[]): string[] {
  return chunks.map(({ id }) => toHex(id)).toSorted();
}

export function chunkStoreSuite(name: string, makeHarness: () => Promise<ChunkStoreHarness>): void {
  describe(`chunk store: ${name}`, () => {
    let harness: ChunkStoreHarness;
    let store: ChunkStore;

    beforeEach(async () => {
      harness = await makeHarness();
      store = harness.store;
    });

    afterEach(async () => {
      await harness[Symbol.asyncDispose]();
    });

    async function expectHeld({ id, bytes }: TestChunk): Promise<void> {
      const read = await store.get(id);
      expect(read && bytesEqual(read, bytes)).toBe(true);
    }

    it('gives back chunks of every length', async () => {
      const chunks = LENGTHS.map((lengthBytes, number) => testChunk(number, lengthBytes));
      await Promise.all(chunks.map(({ id, bytes }) => store.put(id, bytes, { generation: 7 })));
      for (const chunk of chunks) await expectHeld(chunk);
      for (const { id, bytes } of chunks) {
        const expected = { lengthBytes: bytes.length, generation: 7, isGood: true };
        expect(await store.stat(id)).toMatchObject(expected);
      }
      expect((await store.usage()).chunkCount).toBe(chunks.length);
    });

    it('gives back ranges', async () => {
      for (const [number, lengthBytes] of [5000, 64 * KiB, 200 * KiB, 700 * KiB].entries()) {
        const { id, bytes } = testChunk(number, lengthBytes);
        await store.put(id, bytes, { generation: 0 });
        const last = lengthBytes - 1;
        for (const [offset, count] of [
          [0, 1],
          [last, 1],
          [0, lengthBytes],
          [lengthBytes, 0],
          [4000, 900],
          [Math.floor(lengthBytes / 2), Math.floor(lengthBytes / 4)],
          [Math.max(last - 70_000, 0), Math.min(70_000, last)],
        ] as const) {
          const read = await store.get(id, { offset, lengthBytes: count });
          const wanted = bytes.subarray(offset, offset + count);
          expect(read && bytesEqual(read, wanted), `${offset}+${count}`).toBe(true);
        }
        const tooFar = store.get(id, { offset: 1, lengthBytes });
        expect(await codeOf(tooFar)).toBe('HF_BAD_ARGUMENT');
      }
    });

    it('does not know what was never put', async () => {
      const { id } = testChunk(1, 10);
      expect(await store.get(id)).toBeUndefined();
      expect(await store.stat(id)).toBeUndefined();
      expect(await store.remove(id, { generationMax: 9 })).toBe(false);
    });

    it('holds all shards of a stripe, and of copies', async () => {
      const chunks = [
        ...testStripe(1, parseScheme('rs-4+2'), 8 * KiB),
        ...testStripe(2, parseScheme('copy-3'), 4 * KiB),
        ...testStripe(3, parseScheme('ida-3of5'), 80 * KiB),
      ];
      await Promise.all(chunks.map(({ id, bytes }) => store.put(id, bytes, { generation: 0 })));
      for (const chunk of chunks) await expectHeld(chunk);
      expect(await listed(store.list())).toEqual(idsOf(chunks));
    });

    it('refuses bytes that the id does not name', async () => {
      const metadata = testMetadata(1, 5000);
      const [first, second] = testStripe(1, parseScheme('rs-4+2'), 8 * KiB);
      const cases: [ChunkId, Uint8Array][] = [
        [metadata.id, testMetadata(2, 5000).bytes],
        [first!.id, second!.bytes],
        [first!.id, first!.bytes.subarray(0, -1)],
        [first!.id, metadata.bytes],
        [metadata.id, first!.bytes],
      ];
      for (const [id, bytes] of cases) {
        expect(await codeOf(store.put(id, bytes, { generation: 0 }))).toBe('HF_CORRUPT');
        expect(await store.stat(id)).toBeUndefined();
      }
    });

    it('keeps the highest generation, and removes only what is not newer', async () => {
      const { id, bytes } = testChunk(1, 5000);
      await store.put(id, bytes, { generation: 5 });
      await store.put(id, bytes, { generation: 3 });
      expect((await store.stat(id))?.generation).toBe(5);
      await store.put(id, bytes, { generation: 9 });
      expect((await store.stat(id))?.generation).toBe(9);
      expect(await store.remove(id, { generationMax: 8 })).toBe(false);
      await expectHeld({ id, bytes });
      expect(await store.remove(id, { generationMax: 9 })).toBe(true);
      expect(await store.get(id)).toBeUndefined();
      expect((await store.usage()).chunkCount).toBe(0);
    });

    it('takes puts and removes of one chunk one after the other', async () => {
      const { id, bytes } = testChunk(1, 100_000);
      const puts = [3, 1, 2].map((generation) => store.put(id, bytes, { generation }));
      const removed = store.remove(id, { generationMax: 10 });
      const again = store.put(id, bytes, { generation: 4 });
      await Promise.all(puts);
      expect(await removed).toBe(true);
      await again;
      expect((await store.stat(id))?.generation).toBe(4);
      await expectHeld({ id, bytes });
    });

    it('gives the room of removed chunks back', async () => {
      const chunks = Array.from({ length: 6 }, (_, number) => testChunk(number, 300 * KiB));
      const metadata = Array.from({ length: 30 }, (_, number) => testMetadata(number, 700));
      const atFirst = await store.usage();
      for (let round = 0; round < 30; round++) {
        for (const { id, bytes } of chunks) await store.put(id, bytes, { generation: round });
        const { id, bytes } = metadata[round]!;
        await store.put(id, bytes, { generation: round });
        const usage = await store.usage();
        expect(usage.usedBytes).toBeGreaterThanOrEqual(atFirst.usedBytes + 6 * 300 * KiB);
        expect(usage.sizeBytes).toBe(atFirst.sizeBytes);
        expect(usage.usedBytes + usage.freeBytes).toBe(usage.sizeBytes);
        for (const each of chunks) await store.remove(each.id, { generationMax: round });
        // Exactly, although there is more metadata each time.
        expect(await store.usage()).toEqual({ ...atFirst, chunkCount: round + 1 });
      }
      if (harness.reopen) store = await harness.reopen();
      expect(await store.usage()).toEqual({ ...atFirst, chunkCount: metadata.length });
    });

    it('lists by group, and digests the same by any order', async () => {
      const chunks = Array.from({ length: 40 }, (_, number) => testChunk(number, 200));
      for (const { id, bytes } of chunks) await store.put(id, bytes, { generation: 0 });
      const group = groupOf(chunks[7]!.id);
      const inGroup = chunks.filter(({ id }) => groupOf(id) === group);
      expect(await listed(store.list({ group }))).toEqual(idsOf(inGroup));
      const digest = inGroup.reduce((sum, { id }) => sum + xxh64(id.subarray(0, 28)), 0n);
      const found = (await store.digests()).find((entry) => entry.group === group);
      expect(found).toEqual({
        group,
        schemeNumber: schemeNumber(TEST_SCHEME),
        shardIndex: 0,
        count: inGroup.length,
        digest: BigInt.asUintN(64, digest),
      });
      for (const { id } of chunks) await store.remove(id, { generationMax: 0 });
      expect(await store.digests()).toEqual([]);
    });

    it.each([5000, 300 * KiB])(
      'finds a damaged chunk of %i bytes and takes it anew',
      async (size) => {
        const chunk = testChunk(1, size);
        const other = testChunk(2, size);
        await store.put(chunk.id, chunk.bytes, { generation: 3 });
        await store.put(other.id, other.bytes, { generation: 3 });
        await harness.damage(chunk);
        expect(await codeOf(store.get(chunk.id))).toBe('HF_CORRUPT');
        expect(await store.stat(chunk.id)).toMatchObject({ isGood: false, generation: 3 });
        expect((await store.usage()).badChunkCount).toBe(1);
        expect((await store.digests()).reduce((sum, { count }) => sum + count, 0)).toBe(1);
        expect(await listed(store.list())).toEqual(idsOf([chunk, other]));
        await expectHeld(other);
        await store.put(chunk.id, chunk.bytes, { generation: 1 });
        await expectHeld(chunk);
        expect(await store.stat(chunk.id)).toMatchObject({ isGood: true, generation: 3 });
      },
    );

    it('finds damage by scrubbing, and removes a bad chunk', async () => {
      const chunks = [5000, 300 * KiB, 40].map((size, number) => testChunk(number, size));
      for (const { id, bytes } of chunks) await store.put(id, bytes, { generation: 0 });
      expect((await store.scrub()).findings).toEqual([]);
      await harness.damage(chunks[1]!);
      const report = await store.scrub();
      expect(report.checkedChunks).toBe(3);
      expect(report.findings).toHaveLength(1);
      expect(report.findings[0]).toMatchObject({ kind: 'bad-chunk', id: chunks[1]!.id });
      expect(await codeOf(store.get(chunks[1]!.id))).toBe('HF_CORRUPT');
      expect(await store.remove(chunks[1]!.id, { generationMax: 0 })).toBe(true);
      expect((await store.scrub()).findings).toEqual([]);
    });

    it('does nothing for a caller that has given up, or once it is closed', async () => {
      const { id, bytes } = testChunk(1, 500);
      const { signal } = { signal: AbortSignal.abort() };
      expect(await codeOf(store.put(id, bytes, { generation: 0, signal }))).toBe('HF_INTERRUPTED');
      expect(await codeOf(store.get(id, { signal }))).toBe('HF_INTERRUPTED');
      await store.put(id, bytes, { generation: 0 });
      await store[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      expect(await codeOf(store.put(id, bytes, { generation: 0 }))).toBe('HF_CLOSED');
      expect(await codeOf(store.get(id))).toBe('HF_CLOSED');
    });

    it('still has everything after it was closed and opened', async () => {
      if (!harness.reopen) return;
      const chunks = Array.from({ length: 300 }, (_, number) =>
        testChunk(number, number % 50 === 0 ? 100_000 + number : 10 + number * 7),
      );
      await Promise.all(chunks.map(({ id, bytes }) => store.put(id, bytes, { generation: 2 })));
      for (const { id } of chunks.splice(0, 40)) await store.remove(id, { generationMax: 2 });
      const usage = await store.usage();
      const digests = await store.digests();
      store = await harness.reopen();
      for (const chunk of chunks) await expectHeld(chunk);
      expect(await listed(store.list())).toEqual(idsOf(chunks));
      expect(await store.usage()).toEqual(usage);
      expect(new Set(await store.digests())).toEqual(new Set(digests));
    });
  });
}
