/**
 * Aim: whatever stores do (hang, lag, lie, die in the middle, answer late), a put or a get ends in
 * good time with what is right, and no memory that a store still uses is used for anything else.
 * Method: memory stores behind wrappers, on a clock whose time passes only while all wait.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, HoldfastError, LIMITS, parseScheme, stripeId } from '../base/index.ts';
import type { Cluster } from '../cluster/index.ts';
import { MetricsTable } from '../env/index.ts';
import type { MemoryChunkStore } from '../store/index.ts';
import {
  bytesOf,
  change,
  chunkOf,
  codeOf,
  freeSlots,
  homeOf,
  openStripesBed,
  prepare,
  readAll,
  refOf,
  rs42,
  store,
  type StripesBed,
} from '../../test/suites/store-bed.ts';
import { openStripes, type StripeRef } from './index.ts';

const GENERATION = 1;
const LAG_MS = 2000;
const content = bytesOf(300_000);
const short = content.subarray(0, 5000);
const copy3 = parseScheme('copy-3');

function metricsOf({ bed }: StripesBed): MetricsTable {
  return bed.env.metrics as MetricsTable;
}

async function msOf({ bed }: StripesBed, work: () => Promise<unknown>): Promise<number> {
  const start = bed.env.clock.monotonic();
  await work();
  return bed.env.clock.monotonic() - start;
}

type Fault = 'hangs' | 'lags' | 'dies' | 'lies';

/** What a store does when it is asked to put or to give a chunk. */
function misbehave(bed: StripesBed, inner: MemoryChunkStore, fault: Fault): void {
  const { clock } = bed.bed.env;
  const before = async (signal?: AbortSignal): Promise<void> => {
    if (fault === 'hangs') await new Promise(() => {});
    if (fault === 'lags') await clock.sleep(LAG_MS, { signal });
    if (fault === 'dies') {
      await clock.sleep(5);
      throw new HoldfastError('HF_UNAVAILABLE', 'gone in the middle');
    }
  };
  change(bed, inner, {
    async put(id, chunk, options) {
      await before(options.signal);
      await inner.put(id, chunk, options);
    },
    async get(id, options) {
      await before(options?.signal);
      const chunk = await inner.get(id, options);
      if (fault === 'lies') chunk?.fill(7);
      return chunk;
    },
  });
}

describe('a store that hangs in a put', () => {
  /** Hangs until it is released; then it looks whether the bytes are still those it was given. */
  function hang(bed: StripesBed, inner: MemoryChunkStore) {
    const released = Promise.withResolvers<void>();
    const calls: Promise<boolean>[] = [];
    let isReleased = false;
    change(bed, inner, {
      put: async (id, chunk, options) => {
        if (isReleased) return await inner.put(id, chunk, options);
        const given = new Uint8Array(chunk);
        const call = released.promise.then(() => Buffer.compare(given, chunk) === 0);
        calls.push(call);
        await call;
      },
    });
    const release = (): void => {
      isReleased = true;
      released.resolve();
    };
    return { release, calls };
  }

  it('is replaced; its memory stays as it is until it is done', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const hung = hang(bed, bed.bed.stores[0]!);
    const refs: { readonly mine: Uint8Array; readonly ref: StripeRef }[] = [];
    for (let seed = 0; seed < 12; seed++) {
      const ms = await msOf(bed, async () => {
        const mine = bytesOf(300_000, seed);
        using prepared = await prepare(bed, mine);
        const report = await bed.stripes.spread(prepared, { generation: GENERATION });
        expect(report).toEqual({ durableCount: 6, isDegraded: false });
        refs.push({ mine, ref: refOf(prepared) });
      });
      expect(ms).toBeLessThan(LIMITS.storeAnswerMs + 1000);
    }
    expect(hung.calls.length).toBeGreaterThan(0);
    expect(hung.calls.length).toBeLessThan(4); // left alone for a while
    expect(await freeSlots(bed)).toBe(bed.slotCount);
    for (const { mine, ref } of refs) {
      expect(Buffer.compare(await readAll(bed, ref), mine)).toBe(0);
    }
    hung.release();
    expect(await Promise.all(hung.calls)).toEqual(hung.calls.map(() => true));
    expect(await freeSlots(bed)).toBe(bed.slotCount);
    const store0 = { store: bed.bed.stores[0]!.id };
    expect(metricsOf(bed).get('stripes_late_calls', store0)).toBe(hung.calls.length);
  });

  it('of many puts at once costs no slot for long', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    for (const each of bed.bed.stores.slice(0, 2)) hang(bed, each);
    const all = Array.from({ length: 8 }, (_, seed) => store(bed, bytesOf(300_000, seed)));
    const refs = await Promise.all(all);
    for (const [seed, ref] of refs.entries()) {
      expect(Buffer.compare(await readAll(bed, ref), bytesOf(300_000, seed))).toBe(0);
    }
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });

  it('is tried again after a while, and used again once it answers', async () => {
    await using bed = await openStripesBed({ storeCount: 7, width: 7 });
    const inner = bed.bed.stores[0]!;
    const hung = hang(bed, inner);
    let seed = 0;
    const putUntil = async (isDone: () => boolean | Promise<boolean>): Promise<void> => {
      for (const first = seed; !(await isDone()); seed++) {
        expect(seed - first).toBeLessThan(100);
        await store(bed, bytesOf(70_000, seed));
        await bed.bed.env.clock.sleep(500);
      }
    };
    await putUntil(() => hung.calls.length === 2);
    bed.bed.wraps.clear();
    hung.release();
    await putUntil(async () => (await inner.usage()).chunkCount > 0);
  });

  it('a put that is given up ends at once', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    using prepared = await prepare(bed, content);
    const inner = homeOf(bed, prepared, 0);
    hang(bed, inner);
    const stop = new AbortController();
    const spreading = bed.stripes.spread(prepared, { generation: 1, signal: stop.signal });
    const ms = await msOf(bed, async () => {
      await bed.bed.env.clock.sleep(100);
      stop.abort();
      expect(await codeOf(spreading)).toBe('HF_INTERRUPTED');
    });
    expect(ms).toBeLessThan(1000);
  });

  it('is asked after all when there are too few others', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const hung = bed.bed.stores.slice(0, 2).map((each) => hang(bed, each));
    expect(await codeOf(store(bed, content))).toBe('HF_TOO_FEW_STORES');
    for (const each of hung) each.release();
    const ref = await store(bed, content);
    expect((await bed.stripes.inspect(ref.stripe, ref.schemeNumber)).spareCount).toBe(2);
  });

  it('costs no memory however often it is tried again', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const hung = hang(bed, bed.bed.stores[0]!);
    for (let seed = 0; hung.calls.length < 3 * bed.slotCount; seed++) {
      expect(seed).toBeLessThan(100);
      await store(bed, bytesOf(70_000, seed));
      await bed.bed.env.clock.sleep(61_000);
    }
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });
});

