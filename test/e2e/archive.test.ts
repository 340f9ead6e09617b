/**
 * Aim: `holdfast archive` as people use it: marks, tables, exit codes, JSON, key file, and that a
 * killed commit loses nothing; real drives by their labels where this machine lets us mount.
 * Method: the program itself, each command a process; folders and loop devices as stores.
 */
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { holdLock } from '../../src/device/index.ts';
import { attachLoop, loopObstacle } from '../suites/loop-device.ts';
import { Bed } from './harness.ts';

const run = promisify(execFile);
const TEXT = 'a line of the file\n'.repeat(10_000);
const LABELS = ['HFA', 'HFB', 'HFC', 'HFD'];

let bed: Bed;

beforeEach(async () => {
  bed = await Bed.open();
  await fs.mkdir(bed.path('data'));
  await fs.mkdir(bed.path('media'));
  await fs.mkdir(bed.path('main'));
  await fs.writeFile(bed.path('data', 'archive.yaml'), yaml());
  await fs.writeFile(bed.path('main', 'one'), TEXT);
});

afterEach(async () => await bed[Symbol.asyncDispose]());

function yaml(): string {
  return `mount_root: ${bed.path('media')}
schemes:
  photos:
    description: test
    master_stores:
      main: { path: ${bed.path('main')} }
      spare: { path: ${bed.path('spare')} }
    share_stores:
${LABELS.map((label) => `      - { drive: ${label}, path: shares }`).join('\n')}
    nshares: 4
    quorum: 3
`;
}

async function labelFolders(): Promise<void> {
  for (const label of LABELS) {
    await fs.mkdir(bed.path('media', label));
    await fs.writeFile(bed.path('media', label, '.holdfast-label'), label);
  }
}

const archive = (...args: readonly string[]) => bed.run(['archive', ...args]);
const share = (name: string, index: number) =>
  bed.path('media', LABELS[index]!, 'shares', `${name}-${index}.sf`);

