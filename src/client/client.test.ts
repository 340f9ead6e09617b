/**
 * Aim: what goes through the socket arrives whole or fails loudly, and nothing goes on for a client
 * that has gone. Method: the real server and client on a Unix socket, over parts in memory that
 * hand out one array again and again; failures planted in mid-stream; raw sockets where we must
 * misbehave.
 */
import { once } from 'node:events';
import fs from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MemoryParts, pieces } from '../../test/control/memory-parts.ts';
import { serveAdmin } from '../admin/index.ts';
import { CONTROL_SOCKET, type ObjectView, type ProgressView } from '../api/index.ts';
import { concatBytes, LIMITS } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import { connect, type HoldfastClient } from './index.ts';

const TOKEN = '7e'.repeat(32);

let folder: string;
let socketPath: string;
let parts: MemoryParts;
let client: HoldfastClient;
let server: AsyncDisposable;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-client-'));
  socketPath = path.join(folder, CONTROL_SOCKET);
  parts = new MemoryParts(folder);
  server = await serveAdmin({ parts, socketPath, env: realEnv() });
  client = connect({ socketPath });
});

afterEach(async () => {
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
  await fs.rm(folder, { recursive: true });
});

/** Bytes that say where they are. */
function content(lengthBytes: number): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, index) => (index * 31 + (index >> 8)) & 0xff);
}

async function readAll(bytes: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of bytes) all.push(piece);
  return concatBytes(...all);
}

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => 'no error',
    (error: { code?: unknown }) => error.code ?? error,
  );
}

/** A node that listens on a free port as well. */
async function listening(host = '127.0.0.1') {
  const tcp = { host, port: 0, token: TOKEN };
  const other = path.join(folder, `tcp-${host}.sock`);
  const service = await serveAdmin({ parts, socketPath: other, tcp, env: realEnv() });
  return { service, port: Number(/:(\d+)$/.exec(service.address!)![1]) };
}

/** Waits, turn by turn, for something that must come. */
async function until(claim: () => boolean): Promise<void> {
  while (!claim()) await new Promise((resolve) => setImmediate(resolve));
}

/** Sends a request as text, and gives the socket. */
async function rawRequest(text: string): Promise<net.Socket> {
  const socket = net.connect(socketPath);
  await once(socket, 'connect');
  socket.write(text);
  return socket;
}

