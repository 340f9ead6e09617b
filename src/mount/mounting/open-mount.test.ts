/**
 * Aim: a mount works with the real kernel: POSIX calls, programs that are killed in the middle of
 * one, changes from elsewhere, unmounting, and the crash of its process. Method: /dev/fuse, a file
 * system in memory served by the mount's own thread. Needs root; skipped, loudly, elsewhere.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Told } from '../../../test/mount/haunted-module.ts';
import { realEnv } from '../../env/index.ts';
import { ourMountAt } from './mount-info.ts';
import { usersOf } from './mount-users.ts';
import { type Mount, openMount, type OpenMountOptions } from './open-mount.ts';

const run = promisify(execFile);
const here = (path: string) => new URL(`../../../test/mount/${path}`, import.meta.url);
const canMount = process.getuid?.() === 0 && fs.existsSync('/dev/fuse');
if (!canMount) console.warn('SKIPPED: tests with the real kernel need root and /dev/fuse');
const hasPython = canMount && isThere('python3');

function isThere(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    console.warn(`SKIPPED: ${program} is not there`);
    return false;
  }
}

let point: string;
let mounts: Mount[];

beforeEach(() => {
  point = fs.mkdtempSync(join(tmpdir(), 'mount-'));
  mounts = [];
});

afterEach(async () => {
  for (const mount of mounts) await mount[Symbol.asyncDispose]();
  fs.rmdirSync(point);
});

async function mounted(options: Partial<OpenMountOptions> = {}): Promise<Mount> {
  const mount = await openMount({
    env: realEnv(),
    mountpoint: point,
    mount: { name: 'test', allowsSetUserId: true, allowsDevices: true },
    module: here('haunted-module.ts'),
    ...options,
  });
  mounts.push(mount);
  return mount;
}

async function told(mount: Mount, what: Told): Promise<void> {
  for (;;) if ((await once(mount.worker, 'message'))[0] === what) return;
}

/** A program that is killed with the test, should it hang. */
function started(program: string, ...words: string[]): ChildProcess {
  return spawn(program, words, { stdio: 'ignore', timeout: 20_000, killSignal: 'SIGKILL' });
}

describe.runIf(canMount)('a mount', () => {
  it('has files and directories', async () => {
    await mounted();
    const content = randomBytes(3_000_000);
    fs.mkdirSync(join(point, 'a/b'), { recursive: true });
    fs.writeFileSync(join(point, 'a/b/file'), content);
    fs.renameSync(join(point, 'a/b'), join(point, 'c'));
    expect(fs.readFileSync(join(point, 'c/file')).equals(content)).toBe(true);
    fs.symlinkSync('c/file', join(point, 'link'));
    fs.linkSync(join(point, 'c/file'), join(point, 'hard'));
    expect(fs.statSync(join(point, 'link'))).toMatchObject({ size: 3_000_000, nlink: 2 });
    expect(fs.readdirSync(point).toSorted()).toEqual(['a', 'c', 'hard', 'link']);
    fs.rmSync(join(point, 'c'), { recursive: true });
    expect(fs.readFileSync(join(point, 'hard')).equals(content)).toBe(true);
  });

  it('lists a large directory, and a file stays while it is open', async () => {
    await mounted();
    const names = Array.from({ length: 700 }, (_, index) => `file number ${index}`);
    for (const name of names) fs.writeFileSync(join(point, name), name);
    const open = fs.openSync(join(point, names[7]!), 'r');
    expect(fs.readdirSync(point).length).toBe(700);
    for (const name of names) fs.unlinkSync(join(point, name));
    expect(fs.readdirSync(point)).toEqual([]);
    expect(fs.readFileSync(open, 'utf8')).toBe(names[7]);
    fs.closeSync(open);
  });

  it.runIf(hasPython).each([
    ['at once', {}],
    ['with a writeback cache', { behaviour: { writebackCache: true } }],
    ['by promises', { module: here('promised-module.ts') }],
  ])('does what POSIX and Linux say, %s', async (_, options) => {
    await mounted(options);
    const { stdout } = await run('python3', [fileURLToPath(here('posix-calls.py')), point]);
    expect(stdout.trim().split('\n').length).toBe(8);
  });

  it('shows who it is, and can be read-only', async () => {
    await mounted({ mount: { name: 'a volume', isReadOnly: true } });
    expect(await ourMountAt(point)).toMatchObject({ source: 'holdfast:a volume' });
    expect(() => fs.mkdirSync(join(point, 'd'))).toThrow('EROFS');
    const found = fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    expect(found.find((line) => line.includes(point))).toMatch(/ro,nosuid,nodev/);
  });

  it('serves promises beside what it answers at once', async () => {
    await mounted();
    fs.writeFileSync(join(point, 'later'), 'patience');
    fs.writeFileSync(join(point, 'now'), 'at once');
    // Not from the cache of the kernel.
    const words = ['if=' + join(point, 'later'), 'iflag=direct', 'status=none'];
    const late = Array.from({ length: 3 }, () => run('dd', words));
    expect(fs.readFileSync(join(point, 'now'), 'utf8')).toBe('at once');
    for (const { stdout } of await Promise.all(late)) expect(stdout).toBe('patience');
  });
});

describe.runIf(canMount)('a program that waits', () => {
  it.each(['mkdir', 'cat'])('can be killed in the middle of %s', async (program) => {
    const mount = await mounted();
    fs.writeFileSync(join(point, 'never'), 'x'.repeat(10));
    // Drops what the kernel has cached of it.
    await run('dd', [`if=${join(point, 'never')}`, 'iflag=nocache', 'count=0', 'status=none']);
    const child = started(program, join(point, program === 'mkdir' ? 'never made' : 'never'));
    await told(mount, 'waiting');
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    expect((await ended)[1]).toBe('SIGKILL');
    expect(fs.readdirSync(point)).toEqual(['never']);
  });

  it('gets an error when it takes too long', async () => {
    await mounted({ behaviour: { requestMs: 100, lateError: 'EIO' } });
    await expect(run('mkdir', [join(point, 'never made')])).rejects.toThrow('Input/output error');
  });
});

