/**
 * Aim: as many shards as can be have a device of their own. Method: cases by hand, and random ones
 * beside every assignment there is.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DeviceId } from '../base/index.ts';
import { countApart, matchShards } from './index.ts';

const ids = (names: string): DeviceId[] => names.split('') as DeviceId[];

/** The most shards from `shard` on that can have devices which are not taken. */
function most(holders: readonly DeviceId[][], taken: readonly DeviceId[] = []): number {
  const [first, ...others] = holders;
  if (!first) return 0;
  const free = first.filter((device) => !taken.includes(device));
  const counts = free.map((device) => 1 + most(others, [...taken, device]));
  return Math.max(most(others, taken), ...counts);
}

describe('shards that are apart', () => {
  it('do not share a device, whatever else stands twice', () => {
    expect(countApart([ids('a'), ids('b'), ids('c')])).toBe(3);
    expect(countApart([ids('a'), ids('a'), ids('bc')])).toBe(2);
    // The first one has to go elsewhere for the others.
    expect(matchShards([ids('ab'), ids('ac'), ids('a')])).toEqual(ids('bca'));
    expect(matchShards([ids('a'), ids('a')])).toEqual(['a', undefined]);
    expect(matchShards([[], ids('a')])).toEqual([undefined, 'a']);
  });

  it('are as many as can be', () => {
    const device = fc.constantFrom(...ids('abcdef'));
    const shards = fc.array(fc.uniqueArray(device, { maxLength: 4 }), { maxLength: 6 });
    fc.assert(
      fc.property(shards, (holders) => {
        const matched = matchShards(holders);
        const used = matched.filter((each) => each !== undefined);
        expect(new Set(used).size).toBe(used.length);
        for (const [index, each] of matched.entries()) {
          if (each !== undefined) expect(holders[index]).toContain(each);
        }
        expect(used.length).toBe(most(holders));
      }),
      { numRuns: 500 },
    );
  });

  it('are found at once among the shards of the widest scheme', () => {
    const all = Array.from({ length: 255 }, (_, i) => `device ${i}` as DeviceId);
    // Each but the last one could stand where the one before stands: one long path.
    const holders = all.map((own, i) => (i < 254 ? [own, all[i + 1]!] : [all[0]!]));
    expect(countApart(holders)).toBe(255);
  });
});
