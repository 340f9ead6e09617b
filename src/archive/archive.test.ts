/**
 * Aim: rows B2 … B12, as the library has them. Method: a scheme of 3/4 with folders as drives; each
 * test spoils something and looks at what is said, and at every byte of the stores.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ArchiveBed } from '../../test/suites/archive-bed.ts';
import type { ScanRow } from './index.ts';

/** Whole seconds: what utimes(2) can set again. */
const LONG_AGO = 1_600_000_000;
const TEXT = 'a line of the file\n'.repeat(20_000);

let bed: ArchiveBed;

beforeEach(async () => {
  bed = await ArchiveBed.open();
  await bed.write('main', 'one', TEXT);
  await bed.write('main', '2024/summer/two', 'two');
  await bed.write('main', '2024/empty', '');
});

afterEach(async () => await bed[Symbol.asyncDispose]());

async function reopen(options: Parameters<typeof ArchiveBed.open>[0]): Promise<void> {
  await bed[Symbol.asyncDispose]();
  bed = await ArchiveBed.open(options);
  await bed.write('main', 'one', TEXT);
}

const split = () => bed.results((archive) => archive.split([]));

async function scan(name: string): Promise<ScanRow> {
  const rows = await bed.with((archive) => Array.fromAsync(archive.scan([])));
  return rows.find((row) => row.path === name)!;
}

async function isThere(file: string): Promise<boolean> {
  return await fs.lstat(file).then(
    () => true,
    () => false,
  );
}

describe('split (B3)', () => {
  it('mirrors the tree; the second run does nothing; a dry run changes nothing', async () => {
    const before = bed.snapshot();
    expect(await bed.results((a) => a.split([]), { isDryRun: true })).toMatchObject({
      one: 'split',
    });
    expect(bed.snapshot()).toEqual(before);
    const names = { one: 'split', '2024/summer/two': 'split', '2024/empty': 'split' };
    expect(await split()).toEqual(names);
    expect(await isThere(bed.share('2024/summer/two', 3))).toBe(true);
    const after = bed.snapshot();
    const mtime = (await fs.stat(bed.share('one', 0))).mtimeMs;
    expect(new Set(Object.values(await split()))).toEqual(new Set(['perfect']));
    expect(bed.snapshot()).toEqual(after);
    expect((await fs.stat(bed.share('one', 0))).mtimeMs).toBe(mtime);
  });

  it.each([true, false])('completes what is missing or cut short; sealed: %s', async (isSealed) => {
    await reopen({ isSealed, width: 2 });
    await split();
    const before = bed.snapshot();
    await fs.rm(bed.share('one', 0));
    await fs.truncate(bed.share('one', 2), 1000);
    expect(await split()).toEqual({ one: 'completed' });
    expect(bed.snapshot()).toEqual(before);
  });

  it('leaves shares of other content alone unless told', async () => {
    await split();
    const before = bed.snapshot();
    await bed.write('main', 'one', TEXT.replace('line', 'Line'));
    expect(await split()).toMatchObject({ one: 'differs' });
    await bed.write('main', 'one', 'shorter');
    expect(await split()).toMatchObject({ one: 'differs' });
    expect(bed.snapshot()).toEqual({ ...before, 'main/one': bed.snapshot()['main/one'] });
    await bed.all((archive) => archive.split(['photos:one'], { overwrites: true }));
    expect(await bed.results((archive) => archive.compare([]))).toMatchObject({ one: '==' });
  });

  it('goes on without a drive that is away, and completes it later', async () => {
    const plugIn = await bed.unplug(1);
    const [said] = await bed.all((archive) => archive.split(['photos:one']));
    expect(said).toMatchObject({
      result: 'split',
      isFault: true,
      detail: 'without share-1: offline',
    });
    expect(await fs.readdir(bed.drive(1))).toEqual([]);
    await plugIn();
    expect(await split()).toMatchObject({ one: 'completed' });
    expect((await scan('one')).shares.mark).toBe('*');
  });
});

it('names what is no regular file, and follows no link', async () => {
  await fs.symlink('/etc', bed.path('main', 'link'));
  expect(await split()).toMatchObject({ link: 'skipped' });
  expect(Object.keys(await split())).not.toContain('link/passwd');
});

