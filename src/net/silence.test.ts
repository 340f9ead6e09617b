/**
 * Aim: who can ask another node does not wait for one that gives no sign of life, whatever it waits
 * for; who cannot waits on; the first byte ends it, and nobody is taken for dead by it. A node that
 * is busy, or behind a slow wire, is not silent, nor are others after a pause of our own. Method:
 * whole nodes over the network in memory, on a virtual clock, whose bytes are held back.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { everybody, keyOf, type NodeOptions, openMemoryNode } from '../../test/suites/net-bed.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, HoldfastError, LIMITS, MiB, type NodeId } from '../base/index.ts';
import { type Env, MetricsTable } from '../env/index.ts';
import { parseAddress } from './address.ts';
import { gossipMembers } from './gossip.ts';
import { Heartbeat } from './heartbeat.ts';
import { MemoryNet } from './memory-net.ts';
import type { Network } from './network.ts';
import type { CallOptions } from './types.ts';

const { networkTickMs, quietTicksMax, unansweredTicksMax } = LIMITS;
/** From a call on; a tick and the way for each of the two. */
const SILENCE_MS = (quietTicksMax + unansweredTicksMax + 2) * networkTickMs;
const REPLACEABLE = { deadlineMs: 60_000, isElsewhereToo: true };
const PATIENT = { deadlineMs: 60_000 };

let env: Env;
let metrics: MetricsTable;
let net: MemoryNet;
let stack: AsyncDisposableStack;
let asker: Network;
let peer: Network;

async function open(number: number, options: Partial<NodeOptions> = {}): Promise<Network> {
  const node = stack.use(await openMemoryNode({ env, net, number, ...options }));
  node.handle('echo', {}, (arg) => arg);
  node.handle('slow', {}, async (arg) => {
    await env.clock.sleep(20_000);
    return arg;
  });
  node.handle('swallow', {}, async (arg, { stream }) => {
    await env.clock.sleep(Number(arg));
    let bytes = 0;
    for await (const chunk of stream! as AsyncIterable<Buffer>) bytes += chunk.length;
    return bytes;
  });
  return node;
}

/** @param turn what handles that which came while the process was paused. */
async function begin(turn?: () => Promise<void>): Promise<void> {
  metrics = new MetricsTable();
  const { clock, ...rest } = virtualEnv(1);
  env = { ...rest, clock: { ...clock, ...(turn && { turn }) }, metrics };
  net = new MemoryNet(env, { delayMs: 1 });
  stack = new AsyncDisposableStack();
  asker = await open(1);
  peer = await open(2);
  await asker.connect(parseAddress('memory://node-2:1'));
}

async function end(): Promise<void> {
  net.heal();
  await stack.disposeAsync();
}

beforeEach(async () => await begin());
afterEach(end);

/** The peer says and hears nothing more; connections stay. */
function silence(node = peer): void {
  net.partition((a, b) => a === node.self || b === node.self);
}

/** What became of it, and how long that took. */
async function outcome(work: Promise<unknown>) {
  const startMs = env.clock.monotonic();
  const result = await work.catch((error: unknown) => {
    const { code, details } = error as HoldfastError;
    return details['isSilent'] === true ? 'silent' : code;
  });
  return { result, ms: env.clock.monotonic() - startMs };
}

function echo(options: CallOptions = REPLACEABLE): Promise<unknown> {
  return asker.call(peer.self, 'echo', 7, options);
}

