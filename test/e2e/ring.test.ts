/**
 * Aim: of three nodes whose metadata is in a ring none is needed: the first one is killed, names
 * are still there, puts go on; all are killed at once, and everything is back.
 * Method: the program itself on loopback with the etcd that is installed; states are waited for.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Bed, type NodeProcess } from './harness.ts';

const WAIT_MS = 60_000;
const CONTENT = Buffer.alloc(300_000, 'names that no node is needed for; ');
const HAS_ETCD = (process.env['PATH'] ?? '')
  .split(path.delimiter)
  .some((folder) => existsSync(path.join(folder, 'etcd')));
if (!HAS_ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test the ring');

let bed: Bed;
const nodes = new Map<string, NodeProcess>();
const ports = new Map<string, number>();

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + WAIT_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`it never came to pass: ${what}`);
    await sleep(200);
  }
}

async function start(name: string, token?: string): Promise<void> {
  const stores = [1, 2, 3].map((number) => bed.path(name, `disk-${number}`));
  const begin = token === undefined ? {} : { token, stores };
  // The same as before: all of them are down at a time, and could not tell new ones.
  const port = ports.get(name) ?? (await freePort());
  ports.set(name, port);
  const flags = ['--listen', `tls://127.0.0.1:${port}`, '--name', name];
  nodes.set(name, await bed.up({ data: name, flags, ...begin }));
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function isInRing(name: string): Promise<boolean> {
  const text = await fs.readFile(bed.path(name, 'metadata.json'), 'utf8').catch(() => '{}');
  return (JSON.parse(text) as { engine?: string }).engine === 'etcd';
}

async function canPut(data: string, name: string): Promise<boolean> {
  const { exitCode } = await bed.run(['put', '-', '--name', name], { data, input: CONTENT });
  return exitCode === 0;
}

async function canGet(data: string, name: string): Promise<boolean> {
  const { exitCode, stdout } = await bed.run(['get', name, '-o', '-'], { data });
  return exitCode === 0 && stdout.equals(CONTENT);
}

beforeAll(async () => {
  bed = await Bed.open();
  await start('a');
  for (const name of ['b', 'c']) await start(name, await bed.ok(['invite'], { data: 'a' }));
}, 60_000);

afterAll(async () => {
  await Promise.all([...nodes.values()].map((node) => node.kill()));
  await bed[Symbol.asyncDispose]();
});

describe.skipIf(!HAS_ETCD)('three nodes with a ring', () => {
  it('need none of them', { timeout: 240_000 }, async () => {
    expect(await canPut('a', 'before')).toBe(true);
    for (const name of ['a', 'b', 'c']) await until('a ring', async () => await isInRing(name));
    expect(await canPut('b', 'in the ring')).toBe(true);

    await nodes.get('a')!.kill();
    for (const name of ['before', 'in the ring']) {
      await until(`${name} is there`, async () => await canGet('c', name));
    }
    await until('puts go on', async () => await canPut('b', 'without a'));
    await until('it is there', async () => await canGet('c', 'without a'));

    await start('a');
    await until('a is back', async () => await canGet('a', 'without a'));
    await Promise.all([...nodes.values()].map((node) => node.kill()));
    await Promise.all(['a', 'b', 'c'].map(async (name) => await start(name)));
    for (const name of ['before', 'in the ring', 'without a']) {
      await until(`${name} is back`, async () => await canGet('b', name));
    }
    await until('puts go on', async () => await canPut('c', 'after all'));
    await until('it is there', async () => await canGet('a', 'after all'));
  });
});
