/**
 * Aim: nodes reach each other when needed and only if admitted; links are few, and one of each
 * purpose; whatever fails is retried in good time. Method: whole nodes over the network in memory,
 * on a virtual clock, with seeded faults.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  changeOf,
  everybody,
  keyOf,
  type NodeOptions,
  openMemoryNode,
} from '../../test/suites/net-bed.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, HoldfastError, LIMITS, type NodeId } from '../base/index.ts';
import { type Env, MetricsTable } from '../env/index.ts';
import { parseAddress } from './address.ts';
import { linkedMembers } from './linked-members.ts';
import { MemoryNet } from './memory-net.ts';
import type { Network } from './network.ts';
import type { Ground, Peers, Schema, Verdict } from './types.ts';

const DEADLINE = { deadlineMs: 10_000 };

let env: Env;
let metrics: MetricsTable;
let net: MemoryNet;
let stack: AsyncDisposableStack;

beforeEach(() => {
  metrics = new MetricsTable();
  env = { ...virtualEnv(1), metrics };
  net = new MemoryNet(env, { delayMs: 1 });
  stack = new AsyncDisposableStack();
});

afterEach(async () => {
  net.heal();
  await stack.disposeAsync();
});

/** A node that answers, with the face that a Membership would see. */
async function open(number: number, options: Partial<NodeOptions> = {}): Promise<[Network, Peers]> {
  let ground: Ground | undefined;
  const membership = (given: Ground) => linkedMembers((ground = given));
  const node = await openMemoryNode({ env, net, number, membership, ...options });
  stack.use(node);
  node.handle('echo', {}, (arg) => arg);
  node.handle('whoami', {}, (_, { from }) => from);
  node.handle('swallow', {}, async (_, { stream }) => {
    let bytes = 0;
    for await (const chunk of stream! as AsyncIterable<Buffer>) bytes += chunk.length;
    return bytes;
  });
  return [node, ground!.peers];
}

function addressOf(number: number) {
  return parseAddress(`memory://node-${number}:1`);
}

async function introduced(count: number): Promise<[Network, Peers][]> {
  const nodes: [Network, Peers][] = [];
  for (let number = 1; number <= count; number++) nodes.push(await open(number));
  for (const [, peers] of nodes) {
    for (let number = 1; number <= count; number++) {
      const { nodeId } = keyOf(number);
      if (nodeId !== peers.self) peers.learn(nodeId, [addressOf(number)]);
    }
  }
  return nodes;
}

