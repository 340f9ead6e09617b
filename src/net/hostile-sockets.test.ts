/**
 * Aim: on real sockets, who does not prove a key, or proves it and then misbehaves, is shut out and
 * counted, and others are served meanwhile. Method: raw sockets, a proxy that flips bits, a process
 * that is stopped. Nothing depends on how fast the machine is: silence is counted in ticks that the
 * test gives.
 */
import { fork } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keyOf, openTlsNode } from '../../test/suites/net-bed.ts';
import { WireProxy } from '../../test/suites/wire-proxy.ts';
import { errorCode, LIMITS } from '../base/index.ts';
import { type Env, MetricsTable, realEnv } from '../env/index.ts';
import { type NetAddress, parseAddress } from './address.ts';
import { certificateOf } from './certificate.ts';
import { Mux } from './mux.ts';
import { Network } from './network.ts';
import { tlsTransport } from './tls-transport.ts';

const DEADLINE = { deadlineMs: 20_000 };

let metrics: MetricsTable;
let env: Env;
let server: Network;
let address: NetAddress;
let stack: AsyncDisposableStack;

function open(number: number): Promise<Network> {
  return openTlsNode(number, { env });
}

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  metrics = new MetricsTable();
  env = { ...realEnv(), metrics };
  server = stack.use(await open(1));
  server.handle('echo', {}, (arg) => arg);
  address = server.addresses[0]!;
});

afterEach(async () => await stack.disposeAsync());

function raw(): Socket {
  const socket = connect(address.port, address.host);
  socket.on('error', () => {});
  stack.defer(() => void socket.destroy());
  return socket;
}

async function expectService(): Promise<void> {
  await using other = await open(9);
  await other.connect(address);
  expect(await other.call(server.self, 'echo', 'well', DEADLINE)).toBe('well');
}

function identity(number: number): ConnectionOptions {
  const key = keyOf(number);
  const pem = key.privateKey.export({ format: 'pem', type: 'pkcs8' });
  return { cert: certificateOf(key), key: pem };
}

function tls(options: ConnectionOptions): TLSSocket {
  const { host, port } = address;
  const socket = connectTls({
    host,
    port,
    rejectUnauthorized: false,
    ALPNProtocols: ['holdfast/1'],
    ...options,
  });
  socket.on('error', () => {});
  socket.resume();
  stack.defer(() => void socket.destroy());
  return socket;
}

/** Also when it fails before. */
async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
}

describe('shut out is', () => {
  it('who sends garbage instead of a handshake', async () => {
    const socket = raw();
    socket.write(Buffer.alloc(5000, 0x5a));
    socket.resume();
    await closed(socket);
    expect(metrics.get('net_refused', { why: 'handshake' })).toBe(1);
    await expectService();
  });

  it('who shows no certificate', async () => {
    await closed(tls({}));
    expect(metrics.get('net_refused', { why: 'identity' })).toBe(1);
  });

  it('who speaks another protocol, or an older TLS', async () => {
    await closed(tls({ ...identity(2), ALPNProtocols: ['h2'] }));
    await closed(tls({ ...identity(2), ALPNProtocols: [] }));
    await closed(tls({ ...identity(2), maxVersion: 'TLSv1.2' }));
    expect(server.links()).toEqual([]);
    await expectService();
  });

  it('who sends garbage after the handshake', async () => {
    const socket = tls(identity(2));
    await once(socket, 'secureConnect');
    socket.write(Buffer.alloc(5000, 0x5a));
    await closed(socket);
    expect(metrics.get('net_violations', { what: 'frame' })).toBe(1);
    await expectService();
  });

  it('whoever holds too many connections half open; those of others go on', async () => {
    const link = stack.use(await open(8));
    await link.connect(address);
    const many = Array.from({ length: LIMITS.halfOpenPerAddressMax + 20 }, raw);
    await Promise.all(many.map((socket) => once(socket.resume(), 'connect')));
    const refused = many.slice(LIMITS.halfOpenPerAddressMax);
    await Promise.all(refused.map(closed));
    expect(metrics.get('net_half_open_refused')).toBe(20);
    expect(await link.call(server.self, 'echo', 1, DEADLINE)).toBe(1);
    for (const socket of many) socket.destroy();
    // Their places come free.
    let view: unknown;
    while (!view)
      view = await stack
        .use(await open(7))
        .connect(address)
        .catch(() => undefined);
  });
});

