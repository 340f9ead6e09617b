/**
 * Aim: lost stores and a lost data directory lose nothing (items 1 and 2; rows G1, G3, ruling 10).
 * Method: the drills with moderate sizes, on real processes and folders.
 */
import { it } from 'vitest';
import { loseEveryStoreInPairs, recoverFromStores } from './drill-losses.ts';
import { Bed } from './harness.ts';

it('survives the loss of any two stores, again and again', async () => {
  await using bed = await Bed.open();
  const plan = { seed: 11, largeBytes: 60 * 2 ** 20, smallCount: 100, byCommand: 8 };
  await loseEveryStoreInPairs(bed, plan);
});

it('comes back from the stores and the recovery kit alone, even from four of six', async () => {
  await using bed = await Bed.open();
  const plan = { seed: 12, largeBytes: 12 * 2 ** 20 + 1, smallCount: 60, byCommand: 4 };
  await recoverFromStores(bed, plan);
});
