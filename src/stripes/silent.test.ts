/**
 * Aim: a store whose node is silent costs a put and a get nothing while others will do, and is used
 * again as soon as it answers; where others will not do it is waited for, but not for ever. A put
 * that it carries out long after it was handed off does no harm. Method: memory stores that fail as
 * those of silent nodes do; time is virtual.
 */
import { describe, expect, it } from 'vitest';
import { HoldfastError, LIMITS } from '../base/index.ts';
import type { MemoryChunkStore } from '../store/index.ts';
import {
  bytesOf,
  change,
  chunkOf,
  codeOf,
  homeOf,
  openStripesBed,
  prepare,
  readAll,
  rebuild,
  refOf,
  store,
  type StripesBed,
} from '../../test/suites/store-bed.ts';

const content = bytesOf(300_000);
const { remoteCallMs } = LIMITS;

/** As the stores of a silent node: each call fails at once, until it speaks again. */
function silence(bed: StripesBed, inner: MemoryChunkStore) {
  const late: (() => Promise<void>)[] = [];
  let isSilent = true;
  const unlessSilent = (): void => {
    if (!isSilent) return;
    const details = { isSilent: true };
    throw new HoldfastError('HF_UNAVAILABLE', 'no sign of life', { details });
  };
  change(bed, inner, {
    async put(id, chunk, options) {
      const bytes = chunk.slice();
      if (isSilent) late.push(async () => await inner.put(id, bytes, { ...options }));
      unlessSilent();
      await inner.put(id, chunk, options);
    },
    async get(id, options) {
      unlessSilent();
      return await inner.get(id, options);
    },
    async stat(id) {
      unlessSilent();
      return await inner.stat(id);
    },
  });
  return {
    speak: () => void (isSilent = false),
    /** What had reached it before it fell silent. */
    carryOut: async () => {
      for (const put of late) await put();
    },
  };
}

function nowMs({ bed }: StripesBed): number {
  return bed.env.clock.monotonic();
}

describe('a store whose node is silent', () => {
  it('hands its shard to a spare at once, and is used again at once', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    using prepared = await prepare(bed, content);
    const home = homeOf(bed, prepared, 0);
    const { speak } = silence(bed, home);
    const report = await bed.stripes.spread(prepared, { generation: 1 });
    expect(report).toEqual({ durableCount: 6, isDegraded: false });
    expect(nowMs(bed)).toBe(0);
    speak();
    await bed.stripes.spread(prepared, { generation: 2 });
    expect(await home.stat(chunkOf(prepared, 0))).toBeDefined();
  });

  it('is not waited for when no spare is left, but enough are durable', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    silence(bed, bed.bed.stores[0]!);
    using prepared = await prepare(bed, content);
    const report = await bed.stripes.spread(prepared, { generation: 1 });
    expect(report).toEqual({ durableCount: 5, isDegraded: true });
    expect(nowMs(bed)).toBe(0);
  });

  it('is waited for when the others are too few', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const silent = bed.bed.stores.slice(0, 3).map((each) => silence(bed, each));
    using prepared = await prepare(bed, content);
    const spread = bed.stripes.spread(prepared, { generation: 1 });
    await bed.bed.env.clock.sleep(remoteCallMs / 2);
    for (const { speak } of silent) speak();
    expect(await spread).toEqual({ durableCount: 6, isDegraded: false });
  });

  it('is not waited for for ever', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    for (const each of bed.bed.stores) silence(bed, each);
    using prepared = await prepare(bed, content);
    const spread = bed.stripes.spread(prepared, { generation: 1 });
    expect(await codeOf(spread)).toBe('HF_TOO_FEW_STORES');
    expect(nowMs(bed)).toBeLessThanOrEqual(remoteCallMs + 1000);
    const stop = new AbortController();
    const { signal } = stop;
    const stopped = codeOf(bed.stripes.spread(prepared, { generation: 1, signal }));
    stop.abort();
    expect(await stopped).toBe('HF_INTERRUPTED');
  });

  it('costs a get nothing while others will do', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    for (const index of [0, 1]) silence(bed, homeOf(bed, ref, index));
    expect(await readAll(bed, ref)).toEqual(content);
    expect(nowMs(bed)).toBeLessThan(100);
  });

  it('is waited for by a get that cannot do without, but not for ever', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    const silent = [0, 1, 2].map((index) => silence(bed, homeOf(bed, ref, index)));
    const read = readAll(bed, ref);
    await bed.bed.env.clock.sleep(remoteCallMs / 2);
    silent[1]!.speak();
    expect(await read).toEqual(content);
    silence(bed, homeOf(bed, ref, 1));
    const startMs = nowMs(bed);
    expect(await codeOf(readAll(bed, ref))).toBe('HF_TOO_FEW_SHARDS');
    expect(nowMs(bed) - startMs).toBeLessThanOrEqual(remoteCallMs + 1000);
  });

  it('may carry out late what was handed off: one copy stays, where it belongs', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    using prepared = await prepare(bed, content);
    const ref = refOf(prepared);
    const { speak, carryOut } = silence(bed, homeOf(bed, ref, 0));
    await bed.stripes.spread(prepared, { generation: 1 });
    expect(await bed.bed.chunkCount()).toBe(6);
    speak();
    await carryOut();
    expect(await bed.bed.chunkCount()).toBe(7);
    expect(await readAll(bed, ref)).toEqual(content);
    expect((await rebuild(bed, ref)).writtenBytes).toBe(0);
    const { places } = await bed.stripes.inspect(ref.stripe, ref.schemeNumber);
    for (const { wantedAt, foundAt } of places) expect(foundAt).toEqual([wantedAt]);
    expect(await bed.bed.chunkCount()).toBe(6);
    expect(await readAll(bed, ref)).toEqual(content);
  });

  it('may carry it out when the stripe was deleted and put again', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    using prepared = await prepare(bed, content);
    const ref = refOf(prepared);
    const { stripe, schemeNumber } = ref;
    const home = homeOf(bed, ref, 0);
    const { speak, carryOut } = silence(bed, home);
    await bed.stripes.spread(prepared, { generation: 1 });
    speak();
    await bed.stripes.remove({ stripe, schemeNumber, generation: 1 });
    await bed.stripes.spread(prepared, { generation: 2 });
    await carryOut();
    expect((await home.stat(chunkOf(ref, 0)))?.generation).toBe(2);
    // A delete of what was before still hits nothing.
    await bed.stripes.remove({ stripe, schemeNumber, generation: 1 });
    expect(await readAll(bed, ref)).toEqual(content);
    expect(await bed.bed.chunkCount()).toBe(6);
  });
});