it('a drive that is pulled while it is used gets no folders on the disk below', async () => {
  await bed.with(async (archive) => {
    await bed.unplug(1);
    const [said] = await Array.fromAsync(archive.split(['photos:one'])).catch((error) => [error]);
    expect(said).toMatchObject({ code: 'HF_UNAVAILABLE' });
  });
  expect(await fs.readdir(bed.drive(1))).toEqual([]);
});

it('delint believes nothing of a master store that is pulled while it is used', async () => {
  await split();
  await bed.with(async (archive) => {
    await fs.rename(bed.path('main'), bed.path('away'));
    await fs.mkdir(bed.path('main'));
    const linting = Array.fromAsync(archive.lint([], { removes: true }));
    await expect(linting).rejects.toMatchObject({ code: 'HF_UNAVAILABLE' });
  });
  expect(Object.keys(bed.snapshot()).filter((name) => name.endsWith('.sf')).length).toBe(12);
});

describe('scan (B4, B2)', () => {
  it('counts 233 % for a master and four of 3/4, and flags what is missing', async () => {
    await split();
    expect(await scan('one')).toMatchObject({
      shares: { mark: '*', good: 4, total: 4 },
      replicas: { main: '1', spare: '-' },
      redundancyPercent: 233,
      isDegraded: false,
    });
    await fs.rm(bed.share('one', 1));
    expect((await scan('one')).shares.mark).toBe('!');
    await fs.rm(bed.share('one', 2));
    expect(await scan('one')).toMatchObject({
      shares: { mark: 'X', missing: [1, 2] },
      redundancyPercent: 166,
      isDegraded: true,
    });
    expect(await scan('2024')).toMatchObject({
      kind: 'directory',
      shares: { mark: 'D' },
      replicas: { main: 'D', spare: '-' },
    });
  });

  it('sees replicas of another length, and shares that are cut short', async () => {
    await split();
    await bed.write('spare', 'one', 'short');
    await fs.truncate(bed.share('one', 0), 500);
    expect(await scan('one')).toMatchObject({
      replicas: { main: '1', spare: 'X' },
      shares: { mark: 'X', bad: [{ store: 'share-0' }] },
      redundancyPercent: 200,
    });
    await bed.write('spare', 'one', TEXT);
    expect((await scan('one')).redundancyPercent).toBe(300);
  });

  it('an empty mount point is an offline store, and reads go on', async () => {
    await split();
    await bed.unplug(3);
    expect(await scan('one')).toMatchObject({ shares: { mark: '!', offline: [3], missing: [] } });
    await bed.with(async (archive) => {
      const store = archive.stores.find(({ name }) => name === 'share-3');
      expect(store!.reason).toBe('no volume D is mounted');
    });
    await fs.rm(bed.path('main', 'one'));
    const read = await bed.with((a) => a.read('photos:one', (f) => fs.readFile(f, 'utf8')));
    expect(read).toBe(TEXT);
  });

  it('finds a drive by its label at another place, and no other drive at its place', async () => {
    await split();
    await fs.rename(bed.drive(0), bed.path('media', 'elsewhere'));
    expect((await scan('one')).shares.mark).toBe('*');
    await fs.rename(bed.drive(1), bed.path('old'));
    await fs.mkdir(bed.drive(1, 'shares'), { recursive: true });
    await fs.writeFile(bed.drive(1, '.holdfast-label'), 'B');
    expect(await scan('one')).toMatchObject({ shares: { offline: [1] } });
    const results = await bed.with((archive) => archive.init());
    expect(results.find(({ store }) => store === 'photos/share-1')?.state).toBe('offline');
    expect(await fs.readdir(bed.drive(1, 'shares'))).toEqual([]);
    await bed.with((archive) => archive.init({ adopts: ['photos/share-1'] }));
    expect(await split()).toMatchObject({ one: 'completed' });
  });

  it('a fixed store that lost its marker is offline', async () => {
    await fs.rm(bed.path('main'), { recursive: true });
    await fs.mkdir(bed.path('main'));
    await bed.with(async (archive) => {
      expect(archive.stores[0]!.reason).toContain('it is not the folder that it was');
    });
  });
});

