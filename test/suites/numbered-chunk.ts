/** Chunks that two processes agree on: one number is all that is passed between them. */
import { testChunk, type TestChunk } from './store-fixtures.ts';

/** Small ones for the most part, of up to three blocks; every sixth has up to a mebibyte. */
export function numberedChunk(number: number): TestChunk {
  const spread = Math.imul(number + 1, 2_654_435_761) >>> 0;
  const lengthBytes = number % 6 === 0 ? 70_000 + (spread % 980_000) : 200 + (spread % 12_000);
  return testChunk(number, lengthBytes);
}
