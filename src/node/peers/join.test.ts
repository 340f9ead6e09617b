/**
 * Aim: a node that joins is the same node however often it asks, also after a crash between any two
 * steps; a ready cluster takes ways of its own to travel. Method: whole nodes in this process, over
 * a transport in memory that is handed in as anybody could; what a crash leaves is made by hand.
 */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONTROL_SOCKET } from '../../api/index.ts';
import { errorCode } from '../../base/index.ts';
import { connect, type HoldfastClient } from '../../client/index.ts';
import { decodeKeyring } from '../../crypto/index.ts';
import { realEnv, silentLog } from '../../env/index.ts';
import { MemoryNet } from '../../net/index.ts';
import { bytesOf, streamOf } from '../../../test/suites/store-bed.ts';
import { joinNode, type MakeTransport, openNode, type RunningNode } from '../index.ts';

let folder: string;
let transports: readonly MakeTransport[];
let running: RunningNode[];
let clients: HoldfastClient[];

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-join-'));
  const net = new MemoryNet(realEnv());
  transports = [({ key }) => net.transport(key.nodeId)];
  running = [];
  clients = [];
});
afterEach(async () => {
  for (const client of clients) client[Symbol.dispose]();
  for (const node of running.toReversed()) await node[Symbol.asyncDispose]();
  await fs.rm(folder, { recursive: true, force: true });
});

const at = (...names: readonly string[]) => path.join(folder, ...names);

async function start(name: string): Promise<HoldfastClient> {
  const config = { listen: [`memory://${name}:1`], name, beacon: false };
  const storePaths = [1, 2, 3].map((number) => at(name, `disk-${number}`));
  const about = { dataPath: at(name), config, transports, storePaths };
  running.push(await openNode({ ...about, threadCount: 0, log: silentLog }));
  const client = connect({ socketPath: at(name, CONTROL_SOCKET) });
  clients.push(client);
  return client;
}

async function join(name: string, token: string): Promise<boolean> {
  return await joinNode({ dataPath: at(name), token, transports, log: silentLog });
}

async function keyringOf(name: string) {
  return decodeKeyring(await fs.readFile(at(name, 'keyring.json'), 'utf8'));
}

describe('joining', () => {
  it('is the same after a crash at any step, and is done once', async () => {
    const first = await start('a');
    const { token } = await first.call('cluster.invite', {});
    const seed = '7a'.repeat(32);
    await fs.mkdir(at('b'));
    // The seed was written, the request was not made, or its answer was lost.
    await fs.writeFile(at('b', 'joining.json'), JSON.stringify({ version: 1, nodeSeed: seed }));
    expect(await join('b', token)).toBe(true);
    const once = await keyringOf('b');
    expect(Buffer.from(once.nodeSeed).toString('hex')).toBe(seed);
    expect(await fs.readdir(at('b'))).not.toContain('joining.json');
    // The members were written, the keyring was not.
    await fs.rm(at('b', 'keyring.json'));
    await fs.writeFile(at('b', 'joining.json'), JSON.stringify({ version: 1, nodeSeed: seed }));
    expect(await join('b', token)).toBe(true);
    expect(await keyringOf('b')).toEqual(once);
    // Who is a member is one already.
    expect(await join('b', token)).toBe(false);
    expect(await keyringOf('b')).toEqual(once);
    expect((await fs.stat(at('b', 'keyring.json'))).mode & 0o777).toBe(0o600);
    // Nobody else can use it, and a directory of another cluster is left alone.
    expect(await join('c', token).catch(errorCode)).toBe('HF_DENIED');
    expect(await join('a', token).catch(errorCode)).toBe('HF_BUSY');
  });

  it('makes one cluster over a transport that the owner handed in', async () => {
    const first = await start('a');
    const { token, addresses } = await first.call('cluster.invite', {});
    expect(addresses).toEqual(['memory://a:1']);
    await join('b', token);
    const second = await start('b');
    const { object } = await second.put(streamOf(bytesOf(1, 200_000)), { key: 'k' });
    const { bytes } = await first.get({ reference: object.id });
    const content = Buffer.concat(await Array.fromAsync(bytes));
    expect(content.equals(bytesOf(1, 200_000))).toBe(true);
    const names = (await second.call('peers.list', {})).map(({ name, isHome }) => [name, isHome]);
    expect(names).toEqual([
      ['b', false],
      ['a', true],
    ]);
    expect((await second.call('status', {})).warnings.join()).not.toContain('kit');
    expect(await second.call('cluster.invite', {}).catch(errorCode)).toBe('HF_DENIED');
  });

  it('needs the inviter, and says so; the seed stays for the next try', async () => {
    const first = await start('a');
    const { token } = await first.call('cluster.invite', {});
    await running.pop()![Symbol.asyncDispose]();
    expect(await join('b', token).catch(errorCode)).toBe('HF_UNAVAILABLE');
    const seed = await fs.readFile(at('b', 'joining.json'), 'utf8');
    expect(await join('b', token).catch(errorCode)).toBe('HF_UNAVAILABLE');
    expect(await fs.readFile(at('b', 'joining.json'), 'utf8')).toBe(seed);
    expect(await fs.readdir(at('b'))).not.toContain('keyring.json');
  });
});
