/**
 * Aim: a node runs before it has stores and after its user took them away, says what it waits for,
 * and goes on when they are there; a store that was detached stays so until it is called back.
 * Method: whole nodes in this process, on folders and image files, through their control sockets.
 */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONTROL_SOCKET, CONTROL_TOKEN } from '../api/index.ts';
import { errorCode, MiB } from '../base/index.ts';
import { connect, type HoldfastClient } from '../client/index.ts';
import { silentLog } from '../env/index.ts';
import { bytesOf, streamOf } from '../../test/suites/store-bed.ts';
import { type NodeOptions, openNode, type RunningNode } from './index.ts';

const CAPACITY = 24 * MiB;

let folder: string;
let node: RunningNode | undefined;
let client: HoldfastClient;

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-node-'));
  client = connect({ socketPath: path.join(at('data'), CONTROL_SOCKET) });
});
afterEach(async () => {
  await stop();
  client[Symbol.dispose]();
  await fs.rm(folder, { recursive: true, force: true });
});

function at(name: string): string {
  return path.join(folder, name);
}

async function start(options: Partial<NodeOptions> = {}): Promise<RunningNode> {
  node = await openNode({ dataPath: at('data'), threadCount: 0, log: silentLog, ...options });
  return node;
}

async function stop(): Promise<void> {
  await node?.[Symbol.asyncDispose]();
  node = undefined;
}

async function add(name: string, more: object = {}) {
  return await client.call('device.add', { path: at(name), capacityBytes: CAPACITY, ...more });
}

async function put(size: number): Promise<string> {
  return (await client.put(streamOf(bytesOf(size, size)))).object.id;
}

async function expectGot(id: string, size: number): Promise<void> {
  const { bytes } = await client.get({ reference: id });
  const content = Buffer.concat(await Array.fromAsync(bytes));
  expect(Buffer.compare(content, bytesOf(size, size))).toBe(0);
}

async function warnings(): Promise<string> {
  return (await client.call('status', {})).warnings.join('\n');
}

describe('a node without stores', () => {
  it('waits, refuses what needs them, and begins with the first one', async () => {
    const { welcome } = await start({ storePaths: [] });
    expect(welcome.join('\n')).toContain('It waits: it has no stores yet');
    expect(await warnings()).toContain('the node waits: it has no stores yet');
    expect(await client.call('volume.list', {})).toEqual([]);
    const refusals = [
      put(3),
      client.call('health', {}),
      client.call('repair', {}),
      client.call('object.query', { reference: 'x' }),
      client.call('volume.create', { name: 'v' }),
    ];
    const codes = await Promise.all(refusals.map((each) => each.catch(errorCode)));
    expect(codes).toEqual(refusals.map(() => 'HF_TOO_FEW_STORES'));
    await stop();
    // Also without being told once more: it is no first run.
    await start();
    expect((await client.call('status', {})).devices).toEqual([]);

    const first = await add('a');
    expect(first.warnings).toEqual([expect.stringContaining('"default" stores copy-1')]);
    const id = await put(100_000);
    expect((await add('b')).warnings).toEqual([]);
    await stop();
    await start();
    await expectGot(id, 100_000);
    const { volumes } = await client.call('status', {});
    expect(volumes).toMatchObject([{ name: 'default', scheme: 'copy-1', objectCount: 1 }]);
  });

  it('begins with an image file', async () => {
    await start({ storePaths: [] });
    expect(await add('x', { kind: 'image', capacityBytes: undefined }).catch(errorCode)).toBe(
      'HF_BAD_ARGUMENT',
    );
    const { id: device, kind } = await add('image', { kind: 'image', label: 'the first' });
    expect(kind).toBe('image');
    const id = await put(70_000);
    const details = await client.call('device.query', { device });
    expect(details).toMatchObject({ kind: 'image', sizeBytes: CAPACITY, blockBytes: 4096 });
    expect(details.fields).toMatchObject({ label: 'the first' });
    expect(await client.call('object.locate', { reference: id })).toMatchObject({
      device: at('image'),
      storeId: device,
      block: expect.any(Number),
    });
    const empty = await client.call('object.create', {});
    const nowhere = { device: null, storeId: null, block: null };
    expect(await client.call('object.locate', { reference: empty.id })).toMatchObject(nowhere);
    await stop();
    await start();
    await expectGot(id, 70_000);
  });
});

