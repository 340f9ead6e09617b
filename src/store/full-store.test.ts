/**
 * Aim: a full store refuses a put before any byte is written, and goes on with everything else:
 * removes, checkpoints, mounts, and puts once something was removed (row E2, trap 35).
 * Method: stores filled to the last block on a simulated device that tells of every write, full for
 * different reasons: the device, the hard maximum, a filesystem that lets the device not grow.
 */
import { describe, expect, it } from 'vitest';
import {
  type TestChunk,
  testChunk,
  testEnv,
  testMetadata,
} from '../../test/suites/store-fixtures.ts';
import { bytesEqual, type ClusterId, errorCode, MiB } from '../base/index.ts';
import { type Media, SimulatedDevice, type SimulatedWrite } from '../device/index.ts';
import { checkStore, type ExtentStore, formatStore, openStore } from './index.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const LARGE_BYTES = 300_000;
const SMALL_BYTES = 3000;

type ChunkMaker = (number: number, lengthBytes: number) => TestChunk;

interface Reason {
  readonly name: string;
  readonly capacityBytes: number;
  readonly hardMaxBytes: number;
  readonly refusesGrowth: boolean;
}

const REASONS: readonly Reason[] = [
  { name: 'the device', capacityBytes: 16 * MiB, hardMaxBytes: 0, refusesGrowth: false },
  {
    name: 'the hard maximum',
    capacityBytes: 64 * MiB,
    hardMaxBytes: 5 * MiB,
    refusesGrowth: false,
  },
  { name: 'the filesystem', capacityBytes: 64 * MiB, hardMaxBytes: 0, refusesGrowth: true },
];

class Bed {
  readonly device: SimulatedDevice;
  readonly writes: SimulatedWrite[] = [];
  readonly chunks: TestChunk[] = [];
  #store: ExtentStore | undefined;
  #next = 0;
  readonly #reason: Reason;

  constructor(reason: Reason, media?: Media) {
    this.#reason = reason;
    this.device = new SimulatedDevice({
      ...(media ? { media } : { sizeBytes: 16 * MiB }),
      capacityBytes: reason.capacityBytes,
      kind: 'directory',
      fault: ({ kind }) => (kind === 'grow' && reason.refusesGrowth ? 'HF_NO_SPACE' : undefined),
      onEvent: (event) => {
        if (event.kind === 'write-start') this.writes.push(event.write);
      },
    });
  }

  get store(): ExtentStore {
    return this.#store!;
  }

  /** A new store that has no room for chunks of these kinds, large or small. */
  static async full(
    reason: Reason,
    kinds: readonly ChunkMaker[] = [testChunk, testMetadata],
  ): Promise<Bed> {
    const bed = new Bed(reason);
    const env = testEnv({ sleeps: false });
    const { device } = bed;
    const limits = { hardMaxBytes: reason.hardMaxBytes };
    await formatStore({ env, device, clusterId, journalBlocks: 16, limits });
    await bed.open();
    for (const makeChunk of kinds) {
      for (const lengthBytes of [LARGE_BYTES, SMALL_BYTES]) {
        while ((await bed.put(makeChunk, lengthBytes)) === undefined);
      }
    }
    await settled();
    return bed;
  }

  async open(): Promise<void> {
    const env = testEnv({ sleeps: false });
    this.#store = await openStore({ env, device: this.device });
  }

  /** @returns the code when it is refused. */
  async put(makeChunk: ChunkMaker, lengthBytes: number): Promise<string | undefined> {
    const chunk = makeChunk(this.#next++, lengthBytes);
    try {
      await this.store.put(chunk.id, chunk.bytes, { generation: 1, isVerified: true });
      this.chunks.push(chunk);
      return undefined;
    } catch (error) {
      return errorCode(error);
    }
  }

  async expectAll(): Promise<void> {
    for (const { id, bytes } of this.chunks) {
      const read = await this.store.get(id);
      expect(read && bytesEqual(read, bytes)).toBe(true);
    }
    expect((await this.store.usage()).chunkCount).toBe(this.chunks.length);
  }

  /** The power fails; what is durable goes on in another bed. */
  async remounted(): Promise<Bed> {
    const bed = new Bed(this.#reason, this.device.powerOff().durable);
    bed.chunks.push(...this.chunks);
    bed.#next = this.#next;
    await bed.open();
    return bed;
  }
}

/** Whatever was begun in the background has ended: it is one chain of microtasks. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe.each(REASONS)('a store that is full because of $name', (reason) => {
  it('refuses puts before any byte is written', async () => {
    const bed = await Bed.full(reason);
    const before = { count: bed.writes.length, usage: await bed.store.usage() };
    expect(before.usage.freeBytes).toBeLessThan(LARGE_BYTES);
    for (const lengthBytes of [LARGE_BYTES, 60_000, SMALL_BYTES, 1]) {
      for (const makeChunk of [testChunk, testMetadata]) {
        expect(await bed.put(makeChunk, lengthBytes)).toBe('HF_NO_SPACE');
      }
    }
    await settled();
    expect(bed.writes.length).toBe(before.count);
    expect(await bed.store.usage()).toEqual(before.usage);
    await bed.expectAll();
  });

  it('removes, and makes checkpoints while it is full', async () => {
    const bed = await Bed.full(reason);
    const mark = (await bed.store.describe()).mark.seq;
    // Each is a batch, and the ring has few blocks.
    for (let generation = 2; generation < 60; generation++) {
      const { id, bytes } = bed.chunks[generation % bed.chunks.length]!;
      await bed.store.put(id, bytes, { generation, isVerified: true });
    }
    await settled();
    expect((await bed.store.describe()).mark.seq).toBeGreaterThan(mark);
    const removed = bed.chunks.splice(0, 10);
    for (const { id } of removed) await bed.store.remove(id, { generationMax: 100 });
    await bed.expectAll();
    const after = await bed.remounted();
    await after.expectAll();
    expect((await after.store.describe()).damage).toEqual([]);
  });

  it('takes a put of the same size after a remove, again and again', async () => {
    for (const makeChunk of [testChunk, testMetadata]) {
      const bed = await Bed.full(reason, [makeChunk]);
      for (let round = 0; round < 8; round++) {
        const { id } = bed.chunks.shift()!;
        expect(await bed.store.remove(id, { generationMax: 1 })).toBe(true);
        expect(await bed.put(makeChunk, LARGE_BYTES)).toBeUndefined();
        expect(await bed.put(makeChunk, LARGE_BYTES)).toBe('HF_NO_SPACE');
      }
      await bed.expectAll();
    }
  });

  it('mounts when it is full, closes, and has lost no block', async () => {
    const bed = await Bed.full(reason);
    const after = await bed.remounted();
    await after.expectAll();
    expect(await after.put(testChunk, SMALL_BYTES)).toBe('HF_NO_SPACE');
    await after.store[Symbol.asyncDispose]();
    const { durable: media } = after.device.crashPoint();
    const device = new SimulatedDevice({ media, capacityBytes: reason.capacityBytes });
    const { findings } = await checkStore({ env: testEnv(), device });
    expect(findings).toEqual([]);
  });
});
