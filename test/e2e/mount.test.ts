/**
 * Aim: a mounted volume is a file system: what is written there is there after unmounting and
 * mounting again, and after a crash, when it is mounted again by itself; `put` and `get` see the
 * same files. Method: a node in a process of its own serves a mount through the real /dev/fuse;
 * this process uses it through node:fs. Needs root and /dev/fuse; skipped, loudly, elsewhere.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MountView } from '../../src/api/index.ts';
import { mapBounded } from '../../src/base/index.ts';
import { seededBytes } from './content.ts';
import { Bed, type NodeProcess, until } from './harness.ts';

const canMount = process.getuid?.() === 0 && existsSync('/dev/fuse');
if (!canMount) console.warn('SKIPPED: tests of mounted volumes need root and /dev/fuse');

const SMALL_FILES = 1000;
const AT_ONCE = 16;

let bed: Bed;
let node: NodeProcess;
let point: string;

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
}

const at = (name: string): string => `${point}/${name}`;

async function mount(...options: string[]): Promise<MountView> {
  return await bed.json<MountView>(['mount', 'default', point, ...options]);
}

async function remount(): Promise<void> {
  await bed.ok(['umount', point]);
  await mount();
}

async function mountIfGone(): Promise<void> {
  const mounts = await bed.json<MountView[]>(['mount']);
  if (mounts.length === 0) await mount();
}

/** By the node that has just started. */
async function mountedAgain(): Promise<void> {
  await until('it is mounted again', async () => {
    return (await bed.json<MountView[]>(['mount'])).length === 1;
  });
}