describe('content', () => {
  it.each([0, 1, 200_000, 3_456_789])('of %i bytes comes back as it went', async (lengthBytes) => {
    const sent = content(lengthBytes);
    const half = lengthBytes >> 1;
    const names = { key: 'büro/größe 1', fileName: 'a%b.bin', mediaType: 'text/plain' };
    const answer = await client.put(pieces([sent.subarray(0, half), sent.subarray(half)]), names);
    expect(answer.object).toMatchObject({ ...names, sizeBytes: lengthBytes, scheme: 'rs-4+2' });
    expect(answer.degradedTo).toBeNull();
    const { object, bytes } = await client.get({ reference: names.key });
    expect(object).toEqual(answer.object);
    expect(Buffer.compare(await readAll(bytes), sent)).toBe(0);
    // While it was under way the node knew.
    await vi.waitFor(() => expect(parts.contentCounts).toEqual({ now: 0, ever: 2 }));
  });

  it('is given in ranges', async () => {
    const sent = content(500_000);
    const { object } = await client.put(pieces([sent]), {});
    const range = async (offset?: number, lengthBytes?: number) => {
      const options = {
        ...(offset === undefined ? {} : { offset }),
        ...(lengthBytes === undefined ? {} : { lengthBytes }),
      };
      return await readAll((await client.get({ reference: object.id, ...options })).bytes);
    };
    expect(await range(10, 20)).toEqual(sent.subarray(10, 30));
    expect(await range(499_990)).toEqual(sent.subarray(499_990));
    expect(await range(499_990, 1000)).toEqual(sent.subarray(499_990));
    expect(await range(undefined, 3)).toEqual(sent.subarray(0, 3));
    expect(await range(500_000)).toEqual(new Uint8Array());
    expect(await codeOf(range(500_001))).toBe('HF_BAD_ARGUMENT');
  });

  it('that fails in mid-stream is an error with its code, after the good bytes', async () => {
    const sent = content(2_000_000);
    const { object } = await client.put(pieces([sent]), {});
    parts.objects.failReadAt = 1_000_000;
    const { bytes } = await client.get({ reference: object.id });
    let lengthBytes = 0;
    const reading = (async () => {
      for await (const piece of bytes) lengthBytes += piece.length;
    })();
    expect(await codeOf(reading)).toBe('HF_TOO_FEW_SHARDS');
    expect(lengthBytes).toBe(1_000_000);
  });

  it('that fails at once is an error before any content', async () => {
    const { object } = await client.put(pieces([content(10)]), {});
    parts.objects.failReadAt = 0;
    expect(await codeOf(client.get({ reference: object.id }))).toBe('HF_TOO_FEW_SHARDS');
  });

  it('that breaks off without a word is an error', async () => {
    await using stack = new AsyncDisposableStack();
    const cutPath = path.join(folder, 'cut.sock');
    const view = { sizeBytes: 100 } as ObjectView;
    const header = encodeURIComponent(JSON.stringify(view));
    const cutters = [
      // Ends in good form, but early; then without form.
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n',
      'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n',
    ];
    const cutter = net.createServer((socket) => {
      socket.on('error', () => {});
      const head = `${cutters.shift()}x-holdfast-object: ${header}\r\n\r\n`;
      const body = head.includes('chunked') ? '3\r\nabc\r\n0\r\n\r\n' : 'abc';
      socket.once('data', () => socket.end(head + body));
    });
    stack.defer(() => void cutter.close());
    await once(cutter.listen(cutPath), 'listening');
    for (let turn = 0; turn < 2; turn++) {
      using cutClient = connect({ socketPath: cutPath });
      const { bytes } = await cutClient.get({ reference: 'x' });
      expect(await codeOf(readAll(bytes))).toBe('HF_IO');
    }
  });

  it('that is refused says why, and the rest of it need not be sent', async () => {
    async function* endless() {
      for (;;) yield new Uint8Array(100_000);
    }
    parts.objects.failPutAt = 1_000_000;
    expect(await codeOf(client.put(endless(), {}))).toBe('HF_NO_SPACE');
    expect(await codeOf(client.put(endless(), { scheme: 'rs-9' }))).toBe('HF_BAD_SCHEME');
    expect(await codeOf(client.put(endless(), { id: '12' }))).toBe('HF_BAD_ARGUMENT');
    async function* silent() {
      yield new Uint8Array(10);
      await new Promise(() => {});
    }
    expect(await codeOf(client.put(silent(), { volume: 'none' }))).toBe('HF_NOT_FOUND');
  });

  it('whose source fails leaves nothing', async () => {
    async function* failing() {
      yield content(300_000);
      throw new Error('the disk is gone');
    }
    await expect(client.put(failing(), {})).rejects.toThrow('the disk is gone');
    await until(() => parts.objects.broken.length > 0);
    expect(await codeOf(Promise.reject(parts.objects.broken[0]))).toBe('HF_INTERRUPTED');
    expect(parts.objects.stored.size).toBe(0);
  });

  it('stops when either side is aborted', async () => {
    const put = new AbortController();
    async function* stalled() {
      yield content(300_000);
      put.abort();
      await new Promise(() => {});
    }
    expect(await codeOf(client.put(stalled(), { signal: put.signal }))).toBe('HF_INTERRUPTED');
    await until(() => parts.objects.broken.length === 1);
    expect(parts.objects.stored.size).toBe(0);

    const { object } = await client.put(pieces([content(20_000_000)]), {});
    const get = new AbortController();
    const { bytes } = await client.get({ reference: object.id, signal: get.signal });
    const reading = (async () => {
      for await (const _ of bytes) get.abort();
    })();
    expect(await codeOf(reading)).toBe('HF_INTERRUPTED');
    await until(() => parts.objects.broken.length === 2);

    for await (const _ of (await client.get({ reference: object.id })).bytes) break;
    await until(() => parts.objects.broken.length === 3);
  });

  it.each(['content-length: 1000', 'transfer-encoding: chunked'])(
    'of a client that dies is not stored (%s)',
    async (length) => {
      const head = `PUT /v1/content HTTP/1.1\r\nhost: x\r\n${length}\r\n\r\n`;
      const socket = await rawRequest(
        `${head}${length.includes('chunked') ? '3\r\nabc\r\n' : 'abc'}`,
      );
      socket.end();
      await until(() => parts.objects.broken.length === 1);
      expect(parts.objects.stored.size).toBe(0);
    },
  );

  it('of 64 puts at once travels on as many connections, which are used again', async () => {
    let connectionCount = 0;
    const proxy = net.createServer((socket) => {
      connectionCount += 1;
      socket.pipe(net.connect(socketPath)).pipe(socket);
    });
    const proxyPath = path.join(folder, 'proxy.sock');
    await once(proxy.listen(proxyPath), 'listening');
    {
      using counted = connect({ socketPath: proxyPath });
      for (let turn = 0; turn < 3; turn++) {
        const puts = Array.from({ length: 64 }, () => counted.put(pieces([content(1000)]), {}));
        await Promise.all(puts);
      }
    }
    proxy.close();
    expect(connectionCount).toBeLessThanOrEqual(64);
    expect(parts.objects.stored.size).toBe(192);
  });
});

