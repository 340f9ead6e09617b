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
import { enumerate, type Outcome, type Violation } from '../../test/crash/enumerate.ts';
import { type Profile, PROFILES, profileOf } from '../../test/crash/profiles.ts';

/** One seed of each kind of load. */
const SEEDS: readonly number[] = PROFILES.map((_, index) => index + 1);
const VIOLATIONS_MAX = 10;

describe('extent store, power cuts', () => {
  const outcomes = new Map<Profile['name'], Outcome>();

  it.each(SEEDS.map((seed) => ({ seed, load: profileOf(seed).name })))(
    'keeps its promises in every crash state of a $load load, seed $seed',
    async ({ seed, load }) => {
      let foundCount = 0;
      const onState = (found: readonly Violation[]): boolean => {
        foundCount += found.length;
        return foundCount > VIOLATIONS_MAX;
      };
      const outcome = await enumerate({ seed, oneMomentIn: 3, onState });
      expect(outcome.violations).toEqual([]);
      outcomes.set(load, outcome);
    },
  );

  it('has looked at thousands of states', () => {
    const states = [...outcomes.values()].reduce((sum, outcome) => sum + outcome.states, 0);
    expect(states).toBeGreaterThan(4000);
  });

  it('has seen what the loads are for', () => {
    const of = (name: Profile['name']): Outcome['recording'] => outcomes.get(name)!.recording;
    const sizeAt = (name: Profile['name'], at: number): number =>
      of(name).snapshots.at(at)!.point.durable.sizeBytes;
    const formattedBytes = 16 * 2 ** 20;
    expect(sizeAt('growing', -1)).toBeGreaterThan(formattedBytes);
    expect(sizeAt('shrinking', -1)).toBeLessThan(sizeAt('shrinking', 0));
    expect(of('full').counts.refused).toBeGreaterThan(0);
    expect(of('limited').counts.refused).toBeGreaterThan(0);
    expect(of('rotting').counts.markedBad).toBeGreaterThan(0);
    for (const [name, { recording }] of outcomes) {
      const { snapshots } = recording;
      const isSuperblock = snapshots.map(({ point }) =>
        point.pending.some(({ offset }) => offset === 0),
      );
      expect(isSuperblock.filter(Boolean).length, name).toBeGreaterThan(5);
    }
  });
});