describe('a store that is detached', () => {
  it('comes back with all that it holds when it is called, and not before', async () => {
    await start({ storePaths: [] });
    const { id: device } = await add('a');
    const ids = [await put(5), await put(200_000)];
    await client.call('object.create', {});
    const detached = await client.call('device.detach', { device: at('a') });
    expect(detached).toMatchObject({
      id: device,
      state: 'missing',
      reason: 'detached',
      warnings: [expect.stringMatching(/^2 objects cannot be read until .*: holdfast dev attach/)],
    });
    // `list` looks for stores that are away.
    expect(await client.call('device.list', {})).toMatchObject([{ reason: 'detached' }]);
    expect(await warnings()).toMatch(/a is detached; back with: holdfast dev attach/);
    const again = client.call('device.detach', { device });
    expect(await again.catch(errorCode)).toBe('HF_EXISTS');
    expect(await put(6).catch(errorCode)).not.toBeUndefined();
    expect(await expectGot(ids[1]!, 200_000).catch(errorCode)).toMatch(/^HF_TOO_FEW_S/);

    // Where nothing else is, it cannot be given up either.
    expect(await client.call('repair', {}).catch(errorCode)).toMatch(/^HF_TOO_FEW_S/);
    const back = await add('a', { isNew: false, capacityBytes: undefined });
    expect(back).toMatchObject({ id: device, state: 'active', warnings: [] });
    await expectGot(ids[0]!, 5);
    await expectGot(await put(7), 7);

    await client.call('device.detach', { device });
    await stop();
    const { welcome } = await start();
    expect(welcome.join('\n')).toMatch(/It waits: 1 of 1 stores are away/);
    expect(await put(8).catch(errorCode)).toBe('HF_TOO_FEW_STORES');
    await fs.rename(at('a'), at('moved'));
    await add('moved', { isNew: false, capacityBytes: undefined });
    await expectGot(ids[1]!, 200_000);
    await stop();
    await start();
    await expectGot(ids[1]!, 200_000);
  });

  it('is missed by nothing when the others have all', async () => {
    await start({ storePaths: ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map(at) });
    const id = await put(300_000);
    const detached = await client.call('device.detach', { device: at('c') });
    expect(detached.warnings).toEqual([]);
    await expectGot(id, 300_000);
    const { stripes, devices } = await client.call('health', {});
    expect(stripes.lost).toBe(0);
    expect(devices.filter(({ state }) => state === 'missing')).toHaveLength(1);
  });
});

describe('a store that is removed', () => {
  it('leaves what it held on the last one, and can be used again', async () => {
    await start({ storePaths: [] });
    await add('a');
    const ids = [await put(5), await put(200_000)];
    const { survives } = await client.call('health', {});
    expect(
      survives.map(({ count }) => count),
      'copy-1 bears nothing',
    ).toEqual([0, 0]);
    await add('b');
    await client.call('device.remove', { device: at('a') });
    await expectGot(ids[0]!, 5);
    await expectGot(ids[1]!, 200_000);
    const last = client.call('device.remove', { device: at('b') });
    expect(await last.catch(errorCode)).toBe('HF_TOO_FEW_STORES');
    await expectGot(await put(7), 7);
    const back = await add('a', { isNew: false, capacityBytes: undefined });
    expect(back.state).toBe('active');
    await stop();
    await start();
    const { devices } = await client.call('status', {});
    expect(devices.map(({ state }) => state)).toEqual(['active', 'active']);
    await expectGot(ids[1]!, 200_000);
  });
});

