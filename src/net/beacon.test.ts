/**
 * Aim: beacons are taken once, from nodes of the cluster, and say nothing to anybody else.
 * Method: one sealer against another on a clock that is set by hand; then two sockets on the real
 * loopback interface. Where multicast is not possible that part is skipped, and says so.
 */
import { describe, expect, it } from 'vitest';
import { fromHex, LIMITS, type NodeId, utf8 } from '../base/index.ts';
import { MetricsTable, realEnv, type Env } from '../env/index.ts';
import { everybody, openTlsNode } from '../../test/suites/net-bed.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { type NetAddress, parseAddress } from './address.ts';
import { BEACON_BYTES, BeaconSeal } from './beacon.ts';
import { BeaconFinder } from './beacon-finder.ts';
import { BeaconSocket } from './beacon-socket.ts';
import { gossipMembers } from './gossip.ts';
import { Network } from './network.ts';

const KEY = new Uint8Array(32).fill(3);
const OTHER_KEY = new Uint8Array(32).fill(4);
const NODE = '0123456789abcdef0123456789abcdef' as NodeId;
const OTHER = 'fedcba9876543210fedcba9876543210' as NodeId;
const ADDRESSES = ['tls://10.0.0.7:7450', 'wss://node.example:443/x'].map(parseAddress);
const DAY_MS = 24 * 3600 * 1000;

/** An Env whose wall clock stands where it is put. */
function clockEnv(startMs: number): { env: Env; set: (nowMs: number) => void } {
  const env = virtualEnv(1);
  let nowMs = startMs;
  return {
    env: { ...env, clock: { ...env.clock, now: () => nowMs } },
    set: (ms) => (nowMs = ms),
  };
}

describe('a beacon', () => {
  const start = 20_000 * DAY_MS + 5000;

  it('tells those with the key who is where', () => {
    const { env } = clockEnv(start);
    const sealed = new BeaconSeal(env, KEY).make({ node: NODE, addresses: ADDRESSES });
    const heard = new BeaconSeal(env, KEY).take(sealed);
    expect(heard).toEqual({ node: NODE, addresses: ADDRESSES });
  });

  it('is noise of one length to others', () => {
    const { env } = clockEnv(start);
    const seal = new BeaconSeal(env, KEY);
    const few = seal.make({ node: NODE, addresses: [] });
    const many = seal.make({ node: NODE, addresses: ADDRESSES });
    expect([few.length, many.length]).toEqual([BEACON_BYTES, BEACON_BYTES]);
    for (const secret of [fromHex(NODE), utf8('10.0.0.7'), utf8('node.example')]) {
      expect(Buffer.from(many).indexOf(secret)).toBe(-1);
    }
    expect(Buffer.from(few.subarray(0, 32)).equals(many.subarray(0, 32))).toBe(false);
    expect(new BeaconSeal(env, OTHER_KEY).take(many)).toBe('noise');
  });

  it('is refused when altered, cut or made up', () => {
    const { env } = clockEnv(start);
    const seal = new BeaconSeal(env, KEY);
    const sealed = seal.make({ node: NODE, addresses: ADDRESSES });
    for (let at = 0; at < sealed.length; at += 37) {
      const altered = sealed.slice();
      altered[at]! ^= 1;
      expect(seal.take(altered)).toBe('noise');
    }
    expect(seal.take(sealed.subarray(0, 100))).toBe('noise');
    expect(seal.take(new Uint8Array(0))).toBe('noise');
    expect(seal.take(new Uint8Array(BEACON_BYTES))).toBe('noise');
  });

  it('is taken once, and no older one after it', () => {
    const { env } = clockEnv(start);
    const sender = new BeaconSeal(env, KEY);
    const receiver = new BeaconSeal(env, KEY);
    const [first, second, third] = [1, 2, 3].map(() => sender.make({ node: NODE, addresses: [] }));
    expect(receiver.take(first!)).toMatchObject({ node: NODE });
    expect(receiver.take(first!)).toBe('replay');
    expect(receiver.take(third!)).toMatchObject({ node: NODE });
    expect(receiver.take(second!)).toBe('replay');
    // Another node's are counted for themselves.
    const other = new BeaconSeal(env, KEY).make({ node: OTHER, addresses: [] });
    expect(receiver.take(other)).toMatchObject({ node: OTHER });
  });

  it('is refused outside its window, even by who has forgotten it', () => {
    const { env, set } = clockEnv(start);
    const sealed = new BeaconSeal(env, KEY).make({ node: NODE, addresses: [] });
    for (const awayMs of [-1, 1].map((sign) => sign * (LIMITS.beaconWindowMs + 1))) {
      set(start + awayMs);
      expect(new BeaconSeal(env, KEY).take(sealed)).toMatch(/time|noise/);
    }
    set(start + LIMITS.beaconWindowMs - 1);
    expect(new BeaconSeal(env, KEY).take(sealed)).toMatchObject({ node: NODE });
    set(start + 3 * DAY_MS);
    expect(new BeaconSeal(env, KEY).take(sealed)).toBe('noise');
  });

  it('is understood across midnight by clocks that differ', () => {
    const { env, set } = clockEnv(20_000 * DAY_MS - 10);
    const sender = new BeaconSeal(env, KEY);
    const receiver = new BeaconSeal(env, KEY);
    const before = sender.make({ node: NODE, addresses: [] });
    set(20_000 * DAY_MS + 10);
    expect(receiver.take(before)).toMatchObject({ node: NODE });
    const after = sender.make({ node: NODE, addresses: [] });
    set(20_000 * DAY_MS - 10);
    expect(receiver.take(after)).toMatchObject({ node: NODE });
  });

  it('is remembered for a bounded number of nodes', () => {
    const { env, set } = clockEnv(start);
    const receiver = new BeaconSeal(env, KEY);
    const from = (index: number): Uint8Array => {
      const node = index.toString(16).padStart(32, '0') as NodeId;
      return new BeaconSeal(env, KEY).make({ node, addresses: [] });
    };
    for (let index = 0; index < LIMITS.beaconSendersMax; index++) {
      expect(receiver.take(from(index))).toBeTypeOf('object');
    }
    expect(receiver.take(from(-1 >>> 0))).toBe('full');
    set(start + LIMITS.beaconWindowMs + 1);
    expect(receiver.take(from(-1 >>> 0))).toBeTypeOf('object');
  });
});

