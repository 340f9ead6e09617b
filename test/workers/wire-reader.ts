/** Reads streams slowly and tells how many bytes came and its largest resident size. */
import { setTimeout as sleep } from 'node:timers/promises';
import { realEnv } from '../../src/env/index.ts';
import { formatAddress } from '../../src/net/index.ts';
import { openTlsNode } from '../suites/net-bed.ts';

const MB = 1e6;

let peakBytes = 0;
setInterval(() => (peakBytes = Math.max(peakBytes, process.memoryUsage.rss())), 20).unref();

const network = await openTlsNode(2, { env: realEnv() });
network.handle<number>('take', {}, async (pauseMsPerMb, { stream }) => {
  let bytes = 0;
  let restedAt = 0;
  for await (const chunk of stream! as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes - restedAt < MB) continue;
    restedAt = bytes;
    await sleep(pauseMsPerMb);
  }
  return [bytes, peakBytes];
});
process.send!(formatAddress(network.addresses[0]!));