it('no ticket is given out: each connection proves its key anew', async () => {
  const socket = tls(identity(2));
  let ticketCount = 0;
  socket.on('session', () => (ticketCount += 1));
  await once(socket, 'secureConnect');
  expect(new X509Certificate(socket.getPeerX509Certificate()!.raw).subject).toContain(server.self);
  socket.write(Buffer.alloc(100, 1)); // garbage, so that the server answers by closing
  await closed(socket);
  expect(ticketCount).toBe(0);
});

it('a proxy that flips bits breaks the connection, and never changes a byte', async () => {
  const proxy = stack.use(await WireProxy.open(address));
  const { port } = proxy;
  const client = stack.use(await open(3));
  await client.connect({ ...address, port });
  expect(await client.call(server.self, 'echo', 'clean', DEADLINE)).toBe('clean');
  proxy.faults.flipEveryBytes = 20;
  const damaged = client.call(server.self, 'echo', 'damaged', DEADLINE);
  expect(await damaged.catch(errorCode)).toBe('HF_UNAVAILABLE');
  expect(proxy.flipCount).toBeGreaterThan(0);
  proxy.faults.flipEveryBytes = 0;
  let answer: unknown;
  while (answer === undefined) {
    // The connection was dialled without an id, so it is met anew.
    await client.connect({ ...address, port });
    answer = await client.call(server.self, 'echo', 'again', DEADLINE).catch(() => undefined);
  }
  expect(answer).toBe('again');
});

it('a slow wire carries all, a cut one breaks the stream: it never looks whole', async () => {
  const proxy = stack.use(await WireProxy.open(address));
  const content = Buffer.alloc(600_000, 'holdfast');
  let digest = '';
  server.handle('upload', {}, async (_arg, { stream }) => {
    const hash = createHash('sha256');
    for await (const chunk of stream! as AsyncIterable<Buffer>) hash.update(chunk);
    digest = hash.digest('hex');
  });
  const client = stack.use(await open(3));
  await client.connect({ ...address, port: proxy.port });
  Object.assign(proxy.faults, { delayMs: 1, bytesPerSecond: 20e6 });
  const whole = await client.open(server.self, 'upload', null, DEADLINE);
  whole.stream.resume().end(content);
  await whole.reply;
  expect(digest).toBe(createHash('sha256').update(content).digest('hex'));
  digest = '';
  const broken = await client.open(server.self, 'upload', null, DEADLINE);
  broken.stream.resume().write(content);
  proxy.cut();
  expect(await broken.reply.catch(errorCode)).toBe('HF_UNAVAILABLE');
  expect(digest).toBe('');
});

it('a process that is stopped loses its link, and calls to it fail', async () => {
  const module = fileURLToPath(new URL('../../test/workers/net-process.ts', import.meta.url));
  const child = fork(module);
  stack.defer(() => void child.kill('SIGKILL'));
  const [text] = (await once(child, 'message')) as [string];
  const key = keyOf(4);
  const { signal } = new AbortController();
  const dialled = await tlsTransport({ env, key }).dial(parseAddress(text), { signal });
  const serve = (): never => {
    throw new Error('nobody asks');
  };
  const mux = new Mux({ env, duplex: dialled.duplex, isDialer: true, serve });
  // It is refused, since it said no hello; so it answers.
  expect(await mux.call('echo', 1, DEADLINE).catch(errorCode)).toBe('HF_DENIED');
  child.kill('SIGSTOP');
  const call = mux.call('echo', 1, DEADLINE).catch(errorCode);
  for (let tick = 0; tick <= LIMITS.silentTicksMax; tick++) mux.tick();
  expect(await call).toBe('HF_UNAVAILABLE');
  expect(metrics.get('net_violations', { what: 'silent' })).toBe(1);
});
