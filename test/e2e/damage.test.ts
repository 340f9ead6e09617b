/**
 * Aim: a changed byte of a store is never given out, is found, and is made good (item 3; rows F6,
 * G6, traps 33 and 39). Method: the drill with sampled places, on real processes and folders.
 */
import { it } from 'vitest';
import { flipBytes } from './drill-damage.ts';
import { Bed } from './harness.ts';

it('finds flipped bytes, gives none of them out, and repairs', async () => {
  await using bed = await Bed.open();
  const size = { largeBytes: 48 * 2 ** 20, smallCount: 40, byCommand: 1 };
  await flipBytes(bed, { seed: 31, ...size, flipCount: 60, flipsPerStore: 10 });
});