describe('a node that falls silent', () => {
  it('holds up nobody who can ask another one, and those who come next not at all', async () => {
    silence();
    const first = await outcome(echo());
    expect(first.result).toBe('silent');
    expect(first.ms).toBeLessThanOrEqual(SILENCE_MS);
    expect(await outcome(echo())).toEqual({ result: 'silent', ms: 0 });
    const stream = asker.open(peer.self, 'swallow', 0, REPLACEABLE);
    expect(await outcome(stream)).toEqual({ result: 'silent', ms: 0 });
    expect(metrics.get('net_silences')).toBe(1);
  });

  it('is waited for by who cannot ask another one', async () => {
    silence();
    const patient = outcome(echo(PATIENT));
    expect((await outcome(echo())).result).toBe('silent');
    const later = outcome(echo(PATIENT));
    await env.clock.sleep(5000);
    net.heal();
    expect((await patient).result).toBe(7);
    expect((await later).result).toBe(7);
  });

  it('is asked again with the first byte, on the connection that was there', async () => {
    silence();
    await outcome(echo());
    await env.clock.sleep(5000);
    expect(await outcome(echo())).toEqual({ result: 'silent', ms: 0 });
    net.heal();
    await env.clock.sleep(5);
    expect((await outcome(echo())).result).toBe(7);
    await env.clock.sleep(networkTickMs);
    expect(asker.links()[0]!.silenceCount).toBe(1);
    expect(metrics.get('net_dials')).toBe(1);
    expect(net.connectionCount).toBe(1);
  });

  it('is not waited for while a link to it is made', async () => {
    await echo();
    await env.clock.sleep(1000);
    silence();
    const { result, ms } = await outcome(asker.open(peer.self, 'swallow', 0, REPLACEABLE));
    expect(result).toBe('silent');
    expect(ms).toBeLessThanOrEqual(SILENCE_MS);
  });

  it('is not waited for in the midst of a stream', async () => {
    const stream = await asker.open(peer.self, 'swallow', 0, REPLACEABLE);
    stream.stream.write(Buffer.alloc(1000));
    await env.clock.sleep(1000);
    silence();
    const { result, ms } = await outcome(stream.reply);
    expect(result).toBe('silent');
    expect(ms).toBeLessThanOrEqual(SILENCE_MS);
    expect(stream.stream.destroyed).toBe(true);
  });

  it('is not waited for either when its connection was given up, until there is one', async () => {
    silence();
    await outcome(echo());
    await env.clock.sleep((LIMITS.silentTicksMax + 10) * networkTickMs);
    expect(asker.links()).toEqual([]);
    expect(await outcome(echo())).toEqual({ result: 'silent', ms: 0 });
    net.heal();
    await asker.connect(parseAddress('memory://node-2:1'));
    expect((await outcome(echo())).result).toBe(7);
  });

  it('is known before anybody asks, when it has been silent for a while', async () => {
    silence();
    await env.clock.sleep((LIMITS.pingEveryTicks + unansweredTicksMax + 2) * networkTickMs);
    expect(await outcome(echo())).toEqual({ result: 'silent', ms: 0 });
  });

  it('for a moment goes unnoticed', async () => {
    silence();
    const call = outcome(echo());
    await env.clock.sleep(unansweredTicksMax * networkTickMs - 500);
    net.heal();
    expect((await call).result).toBe(7);
  });

  it('is not dead by that: gossip alone says who is', async () => {
    const membership = gossipMembers({ admission: everybody });
    const seeds = [parseAddress('memory://node-11:1')];
    const nodes: Network[] = [];
    for (const number of [11, 12, 13]) nodes.push(await open(number, { membership, seeds }));
    await env.clock.sleep(10_000);
    const [first, second] = nodes as [Network, Network];
    const healths = new Set<string>();
    const stop = new AbortController();
    const watching = (async () => {
      for await (const { node, member } of first.watch({ signal: stop.signal })) {
        if (node === second.self) healths.add(member?.health ?? 'forgotten');
      }
    })();
    silence(second);
    const call = await outcome(first.call(second.self, 'echo', 7, REPLACEABLE));
    expect(call.result).toBe('silent');
    await env.clock.sleep(5000);
    net.heal();
    await env.clock.sleep(5000);
    expect((await outcome(first.call(second.self, 'echo', 7, REPLACEABLE))).result).toBe(7);
    stop.abort();
    await watching;
    expect(healths.has('dead')).toBe(false);
    expect(healths.has('forgotten')).toBe(false);
  });
});

describe('not silent is', () => {
  it('a node that takes long for an answer', async () => {
    const { result, ms } = await outcome(asker.call(peer.self, 'slow', 7, REPLACEABLE));
    expect(result).toBe(7);
    expect(ms).toBeGreaterThanOrEqual(20_000);
    expect(metrics.get('net_silences')).toBe(0);
  });

  it('a node far away', async () => {
    net.faults.delayMs = 800;
    const slow = await outcome(asker.call(peer.self, 'slow', 7, REPLACEABLE));
    expect(slow.result).toBe(7);
  });

  it('a node one of whose links lags behind the others', async () => {
    net.faults.bytesPerSecond = 50_000; // of each link
    const { stream, reply } = await asker.open(peer.self, 'swallow', 0, REPLACEABLE);
    stream.end(Buffer.alloc(MiB));
    expect((await outcome(reply)).result).toBe(MiB);
    expect(metrics.get('net_silences')).toBe(0);
  });

  it('a node that reads nothing of much that is sent on one connection', async () => {
    // It cannot be dialled: calls and streams are on the one link that it made.
    const hidden = await open(3, { advertise: [] });
    await hidden.connect(parseAddress('memory://node-1:1'));
    net.faults.bytesPerSecond = 250_000;
    const uploads = Array.from({ length: 4 }, async () => {
      const { stream, reply } = await asker.open(hidden.self, 'swallow', 30_000, REPLACEABLE);
      stream.end(Buffer.alloc(MiB));
      return await outcome(reply);
    });
    const results = await Promise.all(uploads);
    expect(results.map(({ result }) => result)).toEqual([MiB, MiB, MiB, MiB]);
    expect(metrics.get('net_silences')).toBe(0);
  });

  it('anybody because this process was paused', () => {
    const heartbeat = new Heartbeat();
    let nowMs = 0;
    for (let tick = 0; tick < unansweredTicksMax; tick++) {
      heartbeat.tick((nowMs += 60_000), true);
      expect(heartbeat.isSilent).toBe(false);
    }
    heartbeat.tick((nowMs += networkTickMs), true);
    expect(heartbeat.isSilent).toBe(true);
    heartbeat.onBytes();
    expect(heartbeat.isSilent).toBe(false);
  });

  it('a node whose answer came while this process was paused', async () => {
    silence();
    const { ms } = await outcome(echo());
    await end();
    let endMs = Infinity;
    await begin(async () => {
      if (env.clock.monotonic() < endMs) return;
      net.heal();
      await env.clock.sleep(10);
    });
    silence();
    endMs = env.clock.monotonic() + ms;
    expect((await outcome(echo())).result).toBe(7);
  });

  it('a node of which nothing is known: it fails as it did', async () => {
    const nobody: NodeId = keyOf(9).nodeId;
    const call = asker.call(nobody, 'echo', 7, REPLACEABLE);
    expect(await call.catch(errorCode)).toBe('HF_UNAVAILABLE');
  });
});

it('pings of those who wait are few', async () => {
  const waits = Array.from({ length: 50 }, () => asker.call(peer.self, 'slow', 7, REPLACEABLE));
  await Promise.all(waits);
  expect(metrics.get('net_violations', { what: 'pings' })).toBe(0);
  expect(asker.links().length).toBe(1);
});
