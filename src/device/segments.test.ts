/**
 * Aim: segment sizes are the documented ones and cover the address space without gap or overlap.
 * Method: the table of the header by hand, then the relations for many numbers.
 */
import { describe, expect, it } from 'vitest';
import { GiB, MiB } from '../base/index.ts';
import { segmentBytes, segmentName, segmentNumber, segmentStart } from './segments.ts';

describe('segments', () => {
  it('have the documented sizes and starts', () => {
    const numbers = Array.from({ length: 9 }, (_, number) => number);
    expect(numbers.map((number) => segmentBytes(number) / MiB)).toEqual([
      16, 16, 32, 64, 128, 256, 512, 1024, 1024,
    ]);
    expect(numbers.map((number) => segmentStart(number) / MiB)).toEqual([
      0, 16, 32, 64, 128, 256, 512, 1024, 2048,
    ]);
  });

  it('follow each other and are 1 GiB each in the end', () => {
    for (let number = 0; number < 50_000; number += 7) {
      expect(segmentStart(number) + segmentBytes(number)).toBe(segmentStart(number + 1));
      if (number > 7) expect(segmentBytes(number)).toBe(GiB);
    }
  });

  it('have names that lead back to their number', () => {
    expect(segmentName(0)).toBe('seg.00000');
    for (const number of [0, 1, 99_999]) expect(segmentNumber(segmentName(number))).toBe(number);
    for (const name of ['seg.1', 'seg.00000.new', 'xseg.00000', 'holdfast.json']) {
      expect(segmentNumber(name)).toBeUndefined();
    }
  });
});
