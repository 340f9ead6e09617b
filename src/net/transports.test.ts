/**
 * Aim: every transport passes the suite, also one that others add. Method: the suite; the added one
 * is plain TCP whose ends say who they are in one line (for tests only: it proves nothing).
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { keyOf } from '../../test/suites/net-bed.ts';
import { describeTransport } from '../../test/suites/transport.ts';
import { errorMessage, HoldfastError, type NodeId } from '../base/index.ts';
import type { NodeKey } from '../crypto/index.ts';
import { realEnv } from '../env/index.ts';
import { MemoryNet } from './memory-net.ts';
import { tlsTransport } from './tls-transport.ts';
import type { Transport } from './types.ts';
import { wssTransport } from './wss-transport.ts';

describeTransport({
  name: 'memory',
  makeBed(env) {
    const net = new MemoryNet(env);
    return (key) => net.transport(key.nodeId);
  },
  listen: 'memory://here:0',
  nobody: 'memory://nowhere:1',
});

describeTransport({
  name: 'tls',
  makeBed: (env) => (key) => tlsTransport({ env, key }),
  listen: 'tls://127.0.0.1:0',
  nobody: 'tls://127.0.0.1:1',
});

describeTransport({
  name: 'wss',
  makeBed: (env) => (key) => wssTransport({ env, key }),
  listen: 'wss://127.0.0.1:0/somewhere',
  nobody: 'wss://127.0.0.1:1',
});

const ID_CHARS = keyOf(1).nodeId.length;

async function exchangeIds(socket: Socket, self: NodeId): Promise<NodeId> {
  socket.write(self);
  for (;;) {
    const id = socket.read(ID_CHARS) as Buffer | null;
    if (id) return String(id) as NodeId;
    await once(socket, 'readable');
  }
}

function trustingTransport({ nodeId }: NodeKey): Transport {
  return {
    scheme: 'trusting',
    async listen(address, onPeer) {
      const server = createServer((duplex) => {
        duplex.on('error', () => {});
        void exchangeIds(duplex, nodeId).then(
          (remote) => onPeer({ duplex, remote }),
          () => {},
        );
      });
      server.listen(address.port, address.host);
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const dispose = async (): Promise<void> => void server.close();
      return { address: { ...address, port }, [Symbol.asyncDispose]: dispose };
    },
    async dial({ host, port }, { expect, signal }) {
      if (signal.aborted) throw new HoldfastError('HF_INTERRUPTED');
      const duplex = connect(port, host);
      try {
        await once(duplex, 'connect', { signal });
      } catch (error) {
        throw new HoldfastError('HF_UNAVAILABLE', errorMessage(error));
      }
      const remote = await exchangeIds(duplex, nodeId);
      if (expect === undefined || expect === remote) return { duplex, remote };
      duplex.destroy();
      throw new HoldfastError('HF_DENIED');
    },
  };
}

describeTransport({
  name: 'of others',
  makeBed: () => trustingTransport,
  listen: 'trusting://127.0.0.1:0',
  nobody: 'trusting://127.0.0.1:1',
});

it.each([tlsTransport, wssTransport])(
  'a port that is taken is said to be ($name)',
  async (make) => {
    const taker = createServer().listen(0, '127.0.0.1');
    await once(taker, 'listening');
    const { port } = taker.address() as AddressInfo;
    const transport = make({ env: realEnv(), key: keyOf(1) });
    const address = { scheme: transport.scheme, host: '127.0.0.1', port, path: '' };
    const listening = transport.listen(address, () => {});
    await expect(listening).rejects.toMatchObject({
      code: 'HF_BUSY',
      message: `cannot listen on 127.0.0.1:${port}: the port is taken`,
    });
    taker.close();
  },
);
