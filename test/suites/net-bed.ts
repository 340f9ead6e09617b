/** Networks for tests: nodes with keys from numbers, everybody a member unless told otherwise. */
import type { Duplex } from 'node:stream';
import { type NodeId, utf8 } from '../../src/base/index.ts';
import { NodeKey } from '../../src/crypto/index.ts';
import type { Env } from '../../src/env/index.ts';
import {
  type Admission,
  linkedMembers,
  type MemoryNet,
  Network,
  type NetworkOptions,
  parseAddress,
  tlsTransport,
} from '../../src/net/index.ts';

export function keyOf(number: number): NodeKey {
  const seed = Buffer.alloc(32, 5);
  seed.writeUInt32LE(number, 0);
  return new NodeKey(new Uint8Array(seed));
}

export const everybody: Admission = {
  credentials: () => utf8('a certificate'),
  judge: () => 'member',
};

export interface NodeOptions extends Partial<NetworkOptions> {
  readonly env: Env;
  readonly net: MemoryNet;
  readonly number: number;
}

/** A node on `memory://node-N:1`. */
export function openMemoryNode({ net, number, ...options }: NodeOptions): Promise<Network> {
  const key = keyOf(number);
  return Network.open({
    key,
    transports: [net.transport(key.nodeId)],
    listen: [parseAddress(`memory://node-${number}:1`)],
    admission: everybody,
    membership: linkedMembers,
    ...options,
  });
}

/** A node on a TLS port of the loopback interface, by the real clock unless told otherwise. */
export function openTlsNode(
  number: number,
  options: Partial<NetworkOptions> & { readonly env: Env },
): Promise<Network> {
  const key = keyOf(number);
  return Network.open({
    key,
    transports: [tlsTransport({ env: options.env, key })],
    listen: [parseAddress('tls://127.0.0.1:0')],
    admission: everybody,
    membership: linkedMembers,
    ...options,
  });
}

/** Both ends of one connection. */
export async function duplexPair(net: MemoryNet): Promise<{ near: Duplex; far: Duplex }> {
  const [a, b] = [keyOf(1).nodeId, keyOf(2).nodeId];
  const far = Promise.withResolvers<Duplex>();
  const address = parseAddress('memory://pair:0');
  const { signal } = new AbortController();
  await using listener = await net
    .transport(b)
    .listen(address, ({ duplex }) => far.resolve(duplex));
  const { duplex } = await net.transport(a).dial(listener.address, { signal });
  return { near: duplex, far: await far.promise };
}

/** The next change that fits. */
export async function changeOf(
  changes: AsyncIterable<{ node: NodeId; state: string }>,
  wanted: { node: NodeId; state: string },
): Promise<void> {
  for await (const { node, state } of changes) {
    if (node === wanted.node && state === wanted.state) return;
  }
  throw new Error(`${wanted.node} did not become ${wanted.state}`);
}
