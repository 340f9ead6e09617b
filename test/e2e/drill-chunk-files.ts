/**
 * The drill about chunk files of a large file (rows A4, A6, A8, trap 5): no node, bounded memory,
 * offsets beyond 4 GiB, repair byte for byte.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { fileDigest, writeSeeded } from './content.ts';
import type { Bed } from './harness.ts';

export interface ChunkFilesPlan {
  readonly seed: number;
  readonly sizeBytes: number;
  readonly residentBytesMax: number;
}

/** @returns the largest resident sets, in bytes. */
export async function cutAndRestore(
  bed: Bed,
  plan: ChunkFilesPlan,
): Promise<Record<'make' | 'repair' | 'get', number>> {
  const source = await writeSeeded(bed.path('large'), plan);
  const chunks = bed.path('chunks');
  await fs.mkdir(chunks);
  const run = async (...words: readonly string[]): Promise<number> => {
    const { exitCode, stderr, peakBytes } = await bed.run(['chunk', ...words]);
    assert.equal(exitCode, 0, stderr);
    assert.ok(peakBytes < plan.residentBytesMax, `${words[0]}: ${peakBytes} bytes resident`);
    return peakBytes;
  };
  const make = await run('make', source.file, '-d', chunks, '--parity', '2');
  await fs.rm(source.file);
  const lost = ['large.003.hfc', 'large.011.hfc'].map((name) => bed.path('chunks', name));
  const digests = await Promise.all(lost.map((file) => fileDigest(file)));
  for (const file of lost) await fs.rm(file);
  const repair = await run('repair', chunks);
  assert.deepEqual(await Promise.all(lost.map((file) => fileDigest(file))), digests);
  for (const name of ['large.000.hfc', 'large.009.hfc']) await fs.rm(bed.path('chunks', name));
  const get = await run('get', '-o', source.file, chunks);
  assert.equal(await fileDigest(source.file), source.digest);
  return { make, repair, get };
}
