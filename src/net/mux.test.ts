/**
 * Aim: calls and streams of one connection do what they say, at both ends, with errors, cancelling,
 * deadlines and slow readers. Method: two Muxes over a connection in memory, on a virtual clock;
 * ticks are given by hand.
 */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { duplexPair } from '../../test/suites/net-bed.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, HoldfastError, LIMITS, MiB } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { IncomingRequest } from './exchange.ts';
import { MemoryNet } from './memory-net.ts';
import { Mux } from './mux.ts';

type Handlers = Record<string, (request: IncomingRequest) => unknown>;

const DEADLINE = { deadlineMs: 1000 };

let env: Env;
let net: MemoryNet;
let client: Mux;
let server: Mux;
let handlers: Handlers;

function serve(request: IncomingRequest): unknown {
  const handler = handlers[request.method];
  if (!handler) throw new HoldfastError('HF_UNSUPPORTED');
  return handler(request);
}

beforeEach(async () => {
  env = virtualEnv(1);
  net = new MemoryNet(env);
  handlers = { echo: ({ arg }) => arg };
  const { near, far } = await duplexPair(net);
  client = new Mux({ env, duplex: near, isDialer: true, serve });
  server = new Mux({ env, duplex: far, isDialer: false, serve });
});

afterEach(() => {
  client.close('the test is over');
  server.close('the test is over');
});

