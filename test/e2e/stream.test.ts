/**
 * Aim: memory does not grow with the content (item 6; row E10). Method: the drill with a file that
 * is larger than what may be resident would ever hold if any process kept it.
 */
import { it } from 'vitest';
import { streamThrough } from './drill-stream.ts';
import { Bed } from './harness.ts';

it('streams 300 MB in and out, each process below 512 MiB', async () => {
  await using bed = await Bed.open();
  await streamThrough(bed, { seed: 61, sizeBytes: 300_000_000, residentBytesMax: 512 * 2 ** 20 });
});
