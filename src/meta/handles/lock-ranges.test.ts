// Aim: what an owner has locked after any series of fcntl calls is what a table of bytes says.
// Method: the arithmetic against an array with one entry for each byte; and the cases by hand that
// the manual pages name.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LockedRange, replaceRange } from './lock-ranges.ts';

const SIZE = 24;
type Byte = 'free' | 'shared' | 'exclusive';

function bytesOf(ranges: readonly LockedRange[]): Byte[] {
  const bytes = Array.from({ length: SIZE }, (): Byte => 'free');
  for (const { start, end, isExclusive } of ranges) {
    for (let at = Number(start); at < Number(end); at++) {
      expect(bytes[at]).toBe('free'); // disjoint
      bytes[at] = isExclusive ? 'exclusive' : 'shared';
    }
  }
  return bytes;
}

const range = fc
  .uniqueArray(fc.integer({ min: 0, max: SIZE }), { minLength: 2, maxLength: 2 })
  .map((ends) => ends.sort((a, b) => a - b) as [number, number]);
const call = fc.record({ range, wanted: fc.constantFrom<Byte>('free', 'shared', 'exclusive') });

function locked(start: number, end: number, isExclusive: boolean): LockedRange {
  return { start: BigInt(start), end: BigInt(end), isExclusive, processId: 1 };
}

describe('replaceRange', () => {
  it('agrees with a table of bytes', () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 30 }), (calls) => {
        let own: LockedRange[] = [];
        const bytes = bytesOf([]);
        for (const { range: of, wanted } of calls) {
          const [start, end] = of;
          const given =
            wanted === 'free' ? undefined : { isExclusive: wanted === 'exclusive', processId: 1 };
          own = replaceRange(own, { start: BigInt(start), end: BigInt(end) }, given);
          bytes.fill(wanted, start, end);
          expect(bytesOf(own)).toEqual(bytes);
          for (const [index, next] of own.slice(1).entries()) {
            const before = own[index] as LockedRange;
            expect(before.end <= next.start).toBe(true);
            const touch = before.end === next.start;
            expect(touch && before.isExclusive === next.isExclusive).toBe(false);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('splits, upgrades a middle and melts together', () => {
    const whole = [locked(0, 10, false)];
    const hole = replaceRange(whole, { start: 3n, end: 5n }, undefined);
    expect(hole).toEqual([locked(0, 3, false), locked(5, 10, false)]);
    const upgrade = { isExclusive: true, processId: 1 };
    expect(replaceRange(whole, { start: 3n, end: 5n }, upgrade)).toEqual([
      locked(0, 3, false),
      locked(3, 5, true),
      locked(5, 10, false),
    ]);
    const again = { isExclusive: false, processId: 1 };
    expect(replaceRange(hole, { start: 3n, end: 5n }, again)).toEqual(whole);
  });
});