describe.each([true, false])('cmp, verify, check (B5); sealed: %s', (isSealed) => {
  beforeEach(async () => await reopen({ isSealed }));

  const marks = async () => {
    const [cmp] = await bed.all((archive) => archive.compare([]));
    const [verify] = await bed.all((archive) => archive.verify([]));
    const [check] = await bed.all((archive) => archive.check([]));
    return [cmp!.result, verify!.result, check!.result];
  };

  it('tells right, none and too few', async () => {
    expect(await marks()).toEqual(['--', '--', '-']);
    await split();
    expect(await marks()).toEqual(['==', '==', '*']);
    await fs.rm(bed.share('one', 0));
    expect(await marks()).toEqual(['==', '==', '!']);
    await fs.rm(bed.share('one', 1));
    expect(await marks()).toEqual(['!#', '!#', 'X']);
  });

  it('a byte of a share that was altered is not ==', async () => {
    await split();
    for (const index of [0, 3]) {
      await bed.flip(bed.share('one', index), 5000);
      const [cmp, verify] = await marks();
      expect([cmp, verify]).toEqual(['!E', '!E']);
      await bed.flip(bed.share('one', index), 5000);
    }
    await fs.rm(bed.share('one', 1));
    await bed.flip(bed.share('one', 2), 5000);
    const [cmp, verify] = await marks();
    expect([cmp, verify]).toEqual(isSealed ? ['!#', '!#'] : ['!=', '!E']);
  });

  it('tells other content and other length', async () => {
    await split();
    await bed.write('main', 'one', TEXT.replace('line', 'Line'));
    expect((await marks())[0]).toBe('!=');
    await bed.write('main', 'one', 'short');
    expect((await marks())[0]).toBe('!<');
  });
});

describe('commit (B6)', () => {
  beforeEach(async () => {
    await bed.write('spare', 'one', TEXT);
    await split();
  });

  it('leaves one replica, once the shares were verified', async () => {
    const before = bed.snapshot();
    await bed.all((archive) => archive.commit([]), { isDryRun: true });
    expect(bed.snapshot()).toEqual(before);
    expect(await bed.results((a) => a.commit([]))).toMatchObject({ one: 'committed' });
    const { ['spare/one']: gone, ...rest } = before;
    expect(gone).toBeDefined();
    expect(bed.snapshot()).toEqual(rest);
  });

  it.each([
    ['a share is missing', () => fs.rm(bed.share('one', 2))],
    ['a share is altered', () => bed.flip(bed.share('one', 3), 7000)],
    ['a replica differs', () => bed.write('spare', 'one', TEXT.replace('line', 'Line'))],
    ['the master differs', () => bed.write('main', 'one', TEXT.replace('line', 'Line'))],
  ])('removes nothing when %s', async (_, spoil) => {
    await spoil();
    const before = bed.snapshot();
    const [said] = await bed.all((archive) => archive.commit(['photos:one']));
    expect(said!.isFault).toBe(true);
    expect(bed.snapshot()).toEqual(before);
  });

  it('removes nothing while a drive is away', async () => {
    await bed.unplug(0);
    const before = bed.snapshot();
    const committing = bed.all((archive) => archive.commit([]));
    await expect(committing).rejects.toMatchObject({ code: 'HF_UNAVAILABLE' });
    expect(bed.snapshot()).toEqual(before);
  });
});

