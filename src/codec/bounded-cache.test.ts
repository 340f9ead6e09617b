/** Aim: a value is made once, until the bound forgets it. Method: count what is made. */
import { expect, it } from 'vitest';
import { BoundedCache } from './bounded-cache.ts';

it('forgets the value used longest ago', () => {
  const cache = new BoundedCache<string, string>(2);
  const made: string[] = [];
  const values = 'abacabb'.split('').map((key) =>
    cache.getOrMake(key, () => {
      made.push(key);
      return key.toUpperCase();
    }),
  );
  expect(values.join('')).toBe('ABACABB');
  // c displaced b, since a had been used again; then b displaced c.
  expect(made.join('')).toBe('abcb');
});

it('remembers what is undefined', () => {
  const cache = new BoundedCache<number, undefined>(1);
  let count = 0;
  for (let turn = 0; turn < 3; turn++) cache.getOrMake(1, () => void (count += 1));
  expect(count).toBe(1);
});