function methodsOf(cluster: Cluster): Cluster {
  return {
    topology: () => cluster.topology(),
    layout: () => cluster.layout(),
    place: (...args) => cluster.place(...args),
    handOff: (...args) => cluster.handOff(...args),
    nodeOf: (device) => cluster.nodeOf(device),
    devicesOf: (node) => cluster.devicesOf(node),
    ensureWidth: (width) => cluster.ensureWidth(width),
    setDevices: (devices) => cluster.setDevices(devices),
    setNodeDevices: (...args) => cluster.setNodeDevices(...args),
    refresh: () => cluster.refresh(),
    follow: (options) => cluster.follow(options),
  };
}

describe('a put by an old layout', () => {
  it('is placed again by the new one', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    const { cluster } = bed;
    let refreshCount = 0;
    const before = cluster.topology().epoch;
    const placesBefore = new Map<string, ReturnType<Cluster['place']>>();
    const stale: Cluster = {
      ...methodsOf(cluster),
      place(stripe, scheme) {
        const now = cluster.place(stripe, scheme);
        const key = Buffer.from(stripe).toString('hex');
        if (!placesBefore.has(key)) placesBefore.set(key, now);
        return refreshCount > 0 ? now : placesBefore.get(key)!;
      },
      refresh: async () => void (refreshCount += 1),
    };
    const { env, alive: stores } = bed.bed;
    await using stripes = openStripes({
      env,
      cluster: stale,
      stores,
      threadCount: 0,
      slotCount: 3,
    });
    const buffer = await stripes.lease(rs42);
    buffer.content.set(content);
    using prepared = await stripes.prepare(buffer, content.length, { scheme: rs42 });
    const gone = homeOf(bed, prepared, 3);
    stale.place(prepared.stripe, rs42);
    await cluster.setDevices([bed.bed.deviceOf(gone, 'draining')]);
    expect(cluster.topology().epoch).toBeGreaterThan(before);
    change(bed, gone, {
      put: async () => {
        throw new HoldfastError('HF_OLD_EPOCH', 'the group was whole since');
      },
    });
    const report = await stripes.spread(prepared, { generation: GENERATION });
    expect(report).toEqual({ durableCount: 6, isDegraded: false });
    expect(refreshCount).toBe(1);
    expect(await homeOf(bed, prepared, 3).stat(chunkOf(prepared, 3))).toBeDefined();
  });
});

