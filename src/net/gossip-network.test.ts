/**
 * Aim: gossip on real networks: members find each other over any transport, strangers neither take
 * part nor learn who is there, and links stay bounded. Method: whole `Network`s over MemoryNet on
 * virtual time, and over TLS on loopback.
 */
import { describe, expect, it } from 'vitest';
import { LIMITS, type NodeId } from '../base/index.ts';
import { type Env, MetricsTable, realEnv } from '../env/index.ts';
import { checkedOnce, failureOf } from '../../test/suites/gossip-bed.ts';
import { everybody, keyOf } from '../../test/suites/net-bed.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { type NetAddress, parseAddress } from './address.ts';
import { gossipMembers } from './gossip.ts';
import { METHOD, nodeMessage } from './gossip-message.ts';
import { MemoryNet } from './memory-net.ts';
import { Network, type NetworkOptions } from './network.ts';
import { tlsTransport } from './tls-transport.ts';
import type { Admission } from './types.ts';

class MemoryBed implements AsyncDisposable {
  readonly env: Env;
  readonly net: MemoryNet;
  readonly networks: Network[] = [];
  readonly #rules = checkedOnce();

  constructor(seed: number) {
    this.env = virtualEnv(seed);
    this.net = new MemoryNet(this.env, { delayMs: 1, jitterMs: 2 });
  }

  async add(index: number, seeds: readonly number[], admission = everybody): Promise<Network> {
    const key = keyOf(index);
    const env = { ...this.env, metrics: new MetricsTable() };
    const options: NetworkOptions = {
      env,
      key,
      transports: [this.net.transport(key.nodeId)],
      listen: [this.address(index)],
      seeds: seeds.map((seed) => this.address(seed)),
      labels: { rack: `r${index % 3}` },
      admission,
      membership: gossipMembers({ admission, rules: this.#rules }),
    };
    const network = await Network.open(options);
    this.networks.push(network);
    return network;
  }

  address(index: number): NetAddress {
    return parseAddress(`memory://bed:${1 + index}`);
  }

  async until(what: () => boolean, seconds: number): Promise<number> {
    for (let second = 0; second < seconds; second++) {
      if (what()) return second;
      await this.env.clock.sleep(1000);
    }
    expect(what()).toBe(true);
    return seconds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.networks.map((network) => network[Symbol.asyncDispose]()));
  }
}

function aliveCount(network: Network): number {
  return network.members().filter(({ health }) => health === 'alive').length;
}

describe('over the memory transport', () => {
  it('a chain of three is complete within two intervals, and dials who it never met', async () => {
    await using bed = new MemoryBed(1);
    const first = await bed.add(0, []);
    await bed.add(1, [0]);
    const last = await bed.add(2, [1]);
    first.handle('greet', {}, () => 'hello');
    const isComplete = (): boolean => bed.networks.every((each) => aliveCount(each) === 2);
    const seconds = await bed.until(isComplete, 3);
    expect(seconds * 1000).toBeLessThanOrEqual(2 * LIMITS.gossipMs);
    expect(await last.call(first.self, 'greet', null, { deadlineMs: 1000 })).toBe('hello');
    expect((await last.lookup(first.self, { deadlineMs: 1000 })).labels).toEqual({ rack: 'r0' });
  });

  it('200 nodes know each other, with bounded links', async () => {
    await using bed = new MemoryBed(2);
    for (let index = 0; index < 200; index++) await bed.add(index, index === 0 ? [] : [0]);
    const isComplete = (): boolean => bed.networks.every((each) => aliveCount(each) === 199);
    const rounds = await bed.until(isComplete, 20);
    await bed.env.clock.sleep(2000);
    const linksMax = Math.max(...bed.networks.map((each) => each.links().length));
    console.log(`200 networks: complete after ${rounds} rounds, at most ${linksMax} links each`);
    expect(linksMax).toBeLessThanOrEqual(LIMITS.warmLinksMax + LIMITS.gossipsUnderWayMax);
  });

  it('a partition heals', async () => {
    await using bed = new MemoryBed(3);
    for (let index = 0; index < 6; index++) await bed.add(index, index === 0 ? [] : [0]);
    const isComplete = (): boolean => bed.networks.every((each) => aliveCount(each) === 5);
    await bed.until(isComplete, 20);
    const left = new Set<NodeId>(bed.networks.slice(0, 3).map(({ self }) => self));
    bed.net.partition((a, b) => left.has(a) !== left.has(b));
    const isParted = (): boolean => bed.networks.every((each) => aliveCount(each) === 2);
    await bed.until(isParted, 120);
    await bed.env.clock.sleep(30_000);
    bed.net.heal();
    await bed.until(isComplete, 90);
  });

  it('strangers take no part and learn nothing', async () => {
    await using bed = new MemoryBed(4);
    const strange = keyOf(9).nodeId;
    const admission: Admission = {
      credentials: () => new Uint8Array(0),
      judge: (remote) => (remote === strange ? 'stranger' : 'member'),
    };
    for (const index of [0, 1, 2]) await bed.add(index, index === 0 ? [] : [0], admission);
    const stranger = await bed.add(9, [0, 1, 2], everybody);
    await bed.env.clock.sleep(20_000);
    expect(bed.networks.slice(0, 3).map(aliveCount)).toEqual([2, 2, 2]);
    expect(stranger.members()).toEqual([]);
    const [{ self }] = bed.networks as [Network];
    for (const method of Object.values(METHOD)) {
      const call = stranger.call(self, method, nodeMessage(self), { deadlineMs: 1000 });
      expect(await failureOf(call)).toBe('HF_DENIED');
    }
  });

  it('one that is admitted later is told to everybody then', async () => {
    await using bed = new MemoryBed(5);
    const certificate = Uint8Array.of(1);
    const judge: Admission['judge'] = (_remote, { credentials }) =>
      credentials.length > 0 ? 'member' : 'stranger';
    const admitted: Admission = { credentials: () => certificate, judge };
    let given = new Uint8Array(0);
    for (const index of [0, 1]) await bed.add(index, index === 0 ? [] : [0], admitted);
    const joiner = await bed.add(2, [0], { credentials: () => given, judge });
    await bed.env.clock.sleep(10_000);
    expect(bed.networks.map(aliveCount)).toEqual([1, 1, 0]);
    given = certificate;
    joiner.disconnect(bed.networks[0]!.self);
    joiner.judgeAgain();
    await bed.until(() => bed.networks.every((each) => aliveCount(each) === 2), 5);
  });
});

describe('over TLS', () => {
  it('three nodes find each other, and see one go', async () => {
    const env = realEnv();
    await using stack = new AsyncDisposableStack();
    const open = async (index: number, seeds: readonly NetAddress[]): Promise<Network> => {
      const key = keyOf(index);
      return await Network.open({
        env,
        key,
        transports: [tlsTransport({ env, key })],
        listen: [parseAddress('tls://127.0.0.1:0')],
        seeds,
        admission: everybody,
        membership: gossipMembers({ admission: everybody }),
      });
    };
    const first = stack.use(await open(0, []));
    const second = stack.use(await open(1, first.addresses));
    const third = await open(2, second.addresses);
    const all = [first, second, third];
    while (!all.every((each) => aliveCount(each) === 2)) await env.clock.sleep(50);
    await third.leave({ deadlineMs: 2000 });
    await third[Symbol.asyncDispose]();
    const hasLeft = (each: Network): boolean =>
      each.members().some(({ node, health }) => node === third.self && health === 'left');
    while (![first, second].every(hasLeft)) await env.clock.sleep(50);
    expect(aliveCount(first)).toBe(1);
  });
});
