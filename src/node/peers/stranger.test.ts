/**
 * Aim: who is no member learns from a node that it is there, and its id; nothing else, whatever he
 * asks. Method: a whole home with a volume and another member, over a transport in memory that is
 * in the clear; a stranger calls every method that the home has, and all bytes that reach it are
 * searched for what is not for it.
 */
import { afterEach, beforeEach, expect, it, type MockInstance, vi } from 'vitest';
import { errorCode, errorMessage, fromHex, LIMITS, type NodeId, utf8 } from '../../base/index.ts';
import { realEnv } from '../../env/index.ts';
import { Network, parseAddress } from '../../net/index.ts';
import { bytesOf, streamOf } from '../../../test/suites/store-bed.ts';
import { WholeNodes } from '../../../test/suites/whole-nodes.ts';
import { DataDirectory } from '../data-directory.ts';
import { type MakeTransport, openAsStranger } from './network-part.ts';

const JOIN = 'cluster.join';

let nodes: WholeNodes;
/** Calls go through; only the names of methods are of interest. */
let methods: MockInstance<Network['handle']>;

beforeEach(async () => {
  methods = vi.spyOn(Network.prototype, 'handle');
  nodes = await WholeNodes.open();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await nodes[Symbol.asyncDispose]();
});

/** A transport that keeps what arrives. */
function listening(heard: Uint8Array[]): MakeTransport {
  return ({ key }) => {
    const transport = nodes.net.transport(key.nodeId);
    const dial: typeof transport.dial = async (...args) => {
      const link = await transport.dial(...args);
      const push = link.duplex.push.bind(link.duplex);
      link.duplex.push = (chunk: Uint8Array | null, ...rest) => {
        if (chunk) heard.push(Uint8Array.from(chunk));
        return push(chunk, ...rest);
      };
      return link;
    };
    return Object.assign(Object.create(transport) as typeof transport, { dial });
  };
}

async function secretsOf(name: string): Promise<Uint8Array[]> {
  const keyring = (await DataDirectory.unlocked(nodes.at(name)).readKeyring())!;
  const { clusterId, certificate, volumes } = keyring;
  const ids = [clusterId, ...volumes.keys()];
  return [...ids.map(utf8), ...ids.map((id) => fromHex(id)), certificate.subarray(0, 64)];
}

it('learns a node id, and nothing else', async () => {
  await nodes.start('anchor');
  await nodes.join('buoy', { inviter: 'anchor' });
  await nodes.on('anchor').put(streamOf(bytesOf(9000)), { key: 'a-key' });
  const seen = await nodes.on('anchor').call('peers.list', {});
  const [home, member] = seen.map(({ id }) => id as NodeId);
  const { token } = await nodes.on('anchor').call('cluster.invite', {});

  const heard: Uint8Array[] = [];
  const nodeSeed = new Uint8Array(32).fill(5);
  const transports = [listening(heard)];
  const env = realEnv();
  await using stranger = await openAsStranger({ env, nodeSeed, transports });
  const { node, verdict } = await stranger.connect(parseAddress('memory://anchor:1'));
  expect([node, verdict]).toEqual([home, 'stranger']);
  expect(stranger.members()).toEqual([]);

  const known = new Set(methods.mock.calls.map(([method]) => method));
  expect(known.size).toBeGreaterThan(30);
  const asked = [...known, 'gossip.share', 'no such method'];
  for (const method of asked) {
    for (const arg of [null, {}, utf8(token)]) {
      const options = { deadlineMs: LIMITS.remoteCallMs, toStranger: true };
      const error: unknown = await stranger.call(home!, method, arg, options).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (method === JOIN) expect(errorCode(error)).toMatch(/^HF_(UNSUPPORTED|CORRUPT|BAD_ARG)/);
      else expect([method, errorMessage(error)]).toEqual([method, 'not admitted']);
    }
  }
  const all = Buffer.concat(heard);
  expect(all.length).toBeGreaterThan(1000);
  expect(all.includes('not admitted')).toBe(true);
  const names = ['anchor', 'buoy', 'default', 'a-key', 'memory://', member!].map(utf8);
  const secrets = [...(await secretsOf('anchor')), ...(await secretsOf('buoy'))];
  for (const secret of [...names, fromHex(member!), ...secrets].map((each) => Buffer.from(each))) {
    expect(all.includes(secret), secret.toString()).toBe(false);
  }
  const after = await nodes.on('anchor').call('peers.list', {});
  expect(after.map(({ id }) => id)).toEqual([home, member]);
});
