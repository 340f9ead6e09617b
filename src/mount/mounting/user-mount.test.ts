/**
 * Aim: who is not root can mount, use and unmount, a crash leaves nothing behind, and what is
 * missing is said in one line. Method: a program that serves a file system in memory, run as the
 * user nobody in a mount namespace of its own, where /dev/fuse is open to all and things can be
 * missing; the machine's own stay as they are. Needs root for that; skipped, loudly, elsewhere.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { showClone, shownIn } from '../../../test/suites/shown-clone.ts';

const run = promisify(execFile);
const fileAt = (path: string): string =>
  fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const PROGRAM = fileAt('test/mount/main.ts');
const KOFFI = fileAt('node_modules/koffi');
const NOBODY = 65_534;

/** $1: a folder; $2: mode of /dev/fuse; $3: what else is to be there; then the program. */
const MACHINE = `
  folder=$1; mode=$2; more=$3; shift 3
  mount -t tmpfs none "$folder"
  ${showClone('$folder')}
  mkdir "$folder/mnt" "$folder/over" "$folder/empty"
  chown ${NOBODY} "$folder/mnt"
  mknod -m "$mode" "$folder/fuse" c 10 229
  mount --bind "$folder/fuse" /dev/fuse
  eval "$more"
  exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups "$@"`;

const WITHOUT_FUSERMOUNT =
  'mknod "$folder/over/fusermount3" c 0 0; ' +
  'mount -t overlay -o "lowerdir=$folder/over:/usr/bin" none /usr/bin';
const WITHOUT_KOFFI = 'mount --bind "$folder/empty" "$folder/clone/node_modules/koffi"';
const WITH_ALL_USERS =
  'echo user_allow_other > "$folder/conf"; mount --bind "$folder/conf" /etc/fuse.conf';

/** Why these tests cannot run here. */
function obstacle(): string | undefined {
  if (process.getuid?.() !== 0 || !fs.existsSync('/dev/fuse')) return 'root and /dev/fuse';
  if (!fs.existsSync(KOFFI)) return 'koffi (an optional dependency)';
  const probe = 'mknod -m 0666 "$folder/null" c 1 3 && : > "$folder/null"';
  const words = ['-c', `set -e; folder=$1; mount -t tmpfs none "$1"; ${probe}`, 'sh', tmpdir()];
  try {
    execFileSync('fusermount3', ['--version'], { stdio: 'ignore' });
    execFileSync('unshare', ['--mount', 'sh', ...words], { stdio: 'ignore' });
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
}

const missing = obstacle();
if (missing !== undefined) console.warn(`SKIPPED: tests of mounts of users need ${missing}`);

let folder: string;
let child: ChildProcess | undefined;

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'user-mount-'));
});

afterEach(async () => {
  if (child && child.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
  child = undefined;
  fs.rmdirSync(folder);
});

interface Machine {
  readonly mode?: string;
  readonly more?: string;
  readonly flags?: readonly string[];
  /** What runs the program. */
  readonly runner?: readonly string[];
}

/** A machine on which nobody mounts. @returns what it said first. */
async function start(machine: Machine = {}) {
  const { mode = '0666', more = '', flags = ['--private'], runner = [] } = machine;
  const point = join(folder, 'mnt');
  const [node, main] = [process.execPath, PROGRAM].map((file) => shownIn(folder, file));
  const program = [...runner, node!, main!, point, ...flags];
  const words = ['--mount', 'sh', '-ec', MACHINE, 'sh', folder, mode, more, ...program];
  child = spawn('unshare', words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr!.on('data', (piece: Buffer) => (complaint += piece.toString()));
  const said = await Promise.race([
    once(child.stdout!, 'data').then(([line]) => String(line).trim()),
    once(child, 'close').then(() => complaint),
  ]);
  return { said, point };
}

/** In that machine, by default as nobody. */
async function there(script: string, { uid = NOBODY } = {}): Promise<string> {
  const who = [`--setuid=${uid}`, `--setgid=${uid}`];
  const words = ['--mount', `--target=${child!.pid}`, ...who, 'sh', '-ec', script];
  return (await run('nsenter', words)).stdout;
}

describe.runIf(missing === undefined)('a user who is not root', () => {
  it('mounts, uses and unmounts', async () => {
    const { said, point } = await start();
    expect(said).toBe('ready');
    expect(await there(`cd ${point}; mkdir a; echo text > a/b; cat a/b; stat -c %u a`)).toBe(
      `text\n${NOBODY}\n`,
    );
    expect(await there(`grep ${point} /proc/self/mounts`)).toMatch(
      /^holdfast:memory .* fuse.holdfast rw,nosuid,nodev/u,
    );
    const ended = once(child!, 'exit');
    child!.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  });

  it('alone uses it, unless root lets them say otherwise', async () => {
    const { point } = await start();
    await expect(there(`ls ${point}`, { uid: 0 })).rejects.toThrow('Permission denied');
  });

  it('may let others in where root says so', async () => {
    const { said, point } = await start({ flags: [], more: WITH_ALL_USERS });
    expect(said).toBe('ready');
    expect(await there(`ls -a ${point}`, { uid: 1 })).toBe('.\n..\n');
  });

  it('needs neither fusermount3 nor koffi in a namespace of their own', async () => {
    const more = `${WITHOUT_KOFFI}; ${WITHOUT_FUSERMOUNT}`;
    const { said, point } = await start({ runner: ['unshare', '-Urm'], more });
    expect(said).toBe('ready');
    expect(await there(`echo text > ${point}/file; cat ${point}/file`)).toBe('text\n');
    const ended = once(child!, 'exit');
    child!.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  });

  it('by fusermount3 ends it, too', async () => {
    const { point } = await start();
    const ended = once(child!, 'exit');
    await there(`fusermount3 -u ${point}`);
    expect(await ended).toEqual([0, null]);
  });

  it('finds the place usable after a crash', async () => {
    const { point } = await start();
    const words = ['--mount', `--target=${child!.pid}`, 'sh', '-c'];
    const script = `
      echo there
      while grep -q ${point} /proc/self/mounts; do sleep 0.02; done
      ls -A ${point}`;
    const shell = spawn('nsenter', [...words, script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const said: string[] = [];
    shell.stdout.on('data', (piece: Buffer) => said.push(piece.toString()));
    await once(shell.stdout, 'data');
    const ended = once(shell, 'close');
    child!.kill('SIGKILL');
    expect(await ended).toEqual([0, null]);
    expect(said).toEqual(['there\n']);
  });

  it.each<[string, Machine, RegExp]>([
    ['/dev/fuse is closed', { mode: '0600' }, /^\S*HoldfastError: .*chmod 0666 \/dev\/fuse$/mu],
    ['koffi is missing', { more: WITHOUT_KOFFI }, /^\S*HoldfastError: .*npm install koffi$/mu],
    ['fusermount3 is missing', { more: WITHOUT_FUSERMOUNT }, /needs fusermount3.*package fuse3/u],
    ['others are not let in', { flags: [] }, /HoldfastError: .*allow_other.*\/etc\/fuse\.conf$/mu],
    ['the directory is not theirs', { more: 'chown 0 $folder/mnt' }, /no write access/u],
  ])('is told in a line when %s', async (_, machine, pattern) => {
    const { said } = await start(machine);
    expect(said).toMatch(pattern);
    expect(said).toMatch(/code: 'HF_(DENIED|UNSUPPORTED)'/u);
  });
});
