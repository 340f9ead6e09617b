/**
 * Aim: texts, schemes and scheme numbers name each other without doubt.
 * Method: all pairs 1 ≤ k ≤ n ≤ 255 of both kinds; bad texts by hand.
 */
import { describe, expect, it } from 'vitest';
import { errorCode } from './errors.ts';
import {
  formatScheme,
  METADATA_SCHEME_NUMBER,
  parseScheme,
  type Scheme,
  SHARDS_MAX,
  schemeNumber,
  schemeOfNumber,
  toleranceOf,
} from './scheme.ts';

const NEAR_MAX = 127;

/** Every scheme there is; Reed–Solomon with k = 1 is called copy. */
function* allSchemes(): Iterable<Scheme> {
  for (let n = 1; n <= SHARDS_MAX; n++) {
    for (let k = 1; k <= n; k++) {
      yield { kind: k === 1 ? 'copy' : 'rs', k, n };
      yield { kind: 'ida', k, n };
    }
  }
  for (let n = 2; n <= NEAR_MAX; n++) yield { kind: 'copy', k: 1, n, isNear: true };
}

describe('numbers', () => {
  it('are one to one with schemes, 16 bits, and never that of metadata', () => {
    const seen = new Set<number>();
    for (const scheme of allSchemes()) {
      const number = schemeNumber(scheme);
      seen.add(number);
      const back = schemeOfNumber(number);
      if (formatScheme(back) !== formatScheme(scheme) || back.k !== scheme.k) {
        expect(back).toEqual(scheme);
      }
    }
    expect(seen.size).toBe(SHARDS_MAX * (SHARDS_MAX + 1) + NEAR_MAX - 1);
    expect(Math.min(...seen)).toBe(0);
    expect(Math.max(...seen)).toBeLessThan(METADATA_SCHEME_NUMBER);
  });

  it('are frozen: they are part of chunk ids', () => {
    expect(schemeNumber(parseScheme('copy-3'))).toBe(3);
    expect(schemeNumber(parseScheme('rs-4+2'))).toBe(18);
    expect(schemeNumber(parseScheme('rs-10+4'))).toBe(100);
    expect(schemeNumber(parseScheme('ida-3of5'))).toBe(0x8000 + 12);
    expect(schemeNumber(parseScheme('near-4'))).toBe(0x7f84);
  });

  it('that name no scheme are HF_CORRUPT', () => {
    const known = new Set([...allSchemes()].map(schemeNumber));
    for (let number = 0; number <= 0xffff; number++) {
      if (known.has(number)) continue;
      let code: string | undefined;
      try {
        schemeOfNumber(number);
      } catch (error) {
        code = errorCode(error);
      }
      if (code !== 'HF_CORRUPT') expect.fail(`${number} was taken for a scheme`);
    }
  });
});

describe('texts', () => {
  it.each([
    ['rs-4+2', { kind: 'rs', k: 4, n: 6 }],
    ['rs-10+4', { kind: 'rs', k: 10, n: 14 }],
    ['ida-3of5', { kind: 'ida', k: 3, n: 5 }],
    ['copy-3', { kind: 'copy', k: 1, n: 3 }],
    ['copy-1', { kind: 'copy', k: 1, n: 1 }],
    ['near-4', { kind: 'copy', k: 1, n: 4, isNear: true }],
    ['near-127', { kind: 'copy', k: 1, n: 127, isNear: true }],
    ['rs-200+55', { kind: 'rs', k: 200, n: 255 }],
  ])('%s is read and written', (text, scheme) => {
    expect(parseScheme(text)).toEqual(scheme);
    expect(formatScheme(parseScheme(text))).toBe(text);
  });

  it('rs with one data shard is copies', () => {
    expect(formatScheme(parseScheme('rs-1+2'))).toBe('copy-3');
  });

  it('cas is three remote copies and one local', () => {
    expect(formatScheme(parseScheme('cas'))).toBe('near-4');
  });

  const misspelt = ['', 'rs', 'rs-4', 'rs-4-2', 'RS-4+2', 'rs-4+2 ', 'rs-4+2\n', 'ida-3/5'];
  const outOfRange = [
    'rs-0+2',
    'rs-4+0',
    'rs-200+56',
    'rs-9999+1',
    'copy-0',
    'copy-256',
    'near-1',
    'near-128',
  ];
  const badPairs = ['ida-0of3', 'ida-4of3', 'ida-3of3', 'ida-3of256'];

  it.each([...misspelt, ...outOfRange, ...badPairs])('%j is refused with one line', (text) => {
    expect(() => parseScheme(text)).toThrow(expect.objectContaining({ code: 'HF_BAD_SCHEME' }));
  });
});

it('tolerates n − k lost shards', () => {
  expect(toleranceOf(parseScheme('rs-10+4'))).toBe(4);
  expect(toleranceOf(parseScheme('copy-3'))).toBe(2);
});