describe('a get', () => {
  it.each(['hangs', 'lags', 'dies', 'lies'] as const)(
    'comes in good time when any holder %s',
    async (fault) => {
      for (let index = 0; index < 6; index++) {
        await using bed = await openStripesBed({ storeCount: 6 });
        const ref = await store(bed, content);
        const small = await store(bed, short, { scheme: copy3 });
        const range = { offset: 70_000, lengthBytes: 100_000 };
        misbehave(bed, homeOf(bed, ref, index), fault);
        for (let time = 0; time < 2; time++) {
          const ms = await msOf(bed, async () => {
            expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
          });
          expect(ms).toBeLessThan(1000);
          const rangeMs = await msOf(bed, async () => {
            const wanted = content.subarray(range.offset, range.offset + range.lengthBytes);
            expect(Buffer.compare(await readAll(bed, ref, range), wanted)).toBe(0);
          });
          expect(rangeMs).toBeLessThan(1000);
          const smallMs = await msOf(bed, async () => {
            expect(await readAll(bed, small)).toEqual(new Uint8Array(short));
          });
          expect(smallMs).toBeLessThan(1000);
        }
        expect(await freeSlots(bed)).toBe(bed.slotCount);
      }
    },
  );

  it('asks one that lags last, once it is known', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    misbehave(bed, homeOf(bed, ref, 1), 'lags');
    await readAll(bed, ref);
    expect(metricsOf(bed).get('stripes_hedged_reads')).toBe(1);
    expect(await msOf(bed, () => readAll(bed, ref))).toBeLessThan(10);
    expect(metricsOf(bed).get('stripes_hedged_reads')).toBe(1);
  });

  it('asks for k shards and no more while all is well', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    let asked = 0;
    for (const each of bed.bed.stores) each.fault = () => void (asked += 1);
    await readAll(bed, ref);
    expect(asked).toBe(4);
  });

  it('of copies gives each store memory of its own', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content, { scheme: copy3 });
    let askedCount = 0;
    for (const inner of bed.bed.stores) {
      change(bed, inner, {
        get: async (id, options) => {
          askedCount += 1;
          expect(options?.target).toBeUndefined();
          return await inner.get(id, options);
        },
      });
    }
    expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
    expect(askedCount).toBe(1);
  });

  it('waits for one that lags when it cannot do without', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    for (const index of [0, 5]) homeOf(bed, ref, index).lose(chunkOf(ref, index));
    misbehave(bed, homeOf(bed, ref, 2), 'lags');
    expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
  });

  it('of what is nowhere fails promptly, also when a store hangs', async () => {
    await using bed = await openStripesBed({ storeCount: 12, width: 6 });
    const ref = await store(bed, content);
    for (const each of [bed.bed.stores[0]!, bed.bed.stores[7]!]) {
      misbehave(bed, each, 'hangs');
      const wrap = bed.bed.wraps.get(each)!;
      wrap.stat = () => new Promise(() => {});
    }
    const gone = { ...ref, stripe: stripeId(bytesOf(28)) };
    const ms = await msOf(bed, async () => {
      expect(await codeOf(readAll(bed, gone))).toBe('HF_TOO_FEW_SHARDS');
    });
    expect(ms).toBeLessThan(5000);
  });

  it('finds a shard wherever it is', async () => {
    await using bed = await openStripesBed({ storeCount: 12, width: 6 });
    const ref = await store(bed, content);
    const [far] = bed.cluster.handOff(ref.stripe, rs42).slice(-1);
    const farStore = bed.bed.stores.find(({ id }) => id === far)!;
    // A store that is being drained is in no row and in no hand-off order.
    await bed.cluster.setDevices([bed.bed.deviceOf(farStore, 'draining')]);
    for (let index = 0; index < 6; index++) {
      const id = chunkOf(ref, index);
      for (const each of bed.bed.stores) {
        const chunk = each === farStore ? undefined : await each.get(id);
        if (!chunk) continue;
        await farStore.put(id, chunk, { generation: GENERATION });
        each.lose(id);
      }
    }
    expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
    expect(
      Buffer.compare(
        await readAll(bed, ref, { offset: 0, lengthBytes: 9 }),
        content.subarray(0, 9),
      ),
    ).toBe(0);
  });

  it('counts what was forged, by who gave it', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    const liar = homeOf(bed, ref, 2);
    misbehave(bed, liar, 'lies');
    await readAll(bed, ref);
    const labels = { store: liar.id, node: bed.cluster.nodeOf(liar.id)! };
    expect(metricsOf(bed).get('stripes_bad_shards', labels)).toBe(1);
  });

  const faults = fc.constantFrom<Fault>('hangs', 'lags', 'dies', 'lies');
  it('is right whatever any two stores do', async () => {
    const step = fc.integer({ min: 1, max: 5 });
    const property = fc.asyncProperty(fc.array(faults, { maxLength: 2 }), fc.nat(5), step, isRight);
    await fc.assert(property, { numRuns: 15 });
  });

  async function isRight(two: readonly Fault[], first: number, step: number): Promise<void> {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    for (const [number, fault] of two.entries()) {
      misbehave(bed, bed.bed.stores[(first + number * step) % 6]!, fault);
    }
    for (let time = 0; time < 2; time++) {
      expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
    }
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  }
});