describe('with folders', () => {
  beforeEach(async () => {
    await labelFolders();
    await bed.ok(['archive', 'init']);
  });

  it('from split to recover', async () => {
    const first = await archive('split');
    expect(first.exitCode).toBe(0);
    expect(first.stderr).toContain('keep a copy elsewhere');
    expect(first.stdout.toString()).toBe('split      photos:one\n');
    expect(await bed.ok(['archive', 'split'])).toBe('perfect    photos:one');
    expect((await bed.ok(['archive', 'scan'])).split('\n')).toEqual([
      'shares  main  spare  copies  archive  file',
      '* 4/4   1     -       233 %  photos   one',
    ]);
    await fs.rm(share('one', 0));
    await fs.rename(bed.path('media', 'HFD'), bed.path('away'));
    await fs.mkdir(bed.path('media', 'HFD'));
    const scan = await archive('scan');
    expect(scan.exitCode).toBe(1);
    expect(scan.stdout.toString()).toContain('? 2/4');
    expect(scan.stderr).toBe('store photos/share-3 is offline: no volume HFD is mounted\n');
    const json = await archive('scan', '--json');
    expect(JSON.parse(json.stdout.toString())).toMatchObject({
      files: [{ path: 'one', redundancyPercent: 166, shares: { missing: [0], offline: [3] } }],
    });
    await fs.rename(bed.path('away'), bed.path('media', 'back again'));
    await fs.rm(bed.path('main', 'one'));
    expect(await bed.ok(['archive', 'cat', 'photos:one'])).toBe(TEXT.trimEnd());
    expect(await bed.ok(['archive', 'recover'])).toContain('recovered  photos:one  (3 shares)');
    expect(await fs.readFile(bed.path('main', 'one'), 'utf8')).toBe(TEXT);
    expect((await archive('recover', bed.path('main', 'one'))).exitCode).toBe(1);
  });

  it('names file and store of what is bad', async () => {
    await archive('split');
    const bytes = await fs.readFile(share('one', 2));
    bytes[3000]! ^= 4;
    await fs.writeFile(share('one', 2), bytes);
    for (const verb of ['cmp', 'verify']) {
      const { exitCode, stdout } = await archive(verb);
      expect(exitCode).toBe(1);
      expect(stdout.toString()).toContain('!E         photos:one');
      expect(stdout.toString()).toContain(share('one', 2));
    }
    await fs.rm(bed.path('data', 'share-key'));
    const validate = await archive('validate', '--part', '1/1');
    expect(validate.exitCode).toBe(1);
    expect(validate.stdout.toString()).toContain('photos/share-2');
  });

  it('lint lists four; delint refuses without a master store, and -n changes nothing', async () => {
    await archive('split');
    await fs.rm(bed.path('main', 'one'));
    const lint = await archive('lint');
    expect(lint.exitCode).toBe(1);
    expect(lint.stdout.toString().trim().split('\n').length).toBe(4);
    await fs.rename(bed.path('spare'), bed.path('unplugged'));
    await fs.mkdir(bed.path('spare'));
    const refused = await archive('delint');
    expect(refused.exitCode).toBe(6);
    expect(refused.stderr).toMatch(/^holdfast: store photos\/spare .* is offline: .*\n$/);
    await fs.rm(bed.path('spare'), { recursive: true });
    await fs.rename(bed.path('unplugged'), bed.path('spare'));
    await bed.ok(['archive', 'delint', '-n']);
    expect((await fs.stat(share('one', 0))).isFile()).toBe(true);
    await bed.ok(['archive', 'delint']);
    expect(await fs.readdir(path.dirname(share('one', 0)))).toEqual(['.holdfast-archive']);
  });

  it('one changes it at a time; the others look', async () => {
    const { dev, ino } = await fs.stat(bed.path('data'));
    await using _ = await holdLock(`archive-${dev}-${ino}`, 'this test');
    for (const verb of ['init', 'split', 'commit', 'discard', 'recover', 'delint']) {
      const { exitCode, stderr } = await archive(verb);
      expect(exitCode).not.toBe(0);
      expect(stderr).toContain('is in use already');
      expect((await archive(verb, '-n')).exitCode).toBe(0);
    }
    expect(await fs.readdir(path.dirname(share('one', 0)))).toEqual(['.holdfast-archive']);
    await bed.ok(['archive', 'lint']);
  });

  it('a configuration is dumped as it is, and refused with its line', async () => {
    const dumped = await bed.ok(['archive', 'config', 'dump']);
    await fs.writeFile(bed.path('work', 'again.yaml'), dumped);
    expect(await bed.ok(['archive', 'config', 'dump', '--config', 'again.yaml'])).toBe(dumped);
    await fs.writeFile(bed.path('work', 'bad.yaml'), dumped.replace('nshares: 4', 'nshares: 5'));
    const bad = await archive('config', 'check', '--config', 'bad.yaml');
    expect(bad.exitCode).toBe(2);
    expect(bad.stderr).toMatch(/^holdfast: bad\.yaml:\d+: nshares is 5, but there are 4 .*\n$/);
  });

  it('a commit that is killed loses nothing, and the next one finishes', async () => {
    const names = Array.from({ length: 24 }, (_, index) => `file-${index}`);
    for (const name of names) {
      await fs.writeFile(bed.path('main', name), name + TEXT);
      await fs.writeFile(bed.path('spare', name), name + TEXT);
    }
    await archive('split');
    for (const lines of [1, 7, 15]) {
      const child = bed.spawn(['archive', 'commit', '--data', bed.path('data')]);
      let seen = 0;
      child.stdout!.on('data', (chunk: Buffer) => {
        seen += chunk.toString().split('\n').length - 1;
        if (seen >= lines) child.kill('SIGKILL');
      });
      await once(child, 'close');
      const out = `out-${lines}`;
      await bed.ok(['archive', 'extract', 'photos:', '--to', bed.path(out)]);
      for (const name of names) {
        expect(await fs.readFile(bed.path(out, name), 'utf8')).toBe(name + TEXT);
      }
    }
    await bed.ok(['archive', 'commit']);
    expect(await fs.readdir(bed.path('spare'))).toEqual(['.holdfast-archive']);
    expect((await archive('cmp')).exitCode).toBe(0);
  });
});

