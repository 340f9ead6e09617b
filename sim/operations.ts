/** What clients ask for, how often, and by which names. */
import { ABSENT } from './model.ts';
import type { SeededRandom } from './random.ts';
import { Violation } from './violation.ts';

export const KEYS = ['a', 'b', 'a/b', 'd/1', 'd/2', 'd/e/1', 'd/e/f/g', 'x/y', 'x/y/z'] as const;
export const PREFIXES = ['', 'd/', 'd/e', 'a', 'x/y/'] as const;

export const OPERATIONS = {
  put: 6,
  putKeyless: 2,
  putById: 1,
  get: 6,
  getRange: 1,
  getById: 2,
  getByAddress: 1,
  remove: 3,
  removeById: 2,
  list: 1,
} as const;

export type OperationName = keyof typeof OPERATIONS;

export function nameOf(value: number): string {
  return value === ABSENT ? 'nothing' : `#${value}`;
}

export function checkOrder(keys: readonly string[]): void {
  for (const [i, key] of keys.entries()) {
    const next = keys[i + 1];
    if (next === undefined || Buffer.compare(Buffer.from(key), Buffer.from(next)) < 0) continue;
    throw new Violation(`a listing has ${next} after ${key}`);
  }
}

export function pickWeighted<Item>(
  random: SeededRandom,
  weights: readonly (readonly [Item, number])[],
): Item {
  let left = random.fraction() * weights.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [item, weight] of weights) {
    left -= weight;
    if (left < 0) return item;
  }
  return weights.at(-1)![0];
}