const PORT = 47_079;
const LOOPBACK = '127.0.0.1';

async function isMulticastPossible(): Promise<boolean> {
  const env = realEnv();
  const heard = Promise.withResolvers<boolean>();
  const options = { env, port: PORT, interfaces: () => [LOOPBACK] };
  try {
    await using socket = await BeaconSocket.open({
      ...options,
      onDatagram: () => heard.resolve(true),
    });
    await socket.send(new Uint8Array(8));
    return await Promise.race([heard.promise, env.clock.sleep(2000).then(() => false)]);
  } catch {
    return false;
  }
}

const canMulticast = await isMulticastPossible();
if (!canMulticast) console.warn('SKIPPED: no multicast on the loopback interface here');

describe.skipIf(!canMulticast)('on the real loopback interface', () => {
  const finder = (
    node: NodeId,
    parts: { key?: Uint8Array; metrics?: MetricsTable; isKnown?: (node: NodeId) => boolean },
  ): { opened: Promise<BeaconFinder>; met: Promise<[NetAddress, NodeId]> } => {
    const { key = KEY, metrics = new MetricsTable(), isKnown = () => false } = parts;
    const met = Promise.withResolvers<[NetAddress, NodeId]>();
    const opened = BeaconFinder.open({
      env: realEnv({ metrics }),
      key,
      port: PORT,
      interfaces: () => [LOOPBACK],
      own: { node, addresses: [parseAddress('tls://0.0.0.0:7450')] },
      isKnown,
      meet: async (address, other) => met.resolve([address, other]),
    });
    return { opened, met: met.promise };
  };

  it('two nodes hear each other, at the address they are heard from', async () => {
    const one = finder(NODE, {});
    await using _one = await one.opened;
    const two = finder(OTHER, {});
    await using _two = await two.opened;
    const [address, node] = await one.met;
    expect([address.host, node]).toEqual([LOOPBACK, OTHER]);
  });

  it('another cluster hears noise, and a replayed beacon is counted', async () => {
    const metrics = new MetricsTable();
    const env = realEnv({ metrics });
    const strange = finder(NODE, { key: OTHER_KEY, metrics, isKnown: () => true });
    await using _strange = await strange.opened;
    await using socket = await BeaconSocket.open({
      env,
      port: PORT,
      interfaces: () => [LOOPBACK],
      onDatagram: () => {},
    });
    const foreign = new BeaconSeal(env, KEY).make({ node: OTHER, addresses: [] });
    const friendly = new BeaconSeal(env, OTHER_KEY).make({ node: OTHER, addresses: [] });
    for (const bytes of [foreign, friendly, friendly]) await socket.send(bytes);
    const count = (why: string): number => metrics.get('net_beacons_refused', { why });
    while (count('noise') < 1 || count('replay') < 1) await env.clock.sleep(10);
    expect(count('noise')).toBeGreaterThanOrEqual(1);
  });

  it('a node without any seed finds its cluster', async () => {
    const env = realEnv();
    await using stack = new AsyncDisposableStack();
    const beacon = { key: KEY, port: PORT, interfaces: () => [LOOPBACK] };
    const networks: Network[] = [];
    for (const number of [1, 2]) {
      const membership = gossipMembers({ admission: everybody, beacon });
      const network = await openTlsNode(number, { env, membership });
      networks.push(stack.use(network));
    }
    const isFound = (by: Network, { self }: Network): boolean =>
      by.members().some(({ node, health }) => node === self && health === 'alive');
    const [one, two] = networks as [Network, Network];
    while (!isFound(one, two) || !isFound(two, one)) await env.clock.sleep(20);
    expect(one.links()).toHaveLength(1);
  });
});
