/**
 * Aim: whatever a power cut leaves of the unflushed writes, the store mounts and keeps its
 * promises: acknowledged puts are there, acknowledged removes are not undone, anything else
 * happened or did not, no two chunks share blocks, no block leaks, no damage is reported where
 * there was none, and the store goes on and mounts once more.
 * Method: test/crash, which records random loads on simulated devices with tiny journals and
 * enumerates what may be on the media at each flush and each acknowledgement (all subsets of up to
 * four unflushed writes, samples of more, torn ones; power cuts during the mount of such media,
 * also of damaged ones). `npm run crash` does the same for as long as one likes. That the harness
 * can fail is shown by crash-faults.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { enumerate, type Violation } from '../../test/crash/enumerate.ts';
import { PROFILES, profileOf } from '../../test/crash/profiles.ts';

/** One seed of each kind of load. */
const SEEDS: readonly number[] = PROFILES.map((_, index) => index + 1);

describe('extent store, power cuts', () => {
  let states = 0;

  for (const seed of SEEDS) {
    it(`keeps its promises in every crash state: ${profileOf(seed).name}`, async () => {
      const found: Violation[] = [];
      const outcome = await enumerate({
        seed,
        oneMomentIn: 4,
        onState: (violations) => {
          found.push(...violations);
          return found.length > 10;
        },
      });
      expect(found).toEqual([]);
      states += outcome.states;
    });
  }

  it('has looked at thousands of states', () => {
    expect(states).toBeGreaterThan(3000);
  });
});
