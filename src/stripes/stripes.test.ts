/**
 * Aim: content comes back whatever up to n − k stores do, never altered, and a put is acknowledged
 * exactly as ruling 9 says. Method: real codec and crypto over memory stores that lose, refuse and
 * damage; sizes around every border; all pairs of lost stores.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type DeviceId, errorCode, KiB, LIMITS, parseScheme } from '../base/index.ts';
import type { ChunkStore } from '../store/index.ts';
import {
  bytesOf,
  chunkOf,
  codeOf,
  freeSlots,
  homeOf,
  lyingStore,
  openStripesBed,
  prepare,
  readAll,
  rs42,
  store,
} from '../../test/suites/store-bed.ts';

const SECRET = new Uint8Array(32).fill(5);
const GENERATION = 1;

describe('round trips', () => {
  const borders = [1, 4095, 4096, 65_535, 65_536, 65_537, 4 * 65_552, 4 * 64 * KiB, 1_000_003];

  it.each(['rs-4+2', 'rs-10+4', 'ida-3of5', 'copy-3'])('%s at every border', async (text) => {
    const scheme = parseScheme(text);
    await using bed = await openStripesBed({ storeCount: 15, width: 14 });
    for (const size of borders) {
      const content = bytesOf(size, size);
      const ref = await store(bed, content, { scheme, secret: SECRET });
      expect(Buffer.compare(await readAll(bed, ref), content), `${size} bytes`).toBe(0);
    }
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });

  it.each(['rs-4+2', 'ida-3of5', 'copy-3', 'rs-2+253', 'ida-2of254'])(
    'a full stripe of %s fits its slot',
    async (text) => {
      const scheme = parseScheme(text);
      await using bed = await openStripesBed({ storeCount: 6, width: 6 });
      const content = bytesOf(bed.stripes.contentBytesFor(scheme));
      using prepared = await prepare(bed, content, { scheme });
      expect(prepared.chunks).toHaveLength(scheme.n);
      if (scheme.n > 6) return;
      const ref = await store(bed, content, { scheme });
      expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
    },
  );

  it('short content becomes copies of the same tolerance, in a slot or not', async () => {
    await using bed = await openStripesBed();
    const content = bytesOf(LIMITS.copyContentBytesMax - 1);
    const short = bed.stripes.prepareShort(content, { scheme: rs42, secret: SECRET });
    using long = await prepare(bed, content, { secret: SECRET });
    expect(short.scheme).toEqual(parseScheme('copy-3'));
    expect(long.stripe).toEqual(short.stripe);
    expect(long.chunks).toEqual(short.chunks);
  });

  it('worker threads make the same stripes', async () => {
    await using bed = await openStripesBed();
    await using pooled = await openStripesBed({ threadCount: 2 });
    for (const scheme of [rs42, parseScheme('ida-3of5')]) {
      const content = bytesOf(700_001);
      const ref = await store(bed, content, { scheme, secret: SECRET });
      const others = [0, 1, 2].map(() => store(pooled, content, { scheme, secret: SECRET }));
      for (const other of await Promise.all(others)) expect(other).toEqual(ref);
      pooled.bed.away.add(homeOf(pooled, ref, 0)).add(homeOf(pooled, ref, 3));
      expect(Buffer.compare(await readAll(pooled, ref), content)).toBe(0);
      pooled.bed.away.clear();
      homeOf(pooled, ref, 1).lose(chunkOf(ref, 1));
      const report = await pooled.stripes.rebuild({ ...ref, generation: GENERATION });
      expect(report.health.spareCount).toBe(scheme.n - scheme.k);
    }
    expect(await freeSlots(pooled)).toBe(pooled.slotCount);
  });
});

describe('names', () => {
  it('follow from content and secret, and from chance without one', async () => {
    await using bed = await openStripesBed();
    const content = bytesOf(100_000);
    const other = new Uint8Array(32).fill(6);
    const name = async (secret?: Uint8Array, of = content) => {
      using prepared = await prepare(bed, of, secret && { secret });
      return Buffer.from(prepared.stripe).toString('hex');
    };
    expect(await name(SECRET)).toBe(await name(SECRET));
    expect(await name(other)).not.toBe(await name(SECRET));
    expect(await name(SECRET, bytesOf(100_000, 2))).not.toBe(await name(SECRET));
    expect(await name()).not.toBe(await name());
  });

  it('what is left in a slot by other content does not matter', async () => {
    await using bed = await openStripesBed();
    const content = bytesOf(70_000);
    const first = await store(bed, content, { secret: SECRET });
    for (let i = 0; i < bed.slotCount; i++) await store(bed, new Uint8Array(900_000).fill(0xff));
    expect((await store(bed, content, { secret: SECRET })).stripe).toEqual(first.stripe);
  });

  it('nothing readable reaches a store', async () => {
    await using bed = await openStripesBed({ storeCount: 5, width: 5 });
    const text = Buffer.from('the quick brown fox jumps over the lazy dog. '.repeat(3000));
    for (const scheme of ['rs-3+2', 'ida-3of5', 'copy-3'].map(parseScheme)) {
      await store(bed, text, { scheme, secret: SECRET });
      await store(bed, text.subarray(0, 5000), { scheme });
    }
    for (const each of bed.bed.stores) {
      for await (const { id } of each.list()) {
        const chunk = Buffer.from((await each.get(id))!);
        expect(chunk.includes('quick')).toBe(false);
      }
    }
  });
});

describe('losses', () => {
  const content = bytesOf(300_000);

  it('of any two stores of 4+2 cost nothing, of three the content', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const { away, stores } = bed.bed;
    const ref = await store(bed, content);
    const short = await store(bed, content.subarray(0, 1000));
    for (const first of stores) {
      for (const second of stores) {
        away.add(first).add(second);
        expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
        expect(await readAll(bed, short)).toEqual(content.subarray(0, 1000));
        away.clear();
      }
    }
    for (const each of stores.slice(0, 3)) away.add(each);
    await expect(readAll(bed, ref)).rejects.toThrow(/rs-4\+2: have 3 good shards, need 4/);
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });

  it('of chunks and of answers are passed over', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    homeOf(bed, ref, 0).flip(chunkOf(ref, 0), 70_000);
    homeOf(bed, ref, 1).fault = () => 'HF_IO';
    expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
    homeOf(bed, ref, 2).lose(chunkOf(ref, 2));
    expect(await codeOf(readAll(bed, ref))).toBe('HF_TOO_FEW_SHARDS');
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });

  it('bytes that a store does not know to be wrong are never returned', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    const short = await store(bed, content.subarray(0, 1000));
    const lie = (each: ChunkStore, damage: (chunk: Uint8Array) => void) =>
      bed.bed.wraps.set(
        each,
        lyingStore(each, (chunk) => (damage(chunk), chunk)),
      );
    for (let first = 0; first < 6; first++) {
      for (let second = 0; second < first; second++) {
        bed.bed.wraps.clear();
        lie(homeOf(bed, ref, first), (chunk) => (chunk[chunk.length - 100]! ^= 4));
        lie(homeOf(bed, ref, second), (chunk) => chunk.fill(0));
        expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
        expect(await readAll(bed, short)).toEqual(content.subarray(0, 1000));
        const range = { offset: 100_000, lengthBytes: 100 };
        expect(await readAll(bed, ref, range)).toEqual(content.subarray(100_000, 100_100));
      }
    }
    lie(homeOf(bed, ref, 3), (chunk) => chunk.reverse());
    lie(homeOf(bed, ref, 2), (chunk) => chunk.reverse());
    expect(await codeOf(readAll(bed, ref))).toBe('HF_TOO_FEW_SHARDS');
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });

  it('a chunk of another length is none', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    const home = homeOf(bed, ref, 0);
    bed.bed.wraps.set(
      home,
      lyingStore(home, (chunk) => chunk.subarray(64)),
    );
    expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
  });

  it('a wrong key is forged, not too few shards', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = { ...(await store(bed, content)), key: new Uint8Array(32) };
    expect(await codeOf(readAll(bed, ref))).toBe('HF_FORGED');
    expect(await codeOf(readAll(bed, ref, { offset: 5, lengthBytes: 5 }))).toBe('HF_FORGED');
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });
});

describe('ranges', () => {
  it('at borders of segments and shards are exact, from shards or from the whole', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const content = bytesOf(5 * 65_536 + 17);
    for (const scheme of ['rs-4+2', 'rs-5+1', 'ida-3of5', 'copy-2'].map(parseScheme)) {
      const ref = await store(bed, content, { scheme });
      const points = [0, 1, 65_535, 65_536, 81_936, 131_072, 5 * 65_536, content.length - 1];
      for (const offset of points) {
        for (const length of [1, 2, 65_536, 65_537, 200_000, Infinity]) {
          const lengthBytes = Math.min(length, content.length - offset);
          const bytes = await readAll(bed, ref, { offset, lengthBytes });
          const wanted = content.subarray(offset, offset + lengthBytes);
          expect(Buffer.compare(bytes, wanted), `${offset}+${lengthBytes}`).toBe(0);
        }
      }
    }
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });

  it('touch at most two shards for 64 KiB', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const content = bytesOf(2_000_000);
    const ref = await store(bed, content);
    for (let offset = 0; offset < 1_900_000; offset += 99_991) {
      const asked = new Set<DeviceId>();
      for (const each of bed.bed.stores) {
        each.fault = (operation) => {
          if (operation === 'get') asked.add(each.id);
          return undefined;
        };
      }
      await readAll(bed, ref, { offset, lengthBytes: 64 * KiB });
      expect(asked.size).toBeLessThanOrEqual(2);
    }
  });
});

describe('spread', () => {
  const content = bytesOf(200_000);

  it('hands off what a store does not take, and readers find it', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    using prepared = await prepare(bed, content);
    const home = homeOf(bed, prepared, 2);
    home.fault = (operation) => (operation === 'put' ? 'HF_IO' : undefined);
    const full = homeOf(bed, prepared, 4);
    full.fault = (operation) => (operation === 'put' ? 'HF_NO_SPACE' : undefined);
    const report = await bed.stripes.spread(prepared, { generation: GENERATION });
    expect(report).toEqual({ durableCount: 6, isDegraded: false });
    const { places, spareCount } = await bed.stripes.inspect(
      prepared.stripe,
      prepared.schemeNumber,
    );
    expect(spareCount).toBe(2);
    const holders = places.flatMap(({ foundAt }) => foundAt);
    expect(new Set(holders).size).toBe(6);
    expect(holders).not.toContain(home.id);
    expect(holders).not.toContain(full.id);
    for (const index of [0, 1]) homeOf(bed, prepared, index).lose(chunkOf(prepared, index));
    expect(Buffer.compare(await readAll(bed, prepared), content)).toBe(0);
  });

  it('goes short only of stores that are not alive, down to k + 1', async () => {
    const outcomeWith = async (
      storeCount: number,
      dead: number,
      fault?: 'HF_NO_SPACE' | 'HF_IO',
    ) => {
      await using bed = await openStripesBed({ storeCount, width: 6 });
      using prepared = await prepare(bed, content);
      for (const each of bed.bed.stores.slice(0, dead)) {
        if (fault) each.fault = () => fault;
        else bed.bed.away.add(each);
      }
      const outcome = await bed.stripes
        .spread(prepared, { generation: GENERATION })
        .then(({ durableCount, isDegraded }) => `${durableCount}${isDegraded ? ' degraded' : ''}`)
        .catch(errorCode);
      prepared[Symbol.dispose]();
      expect(await freeSlots(bed)).toBe(bed.slotCount);
      return outcome;
    };
    expect(await outcomeWith(6, 0)).toBe('6');
    expect(await outcomeWith(7, 1)).toBe('6');
    expect(await outcomeWith(8, 3)).toBe('5 degraded');
    expect(await outcomeWith(6, 1)).toBe('5 degraded');
    expect(await outcomeWith(6, 1, 'HF_IO')).toBe('5 degraded');
    expect(await outcomeWith(6, 2)).toBe('HF_TOO_FEW_STORES');
    expect(await outcomeWith(6, 6)).toBe('HF_TOO_FEW_STORES');
    expect(await outcomeWith(6, 1, 'HF_NO_SPACE')).toBe('HF_NO_SPACE');
    expect(await outcomeWith(7, 1, 'HF_NO_SPACE')).toBe('6');
    expect(await outcomeWith(8, 8, 'HF_NO_SPACE')).toBe('HF_NO_SPACE');
  });

  it('promises what it says: degraded to d, any d − k of them may go', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    bed.bed.away.add(bed.bed.stores[0]!);
    const ref = await store(bed, content);
    for (const lost of bed.bed.stores.slice(1)) {
      bed.bed.away.add(lost);
      expect(Buffer.compare(await readAll(bed, ref), content)).toBe(0);
      bed.bed.away.delete(lost);
    }
  });

  it('when it fails or is given up, no store uses the memory any more', async () => {
    for (const failure of ['HF_CORRUPT', 'HF_INTERRUPTED'] as const) {
      await using bed = await openStripesBed({ storeCount: 6 });
      using prepared = await prepare(bed, content);
      homeOf(bed, prepared, 1).fault = () => failure;
      let underWay = 0;
      for (const each of bed.bed.stores.slice()) {
        const slow = lyingStore(each, (chunk) => chunk);
        slow.put = async (...put) => {
          underWay += 1;
          await nextTurn();
          await each.put(...put).finally(() => (underWay -= 1));
        };
        if (each !== homeOf(bed, prepared, 1)) bed.bed.wraps.set(each, slow);
      }
      const spreading = bed.stripes.spread(prepared, { generation: GENERATION });
      expect(await codeOf(spreading)).toBe(failure);
      expect(underWay).toBe(0);
    }
  });

  it('ends at once when the caller has given up', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    using prepared = await prepare(bed, content);
    const signal = AbortSignal.abort();
    const options = { generation: GENERATION, signal };
    expect(await codeOf(bed.stripes.spread(prepared, options))).toBe('HF_INTERRUPTED');
    expect(await codeOf(bed.stripes.lease(rs42, { signal }))).toBe('HF_INTERRUPTED');
    const ref = await store(bed, content);
    expect(await codeOf(bed.stripes.read(ref, undefined, { signal }))).toBe('HF_INTERRUPTED');
    const wanted = { ...ref, generation: GENERATION };
    homeOf(bed, ref, 0).lose(chunkOf(ref, 0));
    expect(await codeOf(bed.stripes.rebuild(wanted, { signal }))).toBe('HF_INTERRUPTED');
    prepared[Symbol.dispose]();
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });
});