describe('peers', () => {
  it('are dialled when they are needed, and then stay', async () => {
    const [[a], [b]] = (await introduced(2)) as [[Network, Peers], [Network, Peers]];
    expect(a.links()).toEqual([]);
    expect(await a.call(b.self, 'whoami', 1, DEADLINE)).toBe(a.self);
    expect(a.links().map(({ node }) => node)).toEqual([b.self]);
    // The way back is the same connection.
    expect(await b.call(a.self, 'whoami', 1, DEADLINE)).toBe(b.self);
    expect(metrics.get('net_dials')).toBe(1);
  });

  it('can be met at an address, and then called by their id in both directions', async () => {
    const [[a], [b]] = [await open(1), await open(2)];
    expect((await a.connect(addressOf(2))).node).toBe(b.self);
    expect(await b.call(a.self, 'echo', 7, DEADLINE)).toBe(7);
    await expect(a.connect(addressOf(1))).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
    const wrong = a.connect(addressOf(2), { expect: keyOf(3).nodeId });
    expect(await wrong.catch(errorCode)).toBe('HF_DENIED');
    const strange = a.connect(parseAddress('pigeon://b:1'));
    expect(await strange.catch(errorCode)).toBe('HF_UNSUPPORTED');
  });

  it('have one control link however many call at once, and a bulk link for streams', async () => {
    const [[a], [b]] = (await introduced(2)) as [[Network, Peers], [Network, Peers]];
    const calls = Array.from({ length: 50 }, (_, n) => a.call(b.self, 'echo', n, DEADLINE));
    await Promise.all(calls);
    expect(metrics.get('net_dials')).toBe(1);
    const uploads = Array.from({ length: 5 }, async () => {
      const { stream, reply } = await a.open(b.self, 'swallow', null, DEADLINE);
      stream.end(Buffer.alloc(1000));
      return await reply;
    });
    expect(await Promise.all(uploads)).toEqual([1000, 1000, 1000, 1000, 1000]);
    expect(metrics.get('net_dials')).toBe(2);
  });

  it('have a link of their own for streams that must not wait behind content', async () => {
    const [[a], [b]] = (await introduced(2)) as [[Network, Peers], [Network, Peers]];
    const open = async (purpose: 'bulk' | 'prompt') => {
      const { stream, reply } = await a.open(b.self, 'swallow', null, { ...DEADLINE, purpose });
      stream.on('error', () => {});
      return { stream, reply };
    };
    // As much content as the network bears leaves no room on its link, for one stream more either.
    const content = [];
    for (let count = 0; count < LIMITS.streamsPerConnectionMax; count++) {
      const { stream, reply } = await open('bulk');
      reply.catch(() => {});
      content.push(stream);
    }
    const { reply: refused } = await open('bulk');
    expect(await refused.catch(errorCode)).not.toBe(3);
    const { stream, reply } = await open('prompt');
    stream.end('abc');
    expect(await reply).toBe(3);
    expect(metrics.get('net_dials')).toBe(2);
    for (const each of content) each.destroy();
    await env.clock.sleep(2 * LIMITS.bulkIdleMs);
    expect(net.connectionCount).toBe(0); // none was ever called: no control link
  });

  it('who cannot be dialled get streams on the link that they made', async () => {
    const [[a], [b]] = [await open(1, { advertise: [] }), await open(2)];
    await a.connect(addressOf(2));
    const { stream, reply } = await b.open(a.self, 'swallow', null, DEADLINE);
    stream.end('abc');
    expect(await reply).toBe(3);
  });

  it('that dial each other at once end with one link, and no call is lost', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(20), fc.nat(20), fc.nat(12), async (delayMs, jitterMs, apartMs) => {
        net.faults.delayMs = delayMs;
        net.faults.jitterMs = jitterMs;
        const both = (await introduced(2)) as [[Network, Peers], [Network, Peers]];
        const [[a], [b]] = both;
        const there = a.call(b.self, 'echo', 1, DEADLINE);
        await env.clock.sleep(apartMs);
        const back = b.call(a.self, 'echo', 2, DEADLINE);
        expect(await Promise.all([there, back])).toEqual([1, 2]);
        await env.clock.sleep(1000);
        expect(net.connectionCount).toBe(1);
        expect(await a.call(b.self, 'echo', 3, DEADLINE)).toBe(3);
        await stack.disposeAsync();
        stack = new AsyncDisposableStack();
      }),
      { numRuns: 25 },
    );
  });

  it('that do not answer are left alone for a while, longer each time', async () => {
    const [a, peers] = await open(1);
    const { nodeId } = keyOf(2);
    expect(await a.call(nodeId, 'echo', 1, DEADLINE).catch(errorCode)).toBe('HF_UNAVAILABLE');
    peers.learn(nodeId, [addressOf(2)]);
    for (let turn = 0; turn < 600; turn++) {
      await a.call(nodeId, 'echo', 1, DEADLINE).catch(() => {});
      await env.clock.sleep(100);
    }
    // 250 ms doubling to 30 s: some eight dials in a minute, not six hundred.
    expect(metrics.get('net_dials')).toBeLessThan(14);
    expect(metrics.get('net_dials')).toBeGreaterThan(5);
    const [b] = await open(2);
    await env.clock.sleep(LIMITS.dialPauseMsMax);
    expect(await a.call(b.self, 'echo', 1, DEADLINE)).toBe(1);
  });

  it('beyond the warm ones let go of those not used for longest', async () => {
    const count = LIMITS.warmLinksMax + 6;
    const nodes = await introduced(count);
    const [a] = nodes[0]!;
    for (const [other] of nodes.slice(1)) {
      await a.call(other.self, 'echo', 1, DEADLINE);
      await env.clock.sleep(10);
    }
    await env.clock.sleep(2000);
    expect(a.links().length).toBe(LIMITS.warmLinksMax);
    const linked = new Set<NodeId>(a.links().map(({ node }) => node));
    expect(nodes.slice(1, 6).some(([{ self }]) => linked.has(self))).toBe(false);
    expect(await a.call(nodes[1]![0].self, 'echo', 5, DEADLINE)).toBe(5);
  });

  it('that are killed are noticed; those that come back are found', async () => {
    const [[a, peers], [b]] = (await introduced(2)) as [[Network, Peers], [Network, Peers]];
    const { signal } = new AbortController();
    const changes = (): AsyncIterable<{ node: NodeId; state: string }> =>
      peers.watchLinks({ signal });
    await a.call(b.self, 'echo', 1, DEADLINE);
    const down = changeOf(changes(), { node: b.self, state: 'down' });
    net.cut(b.self);
    await down;
    const up = changeOf(changes(), { node: b.self, state: 'up' });
    await env.clock.sleep(300);
    expect(await a.call(b.self, 'echo', 1, DEADLINE)).toBe(1);
    await up;
  });

  it('behind a partition cost a deadline, then their link; afterwards all is well', async () => {
    const [[a], [b]] = (await introduced(2)) as [[Network, Peers], [Network, Peers]];
    await a.call(b.self, 'echo', 1, DEADLINE);
    net.partition(() => true);
    const late = a.call(b.self, 'echo', 1, { deadlineMs: 500 }).catch(errorCode);
    expect(await late).toBe('HF_TIMEOUT');
    await env.clock.sleep(20_000);
    expect(a.links()).toEqual([]);
    net.heal();
    await env.clock.sleep(LIMITS.dialPauseMsMax);
    expect(await a.call(b.self, 'echo', 1, DEADLINE)).toBe(1);
  });
});

