/**
 * The put pipeline in memory: hash, key, seal, encode, digest; per core and with four workers. The
 * stores are left out, so this is what the processors allow.
 */
import { parseScheme, type Scheme } from '../src/base/index.ts';
import type { Cluster } from '../src/cluster/index.ts';
import { DIGEST_ENGINE } from '../src/crypto/index.ts';
import { realEnv } from '../src/env/index.ts';
import { openStripes } from '../src/stripes/index.ts';
import { type Bench, type BenchRow, median } from './harness.ts';

const ROUNDS = 5;
const STRIPES = 40;
const SECRET = new Uint8Array(32).fill(7);

/** MB of content per second through `prepare`, with two stripes queued per thread. */
async function rate(scheme: Scheme, threadCount: number): Promise<number> {
  const slotCount = Math.max(2, threadCount * 2);
  const cluster = {} as Cluster; // prepare asks nobody where shards go
  const options = { env: realEnv(), cluster, stores: () => [], threadCount, slotCount };
  await using stripes = openStripes(options);
  const contentBytes = stripes.contentBytesFor(scheme);
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    let left = STRIPES;
    await Promise.all(
      Array.from({ length: slotCount }, async () => {
        while (left-- > 0) {
          const buffer = await stripes.lease(scheme);
          buffer.content[0] = left; // other content, other key
          using _ = await stripes.prepare(buffer, contentBytes, { scheme, secret: SECRET });
        }
      }),
    );
    rates.push((STRIPES * contentBytes) / 1e6 / ((performance.now() - start) / 1000));
  }
  return median(rates.slice(1));
}

export const bench: Bench = async () => {
  const rows: BenchRow[] = [];
  for (const name of ['rs-4+2', 'rs-10+4']) {
    const scheme = parseScheme(name);
    for (const [label, threads] of [
      ['one thread', 0],
      ['four workers', 4],
    ] as const) {
      const value = await rate(scheme, threads);
      rows.push({ name: `${name}, ${label}, ${DIGEST_ENGINE} BLAKE3`, value, unit: 'MB/s' });
    }
  }
  return rows;
};