describe('what protects nothing is not passed over', () => {
  it('split and scan before init end with 1', async () => {
    await labelFolders();
    for (const verb of ['split', 'scan']) {
      const { exitCode, stderr } = await archive(verb);
      expect({ verb, exitCode }).toEqual({ verb, exitCode: 1 });
      expect(stderr).toContain('run "holdfast archive init"');
    }
  });

  it('a key that was lost is not replaced by another', async () => {
    await labelFolders();
    await bed.ok(['archive', 'init']);
    await archive('split');
    await fs.rename(bed.path('data', 'share-key'), bed.path('backup'));
    expect((await archive('scan')).stderr).toContain('there is no key file');
    await fs.writeFile(bed.path('main', 'two'), TEXT);
    const { exitCode, stdout } = await archive('split');
    expect(exitCode).toBe(1);
    expect(stdout.toString()).toMatch(/failed +photos:two .*bring it back from its copy/);
    await expect(fs.stat(bed.path('data', 'share-key'))).rejects.toThrow('ENOENT');
    await fs.rename(bed.path('backup'), bed.path('data', 'share-key'));
    await bed.ok(['archive', 'split']);
  });

  it('a mistyped store is refused, and a dry run says would', async () => {
    await labelFolders();
    const dry = await bed.ok(['archive', 'init', '-n']);
    expect(dry).toContain('would be made  photos/main');
    await bed.ok(['archive', 'init']);
    const { exitCode, stderr } = await archive('init', '--adopt', 'photos/mian');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('there is no such store photos/mian; there are photos/main');
  });

  it('validate says how much it looked at; config dump knows --json', async () => {
    await labelFolders();
    await bed.ok(['archive', 'init']);
    expect((await archive('validate')).exitCode).toBe(1);
    await archive('split');
    const { exitCode, stderr } = await archive('validate', '--part', '1/1');
    expect({ exitCode, stderr }).toEqual({
      exitCode: 0,
      stderr: '1 file looked at, those of part 1 of 1\n',
    });
    const dumped = await bed.ok(['archive', 'config', 'dump', '--json']);
    expect(JSON.parse(dumped)).toMatchObject({ schemes: { photos: { quorum: 3 } } });
  });
});

/** Why we cannot mount drives here; `undefined`: we can. */
function mountObstacle(): string | undefined {
  const obstacle = loopObstacle();
  if (obstacle !== undefined) return obstacle;
  const folder = mkdtempSync(path.join(os.tmpdir(), 'holdfast-mount-'));
  try {
    execFileSync('mkfs.ext4', ['-V'], { stdio: 'pipe' });
    execFileSync('mount', ['-t', 'tmpfs', 'none', folder], { stdio: 'pipe' });
    execFileSync('umount', [folder], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `drives cannot be mounted here: ${String(error).split('\n', 1)[0]}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const obstacle = mountObstacle();
const reason = obstacle === undefined ? '' : ` (SKIPPED: ${obstacle})`;

describe.skipIf(obstacle !== undefined)(`with a drive${reason}`, () => {
  it('away it is offline; mounted elsewhere it is found; its mount point is not it', async () => {
    await labelFolders();
    const place = bed.path('media', 'HFA');
    await fs.rm(place, { recursive: true });
    await fs.mkdir(place);
    await using stack = new AsyncDisposableStack();
    const loop = stack.use(await attachLoop({ sizeBytes: 32 * 1024 * 1024 }));
    await run('mkfs.ext4', ['-q', '-L', 'HFA', loop.path]);
    let mounted: string | undefined;
    const unmount = async () => {
      if (mounted !== undefined) await run('umount', [mounted]);
      mounted = undefined;
    };
    const mount = async (where: string) => {
      await fs.mkdir(where, { recursive: true });
      await run('mount', [loop.path, where]);
      mounted = where;
    };
    stack.defer(unmount);
    expect((await archive('init')).stdout.toString()).toContain('offline  photos/share-0');
    await mount(place);
    await bed.ok(['archive', 'init']);
    await archive('split');
    await unmount();
    const away = await archive('scan');
    expect(away.stdout.toString()).toContain('! 3/4');
    expect(away.stderr).toContain('store photos/share-0 is offline: no volume HFA is mounted');
    expect((await archive('split')).stdout.toString()).not.toContain('completed');
    expect(await bed.ok(['archive', 'cat', 'photos:one'])).toBe(TEXT.trimEnd());
    expect(await fs.readdir(place)).toEqual([]);
    await mount(bed.path('some', 'where else'));
    expect(await bed.ok(['archive', 'scan'])).toContain('* 4/4');
    expect(await bed.ok(['archive', 'cmp'])).toContain('==');
  });
});
