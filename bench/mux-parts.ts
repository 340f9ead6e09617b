/** What both processes of bench/mux.ts are made of. */
import type { CommonConnectionOptions, SecureContextOptions } from 'node:tls';
import type { NodeKey } from '../src/crypto/index.ts';
import type { Env } from '../src/env/index.ts';
import {
  certificateOf,
  linkedMembers,
  Network,
  parseAddress,
  tlsTransport,
} from '../src/net/index.ts';

export interface BenchPorts {
  readonly address: string;
  readonly tlsPort: number;
  readonly http2Port: number;
}

export function openBenchNetwork(env: Env, key: NodeKey): Promise<Network> {
  return Network.open({
    env,
    key,
    transports: [tlsTransport({ env, key })],
    listen: [parseAddress('tls://127.0.0.1:0')],
    membership: linkedMembers,
    admission: { credentials: () => new Uint8Array(0), judge: () => 'member' },
  });
}

/** The settings of our own transport, for the others. */
export function tlsOptions(key: NodeKey): SecureContextOptions & CommonConnectionOptions {
  return {
    cert: certificateOf(key),
    key: key.privateKey.export({ format: 'pem', type: 'pkcs8' }),
    minVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384',
    requestCert: true,
    rejectUnauthorized: false,
  };
}