describe('admission', () => {
  const [a, b] = [keyOf(1).nodeId, keyOf(2).nodeId];

  function judging(verdict: () => Verdict): Partial<NodeOptions> {
    return { admission: { ...everybody, judge: verdict } };
  }

  it('refused: nothing is answered, at either end', async () => {
    const [left] = await open(1);
    await open(
      2,
      judging(() => ({ refused: 'revoked' })),
    );
    expect(await left.connect(addressOf(2)).catch(errorCode)).toBe('HF_DENIED');
    expect(left.links()).toEqual([]);
    expect(metrics.get('net_refused', { why: 'admission' })).toBe(1);
  });

  it('a stranger calls what is for strangers, now and then, and learns nothing else', async () => {
    const [left] = await open(
      1,
      judging((): Verdict => 'stranger'),
    );
    const [right] = await open(
      2,
      judging((): Verdict => 'stranger'),
    );
    right.handle('join', { forStrangers: true }, () => 'welcome');
    const view = await left.connect(addressOf(2));
    expect(view).toMatchObject({ node: b, verdict: 'stranger' });
    expect(await left.call(b, 'join', 1, DEADLINE).catch(errorCode)).toBe('HF_DENIED');
    const options = { ...DEADLINE, toStranger: true };
    expect(await left.call(b, 'join', 1, options)).toBe('welcome');
    expect(await left.call(b, 'echo', 1, options).catch(errorCode)).toBe('HF_DENIED');
    expect(await left.call(b, 'no such', 1, options).catch(errorCode)).toBe('HF_DENIED');
    const many = Array.from({ length: 30 }, () =>
      left.call(b, 'join', 1, options).catch(errorCode),
    );
    const results = await Promise.all(many);
    const welcomed = results.filter((result) => result === 'welcome').length;
    expect(welcomed).toBeLessThanOrEqual(LIMITS.strangerCallsPerSecondMax);
    expect(metrics.get('net_stranger_calls_refused')).toBeGreaterThan(0);
    await env.clock.sleep(1000);
    expect(await left.call(b, 'join', 1, options)).toBe('welcome');
  });

  it('who has joined becomes a member with its next link; who is revoked loses it', async () => {
    let verdict: Verdict = 'stranger';
    const [left] = await open(1);
    const [right] = await open(
      2,
      judging(() => verdict),
    );
    await left.connect(addressOf(2));
    expect(right.links()).toMatchObject([{ node: a, verdict: 'stranger' }]);
    expect(await left.call(b, 'echo', 1, DEADLINE).catch(errorCode)).toBe('HF_DENIED');
    verdict = 'member';
    left.disconnect(b);
    await left.connect(addressOf(2));
    expect(await left.call(b, 'echo', 1, DEADLINE)).toBe(1);
    verdict = { refused: 'revoked' };
    right.judgeAgain();
    await env.clock.sleep(100);
    expect(left.links()).toEqual([]);
  });

  it('who says nothing is shut out after a while', async () => {
    await open(2);
    const { signal } = new AbortController();
    const { duplex } = await net.transport(a).dial(addressOf(2), { signal });
    await env.clock.sleep(LIMITS.handshakeMsMax / 2);
    expect(duplex.destroyed).toBe(false);
    await env.clock.sleep(LIMITS.handshakeMsMax);
    expect(duplex.destroyed).toBe(true);
    expect(metrics.get('net_refused', { why: 'late' })).toBe(1);
  });
});

