// Aim: the checks of this folder's tests notice each thing on which correctness rests. Method: one
// history of everything at once, without a fault many times, and with each planted fault until it
// is noticed.
import { describe, expect, it } from 'vitest';
import { history } from '../../../test/suites/cells-history.ts';
import type { CellFault } from './cell-faults.ts';

type Fault = CellFault | 'no-fence';

/** Those that hardly ever show by chance are planted in tests of their own, beside this one. */
const FAULTS: readonly Fault[] = [
  'no-fence',
  'read-without-barrier',
  'ack-on-unknown',
  'read-through-intent',
  'apply-before-commit',
  'no-read-locks',
  'move-without-freeze',
  'adopt-without-end',
];
const SEEDS_MAX = 60;

async function isNoticed(fault: Fault): Promise<boolean> {
  for (let seed = 0; seed < SEEDS_MAX; seed++) {
    const isSound = await history(seed, fault).then(
      () => true,
      () => false,
    );
    if (!isSound) return true;
  }
  return false;
}

describe('histories of two cells', () => {
  it('are sound', async () => {
    for (let seed = 0; seed < 12; seed++) {
      await history(seed).catch((error: unknown) => {
        throw new Error(`seed ${seed}`, { cause: error });
      });
    }
  });

  it.each(FAULTS)('show the fault %s', async (fault) => {
    expect(await isNoticed(fault)).toBe(true);
  });
});
