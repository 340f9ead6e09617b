/**
 * A node's network that is attacked from outside (test/suites/hostile-peer.ts) and tells, when it
 * is asked, what it holds. Run with --expose-gc; arguments: UDP port of its beacon, the planted
 * leak if any. Who shows credentials is a member here, all others are strangers.
 */
import { createServer } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { HoldfastError, KiB, MiB, utf8 } from '../../src/base/index.ts';
import { MetricsTable, realEnv } from '../../src/env/index.ts';
import {
  type Admission,
  formatAddress,
  gossipMembers,
  tlsTransport,
  type Transport,
} from '../../src/net/index.ts';
import { keyOf, openTlsNode } from '../suites/net-bed.ts';

/** What it forgets to let go of, once for each connection that proved a key. */
export type Leak = 'buffers' | 'handles';

/** Sizes in bytes. */
export interface Holdings {
  /** After collection: objects, and buffers outside of the heap. */
  readonly heap: number;
  readonly external: number;
  readonly resident: number;
  /** The most that was held outside of the heap since the last exact answer. */
  readonly peakExternal: number;
  /** Kinds of what is open, one for each; no timers. */
  readonly handles: readonly string[];
  /** Series → value. */
  readonly counters: Readonly<Record<string, number>>;
}

const [beaconPort, leak] = process.argv.slice(2) as [string, Leak | undefined];
const kept: unknown[] = [];

function forgetSomething(): void {
  if (leak === 'buffers') kept.push(Buffer.alloc(128 * KiB, 1));
  if (leak === 'handles') kept.push(createServer().listen(0, '127.0.0.1'));
}

const metrics = new MetricsTable();
const env = realEnv({ metrics });
const key = keyOf(1);
const tls = tlsTransport({ env, key });
const transport: Transport = {
  ...tls,
  listen: (address, onPeer) =>
    tls.listen(address, (peer) => {
      forgetSomething();
      onPeer(peer);
    }),
};
const admission: Admission = {
  credentials: () => utf8('a certificate'),
  judge: (_remote, { credentials }) => (credentials.length > 0 ? 'member' : 'stranger'),
};
const interfaces = (): string[] => ['127.0.0.1'];
const beacon = { key: new Uint8Array(32).fill(3), port: Number(beaconPort), interfaces };
const network = await openTlsNode(1, {
  env,
  transports: [transport],
  admission,
  membership: gossipMembers({ admission, beacon }),
});
const large = Buffer.alloc(MiB / 2);
const longText = 'x'.repeat(1000);
network.handle('large', {}, () => large);
network.handle('fail', {}, () => {
  throw new HoldfastError('HF_IO', longText);
});

let peakExternal = 0;
const look = (): void => {
  if (process.memoryUsage().external <= peakExternal) return;
  globalThis.gc!(); // what could be collected is not held
  peakExternal = Math.max(peakExternal, process.memoryUsage().external);
};
setInterval(look, 10).unref();

async function holdings(isExact: boolean): Promise<Holdings> {
  for (let pass = 0; isExact && pass < 3; pass++) {
    await turn(); // what was closed says so first
    globalThis.gc!();
  }
  const { heapUsed: heap, external, rss: resident } = process.memoryUsage();
  const handles = process.getActiveResourcesInfo().filter((kind) => kind !== 'Timeout');
  const counters = Object.fromEntries(metrics.entries());
  const answer = { heap, external, resident, peakExternal, handles, counters };
  if (isExact) peakExternal = external;
  return answer;
}

process.on('message', (isExact: boolean) => {
  void holdings(isExact).then((answer) => process.send!(answer));
});
process.on('disconnect', () => process.kill(process.pid));
process.send!(formatAddress(network.addresses[0]!));
