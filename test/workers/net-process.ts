/** A process with a network of its own on loopback, for tests that stop or kill it. */
import { realEnv } from '../../src/env/index.ts';
import { formatAddress } from '../../src/net/index.ts';
import { openTlsNode } from '../suites/net-bed.ts';

const network = await openTlsNode(1000, { env: realEnv() });
process.send!(formatAddress(network.addresses[0]!));
