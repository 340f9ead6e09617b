/**
 * Aim: an etcd that outlived its node is found and ended, and never another process; its sockets
 * work however deep the data directory lies; what it says is kept within bounds. Method: real
 * processes: etcd where it is installed (else skipped, and said so), and one that sleeps.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { etcdProgram } from '../../../test/suites/ring-bed.ts';
import { errorCode, MiB, type NodeId, utf8 } from '../../base/index.ts';
import { realEnv } from '../../env/index.ts';
import { EtcdConnection, EtcdMember, type EtcdStatus, makeRoom } from '../../log/index.ts';
import { endOrphan, EtcdProgram, findEtcd } from './etcd-process.ts';
import { measureFsync } from './fsync-speed.ts';
import { OwnEtcd } from './own-etcd.ts';
import { endProcess, markOf, readMark } from './process-mark.ts';
import { CLIENT_SOCKET, RingFolder } from './ring-folder.ts';
import type { RingRecord } from './ring-record.ts';
import { connectTo } from './ring-wires.ts';

if (!etcdProgram) console.warn('SKIPPED: processes of etcd; install etcd-server (3.4–3.6)');
const env = realEnv();
const SELF = '1'.padStart(32, '0') as NodeId;
const RECORD: RingRecord = {
  generation: 2,
  life: 1,
  version: 1,
  token: 'ab'.repeat(16),
  roundTripMs: 0,
  members: [{ node: SELF, state: 'founder', since: 1 }],
};

let base: string;
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'holdfast-etcd-'));
});
afterEach(async () => {
  await rm(base, { recursive: true, force: true });
});

function ownIn(folder: RingFolder): OwnEtcd {
  const dial = () => connectTo(folder.socket(CLIENT_SOCKET));
  return new OwnEtcd({ env, folder, self: SELF, program: etcdProgram, dial });
}

async function statusIn(folder: RingFolder): Promise<EtcdStatus> {
  const dial = () => connectTo(folder.socket(CLIENT_SOCKET));
  for (;;) {
    await using member = new EtcdMember({ dial, clock: env.clock });
    const status = await member.status().catch(() => undefined);
    if (status) return status;
    await env.clock.sleep(50);
  }
}

describe('a mark', () => {
  it('is of one process: another one with its id is left alone', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const mark = (await markOf(child.pid!))!;
    expect(readMark(JSON.stringify(mark))).toEqual(mark);
    const earlier = { ...mark, start: mark.start.replace(/\d+$/, '1') };
    expect(await endProcess(earlier, { clock: env.clock, termMs: 1000 })).toBe(false);
    expect(child.exitCode ?? child.signalCode).toBe(null);
    expect(await endProcess(mark, { clock: env.clock, termMs: 1000 })).toBe(true);
    expect(await endProcess(mark, { clock: env.clock, termMs: 1000 })).toBe(false);
  });

  it('is none in a damaged file, nor of the first process', () => {
    for (const text of ['', '7', '{"pid":"7"}', '{"pid":1,"start":"x"}']) {
      expect(readMark(text)).toBeUndefined();
    }
  });
});

describe('the program', () => {
  it('is found on the path; one that is missing or broken is an error', async () => {
    await using folder = await RingFolder.open(base);
    expect(findEtcd('relative:/nowhere')).toBeUndefined();
    for (const program of [undefined, join(base, 'none')]) {
      const missing = new EtcdProgram({ env, folder, program, sockets: [] });
      expect(await missing.start('{}').catch(errorCode)).toBe('HF_NOT_FOUND');
    }
    const broken = new EtcdProgram({ env, folder, program: '/bin/false', sockets: [] });
    expect(await (await broken.start('{}')).ended).toMatch(/^1/);
  });

  it('says little: the rest is copied away', async () => {
    await using folder = await RingFolder.open(base);
    const program = new EtcdProgram({ env, folder, program: undefined, sockets: [] });
    await program.rotateLog(10);
    await writeFile(folder.file('etcd.log'), 'x'.repeat(11));
    await program.rotateLog(10);
    expect((await stat(folder.file('etcd.log'))).size).toBe(0);
    expect(await readFile(folder.file('etcd.log.1'), 'utf8')).toBe('x'.repeat(11));
    // Where what it said cannot be copied away, it is let go of.
    await rm(folder.file('etcd.log.1'));
    await mkdir(folder.file('etcd.log.1'));
    await writeFile(folder.file('etcd.log'), 'y'.repeat(11));
    await program.rotateLog(10);
    expect((await stat(folder.file('etcd.log'))).size).toBe(0);
  });

  it('is told how quick the disk is', async () => {
    const ms = await measureFsync(base, env.clock);
    expect(ms).toBeGreaterThan(0);
    expect(await measureFsync(join(base, 'none'), env.clock).catch(errorCode)).toBe('HF_IO');
  });
});

describe.skipIf(!etcdProgram)('an etcd of a node', { timeout: 30_000 }, () => {
  it('is ended by the next life of a node that was killed', async () => {
    await using folder = await RingFolder.open(base);
    const first = ownIn(folder);
    await first.follow(RECORD);
    const { pid } = first;
    const { id } = await statusIn(folder);
    // As a killed node leaves it: the process runs, nobody looks after it.
    const mark = await readFile(folder.file('etcd.pid'), 'utf8');
    expect(readMark(mark)?.pid).toBe(pid);

    await using second = ownIn(folder);
    await endOrphan(folder, env);
    expect(await markOf(pid!)).toBeUndefined();
    await first[Symbol.asyncDispose]();
    await second.follow(RECORD);
    expect((await statusIn(folder)).id).toBe(id);
    expect(second.pid).not.toBe(pid);
  });

  it('is found and ended without its mark too', async () => {
    await using folder = await RingFolder.open(base);
    await using first = ownIn(folder);
    await first.follow(RECORD);
    const { pid } = first;
    await statusIn(folder);
    const other = spawn('sleep', ['60'], { cwd: base, stdio: 'ignore' });
    // As when the node was killed just after it had started it.
    await rm(folder.file('etcd.pid'));
    await endOrphan(folder, env);
    expect(await markOf(pid!)).toBeUndefined();
    expect(await markOf(other.pid!)).toBeDefined();
    other.kill();
  });

  it('gets more room when what is in use nearly fills its file', async () => {
    await using folder = await RingFolder.open(base);
    const dial = () => connectTo(folder.socket(CLIENT_SOCKET));
    const parts = { env, folder, self: SELF, program: etcdProgram, dial };
    await using own = new OwnEtcd({ ...parts, quotaBytes: 4 * MiB });
    await own.follow(RECORD);
    await statusIn(folder);
    await using kv = new EtcdConnection({ members: [dial], clock: env.clock });
    const put = async (key: string): Promise<unknown> => {
      const one = { do: 'put', key: utf8(key), value: new Uint8Array(MiB / 2) } as const;
      const change = kv.transact({ conditions: [], ifMet: [one], ifNot: [] });
      return await change.then(() => 'ok', errorCode);
    };
    let count = 0;
    while ((await put(`k${count}`)) !== 'HF_NO_SPACE') count += 1;
    await using member = new EtcdMember({ dial, clock: env.clock });
    // Without the larger quota this would never end, however often room is made.
    do {
      await own.look();
      await makeRoom([member]).catch(errorCode);
    } while ((await put('more')) !== 'ok');
    expect((await own.status()).etcd!.dbBytesInUse).toBeGreaterThan(count * (MiB / 2));
  });

  it('is reached in a folder whose path is too long for a socket', async () => {
    const deep = join(base, 'a'.repeat(60), 'b'.repeat(60));
    await using folder = await RingFolder.open(deep);
    await using own = ownIn(folder);
    await own.follow(RECORD);
    expect((await statusIn(folder)).version).toMatch(/^3\./);
    expect((await own.status()).state).toBe('running');
  });

  it('is started anew when it has grown too far', async () => {
    await using folder = await RingFolder.open(base);
    const dial = () => connectTo(folder.socket(CLIENT_SOCKET));
    const parts = { env, folder, self: SELF, program: etcdProgram, dial };
    await using own = new OwnEtcd({ ...parts, memoryBytesMax: 1 });
    await own.follow(RECORD);
    await statusIn(folder);
    const { pid } = own;
    await own.look();
    while (own.pid === undefined || own.pid === pid) await env.clock.sleep(20);
    await statusIn(folder);
    expect((await own.status()).restartCount).toBe(1);
  });
});