describe('a put', () => {
  const faults = fc.constantFrom<Fault>('hangs', 'lags', 'dies');
  it('acknowledged with d shards survives the loss of d − k, whatever stores do', async () => {
    const property = fc.asyncProperty(fc.array(faults, { maxLength: 4 }), fc.nat(7), isKept);
    await fc.assert(property, { numRuns: 15 });
  });

  async function isKept(some: readonly Fault[], first: number): Promise<void> {
    await using bed = await openStripesBed({ storeCount: 8, width: 6 });
    for (const [number, fault] of some.entries()) {
      misbehave(bed, bed.bed.stores[(first + number) % 8]!, fault);
    }
    using prepared = await prepare(bed, content);
    const report = await bed.stripes
      .spread(prepared, { generation: GENERATION })
      .catch((error: unknown) => errorCode(error));
    if (typeof report !== 'object') {
      expect(report).toBe('HF_TOO_FEW_STORES');
      expect(some.length).toBeGreaterThan(2);
      return;
    }
    expect(report.isDegraded).toBe(report.durableCount < 6);
    bed.bed.wraps.clear();
    const health = await bed.stripes.inspect(prepared.stripe, prepared.schemeNumber);
    const holders = [...new Set(health.places.flatMap(({ foundAt }) => foundAt))];
    expect(holders.length).toBeGreaterThanOrEqual(report.durableCount);
    for (const id of holders.slice(0, report.durableCount - rs42.k)) {
      bed.bed.away.add(bed.bed.stores.find((each) => each.id === id)!);
    }
    expect(Buffer.compare(await readAll(bed, prepared), content)).toBe(0);
  }
});

describe('a rebuild', () => {
  it.each(['hangs', 'lags', 'dies', 'lies'] as const)(
    'brings all back though a source %s',
    async (fault) => {
      await using bed = await openStripesBed({ storeCount: 7 });
      const ref = await store(bed, content);
      homeOf(bed, ref, 5).lose(chunkOf(ref, 5));
      misbehave(bed, homeOf(bed, ref, 0), fault);
      const { health } = await bed.stripes.rebuild({ ...ref, generation: GENERATION });
      expect(health.places[5]!.foundAt).toEqual([homeOf(bed, ref, 5).id]);
      bed.bed.wraps.clear();
      expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
      expect(await freeSlots(bed)).toBe(bed.slotCount);
    },
  );

  it('goes on elsewhere when a target hangs', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const ref = await store(bed, content);
    const home = homeOf(bed, ref, 5);
    home.lose(chunkOf(ref, 5));
    misbehave(bed, home, 'hangs');
    const { health } = await bed.stripes.rebuild({ ...ref, generation: GENERATION });
    expect(health.places[5]!.foundAt).toHaveLength(1);
    expect(health.isWhole).toBe(true);
  });

  it('moves a shard by reading that one alone', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const ref = await store(bed, content);
    const old = homeOf(bed, ref, 1);
    await bed.cluster.setDevices([bed.bed.deviceOf(old, 'draining')]);
    let readBytes = 0;
    for (const each of bed.bed.stores) {
      const inner = each;
      change(bed, inner, {
        get: async (...get) => {
          const chunk = await inner.get(...get);
          readBytes += chunk?.length ?? 0;
          return chunk;
        },
      });
    }
    const { writtenBytes } = await bed.stripes.rebuild({ ...ref, generation: GENERATION });
    expect(writtenBytes).toBeGreaterThan(70_000);
    expect(readBytes).toBeLessThan(2 * writtenBytes);
    expect(await old.stat(chunkOf(ref, 1))).toBeUndefined();
  });

  it('keeps a copy while the place of the shard only says that it has it', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const ref = await store(bed, content);
    const old = homeOf(bed, ref, 1);
    await bed.cluster.setDevices([bed.bed.deviceOf(old, 'draining')]);
    await bed.stripes.rebuild({ ...ref, generation: GENERATION });
    const fresh = homeOf(bed, ref, 1);
    const id = chunkOf(ref, 1);
    await old.put(id, (await fresh.get(id))!, { generation: GENERATION });
    misbehave(bed, fresh, 'lies');
    await bed.stripes.rebuild({ ...ref, generation: GENERATION });
    expect(await old.stat(id)).toBeDefined();
    bed.bed.wraps.clear();
    await bed.stripes.rebuild({ ...ref, generation: GENERATION });
    expect(await old.stat(id)).toBeUndefined();
  });
});
