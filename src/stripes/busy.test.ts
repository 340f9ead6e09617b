/**
 * Aim: a store that has much to do keeps its shards: nothing is handed off because it lets wait, or
 * says that it is busy; only one that does so for a minute, or that hangs, is replaced, and nobody
 * waits for a turn at it in vain. Method: memory stores behind turns, and behind refusals.
 */
import { describe, expect, it } from 'vitest';
import { HoldfastError, LIMITS } from '../base/index.ts';
import { type MemoryChunkStore, PeerTurns } from '../store/index.ts';
import {
  bytesOf,
  change,
  chunkOf,
  homeOf,
  openStripesBed,
  prepare,
  readAll,
  refOf,
  rs42,
  type StripesBed,
} from '../../test/suites/store-bed.ts';
import type { ChunkStore } from '../store/index.ts';

const content = bytesOf(300_000);
const { storeAnswerMs, storeBusyMs } = LIMITS;

/** Refuses puts for so long. */
function busyFor(bed: StripesBed, inner: MemoryChunkStore, ms: number): { count: number } {
  const { clock } = bed.bed.env;
  const untilMs = clock.monotonic() + ms;
  const refused = { count: 0 };
  change(bed, inner, {
    async put(...args) {
      if (clock.monotonic() >= untilMs) return await inner.put(...args);
      refused.count += 1;
      throw new HoldfastError('HF_BUSY', 'too many operations at once');
    },
  });
  return refused;
}

/** @returns whether the first shard stands at its place, and how long that took. */
async function spread(bed: StripesBed, first: (inner: MemoryChunkStore) => void) {
  using prepared = await prepare(bed, content);
  const home = homeOf(bed, prepared, 0);
  first(home);
  const startMs = bed.bed.env.clock.monotonic();
  const report = await bed.stripes.spread(prepared, { generation: 1 });
  expect(report).toEqual({ durableCount: 6, isDegraded: false });
  const ms = bed.bed.env.clock.monotonic() - startMs;
  const isInPlace = (await home.stat(chunkOf(prepared, 0))) !== undefined;
  return { ref: refOf(prepared), isInPlace, ms };
}

describe('a store that is busy', () => {
  it('keeps its shard', async () => {
    await using bed = await openStripesBed();
    const { isInPlace, ms } = await spread(bed, (inner) => busyFor(bed, inner, storeBusyMs / 2));
    expect(isInPlace).toBe(true);
    expect(ms).toBeLessThan(storeBusyMs / 2 + 2000);
  });

  it('for a minute is replaced, and left alone for a while', async () => {
    await using bed = await openStripesBed();
    let refused = { count: 0 };
    const { isInPlace, ms, ref } = await spread(bed, (inner) => {
      refused = busyFor(bed, inner, Infinity);
    });
    expect(isInPlace).toBe(false);
    expect(ms).toBeLessThanOrEqual(storeBusyMs + 1000);
    const { count } = refused;
    using again = await prepare(bed, content);
    await bed.stripes.spread(again, { generation: 1 });
    expect(refused.count).toBe(count);
    expect(await readAll(bed, ref)).toEqual(content);
  });
});

describe('turns', () => {
  it('are waited for longer than an answer', async () => {
    await using bed = await openStripesBed();
    const { isInPlace, ms } = await spread(bed, (inner) => {
      const turn = async () => {
        await bed.bed.env.clock.sleep(2 * storeAnswerMs);
        return { [Symbol.dispose]: () => {} };
      };
      change(bed, inner, { turn });
    });
    expect(isInPlace).toBe(true);
    expect(ms).toBeGreaterThanOrEqual(2 * storeAnswerMs);
  });

  it('at a store that hangs end with the first that was late', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const hung = bed.bed.stores[0]!;
    const turns = new PeerTurns();
    const hang = async (): Promise<never> => await new Promise(() => {});
    const turn: ChunkStore['turn'] = async (options) => await turns.take(hung.id, options?.signal);
    change(bed, hung, { put: hang, turn });
    const { clock } = bed.bed.env;
    const startMs = clock.monotonic();
    const puts = Array.from({ length: 4 * LIMITS.callsPerStoreMax }, async (_, seed) => {
      const { stripes } = bed;
      using prepared = stripes.prepareShort(bytesOf(5000, seed), { scheme: rs42 });
      return await stripes.spread(prepared, { generation: 1 });
    });
    const reports = await Promise.all(puts);
    expect(reports.every(({ isDegraded }) => !isDegraded)).toBe(true);
    expect(clock.monotonic() - startMs).toBeLessThan(storeAnswerMs + 1000);
  });
});
