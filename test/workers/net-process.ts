/** A process with a network of its own on loopback, for tests that stop or kill it. */
import { realEnv } from '../../src/env/index.ts';
import {
  formatAddress,
  linkedMembers,
  Network,
  parseAddress,
  tlsTransport,
} from '../../src/net/index.ts';
import { everybody, keyOf } from '../suites/net-bed.ts';

const env = realEnv();
const key = keyOf(1000);
const network = await Network.open({
  env,
  key,
  transports: [tlsTransport({ env, key })],
  listen: [parseAddress('tls://127.0.0.1:0')],
  admission: everybody,
  membership: linkedMembers,
});
process.send!(formatAddress(network.addresses[0]!));