describe.skipIf(!canMount)('a mounted volume', () => {
  beforeAll(async () => {
    bed = await Bed.open();
    node = await bed.up();
    point = bed.path('mnt');
    await fs.mkdir(point);
  });

  beforeEach(mountIfGone);

  afterAll(async () => {
    if (node.child.exitCode === null) await bed.run(['umount', point, '--force']);
    await bed[Symbol.asyncDispose]();
  });

  it('is listed, and ends when asked to', async () => {
    const [listed, ...others] = await bed.json<MountView[]>(['mount']);
    expect(others).toEqual([]);
    expect(listed).toMatchObject({ volume: 'default', directory: point, isReadOnly: false });
    await bed.ok(['umount', point]);
    expect(await bed.json<MountView[]>(['mount'])).toEqual([]);
    expect(await fs.readdir(point)).toEqual([]);
  });

  it('keeps what was written', async () => {
    const large = await seededBytes('large', 9_000_001);
    await fs.writeFile(at('large'), large);
    await fs.mkdir(at('directory/deep'), { recursive: true });
    await fs.writeFile(at('directory/deep/small'), 'small');
    await fs.symlink('deep/small', at('directory/link'));
    await fs.link(at('large'), at('directory/other'));
    await fs.chmod(at('large'), 0o640);
    await fs.utimes(at('large'), 1_000_000_000, 1_234_567_890.25);
    await remount();
    expect(large.equals(await fs.readFile(at('directory/other')))).toBe(true);
    expect(await fs.readFile(at('directory/link'), 'utf8')).toBe('small');
    expect(await fs.readlink(at('directory/link'))).toBe('deep/small');
    const { mode, nlink, size, mtimeMs, ino } = await fs.stat(at('large'));
    expect([mode & 0o7777, nlink, size, mtimeMs]).toEqual([0o640, 2, 9_000_001, 1_234_567_890_250]);
    expect((await fs.stat(at('directory/other'))).ino).toBe(ino);
    expect((await fs.readdir(at('directory'))).toSorted()).toEqual(['deep', 'link', 'other']);
  });

  it('holds the files that put and get have', async () => {
    const put = await seededBytes('put', 300_000);
    await bed.ok(['put', '-', '--name', 'shared/put'], { input: put });
    expect(put.equals(await fs.readFile(at('shared/put')))).toBe(true);

    const written = await seededBytes('written', 300_000);
    await fs.writeFile(at('shared/written'), written);
    const { stdout } = await bed.run(['get', 'shared/written', '-o', '-']);
    expect(stdout.equals(written)).toBe(true);
    await bed.ok(['get', 'shared/written', '-o', 'copy']);
    expect(written.equals(await fs.readFile(bed.path('work', 'copy')))).toBe(true);

    await using file = await fs.open(at('shared/put'), 'r+');
    await file.write('in place', 1000);
    await file.sync();
    const changed = Buffer.from(put);
    changed.write('in place', 1000);
    const got = await bed.run(['get', 'shared/put', '-o', '-']);
    expect(got.stdout.equals(changed)).toBe(true);

    await bed.ok(['put', '-', '--force', '--name', 'shared/written'], { input: 'replaced' });
    expect(await fs.readFile(at('shared/written'), 'utf8')).toBe('replaced');
  });

  it('shows at once what put has replaced', async () => {
    await bed.ok(['put', '-', '--name', 'turned'], { input: 'first' });
    expect(await fs.readFile(at('turned'), 'utf8')).toBe('first');
    await bed.ok(['put', '-', '--force', '--name', 'turned'], { input: 'the second' });
    expect(await fs.readFile(at('turned'), 'utf8')).toBe('the second');
    expect((await fs.stat(at('turned'))).size).toBe(10);
  });

  it('renames over, and refuses as POSIX says', async () => {
    await fs.writeFile(at('from'), 'new');
    await fs.writeFile(at('to'), 'old');
    await fs.rename(at('from'), at('to'));
    expect(await fs.readFile(at('to'), 'utf8')).toBe('new');
    expect(await codeOf(fs.stat(at('from')))).toBe('ENOENT');
    await fs.mkdir(at('full/inner'), { recursive: true });
    await fs.mkdir(at('empty'));
    expect(await codeOf(fs.rename(at('empty'), at('full')))).toBe('ENOTEMPTY');
    expect(await codeOf(fs.rename(at('to'), at('full')))).toBe('EISDIR');
    expect(await codeOf(fs.rmdir(at('full')))).toBe('ENOTEMPTY');
    expect(await codeOf(fs.mkdir(at('full')))).toBe('EEXIST');
    expect(await codeOf(fs.readdir(at('to')))).toBe('ENOTDIR');
    expect(await codeOf(fs.writeFile(at('x'.repeat(256)), ''))).toBe('ENAMETOOLONG');
  });

  it('keeps a file that is removed while it is open', async () => {
    await using file = await fs.open(at('doomed'), 'w+');
    await file.write('one ');
    await fs.unlink(at('doomed'));
    expect(await codeOf(fs.stat(at('doomed')))).toBe('ENOENT');
    await file.write('two');
    await file.sync();
    const { buffer, bytesRead } = await file.read({ position: 0 });
    expect(buffer.toString('utf8', 0, bytesRead)).toBe('one two');
    expect((await file.stat()).nlink).toBe(0);
  });

  it('cuts, grows and has holes', async () => {
    await using file = await fs.open(at('sparse'), 'w+');
    await file.write('head');
    await file.write('tail', 5_000_000);
    await file.truncate(5_000_002);
    await file.sync();
    await remountOpen(file);
    const content = await fs.readFile(at('sparse'));
    expect(content.length).toBe(5_000_002);
    expect(content.subarray(0, 4).toString()).toBe('head');
    expect(content.subarray(4, 5_000_000).every((byte) => byte === 0)).toBe(true);
    expect(content.subarray(5_000_000).toString()).toBe('ta');
    await fs.truncate(at('sparse'), 2);
    expect(await fs.readFile(at('sparse'), 'utf8')).toBe('he');
    await fs.truncate(at('sparse'), 4);
    expect(await fs.readFile(at('sparse'), 'latin1')).toBe('he\0\0');
    await fs.appendFile(at('sparse'), 'more');
    expect(await fs.readFile(at('sparse'), 'latin1')).toBe('he\0\0more');
  });

  it('has names that are no UTF-8', async () => {
    const name = Buffer.concat([Buffer.from(at('')), Buffer.from([0xff, 0xfe, 0x41])]);
    await fs.writeFile(name, 'bytes');
    await remount();
    const names = await fs.readdir(point, { encoding: 'buffer' });
    expect(names.some((each) => each.equals(Buffer.from([0xff, 0xfe, 0x41])))).toBe(true);
    expect(await fs.readFile(name, 'utf8')).toBe('bytes');
    await fs.unlink(name);
  });

  it('takes a thousand small files', async () => {
    await fs.mkdir(at('many'));
    const names = Array.from({ length: SMALL_FILES }, (_, index) => `file-${index}`);
    await mapBounded(names, AT_ONCE, async (name) => {
      await fs.writeFile(at(`many/${name}`), `content of ${name}`);
    });
    await remount();
    expect((await fs.readdir(at('many'))).toSorted()).toEqual(names.toSorted());
    for (const name of names.filter((_, index) => index % 50 === 0)) {
      expect(await fs.readFile(at(`many/${name}`), 'utf8')).toBe(`content of ${name}`);
    }
    await fs.rm(at('many'), { recursive: true });
    expect(await codeOf(fs.stat(at('many')))).toBe('ENOENT');
  });

  it('refuses what cannot be mounted, and says why', async () => {
    await fs.mkdir(bed.path('taken'));
    await fs.writeFile(bed.path('taken', 'file'), '');
    const refusal = async (...words: string[]) => {
      const { exitCode, stderr } = await bed.run(['mount', ...words]);
      return [exitCode, stderr];
    };
    expect(await refusal('default', bed.path('taken'))).toEqual([
      4,
      expect.stringContaining('not empty'),
    ]);
    expect((await refusal('default', bed.path('nowhere')))[0]).toBe(3);
    expect((await refusal('nothing', bed.path('taken')))[0]).toBe(3);
    expect((await refusal('default', point))[0]).toBe(4);
    expect((await refusal('default', point, '-o', 'fast'))[0]).toBe(2);
    expect((await bed.run(['umount', bed.path('taken')])).exitCode).toBe(3);
  });

  it('is no place for what serves it', async () => {
    await fs.mkdir(at('inside'));
    await fs.symlink(at('inside'), bed.path('detour'));
    for (const words of [
      ['mount', 'default', at('inside')],
      ['mount', 'default', bed.path('detour')],
      ['dev', 'add', at('store')],
      ['dev', 'add', bed.path('detour', 'store')],
    ]) {
      const { exitCode, stderr } = await bed.run(words);
      expect(stderr, words.join(' ')).toContain('is a mount of Holdfast');
      expect(exitCode).toBe(2);
    }
    await fs.rmdir(at('inside'));
  });

  it('is only read with ro, and is not taken away from who uses it', async () => {
    await bed.ok(['umount', point]);
    await mount('-o', 'ro');
    expect(await codeOf(fs.writeFile(at('new'), ''))).toBe('EROFS');
    await remount();
    await using file = await fs.open(at('used'), 'w');
    expect((await bed.run(['umount', point])).exitCode).toBe(8);
    await file.write('still there');
    await file.close();
    await remount();
    expect(await fs.readFile(at('used'), 'utf8')).toBe('still there');
  });

  it('is the same mount by a link to its directory', async () => {
    await fs.mkdir(bed.path('aimed'));
    await fs.symlink(bed.path('aimed'), bed.path('link'));
    await bed.ok(['mount', 'default', bed.path('link')]);
    const again = await bed.run(['mount', 'default', bed.path('aimed')]);
    expect(again.stderr).toContain('is a mount already');
    await bed.ok(['umount', bed.path('aimed')]);
    await bed.ok(['mount', 'default', bed.path('aimed')]);
    await bed.ok(['umount', bed.path('link')]);
  });

  it('may be unmounted by another program', async () => {
    await fs.writeFile(at('kept'), 'kept');
    await promisify(execFile)('umount', [point]);
    await until('the node has noticed', async () => {
      return (await bed.json<MountView[]>(['mount'])).length === 0;
    });
    await mount();
    expect(await fs.readFile(at('kept'), 'utf8')).toBe('kept');
  });

  it('is gone when the node stops, with all that was closed stored', async () => {
    await fs.writeFile(at('closed'), 'before the stop');
    await node.stop();
    expect(await fs.readdir(point)).toEqual([]);
    node = await bed.up();
    await mountedAgain();
    expect(await fs.readFile(at('closed'), 'utf8')).toBe('before the stop');
  });

  it('fails when the node is killed, and comes back with what was synced', async () => {
    const file = await fs.open(at('synced'), 'w');
    await file.write('before the crash');
    await file.sync();
    await file.write(' and lost');
    await node.kill();
    expect(await codeOf(file.sync())).toMatch(/^(ENOTCONN|ECONNABORTED|EIO)$/u);
    expect(await codeOf(file.close())).toBe('ENOTCONN');
    await until('the place is usable', async () => {
      return (await codeOf(fs.readdir(point))) === undefined;
    });
    expect(await fs.readdir(point)).toEqual([]);
    node = await bed.up();
    await mountedAgain();
    expect(await fs.readFile(at('synced'), 'utf8')).toMatch(/^before the crash/u);
  });

  it('comes back as it was until the node unmounts it, whoever else does', async () => {
    await bed.ok(['umount', point]);
    await mount('-o', 'ro,noexec,nofail');
    await promisify(execFile)('umount', [point]);
    await node.stop();
    node = await bed.up();
    await mountedAgain();
    const [again] = await bed.json<MountView[]>(['mount']);
    expect(again).toMatchObject({ isReadOnly: true, forbidsPrograms: true });
    expect(await codeOf(fs.writeFile(at('new'), ''))).toBe('EROFS');
    await bed.ok(['umount', point]);
    await node.stop();
    node = await bed.up();
    expect(await bed.json<MountView[]>(['mount'])).toEqual([]);
    expect(await fs.readFile(bed.path('data/mounts.json'), 'utf8')).not.toContain(point);
  });

  it('is told of when it cannot come back, and does not stop the node', async () => {
    await node.stop();
    await fs.rmdir(point);
    node = await bed.up();
    const doctor = async (): Promise<string> => await bed.ok(['doctor']);
    await until('it is told', async () => (await doctor()).includes('is not mounted again at'));
    expect(await bed.json<MountView[]>(['mount'])).toEqual([]);
    await fs.mkdir(point);
    await mountedAgain();
    expect(await doctor()).not.toContain('is not mounted again');
    await node.stop();
    await fs.rmdir(point);
    node = await bed.up();
    await until('it is told', async () => (await doctor()).includes(`holdfast umount ${point}`));
    await bed.ok(['umount', point]);
    expect(await doctor()).not.toContain('is not mounted again');
    await fs.mkdir(point);
  });

  it('names who uses it, and is out of sight when that is asked for', async () => {
    const work = await fs.open(at('used'), 'w');
    const program = readFileSync('/proc/self/comm', 'utf8').trim();
    const busy = await bed.run(['umount', point]);
    expect([busy.exitCode, busy.stderr]).toEqual([
      8,
      expect.stringContaining(`in use by ${program} (${process.pid})`),
    ]);
    await bed.ok(['umount', point, '--lazy']);
    expect(await fs.readdir(point)).toEqual([]);
    await mount();
    await work.write('still there');
    await work.close();
    expect(await fs.readFile(at('used'), 'utf8')).toBe('still there');
    await remount();
  });
});

/** Nothing is unmounted under an open file. */
async function remountOpen(file: fs.FileHandle): Promise<void> {
  await file.close();
  await remount();
}
