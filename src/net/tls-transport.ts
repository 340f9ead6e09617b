/** TLS 1.3 on TCP, the transport of choice between nodes: `tls://host:port`. */
import type { NodeKey } from '../crypto/index.ts';
import type { Env } from '../env/index.ts';
import { TlsIdentity } from './tls-identity.ts';
import type { Transport } from './types.ts';

/** Names the framing above TLS; a peer that does not know it is refused in the handshake. */
const PROTOCOL = 'holdfast/1';

export function tlsTransport({ env, key }: { env: Env; key: NodeKey }): Transport {
  const identity = new TlsIdentity(key, env.metrics);
  return {
    scheme: 'tls',
    listen: (address, onPeer) =>
      identity.listen(address, PROTOCOL, (duplex, remote) => onPeer({ duplex, remote })),
    async dial(address, options) {
      const { socket, remote } = await identity.dial(address, { ...options, protocol: PROTOCOL });
      return { duplex: socket, remote };
    },
  };
}
