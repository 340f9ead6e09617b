/**
 * The drill about large content: it streams in and out, and neither the node nor the commands ever
 * hold much of it (row E10, trap 26).
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { bytesOf, fileDigest, seededContent, writeSeeded } from './content.ts';
import type { Bed } from './harness.ts';
import { digestByClient } from './library.ts';

export interface StreamPlan {
  readonly seed: number;
  readonly sizeBytes: number;
  readonly residentBytesMax: number;
}

/** The largest resident sets, in bytes. */
export interface Peaks {
  readonly node: number;
  readonly put: number;
  readonly get: number;
}

export async function streamThrough(bed: Bed, plan: StreamPlan): Promise<Peaks> {
  const { sizeBytes, residentBytesMax } = plan;
  const node = await bed.up();
  const source = await writeSeeded(bed.path('large'), plan);
  const put = await bed.run(['put', source.file]);
  assert.equal(put.exitCode, 0, put.stderr);
  await fs.rm(source.file);
  const id = put.stdout.toString().trim();

  const get = await bed.run(['get', id], { work: 'work' });
  assert.equal(get.exitCode, 0, get.stderr);
  assert.equal(await fileDigest(bed.path('work/large')), source.digest);
  await fs.rm(bed.path('work/large'));

  // A range across the end of a stripe, and the last bytes.
  using client = node.connect();
  for (const offset of [10 * 2 ** 20 - 3, sizeBytes - 7]) {
    const { bytes } = await client.get({ reference: id, offset, lengthBytes: 7 });
    assert.deepEqual(await bytesOf(bytes), await rangeOf(plan, offset, 7));
  }
  // By its content address, once more from beginning to end.
  const { address } = await bed.json<{ address: string }>(['query', id]);
  assert.equal(await digestByClient(client, address), source.digest);

  const peaks = { node: node.peakBytes, put: put.peakBytes, get: get.peakBytes };
  for (const [process, bytes] of Object.entries(peaks)) {
    assert.ok(bytes > 0, `${process} was looked at`);
    assert.ok(bytes < residentBytesMax, `${process}: ${(bytes / 2 ** 20).toFixed()} MiB resident`);
  }
  await node.stop();
  return peaks;
}

async function rangeOf({ seed }: StreamPlan, offset: number, count: number): Promise<Buffer> {
  let at = 0;
  const found: Buffer[] = [];
  for await (const piece of seededContent(seed, offset + count)) {
    found.push(Buffer.from(piece.subarray(Math.max(0, offset - at))));
    at += piece.length;
  }
  return Buffer.concat(found);
}
