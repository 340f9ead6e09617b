/**
 * Aim: the index is that of a search from the front. Method: all places in lists of all lengths.
 */
import { expect, it } from 'vitest';
import { firstWhere } from './search.ts';

it('finds the first item behind a place', () => {
  for (let length = 0; length < 20; length++) {
    const items = Array.from({ length }, (_, index) => Math.floor(index / 3));
    for (let place = -1; place <= 7; place++) {
      const index = items.findIndex((item) => item >= place);
      expect(firstWhere(items, (item) => item >= place)).toBe(index === -1 ? length : index);
    }
  }
});