it('arguments are checked by the schema of the method', async () => {
  const [[a], [b]] = (await introduced(2)) as [[Network, Peers], [Network, Peers]];
  const schema: Schema<number> = {
    '~standard': {
      validate: (value) =>
        typeof value === 'number' ? { value } : { issues: [{ message: 'no number' }] },
    },
  };
  b.handle('twice', { schema }, (n) => 2 * n);
  expect(await a.call(b.self, 'twice', 21, DEADLINE)).toBe(42);
  const wrong = a.call(b.self, 'twice', 'x', DEADLINE);
  await expect(wrong).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT', message: 'no number' });
});

it('flipped bits and broken connections fail calls, and never change an answer', async () => {
  net.faults.flipsPerMillion = 20_000;
  net.faults.breaksPerMillion = 2000;
  const [[a], [b]] = (await introduced(2)) as [[Network, Peers], [Network, Peers]];
  let [good, bad] = [0, 0];
  for (let turn = 0; turn < 400; turn++) {
    const sent = Buffer.alloc(500, turn);
    try {
      const back = await a.call<Uint8Array>(b.self, 'echo', sent, { deadlineMs: 2000 });
      expect(Buffer.from(back).equals(sent)).toBe(true);
      good += 1;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      expect(['HF_UNAVAILABLE', 'HF_TIMEOUT']).toContain(error.code);
      bad += 1;
      await env.clock.sleep(1000);
    }
  }
  expect(good).toBeGreaterThan(200);
  expect(bad).toBeGreaterThan(5);
  expect(metrics.get('net_violations', { what: 'frame' })).toBeGreaterThan(5);
});

it('closing a node lets what is under way end, and takes no longer than it must', async () => {
  const [[a], [b]] = (await introduced(2)) as [[Network, Peers], [Network, Peers]];
  b.handle('slow', {}, async () => await env.clock.sleep(300).then(() => 'done'));
  const call = a.call(b.self, 'slow', 1, DEADLINE);
  await env.clock.sleep(100);
  const closed = b[Symbol.asyncDispose]();
  expect(await call).toBe('done');
  await closed;
  expect(await a.call(b.self, 'echo', 1, DEADLINE).catch(errorCode)).toBe('HF_UNAVAILABLE');
});
