/**
 * Aim: a cluster keeps its names in an etcd that the user runs: said by one command, told by
 * `meta status` and `status`, over kills of nodes and of that etcd; what will not do is refused.
 * Method: the program itself with the etcd that is installed, on loopback.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MetadataView, StatusView } from '../../src/api/index.ts';
import { findEtcd } from '../suites/etcd-bed.ts';
import { UserEtcd } from '../suites/user-etcd.ts';
import { Bed, until } from './harness.ts';

const WAIT_MS = 60_000;
const CONTENT = Buffer.alloc(200_000, 'names in an etcd that was there before; ');
const ETCD = findEtcd();
if (!ETCD) console.warn('SKIPPED: no etcd on PATH; install etcd-server to test an etcd of yours');

let bed: Bed;

beforeEach(async () => {
  bed = await Bed.open();
});

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

async function canPut(data: string, name: string): Promise<boolean> {
  const { exitCode } = await bed.run(['put', '-', '--name', name], { data, input: CONTENT });
  return exitCode === 0;
}

async function canGet(data: string, name: string): Promise<boolean> {
  const { exitCode, stdout } = await bed.run(['get', name, '-o', '-'], { data });
  return exitCode === 0 && stdout.equals(CONTENT);
}

async function metadata(data: string): Promise<MetadataView> {
  return await bed.json<MetadataView>(['meta', 'status'], { data });
}

async function warnings(data: string): Promise<string> {
  return (await bed.json<StatusView>(['status'], { data })).warnings.join('\n');
}

function flagsOf(name: string): string[] {
  return ['--listen', 'tls://127.0.0.1:0', '--name', name];
}

describe.skipIf(!ETCD)('an etcd of the user', { timeout: 240_000 }, () => {
  it('serves one node, which is killed, and is killed itself', async () => {
    await using etcd = (await UserEtcd.open(ETCD!))!;
    const flags = flagsOf('a');
    let node = await bed.up({ data: 'a', flags });
    expect(await canPut('a', 'before')).toBe(true);
    const gone = await bed.run(['meta', 'use-etcd', 'http://127.0.0.1:1'], { data: 'a' });
    expect(gone.exitCode).not.toBe(0);
    expect(gone.stderr).toContain('http://127.0.0.1:1');
    const said = await bed.ok(['meta', 'use-etcd', etcd.endpoint], { data: 'a' });
    expect(said).toContain('names are kept in your etcd');
    expect(await canPut('a', 'after')).toBe(true);
    const { engine, etcd: own } = await metadata('a');
    expect([engine, own?.members[0]?.version]).toEqual(['etcd', expect.stringMatching(/^3\./)]);
    expect(await bed.ok(['meta', 'status'], { data: 'a' })).toContain(etcd.endpoint);
    expect(await warnings('a')).not.toContain('etcd');

    await node.kill();
    node = await bed.up({ data: 'a' });
    for (const name of ['before', 'after']) {
      await until(`${name} is there`, async () => await canGet('a', name), WAIT_MS);
    }
    await etcd.kill();
    expect(await warnings('a')).toContain(`of your etcd that keeps names, ${etcd.endpoint}`);
    expect(await canPut('a', 'without etcd')).toBe(false);
    await etcd.start();
    await until('puts go on', async () => await canPut('a', 'with etcd again'), WAIT_MS);
    expect(await canGet('a', 'before')).toBe(true);
    await node.kill();
  });

  it('serves three nodes by TLS, of which none is needed, and one cluster only', async () => {
    await using etcd = await UserEtcd.open(ETCD!, { isTls: true });
    if (!etcd) return console.warn('SKIPPED: an etcd over TLS; install openssl');
    const own = await etcd.authority!.issue('holdfast');
    const proof = ['--cert', `${own.base}.pem`, '--key', `${own.base}-key.pem`];
    const use = ['meta', 'use-etcd', etcd.endpoint, ...proof, '--prefix', 'holdfast/one/'];
    const first = await bed.up({ data: 'a', flags: flagsOf('a') });
    expect(await canPut('a', 'before')).toBe(true);
    const unvouched = await bed.run(use, { data: 'a' });
    expect(unvouched.stderr).toContain('--ca');
    await bed.ok([...use, '--ca', etcd.authority!.file], { data: 'a' });
    for (const name of ['b', 'c']) {
      const token = await bed.ok(['invite'], { data: 'a' });
      const stores = [1, 2, 3].map((number) => bed.path(name, `disk-${number}`));
      await bed.up({ data: name, flags: flagsOf(name), token, stores });
    }
    for (const name of ['b', 'c']) {
      await until(`${name} reaches it`, async () => (await metadata(name)).etcd !== null, WAIT_MS);
      await until(`${name} puts`, async () => await canPut(name, `on ${name}`), WAIT_MS);
    }
    // Copies of all cells have to be there first.
    await until(
      'cells are on all',
      async () => {
        const { cells } = await metadata('b');
        return cells.length > 0 && cells.every(({ members }) => members.length === 3);
      },
      WAIT_MS,
    );
    await first.kill();
    await until('puts go on', async () => await canPut('b', 'without a'), WAIT_MS);
    for (const name of ['before', 'on c', 'without a']) {
      await until(`${name} is there`, async () => await canGet('c', name), WAIT_MS);
    }

    await bed.up({ data: 'z', flags: flagsOf('z') });
    const second = await bed.run([...use, '--ca', etcd.authority!.file], { data: 'z' });
    expect(second.stderr).toMatch(/cluster [0-9a-f]+ has keys that begin with holdfast\/one\//);
  });
});
