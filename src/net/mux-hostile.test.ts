/**
 * Aim: whatever the other end sends, or does not, memory stays bounded, others are not held up, and
 * it is counted. Method: a raw connection in memory on which frames are written by hand, good ones
 * and bad ones.
 */
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { duplexPair } from '../../test/suites/net-bed.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, HoldfastError, LIMITS, MiB } from '../base/index.ts';
import { type Env, MetricsTable } from '../env/index.ts';
import type { IncomingRequest } from './exchange.ts';
import { encodeFrame, FRAME, FrameReader, type FrameType } from './frame.ts';
import { MemoryNet } from './memory-net.ts';
import { MessageCodec } from './message.ts';
import { Mux } from './mux.ts';

const codec = new MessageCodec();
const never = new Promise<never>(() => {});

let env: Env;
let metrics: MetricsTable;
let hostile: Duplex;
let mux: Mux;
let serve: (request: IncomingRequest) => unknown;
let seen: number[];

beforeEach(async () => {
  metrics = new MetricsTable();
  env = { ...virtualEnv(1), metrics };
  const { near, far } = await duplexPair(new MemoryNet(env));
  hostile = near;
  seen = [];
  serve = () => never;
  mux = new Mux({ env, duplex: far, isDialer: false, serve: (request) => serve(request) });
});

afterEach(() => {
  mux.close('the test is over');
  hostile.destroy();
});

function send(type: FrameType, stream: number, payload?: Uint8Array): void {
  hostile.write(encodeFrame(type, stream, payload));
}

function request(id: number, withStream = false): void {
  send(FRAME.request, id, codec.encode(['m', null, withStream, 1000]));
}

/** Notes the types of the frames that come back. */
function listen(): void {
  const reader = new FrameReader();
  hostile.on('data', (chunk: Buffer) => {
    for (const { type } of reader.read(chunk)) seen.push(type);
  });
}

async function settled(): Promise<void> {
  await env.clock.sleep(1);
  await env.clock.sleep(1);
}

function violations(what: string): number {
  return metrics.get('net_violations', { what });
}

describe('the connection is closed by', () => {
  it.each([
    ['garbage', Buffer.alloc(1000, 0xa5)],
    ['a frame that is too large', Buffer.from('ffffffff01' + '00'.repeat(12), 'hex')],
    ['a wrong checksum', Buffer.from('0000000008' + '01'.repeat(12), 'hex')],
    ['a request that is no list', encodeFrame(FRAME.request, 1, codec.encode({ method: 'm' }))],
    [
      'a request that claims a list of millions',
      encodeFrame(FRAME.request, 1, Buffer.from('ddffffffff', 'hex')),
    ],
  ])('%s', async (_name, bytes) => {
    const call = mux.call('m', 1, { deadlineMs: 1000 }).catch(errorCode);
    hostile.write(bytes);
    expect(await call).toBe('HF_UNAVAILABLE');
    expect(mux.isClosed).toBe(true);
    expect(violations('frame')).toBe(1);
  });

  it.each([[[3, 1]], [[1, 1]], [[2]]])('request numbers out of order: %j', async (ids) => {
    for (const id of ids) request(id);
    await mux.closed;
    expect(violations('number')).toBe(1);
  });

  it('a flood of pings, but not by a few', async () => {
    listen();
    for (let count = 0; count < LIMITS.pingsPerTickMax; count++) send(FRAME.ping, count);
    await settled();
    expect(seen.filter((type) => type === FRAME.pong).length).toBe(LIMITS.pingsPerTickMax);
    expect(mux.isClosed).toBe(false);
    send(FRAME.ping, 0);
    await mux.closed;
    expect(violations('pings')).toBe(1);
  });

  it('silence: a stopped process answers no ping', async () => {
    for (let tick = 0; tick <= LIMITS.silentTicksMax; tick++) {
      expect(mux.isClosed).toBe(false);
      mux.tick();
    }
    expect(mux.isClosed).toBe(true);
    expect(violations('silent')).toBe(1);
  });

  it('an end that makes requests and reads no answer', async () => {
    const large = Buffer.alloc(MiB / 2);
    const text = 'x'.repeat(1000);
    let count = 0;
    serve = () => {
      count += 1;
      if (count < 100) return large;
      throw new HoldfastError('HF_IO', text);
    };
    for (let id = 1; !mux.isClosed && id < 200_000; id += 2) {
      request(id);
      if (id % 512 === 1) await env.clock.sleep(1);
    }
    await mux.closed;
    expect(violations('unread')).toBe(1);
    // Long before, replies were refused instead of piled up.
    expect(metrics.get('net_replies_refused')).toBeGreaterThan(0);
  });
});

