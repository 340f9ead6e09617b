/**
 * Aim: each store is scrubbed at all times, one pass after the other, whatever becomes of the
 * others. Method: stores that are only a scrub, and a clock whose minutes the test makes.
 */
import { expect, it } from 'vitest';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { HoldfastError } from '../../base/index.ts';
import type { ChunkStore, ScrubOptions } from '../../store/index.ts';
import { scrubInBackground } from './background-scrub.ts';

const DAY_MINUTES = 24 * 60;

/** Lets so many minutes pass. @returns the minutes at which each store's passes began. */
async function run(minutes: number, scrubs: readonly ((options: ScrubOptions) => Promise<void>)[]) {
  const env = virtualEnv(1);
  let minute = 0;
  async function* every(): AsyncGenerator<void> {
    for (; minute < minutes; minute++) yield;
  }
  const begun = scrubs.map((): number[] => []);
  const stores = scrubs.map((scrub, number) => ({
    id: `store ${number}`,
    scrub: async (options: ScrubOptions) => {
      begun[number]!.push(minute);
      await scrub(options);
    },
  }));
  const clock = { ...env.clock, every, monotonic: () => minute * 60_000 };
  const alive = (): ChunkStore[] => stores as unknown as ChunkStore[];
  const end = new AbortController();
  await scrubInBackground({ env: { ...env, clock }, stores: { alive } }, end.signal);
  return begun;
}

it('scrubs each store every two weeks, slowly; an hour after a failure again', async () => {
  const paces: ScrubOptions[] = [];
  const begun = await run(15 * DAY_MINUTES, [
    async (options) => void paces.push(options),
    async () => {
      throw new HoldfastError('HF_IO');
    },
  ]);
  expect(begun[0]).toEqual([0, 14 * DAY_MINUTES]);
  // A failure may be seen a round later.
  expect(begun[1]![1]).toBeGreaterThanOrEqual(60);
  expect(begun[1]![1]).toBeLessThanOrEqual(61);
  expect(begun[1]!.length).toBeGreaterThan(300);
  expect(paces[0]).toMatchObject({ passMs: 14 * DAY_MINUTES * 60_000, busyShareMax: 0.05 });
});

it('begins no second pass while one is under way, and waits for it at the end', async () => {
  let isDone = false;
  const begun = await run(30, [
    async () => {
      for (let turn = 0; turn < 100; turn++) await Promise.resolve();
      isDone = true;
    },
  ]);
  expect(begun).toEqual([[0]]);
  expect(isDone).toBe(true);
});

it('begins anew with a store that was closed and is back', async () => {
  let tries = 0;
  const begun = await run(5, [
    async () => {
      if (tries++ === 0) throw new HoldfastError('HF_INTERRUPTED');
    },
  ]);
  expect(begun).toEqual([[0, 1]]);
});
