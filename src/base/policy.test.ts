/**
 * Aim: policies, their texts and the numbers of their schemes name each other without doubt, and
 * the cheapest encoding is read first. Method: generated lists of schemes; bad texts by hand.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatPolicy,
  isSamePolicy,
  neededWidthOf,
  parsePolicy,
  type Policy,
  policyNumbers,
  policyOfNumbers,
  readingOrder,
  widthOf,
} from './policy.ts';
import { formatScheme, parseScheme } from './scheme.ts';

const size = fc.integer({ min: 2, max: 100 });
const scheme = fc.oneof(
  fc.tuple(size, size).map(([k, m]) => `rs-${k}+${m}`),
  fc.tuple(size, size).map(([k, m]) => `ida-${k}of${k + m}`),
  size.map((n) => `copy-${n}`),
  size.map((n) => `near-${n}`),
);
const policies = fc
  .uniqueArray(scheme, { minLength: 1, maxLength: 4 })
  .map((texts) => texts.map(parseScheme) as unknown as Policy);

describe('policies', () => {
  it('come back from their text and from their numbers', () => {
    fc.assert(
      fc.property(policies, (policy) => {
        expect(parsePolicy(formatPolicy(policy))).toEqual(policy);
        expect(policyOfNumbers(policyNumbers(policy))).toEqual(policy);
        expect(formatPolicy(policy)).toBe(policy.map(formatScheme).join(','));
        expect(isSamePolicy(policy, parsePolicy(formatPolicy(policy)))).toBe(true);
        expect(isSamePolicy(policy, policy.toReversed() as never)).toBe(policy.length === 1);
      }),
      { numRuns: 300 },
    );
  });

  it('are read from the cheapest encoding on, each once', () => {
    fc.assert(
      fc.property(policies, (policy) => {
        const order = readingOrder(policy);
        expect(order.toSorted((a, b) => a - b)).toEqual([...policy.keys()]);
      }),
      { numRuns: 100 },
    );
    const named = (text: string) => readingOrder(parsePolicy(text)).join('');
    expect(named('rs-4+2,copy-1')).toBe('10');
    expect(named('ida-2of3,rs-4+2,copy-2,near-3')).toBe('3210');
    expect(named('rs-10+4,rs-4+2')).toBe('10');
  });

  it('need places for pieces at once, for copies in time', () => {
    expect(widthOf(parsePolicy('rs-4+2,near-9'))).toBe(9);
    expect(neededWidthOf(parsePolicy('rs-4+2,near-9'))).toBe(6);
    expect(neededWidthOf(parsePolicy('copy-3'))).toBe(0);
  });

  it('may have blanks after their commas, and cas for near-4', () => {
    expect(formatPolicy(parsePolicy('rs-4+2, cas'))).toBe('rs-4+2,near-4');
  });

  const bad = [
    '',
    ',',
    'rs-4+2,',
    'copy-1,copy-1',
    'cas,near-4',
    'rs-4+2,nothing',
    'rs-4+2;copy-1',
  ];
  const tooMany = 'copy-1,copy-2,copy-3,copy-4,copy-5';

  it.each([...bad, tooMany])('%j is refused with one line', (text) => {
    expect(() => parsePolicy(text)).toThrow(
      expect.objectContaining({ code: 'HF_BAD_SCHEME', message: expect.stringMatching(/^.+$/) }),
    );
  });

  it.each([[[]], [[3, 3]], [[3, 0x7f80]], [[1, 2, 3, 4, 5]]])(
    '%j are no numbers of one',
    (numbers) => {
      expect(() => policyOfNumbers(numbers)).toThrow(
        expect.objectContaining({ code: 'HF_CORRUPT' }),
      );
    },
  );
});