describe('recover and extract (B7, B11)', () => {
  it('restores what is lost, and overwrites nothing', async () => {
    await split();
    await fs.rm(bed.path('main', '2024'), { recursive: true });
    const before = bed.snapshot();
    await bed.all((archive) => archive.recover([]), { isDryRun: true });
    expect(bed.snapshot()).toEqual(before);
    expect(await bed.results((archive) => archive.recover([]))).toEqual({
      '2024/summer/two': 'recovered',
      '2024/empty': 'recovered',
    });
    expect(await fs.readFile(bed.path('main/2024/summer/two'), 'utf8')).toBe('two');
    expect(await fs.readFile(bed.path('main/2024/empty'), 'utf8')).toBe('');
    await bed.write('main', 'one', 'mine');
    expect(await bed.results((archive) => archive.recover(['photos:one']))).toEqual({
      one: 'exists',
    });
    expect(await fs.readFile(bed.path('main/one'), 'utf8')).toBe('mine');
  });

  it('any source will do: another replica, then shares; never a rotten one', async () => {
    await bed.write('spare', 'one', TEXT);
    await split();
    await fs.rm(bed.path('main', 'one'));
    for (const index of [0, 1, 2, 3])
      await fs.rename(bed.share('one', index), bed.path(`${index}`));
    const target = bed.path('out');
    await bed.all((archive) => archive.extract(['photos:one'], target));
    expect(await fs.readFile(path.join(target, 'one'), 'utf8')).toBe(TEXT);
    for (const index of [0, 1, 2]) await fs.rename(bed.path(`${index}`), bed.share('one', index));
    await fs.rm(bed.path('spare', 'one'));
    const read = await bed.with((a) => a.read('photos:one', (f) => fs.readFile(f, 'utf8')));
    expect(read).toBe(TEXT);
    await fs.rm(bed.share('one', 0));
    const [said] = await bed.all((archive) => archive.recover(['photos:one']));
    expect(said).toMatchObject({ result: 'failed', detail: 'have 2, need 3' });
    expect(await isThere(bed.path('main', 'one'))).toBe(false);
  });

  it('passes over a replica whose bytes rotted', async () => {
    await fs.utimes(bed.path('main', 'one'), LONG_AGO, LONG_AGO);
    await split();
    await bed.flip(bed.path('main', 'one'), 77);
    await fs.utimes(bed.path('main', 'one'), LONG_AGO, LONG_AGO);
    const read = await bed.with((a) => a.read('photos:one', (f) => fs.readFile(f, 'utf8')));
    expect(read).toBe(TEXT);
  });
});

describe('lint, delint, discard (B8, B10)', () => {
  const lint = (options = {}) => bed.all((archive) => archive.lint([], options));

  it('lists the shares of a file that was removed; delint removes them', async () => {
    await split();
    expect(await lint()).toEqual([]);
    await fs.rm(bed.path('main', '2024'), { recursive: true });
    await fs.rm(bed.path('main', 'one'));
    expect((await lint({ isLocal: true })).map(({ path: name }) => name)).toEqual(
      Array.from({ length: 4 }, () => 'one'),
    );
    const found = await lint();
    expect(found.length).toBe(12);
    const before = bed.snapshot();
    await bed.all((archive) => archive.lint([], { removes: true }), { isDryRun: true });
    expect(bed.snapshot()).toEqual(before);
    expect((await lint({ removes: true })).length).toBe(12);
    expect(Object.keys(bed.snapshot()).filter((name) => name.endsWith('.sf'))).toEqual([]);
    expect(await isThere(bed.drive(0, 'shares', '2024'))).toBe(false);
  });

  it('a master store that is away or empty is no deleted file', async () => {
    await split();
    await fs.rename(bed.path('main'), bed.path('away'));
    const before = async () => (await fs.readdir(bed.drive(0), { recursive: true })).toSorted();
    const shares = await before();
    for (const prepare of [async () => {}, () => fs.mkdir(bed.path('main'))]) {
      await prepare();
      for (const removes of [false, true]) {
        await expect(lint({ removes })).rejects.toMatchObject({ code: 'HF_UNAVAILABLE' });
      }
    }
    expect(await before()).toEqual(shares);
    await fs.rm(bed.path('main'), { recursive: true });
    await fs.rename(bed.path('away'), bed.path('main'));
    await fs.rm(bed.path('spare'), { recursive: true });
    await expect(lint({ removes: true })).rejects.toMatchObject({ code: 'HF_UNAVAILABLE' });
  });

  it('leaves the shares of files that were committed without a replica', async () => {
    await reopen({ replicas: 0 });
    await split();
    expect(await bed.results((archive) => archive.commit([]))).toEqual({ one: 'committed' });
    expect(await isThere(bed.path('main', 'one'))).toBe(false);
    await expect(lint({ removes: true })).rejects.toMatchObject({ code: 'HF_UNSUPPORTED' });
    expect((await scan('one')).isDegraded).toBe(false);
    bed.options = { replicas: 1 };
    expect(await lint({ removes: true })).toEqual([]);
    expect(await bed.results((archive) => archive.recover([]))).toEqual({ one: 'recovered' });
    await fs.rm(bed.path('main', 'one'));
    expect((await lint()).length).toBe(4);
  });

  it('discard drops shares of files that are there, and of no others', async () => {
    await split();
    await fs.rm(bed.path('main', '2024', 'summer', 'two'));
    const before = bed.snapshot();
    await bed.all((archive) => archive.discard([]), { isDryRun: true });
    expect(bed.snapshot()).toEqual(before);
    await bed.all((archive) => archive.discard([]));
    expect(await isThere(bed.share('one', 0))).toBe(false);
    expect(await isThere(bed.share('2024/summer/two', 0))).toBe(true);
    await split();
    const shares = bed.snapshot();
    await bed.flip(bed.path('main', 'one'), 3);
    expect(await bed.results((a) => a.discard(['photos:one']))).toEqual({ one: 'refused' });
    expect({ ...bed.snapshot(), 'main/one': '' }).toEqual({ ...shares, 'main/one': '' });
  });
});