describe('calls', () => {
  it('give results, items in order, and little but the last of the progress', async () => {
    for (const key of ['a', 'b', 'c']) await client.put(pieces([]), { key });
    const keys: (string | null)[] = [];
    const onItem = async ({ key }: ObjectView) => {
      await Promise.resolve();
      keys.push(key);
    };
    expect(await client.call('object.list', {}, { onItem })).toEqual({ count: 3 });
    expect(keys).toEqual(['a', 'b', 'c']);
    const seen: ProgressView[] = [];
    const onProgress = (progress: ProgressView) => seen.push(progress);
    expect(await client.call('scrub', {}, { onProgress })).toMatchObject({ checked: 1000 });
    expect(seen.at(-1)).toEqual({ doneCount: 1000, totalCount: 1000, bytes: 100_000 });
    expect(seen.length).toBeLessThan(100);
  });

  it('show the whole node', async () => {
    const status = await client.call('status', {});
    expect(status).toMatchObject({ dataPath: folder, warnings: ['no kit was exported'] });
    expect(status.volumes).toMatchObject([{ name: 'default', scheme: 'rs-4+2' }]);
    expect(status.devices).toHaveLength(6);
    parts.devicesById.set('00', {
      ...status.devices[0]!,
      id: '00',
      state: 'missing',
      reason: 'no such folder',
    });
    expect((await client.call('health', {})).warnings).toEqual([
      'store /disks/disk-0 is missing: no such folder',
      'all is one disk',
    ]);
    const repaired = await client.call('repair', {});
    expect(repaired).toMatchObject({ repaired: 2, deletedChunks: 0 });
    expect(await client.call('key.export', {})).toEqual({ kit: 'KIT\n' });
  });

  it('that are strict take no names that may be old, and only changes go on', async () => {
    using strict = connect({ socketPath }, { isStrict: true });
    const { object } = await client.put(pieces([content(9)]), { key: 'a' });
    const { id } = object;
    let staleReads = 0;
    expect(await strict.call('object.query', { reference: id })).toMatchObject({ key: 'a' });
    parts.staleReadCount = () => (staleReads += 1); // one at each look
    const read = { reference: id };
    expect(await codeOf(strict.call('object.query', read))).toBe('HF_UNAVAILABLE');
    expect(await codeOf(strict.call('object.list', {}))).toBe('HF_UNAVAILABLE');
    expect(await codeOf(strict.get(read))).toBe('HF_UNAVAILABLE');
    const missing = { reference: 'f'.repeat(32) };
    expect(await codeOf(strict.call('object.query', missing))).toBe('HF_UNAVAILABLE');
    expect(await codeOf(strict.get(missing))).toBe('HF_UNAVAILABLE');
    expect(await codeOf(client.get(missing))).toBe('HF_NOT_FOUND');
    expect(await client.call('object.query', read)).toMatchObject({ key: 'a' });
    expect(await strict.call('object.remove', read)).toMatchObject({ key: 'a' });
  });

  it('fail with the code and the one line of the node', async () => {
    const missing = '0'.repeat(32);
    await expect(client.call('object.query', { reference: missing })).rejects.toMatchObject({
      code: 'HF_NOT_FOUND',
      message: `there is no object with the id ${missing}`,
    });
    const wrong = client.call('object.query', { reference: '', more: 1 } as never);
    await expect(wrong).rejects.toMatchObject({
      code: 'HF_BAD_ARGUMENT',
      message: expect.stringMatching(/^reference: [^\n]*; more: [^\n]*$/) as string,
    });
    expect(await codeOf(client.call('nothing' as 'status', {}))).toBe('HF_NOT_FOUND');
    expect(await codeOf(client.call('toString' as 'status', {}))).toBe('HF_NOT_FOUND');
    const large = { prefix: 'x'.repeat(LIMITS.controlRequestBytesMax) };
    expect(await codeOf(client.call('object.list', large))).toBe('HF_TOO_LARGE');
  });

  it('fail as a fault of ours when what fails has no code', async () => {
    parts.exportKit = () => Promise.reject(new TypeError('x is\nundefined'));
    await expect(client.call('key.export', {})).rejects.toMatchObject({
      code: 'HF_INTERNAL',
      message: 'x is undefined',
    });
  });

  it('have HTTP statuses for those who speak HTTP only', async () => {
    const ask = async (method: string, place: string, body = '') => {
      const request = http.request({ socketPath, method, path: place, agent: false });
      request.end(body);
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      const text = Buffer.from(await readAll(response)).toString();
      return [response.statusCode, (JSON.parse(text) as { error?: { code: string } }).error?.code];
    };
    expect(await ask('GET', '/')).toEqual([404, 'HF_NOT_FOUND']);
    expect(await ask('GET', '//')).toEqual([404, 'HF_NOT_FOUND']);
    expect(await ask('DELETE', '/v1/content')).toEqual([404, 'HF_NOT_FOUND']);
    expect(await ask('POST', '/v1/call/status', '{')).toEqual([400, 'HF_BAD_ARGUMENT']);
    expect(await ask('POST', '/v1/call/status', '{}')).toEqual([200, undefined]);
    expect(await ask('GET', '/v1/content?reference=x&offset=-1')).toEqual([400, 'HF_BAD_ARGUMENT']);
    expect(await ask('GET', '/v1/content?reference=x')).toEqual([404, 'HF_NOT_FOUND']);
  });

  it('stop when their caller goes', async () => {
    parts.isSlow = true;
    const gone = new AbortController();
    const call = client.call('scrub', {}, { signal: gone.signal, onProgress: () => gone.abort() });
    expect(await codeOf(call)).toBe('HF_INTERRUPTED');
    await until(() => parts.objects.broken.includes('scrub'));
  });
});

