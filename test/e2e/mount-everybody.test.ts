/**
 * Aim: who is not root mounts with a node of his own; mount(8), fstab and umount(8) know the type
 * holdfast. Method: programs in a mount namespace of their own, in which /dev/fuse is open to all
 * and the helper is in /sbin; the machine's own stay as they are. Needs root and /dev/fuse;
 * skipped, loudly, elsewhere.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MountView } from '../../src/api/index.ts';
import { showClone, shownIn } from '../suites/shown-clone.ts';
import { Bed, until } from './harness.ts';

const run = promisify(execFile);
const fileAt = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const PROGRAM = fileAt('bin/holdfast.js');
const NOBODY = 65_534;
const TIMEOUT_MS = 60_000;

function canUse(program: string, ...words: string[]): boolean {
  try {
    execFileSync(program, words, { stdio: 'ignore' });
    return true;
  } catch {
    console.warn(`SKIPPED: ${program} cannot be used`);
    return false;
  }
}

const canMount =
  process.getuid?.() === 0 && existsSync('/dev/fuse') && canUse('unshare', '--mount', 'true');
if (!canMount) console.warn('SKIPPED: tests of mounts for everybody need root and /dev/fuse');
const canMountAsUser =
  canMount && existsSync(fileAt('node_modules/koffi')) && canUse('fusermount3', '--version');
if (!canMountAsUser) console.warn('SKIPPED: mounts of users need koffi and fusermount3');

let bed: Bed;

beforeAll(async () => {
  bed = await Bed.open();
});

afterAll(async () => await bed[Symbol.asyncDispose]());

/** A shell in which mounts of the machine are seen, and its own are not seen by others. */
async function inNamespace(script: string, ...words: string[]): Promise<string> {
  const flags = ['--mount', '--propagation', 'slave', 'sh', '-ec', script, 'sh', ...words];
  return (await run('unshare', flags, { timeout: TIMEOUT_MS })).stdout;
}

describe.runIf(canMountAsUser)('a user who is not root', () => {
  const MACHINE = `
    mount -t tmpfs none "$1"
    ${showClone('$1')}
    mkdir "$1/home" "$1/mnt"; chown ${NOBODY} "$1/home" "$1/mnt"
    mknod -m 0666 "$1/fuse" c 10 229; mount --bind "$1/fuse" /dev/fuse
    cd "$1/home"
    exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups \
      env HOME="$1/home" HOLDFAST_DATA="$1/home/data" sh -ec "$4" sh "$2" "$3" "$1/mnt"`;
  const USER = `
    holdfast() { "$node" "$program" "$@"; }
    node=$1; program=$2; point=$3
    trap 'holdfast down >/dev/null || true' EXIT
    holdfast up --detach > up
    echo put | holdfast put - --name put > id
    holdfast mount default "$point" > mounted
    echo written > "$point/written"; mkdir "$point/made"; mv "$point/written" "$point/made/moved"
    echo more >> "$point/put"
    cat "$point/made/moved" "$point/put"; stat -c %u "$point" "$point/put"
    holdfast mount default "$point/made" 2>&1 || echo "exit $?"
    kill -9 $(holdfast status --json | sed 's/.*"processId":\\([0-9]*\\).*/\\1/')
    while grep -q "$point" /proc/self/mounts; do sleep 0.1; done
    ls -A "$point"
    holdfast up --detach > up
    while ! grep -q "$point" /proc/self/mounts; do sleep 0.1; done
    holdfast get made/moved -o -
    cat "$point/made/moved"
    holdfast umount "$point"`;

  it('has files of his own in a mount of his own node, also after a crash', async () => {
    const folder = bed.path('user');
    await fs.mkdir(folder);
    await fs.chmod(bed.folder, 0o755);
    const programs = [process.execPath, PROGRAM].map((file) => shownIn(folder, file));
    const said = await inNamespace(MACHINE, folder, ...programs, USER);
    const lines = said.trim().split('\n');
    expect(lines.slice(0, 5)).toEqual(['written', 'put', 'more', `${NOBODY}`, `${NOBODY}`]);
    expect(lines.slice(5)).toEqual([
      expect.stringMatching(/^holdfast: .*made/u),
      expect.stringMatching(/^exit /u),
      'written',
      'written',
      `volume default is mounted at ${folder}/mnt no more`,
    ]);
  });
});