describe('what is added', () => {
  it('is not what is there already', async () => {
    await start({ storePaths: [] });
    const image = { kind: 'image' };
    const { id } = await add('image', image);
    expect(await add('image').catch(errorCode)).toBe('HF_EXISTS');
    await client.call('device.detach', { device: id });
    await fs.copyFile(at('image'), at('copy'));
    const attach = { isNew: false, capacityBytes: undefined };
    expect(await add('nothing', attach).catch(errorCode)).toBe('HF_NOT_FOUND');
    await fs.writeFile(at('text'), 'not ours '.repeat(4 * MiB));
    expect(await add('text', attach).catch(errorCode)).toBe('HF_NOT_OURS');
    const whole = { capacityBytes: undefined };
    expect(await add('text', whole).catch(errorCode)).toBe('HF_NOT_OURS');
    expect(await add('text').catch(errorCode)).toBe('HF_BAD_ARGUMENT');
    await add('image', attach);
    expect(await add('copy', attach).catch(errorCode)).toBe('HF_EXISTS');
    // Force gives up what is not ours, but no store without its being said.
    const force = { ...whole, isForced: true };
    expect(await add('copy', force).catch(errorCode)).toBe('HF_EXISTS');
    const taken = await add('copy', { ...force, replacesStore: true });
    expect(taken.id).not.toBe(id);
    expect((await add('text', force)).kind).toBe('image');
    expect(await client.call('device.list', {})).toHaveLength(3);
  });

  it('is refused when it is of another cluster, without a trace', async () => {
    await start({ storePaths: [], dataPath: at('other') });
    using other = connect({ socketPath: path.join(at('other'), CONTROL_SOCKET) });
    const image = { path: at('image'), kind: 'image' as const, capacityBytes: CAPACITY };
    await other.call('device.add', image);
    await stop();
    await start({ storePaths: [] });
    const before = await fs.readFile(at('image'));
    const attach = { isNew: false, capacityBytes: undefined };
    for (const more of [{}, { isForced: true }]) {
      const adding = add('image', { capacityBytes: undefined, ...more });
      await expect(adding).rejects.toMatchObject({
        code: expect.stringMatching(/HF_NOT_OURS|HF_EXISTS/),
        message: expect.stringContaining('another cluster'),
      });
    }
    expect(await add('image', attach).catch(errorCode)).toBe('HF_NOT_OURS');
    expect((await fs.readFile(at('image'))).equals(before)).toBe(true);
    expect(await client.call('device.list', {})).toEqual([]);
  });

  it('has the limits that it was given, until they are changed', async () => {
    await start({ storePaths: [] });
    const wrong = add('a', { minBytes: 9 * MiB, maxBytes: 8 * MiB });
    expect(await wrong.catch(errorCode)).toBe('HF_BAD_ARGUMENT');
    expect(await add('a', { label: 'x'.repeat(65) }).catch(errorCode)).toBe('HF_BAD_ARGUMENT');
    const { id } = await add('a', { hardMaxBytes: 20 * MiB });
    const query = () => client.call('device.query', { device: id });
    expect(await query()).toMatchObject({
      sizeBytes: 20 * MiB,
      limits: { minBytes: 0, maxBytes: 0, hardMaxBytes: 20 * MiB },
    });
    const limits = { device: id, maxBytes: 2 * MiB, minBytes: 1 * MiB };
    await client.call('device.limits', limits);
    expect((await query()).limits).toEqual({
      minBytes: 1 * MiB,
      maxBytes: 2 * MiB,
      hardMaxBytes: 20 * MiB,
    });
    expect(await warnings()).toMatch(/a is above its max/);
    expect((await client.call('health', {})).warnings.join()).toMatch(/a is above its max/);
    await stop();
    await start();
    expect(await query()).toMatchObject({ limits: { maxBytes: 2 * MiB }, pressure: 'high' });
  });
});

describe('an address', () => {
  it('is served to those who can read the token', async () => {
    const { welcome } = await start({ storePaths: [], listen: { host: '127.0.0.1', port: 0 } });
    const port = Number(/listens on 127\.0\.0\.1:(\d+)/.exec(welcome.join('\n'))![1]);
    const file = path.join(at('data'), CONTROL_TOKEN);
    expect((await fs.stat(file)).mode & 0o777).toBe(0o600);
    const token = (await fs.readFile(file, 'utf8')).trim();
    using remote = connect({ host: '127.0.0.1', port, token });
    expect((await remote.call('status', {})).dataPath).toBe(at('data'));
    await stop();
    await start({ listen: { host: '127.0.0.1', port } });
    expect((await fs.readFile(file, 'utf8')).trim(), 'it stays').toBe(token);
    expect((await remote.call('status', {})).dataPath).toBe(at('data'));
  });

  it('of other machines is refused before anything is made', async () => {
    const starting = start({ listen: { host: '0.0.0.0', port: 9111 } });
    expect(await starting.catch(errorCode)).toBe('HF_UNSUPPORTED');
    expect(await fs.readdir(folder)).toEqual([]);
  });
});