describe('the socket', () => {
  it('belongs to its owner only', async () => {
    expect((await fs.stat(socketPath)).mode & 0o777).toBe(0o600);
  });

  it('that answers is not taken from its node; one that is dead is', async () => {
    const again = () => serveAdmin({ parts, socketPath, env: realEnv() });
    expect(await codeOf(again())).toBe('HF_BUSY');
    await client.call('status', {});

    const deadPath = path.join(folder, 'dead.sock');
    const dead = net.createServer();
    await once(dead.listen(path.join(folder, 'other.sock')), 'listening');
    await fs.rename(path.join(folder, 'other.sock'), deadPath);
    await new Promise((resolve) => dead.close(resolve));
    expect((await fs.stat(deadPath)).isSocket()).toBe(true);
    await using revived = await serveAdmin({ parts, socketPath: deadPath, env: realEnv() });
    expect(revived).toBeDefined();

    const filePath = path.join(folder, 'file');
    await fs.writeFile(filePath, 'precious');
    expect(await codeOf(serveAdmin({ parts, socketPath: filePath, env: realEnv() }))).toBe(
      'HF_EXISTS',
    );
    expect(await fs.readFile(filePath, 'utf8')).toBe('precious');
    const longPath = path.join(folder, 'x'.repeat(100));
    expect(await codeOf(serveAdmin({ parts, socketPath: longPath, env: realEnv() }))).toBe(
      'HF_BAD_ARGUMENT',
    );
  });

  it('without a node says how to start one', async () => {
    using nobody = connect({ socketPath: path.join(folder, 'none', CONTROL_SOCKET) });
    await expect(nobody.call('status', {})).rejects.toMatchObject({
      code: 'HF_NOT_RUNNING',
      message: `no node is running on ${folder}/none; start one with: holdfast up`,
    });
    expect(await codeOf(nobody.put(pieces([content(10)]), {}))).toBe('HF_NOT_RUNNING');
    expect(await codeOf(nobody.get({ reference: 'x' }))).toBe('HF_NOT_RUNNING');
  });

  it('closes after the requests under way, and cuts those that do not end', async () => {
    const patience = Promise.withResolvers<void>();
    const env = realEnv();
    const clock = { ...env.clock, sleep: () => patience.promise };
    const lastPath = path.join(folder, 'last.sock');
    const last = await serveAdmin({ parts, socketPath: lastPath, env: { ...env, clock } });
    using caller = connect({ socketPath: lastPath });

    parts.isSlow = true;
    const started = Promise.withResolvers<void>();
    const scrub = codeOf(caller.call('scrub', {}, { onProgress: () => started.resolve() }));
    await started.promise;
    const half = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    async function* slow() {
      yield content(10);
      half.resolve();
      await release.promise;
      yield content(10);
    }
    const put = caller.put(slow(), {});
    await half.promise;
    await caller.call('stop', {});
    await parts.stopAsked.promise;

    const closed = last[Symbol.asyncDispose]();
    using late = connect({ socketPath: lastPath });
    expect(await codeOf(late.call('status', {}))).toBe('HF_NOT_RUNNING');
    release.resolve();
    expect((await put).object.sizeBytes).toBe(20);
    expect(parts.objects.broken).toEqual([]);
    patience.resolve();
    expect(await scrub).toBe('HF_IO');
    await closed;
    expect(parts.objects.broken).toEqual(['scrub']);
    await expect(fs.stat(lastPath)).rejects.toThrow('ENOENT');
  });
});

