/** Aim: where a place would lie is known before it is made. Method: the system's own folders. */
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { diskUnder } from './store-place.ts';

it('a place that is not made yet is on the disk of the folder above it', async () => {
  const there = await diskUnder(os.tmpdir());
  expect(await diskUnder(path.join(os.tmpdir(), 'not', 'made', 'yet'))).toBe(there);
});
