/**
 * The other process of bench/remote-store.ts and bench/stripes.ts: serves a store in memory over
 * TLS. Tells its address and the store's id over IPC.
 */
import { realEnv } from '../src/env/index.ts';
import { NodeKey } from '../src/crypto/index.ts';
import { formatAddress } from '../src/net/index.ts';
import { serveStores } from '../src/store/index.ts';
import { openBenchNetwork } from './mux-parts.ts';
import { openBenchStore } from './remote-store-parts.ts';

/** Of this node; those that run together have different ones. */
const number = Number(process.argv[2] ?? 2);
const env = realEnv();
const store = await openBenchStore(env);
const network = await openBenchNetwork(env, new NodeKey(new Uint8Array(32).fill(number)));
serveStores(network, () => [store], {
  clock: env.clock,
  mayPut: () => true,
  mayRemove: () => true,
  oldestEpoch: () => 0,
});
process.send!({ address: formatAddress(network.addresses[0]!), device: store.id });