const HAS_IPV6 = Object.values(os.networkInterfaces())
  .flat()
  .some((each) => each?.address === '::1');

describe('an address', () => {
  it.each(HAS_IPV6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'])(
    '%s serves those who have the token',
    async (host) => {
      const { service, port } = await listening(host);
      await using _ = service;
      expect(service.address).toBe(host === '::1' ? `[::1]:${port}` : `127.0.0.1:${port}`);
      using remote = connect({ host, port, token: TOKEN });
      const sent = content(1_234_567);
      const { object } = await remote.put(pieces([sent]), {});
      const { bytes } = await remote.get({ reference: object.id });
      expect(Buffer.compare(await readAll(bytes), sent)).toBe(0);
      expect((await remote.call('status', {})).nodeId).toBe(parts.identity.nodeId);
    },
  );

  it('tells others nothing, whatever they ask', async () => {
    const { service, port } = await listening();
    await using _ = service;
    for (const token of ['', 'x', TOKEN.slice(1), `${TOKEN}0`, TOKEN.replace('7', '8')]) {
      using stranger = connect({ host: '127.0.0.1', port, token });
      expect(await codeOf(stranger.call('status', {}))).toBe('HF_DENIED');
      expect(await codeOf(stranger.put(pieces([content(3)]), {}))).toBe('HF_DENIED');
      expect(await codeOf(stranger.get({ reference: 'x' }))).toBe('HF_DENIED');
    }
    const bare = await fetch(`http://127.0.0.1:${port}/v1/call/nothing`, { method: 'POST' });
    expect([bare.status, await bare.json()]).toEqual([
      403,
      { error: { code: 'HF_DENIED', message: expect.stringContaining('control.token') } },
    ]);
    expect(parts.objects.stored.size).toBe(0);
  });

  it('takes no descriptors: they may name another file there', async () => {
    const { service, port } = await listening();
    await using _ = service;
    using remote = connect({ host: '127.0.0.1', port, token: TOKEN });
    await using file = await fs.open(path.join(folder, 'file'), 'w+');
    await file.writeFile('abc');
    expect(await remote.putFile(file.fd, {})).toBeUndefined();
    const { object } = (await client.putFile(file.fd, {}))!;
    expect(await remote.getFile(file.fd, { reference: object.id })).toBeUndefined();
    expect(object.sizeBytes).toBe(3);
  });

  it('must be a free one of this machine', async () => {
    const { service, port } = await listening();
    await using _ = service;
    const tries = ['127.0.0.1', '0.0.0.0', '192.0.2.1', '::', 'localhost'].map((host, index) => {
      const other = path.join(folder, `${index}.sock`);
      const tcp = { host, port, token: TOKEN };
      return codeOf(serveAdmin({ parts, socketPath: other, tcp, env: realEnv() }));
    });
    const codes = await Promise.all(tries);
    const refused = ['HF_UNSUPPORTED', 'HF_UNSUPPORTED', 'HF_UNSUPPORTED', 'HF_BAD_ARGUMENT'];
    expect(codes).toEqual(['HF_BUSY', ...refused]);
    // What was refused does not go on listening on its socket.
    expect((await fs.readdir(folder)).filter((name) => /^\d\.sock$/.test(name))).toEqual([]);
    using nobody = connect({ host: '127.0.0.1', port: 1, token: TOKEN });
    await expect(nobody.call('status', {})).rejects.toMatchObject({
      code: 'HF_NOT_RUNNING',
      message: expect.stringContaining('no node listens on 127.0.0.1 port 1'),
    });
  });
});