describe.runIf(canMount)('mount(8)', () => {
  /** $1: a folder with the helper; the rest is run. */
  const WITH_HELPER = `
    mount -t overlay -o "lowerdir=$1:$(readlink -f /sbin)" none "$(readlink -f /sbin)"
    shift; "$@"`;
  let point: string;

  beforeAll(async () => {
    await bed.up();
    point = bed.path('mnt');
    await fs.mkdir(point);
    await fs.mkdir(bed.path('sbin'));
    await bed.ok(['mount', '--install-helper', bed.path('sbin')]);
  });

  const withHelper = async (...words: string[]): Promise<string> =>
    await inNamespace(WITH_HELPER, bed.path('sbin'), ...words);
  const mounts = async (): Promise<MountView[]> => await bed.json<MountView[]>(['mount']);
  const gone = async (): Promise<void> =>
    await until('the node has noticed', async () => (await mounts()).length === 0);

  it.each(['holdfast', 'fuse.holdfast'])(
    'knows the type %s, and umount(8) ends it',
    async (type) => {
      const options = 'ro,noatime,_netdev,nofail,x-systemd.requires=holdfast.service';
      await withHelper('mount', '-t', type, 'holdfast:default', point, '-o', options);
      expect(await mounts()).toMatchObject([
        { volume: 'default', directory: point, isReadOnly: true, endsWithUmount: true },
      ]);
      await run('umount', [point]);
      await gone();
      expect(await fs.readFile(bed.path('data', 'mounts.json'), 'utf8')).toContain('"mounts": []');
    },
  );

  it('reads fstab, and may do so once more', async () => {
    const fstab = bed.path('fstab');
    const line = `holdfast:default ${point} holdfast noauto,noexec,allow_other 0 0\n`;
    await fs.writeFile(fstab, line);
    const script = 'mount -T "$1" "$2"; sh -c "$3"; mount -T "$1" -a';
    const again = `${bed.path('sbin', 'mount.holdfast')} default ${point} -o rw,noexec,allow_other`;
    await withHelper('sh', '-ec', script, 'sh', fstab, point, again);
    expect(await mounts()).toMatchObject([{ forbidsPrograms: true, allowsOthers: true }]);
    await fs.writeFile(`${point}/file`, 'through fstab');
    await run('umount', [point]);
    await gone();
    expect(await bed.ok(['get', 'file', '-o', '-'])).toBe('through fstab');
  });

  it('says in one line what is wrong', async () => {
    const failure = async (...words: string[]) =>
      await withHelper('mount', '-t', 'holdfast', ...words).then(
        () => undefined,
        ({ code, stderr }: { code: number; stderr: string }) => [code, stderr.trim()],
      );
    expect(await failure('default', point, '-o', 'compress')).toEqual([
      32,
      expect.stringMatching(/^holdfast: "compress" is no option of a mount: .*$/u),
    ]);
    expect(await failure('nothing', point)).toEqual([32, expect.stringMatching(/^holdfast: .*$/u)]);
    expect(await failure('-s', 'default', point, '-o', 'compress')).toBeUndefined();
    await bed.ok(['umount', point]);
  });

  it('keeps what others have put where the helper belongs', async () => {
    const folder = bed.path('others');
    await fs.mkdir(folder);
    await fs.writeFile(`${folder}/mount.holdfast`, 'something else');
    expect((await bed.run(['mount', '--install-helper', folder])).exitCode).toBe(4);
    expect(await fs.readFile(`${folder}/mount.holdfast`, 'utf8')).toBe('something else');
  });
});
