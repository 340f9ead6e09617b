/** Aim: sizes mean what people mean by them. Method: a table, and the way there and back. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatSize, isDecimalSize, parseSize } from './sizes.ts';

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['10b', 10],
    ['10M', 10 * 1024 ** 2],
    ['10m', 10 * 1024 ** 2],
    ['1GiB', 1024 ** 3],
    ['1.5 GiB', 1.5 * 1024 ** 3],
    ['60MB', 60e6],
    ['1kB', 1000],
    ['2T', 2 * 1024 ** 4],
  ])('%s is %i bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', 'M', '-1', '1e3', '1 Q', '1iB', '0x10', '1.', '99999999P'])('%j is none', (text) => {
    expect(() => parseSize(text)).toThrow(/is no size/);
  });

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [20_000_000, '19.1 MiB'],
    [1024 ** 2 - 1, '1 MiB'],
    [1024 ** 3, '1 GiB'],
  ])('%i is written %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  it('are written with the units that were used', () => {
    expect(formatSize(20e6, { isDecimal: isDecimalSize('60MB') })).toBe('20 MB');
    expect(isDecimalSize('60MiB')).toBe(false);
    expect(isDecimalSize('60B')).toBe(false);
  });

  it('come back as they were, but for the digits left out', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 50 }), fc.boolean(), (bytes, isDecimal) => {
        const back = parseSize(formatSize(bytes, { isDecimal }));
        expect(Math.abs(back - bytes)).toBeLessThanOrEqual(bytes * 0.051);
      }),
    );
  });
});
