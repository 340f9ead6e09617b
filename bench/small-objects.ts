/**
 * Small objects through a running node: 4 KiB each, 64 requests in flight from one client process.
 */
import { randomFillSync } from 'node:crypto';
import path from 'node:path';
import { mapBounded } from '../src/base/index.ts';
import { connect } from '../src/client/index.ts';
import { BenchDaemon } from './daemon.ts';
import { type Bench, median, seconds } from './harness.ts';

const COUNT = 4000;
const IN_FLIGHT = 64;
const ROUNDS = 4;

export const bench: Bench = async () => {
  await using daemon = await BenchDaemon.start();
  using client = connect({ socketPath: path.join(daemon.dataPath, 'control.sock') });
  const puts: number[] = [];
  const gets: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    let ids: string[] = [];
    const contents = Array.from({ length: COUNT }, () => randomFillSync(Buffer.alloc(4096)));
    const putTime = await seconds(async () => {
      ids = await mapBounded(contents, IN_FLIGHT, async (content) => {
        const { object } = await client.put(one(content), {});
        return object.id;
      });
    });
    const getTime = await seconds(async () => {
      await mapBounded(ids, IN_FLIGHT, async (reference) => {
        const { bytes } = await client.get({ reference });
        for await (const _ of bytes);
      });
    });
    puts.push(COUNT / putTime);
    gets.push(COUNT / getTime);
  }
  return [
    { name: 'put 4 KiB, 64 in flight, durable', value: median(puts.slice(1)), unit: '1/s' },
    { name: 'get 4 KiB, 64 in flight', value: median(gets.slice(1)), unit: '1/s' },
  ];
};

async function* one(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}
