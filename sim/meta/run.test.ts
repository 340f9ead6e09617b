/**
 * Aim: the simulator of the metadata plane can be trusted, and some seeds pass on every run of the
 * tests. Method: the same seed twice takes the same steps; each planted bug is found within a
 * stated number of seeds; a failing plan is made smaller and still fails; seeds that failed once,
 * and a fixed range, pass.
 */
import { describe, expect, it } from 'vitest';
import { plantSeeds, type PlantName, PLANT_NAMES } from './planting.ts';
import { regressions } from './regressions.ts';
import { findFailure, runSeed } from './run.ts';
import { shrink } from './shrink.ts';

/** About three seconds. */
const SEEDS = { from: 1, count: 150 } as const;

describe('the simulator', () => {
  it('takes the same steps with the same seed, and others with another', async () => {
    const [first, second, other] = [await runSeed(5), await runSeed(5), await runSeed(6)];
    expect(second).toEqual(first);
    expect(other.events).not.toBe(first.events);
  });

  it.each<PlantName>(PLANT_NAMES)('finds the planted bug "%s"', async (plant) => {
    const found = await findFailure(plantSeeds(plant), plant);
    expect(found?.failure).toBeDefined();
  });

  it('makes a failing plan smaller', async () => {
    const plant = 'no-retry-row';
    const found = await findFailure(plantSeeds(plant), plant);
    const small = await shrink(found!, (plan) => runSeed(found!.seed, { plant, plan }));
    expect(small.failure).toBeDefined();
    const callsOf = ({ plan }: typeof small) => plan.clients.flat().length + plan.puts.length;
    expect(callsOf(small)).toBeLessThan(callsOf(found!) / 2);
  });
});

describe('cells under a seed', () => {
  it.each(regressions)('pass seed $seed: $why', async ({ seed }) => {
    expect((await runSeed(seed)).failure).toBeUndefined();
  });

  it('keep every promise', async () => {
    const found = await findFailure(SEEDS);
    expect(found?.failure, `npm run sim:meta -- --seed ${found?.seed}`).toBeUndefined();
  });
});