describe('move (B9)', () => {
  it('takes files and folders with their shares', async () => {
    await split();
    await bed.with((archive) => archive.move('photos:2024', bed.path('main', '2025')));
    await bed.with((archive) => archive.move(bed.path('main', 'one'), 'photos:2025'));
    const rows = await bed.with((archive) => Array.fromAsync(archive.scan([])));
    expect(rows.filter(({ isDegraded }) => isDegraded)).toEqual([]);
    expect(rows.map(({ path: name }) => name)).toEqual([
      '2025',
      '2025/empty',
      '2025/one',
      '2025/summer',
      '2025/summer/two',
    ]);
    expect(new Set(Object.values(await split()))).toEqual(new Set(['perfect']));
    expect(await bed.results((a) => a.validate([], { resplits: false }))).toEqual({
      '2025/empty': 'good',
      '2025/one': 'good',
      '2025/summer/two': 'good',
    });
  });

  it('overwrites nothing, and waits for all drives', async () => {
    await split();
    await bed.write('spare', 'other', 'x');
    const before = bed.snapshot();
    const move = () => bed.with((archive) => archive.move('photos:one', 'photos:other'));
    await expect(move()).rejects.toMatchObject({ code: 'HF_EXISTS' });
    const into = bed.with((archive) => archive.move('photos:2024', 'photos:2024/summer'));
    await expect(into).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
    await bed.with((a) => a.move('photos:one', 'photos:new'), { isDryRun: true });
    expect(bed.snapshot()).toEqual(before);
    await bed.unplug(2);
    await expect(move()).rejects.toMatchObject({ code: 'HF_UNAVAILABLE' });
  });
});

describe('validate (B12)', () => {
  it.each([true, false])('names a bad share by itself; sealed: %s', async (isSealed) => {
    await reopen({ isSealed });
    await split();
    const validate = async (resplits: boolean) => {
      const [said] = await bed.all((archive) => archive.validate([], { resplits }));
      return said!;
    };
    expect((await validate(false)).result).toBe('good');
    expect((await validate(true)).result).toBe('good');
    await bed.flip(bed.share('one', 2), 999);
    for (const index of [0, 1, 3]) await bed.unplug(index);
    for (const resplits of [false, true]) {
      const said = await validate(resplits);
      expect(said).toMatchObject({ result: 'bad', isFault: true });
      expect(said.detail).toContain('photos/share-2');
    }
  });

  it('parts share out all files, each to one', async () => {
    for (let index = 0; index < 20; index++) await bed.write('main', `f${index}`, `${index}`);
    await split();
    const parts: string[] = [];
    for (const index of [1, 2, 3]) {
      const part = { index, count: 3 };
      const said = await bed.all((archive) => archive.validate([], { resplits: false, part }));
      expect(said.length).toBeLessThan(23);
      parts.push(...said.map(({ path: name }) => name));
    }
    expect(parts.length).toBe(23);
    expect(new Set(parts).size).toBe(23);
  });
});
