/**
 * Aim: many processes at once (item 10; row I2). Method: ddfs's own scenario with ten files each.
 */
import { it } from 'vitest';
import { putGetDeleteInParallel } from './drill-parallel.ts';
import { Bed } from './harness.ts';

it('serves as many processes as there are processors', async () => {
  await using bed = await Bed.open();
  await putGetDeleteInParallel(bed, { seed: 101, fileCount: 10 });
});