it('nothing else counts as silence, and what is heard ends it', async () => {
  for (let tick = 0; tick < 4 * LIMITS.silentTicksMax; tick++) {
    mux.tick();
    if (tick % 100 === 0) {
      send(FRAME.pong, 12345);
      await settled();
    }
  }
  expect(mux.isClosed).toBe(false);
});

describe('bounded', () => {
  it('are requests at once', async () => {
    listen();
    const many = LIMITS.requestsPerConnectionMax + 10;
    for (let turn = 0; turn < many; turn++) request(2 * turn + 1);
    await settled();
    expect(mux.exchangeCount).toBe(LIMITS.requestsPerConnectionMax);
    expect(seen.filter((type) => type === FRAME.error).length).toBe(10);
    expect(metrics.get('net_requests_refused')).toBe(10);
  });

  it('are streams at once', async () => {
    for (let turn = 0; turn < LIMITS.streamsPerConnectionMax + 5; turn++)
      request(2 * turn + 1, true);
    await settled();
    expect(mux.exchangeCount).toBe(LIMITS.streamsPerConnectionMax);
    expect(metrics.get('net_requests_refused')).toBe(5);
  });

  it('are requests given up at once and begun anew: their handlers still count', async () => {
    let running = 0;
    serve = () => {
      running += 1;
      return never;
    };
    for (let turn = 0; turn < 2 * LIMITS.requestsPerConnectionMax; turn++) {
      request(2 * turn + 1);
      send(FRAME.reset, 2 * turn + 1);
    }
    await settled();
    expect(running).toBe(LIMITS.requestsPerConnectionMax);
  });

  it('are the bytes of a stream: more than credit resets it, and it alone', async () => {
    listen();
    request(1, true);
    const piece = Buffer.alloc(LIMITS.dataFrameBytesMax);
    for (let sent = 0; sent <= LIMITS.streamWindowBytes; sent += piece.length) {
      send(FRAME.data, 1, piece);
    }
    await settled();
    expect(violations('credit')).toBe(1);
    expect(seen).toContain(FRAME.reset);
    expect(mux.isClosed).toBe(false);
    serve = () => 'well';
    request(3);
    await settled();
    expect(seen).toContain(FRAME.reply);
  });

  it('is credit: more than a window resets the stream', async () => {
    request(1, true);
    await settled();
    const credit = Buffer.alloc(4);
    credit.writeUInt32LE(1);
    send(FRAME.credit, 1, credit);
    await settled();
    expect(violations('credit')).toBe(1);
  });

  it('is the life of a request whose caller says nothing more', async () => {
    request(1, true);
    serve = ({ stream }) => stream!.resume() && never;
    request(3, true);
    await settled();
    expect(mux.exchangeCount).toBe(2);
    await env.clock.sleep(1100);
    mux.tick();
    // Their streams are gone; the handlers, which ignore their signals, are still counted.
    send(FRAME.data, 3, Buffer.alloc(10));
    await settled();
    expect(mux.isClosed).toBe(false);
    expect(metrics.get('net_deadlines_passed')).toBe(2);
  });
});

it('frames for streams that are not there are passed over', async () => {
  for (const type of [FRAME.data, FRAME.reply, FRAME.error] as const) {
    send(type, 99, codec.encode(['HF_IO', 'x']));
  }
  for (const type of [FRAME.end, FRAME.reset, FRAME.pong] as const) send(type, 99);
  send(FRAME.credit, 99, Buffer.alloc(4));
  await settled();
  expect(mux.isClosed).toBe(false);
});

it('an end that vanishes in mid-stream fails the handler', async () => {
  const failure = Promise.withResolvers<unknown>();
  serve = async ({ stream }) => {
    for await (const chunk of stream! as AsyncIterable<Buffer>) expect(chunk.length).toBe(10);
  };
  const inner = serve;
  serve = (call) => (inner(call) as Promise<void>).catch((error) => failure.resolve(error));
  request(1, true);
  send(FRAME.data, 1, Buffer.alloc(10));
  await settled();
  hostile.destroy();
  expect(errorCode(await failure.promise)).toBe('HF_UNAVAILABLE');
  expect(mux.isClosed).toBe(true);
  await settled();
  expect(mux.exchangeCount).toBe(0);
});