/** Time goes on, with all that it brings. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= LIMITS.networkTickMs) {
    await env.clock.sleep(Math.min(left, LIMITS.networkTickMs));
    client.tick();
    server.tick();
  }
}

async function read(stream: Duplex): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>));
}

function pattern(bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) content.writeUInt32LE(at, at);
  return content;
}

async function written(stream: Duplex, content: Buffer): Promise<void> {
  await pipeline(
    function* pieces() {
      for (let at = 0; at < content.length; at += 100_000) {
        yield content.subarray(at, at + 100_000);
      }
    },
    stream,
    { end: true },
  );
}

describe('calls', () => {
  it('go both ways at once, each with its own answer', async () => {
    const values = Array.from({ length: 300 }, (_, value) => ({ value }));
    const there = Promise.all(values.map((value) => client.call('echo', value, DEADLINE)));
    const back = Promise.all(values.map((value) => server.call('echo', value, DEADLINE)));
    expect(await there).toEqual(values);
    expect(await back).toEqual(values);
    expect(client.exchangeCount + server.exchangeCount).toBe(0);
  });

  it('bring errors of ours with code and text; of others only that there was one', async () => {
    handlers['ours'] = () => Promise.reject(new HoldfastError('HF_FENCED', 'epoch 7'));
    handlers['bug'] = () => {
      throw new TypeError('/secret/path');
    };
    const ours = client.call('ours', 1, DEADLINE);
    await expect(ours).rejects.toMatchObject({ code: 'HF_FENCED', message: 'epoch 7' });
    const bug = client.call('bug', 1, DEADLINE);
    await expect(bug).rejects.toMatchObject({ code: 'HF_INTERNAL', message: /^(?!.*secret)/ });
    const unknown = client.call('unknown', 1, DEADLINE).catch(errorCode);
    expect(await unknown).toBe('HF_UNSUPPORTED');
    handlers['large'] = () => Buffer.alloc(LIMITS.messageBytesMax);
    expect(await client.call('large', 1, DEADLINE).catch(errorCode)).toBe('HF_TOO_LARGE');
  });

  it('end at their deadline, at both ends', async () => {
    let signal: AbortSignal | undefined;
    handlers['never'] = (request) => {
      ({ signal } = request);
      return new Promise(() => {});
    };
    const call = client.call('never', 1, DEADLINE).catch(errorCode);
    await pass(900);
    expect(signal?.aborted).toBe(false);
    await pass(200);
    expect(await call).toBe('HF_TIMEOUT');
    expect(signal?.aborted).toBe(true);
    expect(client.exchangeCount).toBe(0);
  });

  it('can be cancelled; the handler hears of it', async () => {
    const begun = Promise.withResolvers<AbortSignal>();
    handlers['wait'] = async ({ signal }) => {
      begun.resolve(signal);
      await once(signal, 'abort');
    };
    const controller = new AbortController();
    const call = client.call('wait', 1, { ...DEADLINE, signal: controller.signal });
    const result = call.catch(errorCode);
    const signal = await begun.promise;
    controller.abort();
    expect(await result).toBe('HF_INTERRUPTED');
    if (!signal.aborted) await once(signal, 'abort');
    await pass(100);
    expect(server.exchangeCount).toBe(0);
    const { signal: gone } = controller;
    expect(() => client.call('echo', 1, { ...DEADLINE, signal: gone })).toThrow('gave up');
  });

  it('fail when the connection goes, and say that they may be tried again', async () => {
    handlers['never'] = () => new Promise(() => {});
    const call = client.call('never', 1, DEADLINE);
    const failed = expect(call).rejects.toMatchObject({ code: 'HF_UNAVAILABLE', retry: 'later' });
    await pass(100);
    server.close('it dies');
    await failed;
    await client.closed;
    expect(() => client.call('echo', 1, DEADLINE)).toThrow();
  });
});

describe('streams', () => {
  const content = pattern(5 * MiB + 3);

  it('carry bytes up', async () => {
    handlers['up'] = async ({ stream }) => (await read(stream!)).equals(content);
    const { stream, reply } = client.open('up', null, DEADLINE);
    await written(stream, content);
    expect(await reply).toBe(true);
    stream.resume();
    await pass(100);
    expect(client.exchangeCount + server.exchangeCount).toBe(0);
  });

  it('carry bytes down, also when the reader is late and the handler long done', async () => {
    handlers['down'] = ({ stream, arg }) => {
      stream!.end(content.subarray(0, arg as number));
      return 'sent';
    };
    for (const bytes of [0, 1, 700_000, content.length]) {
      const { stream, reply } = client.open('down', bytes, DEADLINE);
      if (bytes < MiB) expect(await reply).toBe('sent');
      expect((await read(stream)).equals(content.subarray(0, bytes))).toBe(true);
      expect(await reply).toBe('sent');
    }
    await pass(100);
    expect(client.exchangeCount + server.exchangeCount).toBe(0);
  });

  it('carry bytes both ways at once', async () => {
    handlers['mirror'] = async ({ stream }) => await pipeline(stream!, stream!);
    const { stream, reply } = client.open('mirror', null, DEADLINE);
    const [back] = await Promise.all([read(stream), written(stream, content), reply]);
    expect(back.equals(content)).toBe(true);
  });

  it('slow the writer down to the reader: never more than a window is under way', async () => {
    let taken = 0;
    handlers['slow'] = async ({ stream }) => {
      for await (const chunk of stream! as AsyncIterable<Buffer>) {
        taken += chunk.length;
        await env.clock.sleep(10);
      }
    };
    const { stream, reply } = client.open('slow', null, DEADLINE);
    let sent = 0;
    for (; sent < 8 * MiB; sent += 64 * 1024) {
      if (!stream.write(Buffer.alloc(64 * 1024))) await once(stream, 'drain');
      const buffers = LIMITS.dataFrameBytesMax * 2;
      expect(sent - taken).toBeLessThanOrEqual(LIMITS.streamWindowBytes + buffers);
    }
    stream.end();
    await reply;
    expect(taken).toBe(sent);
  });

  it('that nobody reads stop, and end when nothing has moved for their deadline', async () => {
    handlers['deaf'] = () => new Promise(() => {});
    const { stream, reply } = client.open('deaf', null, DEADLINE);
    const failed = reply.catch(errorCode);
    while (stream.write(Buffer.alloc(MiB / 4))) await pass(1);
    await pass(2000);
    expect(await failed).toBe('HF_TIMEOUT');
    expect(stream.destroyed).toBe(true);
  });

  it('live longer than their deadline while something moves', async () => {
    handlers['up'] = async ({ stream }) => (await read(stream!)).length;
    const { stream, reply } = client.open('up', null, DEADLINE);
    for (let turn = 0; turn < 10; turn++) {
      stream.write(Buffer.alloc(10));
      await pass(700);
    }
    stream.end();
    expect(await reply).toBe(100);
  });

  it('tell the reader when the writer gives up: a cut stream never looks whole', async () => {
    const seen = Promise.withResolvers<unknown>();
    handlers['up'] = ({ stream }) => read(stream!).then(seen.resolve, seen.reject);
    const { stream } = client.open('up', null, DEADLINE);
    stream.write(content.subarray(0, 1000));
    await pass(100);
    stream.destroy();
    await expect(seen.promise).rejects.toMatchObject({ code: 'HF_UNAVAILABLE' });
  });

  it('fail with the error of their handler', async () => {
    handlers['full'] = async ({ stream }) => {
      await once(stream!, 'readable');
      throw new HoldfastError('HF_NO_SPACE');
    };
    const { stream, reply } = client.open('full', null, DEADLINE);
    const writing = written(stream, content).catch(errorCode);
    expect(await reply.catch(errorCode)).toBe('HF_NO_SPACE');
    expect(await writing).toBe('HF_NO_SPACE');
    await pass(100);
    expect(client.exchangeCount + server.exchangeCount).toBe(0);
  });

  it('end with the connection', async () => {
    handlers['up'] = ({ stream }) => read(stream!);
    const { stream, reply } = client.open('up', null, DEADLINE);
    const failed = reply.catch(errorCode);
    await pass(100);
    server.close('it vanishes');
    expect(await failed).toBe('HF_UNAVAILABLE');
    expect(stream.destroyed).toBe(true);
  });

  it('take turns: a small one is not behind a large one', async () => {
    net.faults.bytesPerSecond = 10 * MiB;
    let isLargeDone = false;
    handlers['up'] = async ({ stream }) => (await read(stream!)).length;
    const large = client.open('up', null, DEADLINE);
    const writing = written(large.stream, content);
    void large.reply.then(() => (isLargeDone = true));
    await env.clock.sleep(50);
    const small = client.open('up', null, DEADLINE);
    small.stream.end(Buffer.alloc(300_000));
    expect(await small.reply).toBe(300_000);
    expect(isLargeDone).toBe(false);
    await writing;
    expect(await large.reply).toBe(content.length);
  });
});

it('a retired connection finishes what is under way, then closes at both ends', async () => {
  const go = Promise.withResolvers<void>();
  handlers['slow'] = () => go.promise.then(() => 'done');
  const calls = [client.call('slow', 1, DEADLINE), server.call('slow', 1, DEADLINE)];
  await pass(100);
  server.retire();
  await pass(100);
  expect(client.isOpen).toBe(false);
  expect(client.isClosed).toBe(false);
  expect(() => client.call('echo', 1, DEADLINE)).toThrow('going away');
  go.resolve();
  expect(await Promise.all(calls)).toEqual(['done', 'done']);
  await Promise.all([client.closed, server.closed]);
});

it('measures the round trip', async () => {
  expect(client.rttMs).toBe(undefined);
  net.faults.delayMs = 30;
  await pass(200);
  expect(client.rttMs).toBe(60);
});