it.runIf(canMount)('an idle mount hears of changes from elsewhere', async () => {
  const mount = await mounted();
  const path = join(point, 'file');
  fs.writeFileSync(path, 'old');
  const { ino } = fs.statSync(path);
  expect(fs.readFileSync(path, 'utf8')).toBe('old');
  const changed = told(mount, 'changed');
  mount.worker.postMessage({ inode: ino, text: 'changed' });
  await mount.wake();
  await changed;
  expect(fs.readFileSync(path, 'utf8')).toBe('changed');
});

describe.runIf(canMount)('unmounting', () => {
  it('ends it, and the place is a plain directory again', async () => {
    const mount = await mounted();
    fs.writeFileSync(join(point, 'file'), 'x');
    await mount.unmount();
    expect(fs.readdirSync(point)).toEqual([]);
    await mount.unmount(); // once more does nothing
  });

  it('does not while somebody uses it, unless it is forced', async () => {
    const mount = await mounted();
    const open = fs.openSync(join(point, 'file'), 'w');
    await expect(mount.unmount()).rejects.toMatchObject({ code: 'HF_BUSY' });
    fs.writeSync(open, 'still there');
    await mount.unmount({ isForced: true });
    expect(() => fs.fsyncSync(open)).toThrow();
    expect(() => fs.closeSync(open)).toThrow('ENOTCONN');
  });

  it('out of sight lets those go on who use it, and tells who they are', async () => {
    const mount = await mounted();
    const open = fs.openSync(join(point, 'file'), 'w+');
    expect((await usersOf(point)).map(({ processId }) => processId)).toEqual([process.pid]);
    await mount.unmount({ isLazy: true });
    expect(fs.readdirSync(point)).toEqual([]);
    fs.writeSync(open, 'still there');
    fs.fsyncSync(open);
    expect(fs.readFileSync(open, 'utf8')).toBe('');
    fs.closeSync(open);
    await mount.ended;
    expect(await usersOf(point)).toEqual([]);
  });

  it('by force does not wait for an answer that never comes', async () => {
    const mount = await mounted();
    const waiting = run('mkdir', [join(point, 'forever')]);
    waiting.catch(() => undefined);
    await told(mount, 'waiting');
    await mount.unmount({ isForced: true });
    await expect(waiting).rejects.toThrow('mkdir');
  });

  it('does not wait for another namespace that holds it', async () => {
    const mount = await mounted();
    const other = started('unshare', '--mount', '--propagation', 'private', 'sleep', '20');
    const isElsewhere = () =>
      fs.readFileSync(`/proc/${other.pid}/comm`, 'utf8') === 'sleep\n' &&
      fs.readFileSync(`/proc/${other.pid}/mountinfo`, 'utf8').includes(point);
    while (!isElsewhere()) await new Promise((resolve) => setTimeout(resolve, 10));
    await mount.unmount();
    expect(other.exitCode).toBeNull();
    other.kill();
  });

  it('by somebody else ends it, too', async () => {
    const mount = await mounted();
    await run('umount', [point]);
    await mount.unmount();
    await mount.ended;
  });
});

describe.runIf(canMount)('where nothing can be mounted', () => {
  const env = realEnv();
  const mount = { name: 'test' };
  const module = here('memory-module.ts');

  it('it is said why', async () => {
    const missing = join(point, 'missing');
    await expect(openMount({ env, mountpoint: missing, mount, module })).rejects.toMatchObject({
      code: 'HF_NOT_FOUND',
    });
    await expect(openMount({ env, mountpoint: '/dev/null', mount, module })).rejects.toMatchObject({
      code: 'HF_NOT_DIRECTORY',
    });
    const comma = { name: 'a,suid' };
    await expect(openMount({ env, mountpoint: point, mount: comma, module })).rejects.toMatchObject(
      {
        code: 'HF_BAD_ARGUMENT',
      },
    );
  });

  it('nothing is left when the file system cannot be opened', async () => {
    const options = { env, mountpoint: point, mount, module: new URL('data:text/javascript,;') };
    await expect(openMount(options)).rejects.toThrow();
    expect(await ourMountAt(point)).toBeUndefined();
  });
});

describe.runIf(canMount)('after a crash', () => {
  /** Another process that mounts, and its watchdog. */
  async function elsewhere() {
    const child = spawn(process.execPath, [fileURLToPath(here('main.ts')), point], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const { stdout } = await run('pgrep', ['-f', `holdfast-watchdog .*${point}`]);
    return { child, watchdogId: Number(stdout.trim().split('\n')[0]) };
  }

  async function gone(): Promise<void> {
    while (await ourMountAt(point)) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  it('the place is usable again', async () => {
    const { child } = await elsewhere();
    fs.writeFileSync(join(point, 'file'), 'x');
    child.kill('SIGKILL');
    await gone();
    expect(fs.readdirSync(point)).toEqual([]);
  });

  it('even when nobody watched: the next mount clears it', async () => {
    const { child, watchdogId } = await elsewhere();
    process.kill(watchdogId, 'SIGKILL');
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    expect(() => fs.readdirSync(point)).toThrow('ENOTCONN');
    await mounted();
    fs.writeFileSync(join(point, 'file'), 'x');
  });

  it('in good order nobody watches any more', async () => {
    const { child, watchdogId } = await elsewhere();
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(() => process.kill(watchdogId, 0)).toThrow('ESRCH');
  });
});
