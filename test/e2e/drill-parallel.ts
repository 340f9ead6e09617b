/**
 * ddfs's own scenario (row I2): as many processes as there are processors put files of 10 B to 10
 * MB, get and compare them, then put and delete them, all at once; the stores are queried before
 * and after.
 */
import assert from 'node:assert/strict';
import os from 'node:os';
import type { ObjectView } from '../../src/api/index.ts';
import { below, fileDigest, seededRandom, writeSeeded } from './content.ts';
import type { Bed } from './harness.ts';

export interface ParallelPlan {
  readonly seed: number;
  readonly fileCount: number;
  readonly processCount?: number;
}

const BYTES_MIN = 10;
const BYTES_MAX = 10_000_000;
/** What is kept of the cells' log until their next snapshot, in all copies. */
const METADATA_BYTES = 16 * 2 ** 20;

export async function putGetDeleteInParallel(bed: Bed, plan: ParallelPlan): Promise<void> {
  const { processCount = os.availableParallelism() } = plan;
  const node = await bed.up();
  const usedBefore = await bed.usedBytes();
  const lanes = (work: (bed: Bed, lane: Lane) => Promise<void>) =>
    Promise.all(
      Array.from({ length: processCount }, (_, number) =>
        work(bed, { number, fileCount: plan.fileCount, seed: plan.seed }),
      ),
    );
  await lanes(putGetCompare);
  const listed = await bed.list();
  assert.equal(listed.length, processCount * plan.fileCount);
  const contentBytes = listed.reduce((sum, { sizeBytes }: ObjectView) => sum + sizeBytes, 0);
  assert.ok((await bed.usedBytes()) - usedBefore > contentBytes, 'shards and copies take more');

  await bed.ok(['rm', ...listed.map(({ id }) => id)]);
  await lanes(putDelete);
  assert.deepEqual(await bed.list(), []);
  assert.ok((await bed.usedBytes()) - usedBefore < METADATA_BYTES, 'what was deleted is free');
  assert.equal((await bed.health()).exitCode, 0);
  await node.stop();
}

interface Lane {
  readonly number: number;
  readonly fileCount: number;
  readonly seed: number;
}

/** Sizes spread over the orders of magnitude, as files are. */
function sizesOf({ number, fileCount, seed }: Lane): number[] {
  const random = seededRandom(seed * 1000 + number);
  const orders = Math.log(BYTES_MAX / BYTES_MIN);
  return Array.from({ length: fileCount }, () =>
    Math.min(BYTES_MAX, BYTES_MIN + below(random, BYTES_MIN * Math.exp(random() * orders))),
  );
}

async function putGetCompare(bed: Bed, lane: Lane): Promise<void> {
  for (const [count, sizeBytes] of sizesOf(lane).entries()) {
    const name = `${lane.number}-${count}`;
    const source = await writeSeeded(bed.path(`in-${name}`), { seed: name, sizeBytes });
    const id = await bed.ok(['put', source.file]);
    await bed.ok(['get', id, '-o', bed.path(`out-${name}`)]);
    assert.equal(await fileDigest(bed.path(`out-${name}`)), source.digest, name);
  }
}

async function putDelete(bed: Bed, lane: Lane): Promise<void> {
  for (const count of sizesOf(lane).keys()) {
    const id = await bed.ok(['put', bed.path(`in-${lane.number}-${count}`)]);
    await bed.ok(['rm', id]);
    assert.equal((await bed.run(['query', id])).exitCode, 3, 'what was deleted is gone');
  }
}
