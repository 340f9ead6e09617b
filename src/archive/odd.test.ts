/**
 * Aim: what disks, links, mounts and names do to an archive costs no byte and stops nothing else.
 * Method: as archive.test.ts; what needs real mounts is in test/e2e.
 */
import fs from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ArchiveBed } from '../../test/suites/archive-bed.ts';

/** Whole seconds: what utimes(2) can set again. */
const LONG_AGO = 1_600_000_000;
const TEXT = 'a line of the file\n'.repeat(2000);

let bed: ArchiveBed;

beforeEach(async () => {
  bed = await ArchiveBed.open();
  await bed.write('main', 'one', TEXT);
});

afterEach(async () => await bed[Symbol.asyncDispose]());

async function reopen(options: Parameters<typeof ArchiveBed.open>[0]): Promise<void> {
  await bed[Symbol.asyncDispose]();
  bed = await ArchiveBed.open(options);
  await bed.write('main', 'one', TEXT);
}

const split = () => bed.results((archive) => archive.split([]));
const delint = () => bed.all((archive) => archive.lint([], { removes: true }));
const read = (name: string) =>
  bed.with((archive) => archive.read(`photos:${name}`, (file) => fs.readFile(file, 'utf8')));

describe('a replica whose bytes rotted', () => {
  it.each([true, false])(
    'is not what makes a share that is missing; sealed: %s',
    async (isSealed) => {
      await reopen({ isSealed });
      await fs.utimes(bed.path('main', 'one'), LONG_AGO, LONG_AGO);
      await split();
      await bed.flip(bed.path('main', 'one'), 77);
      await fs.utimes(bed.path('main', 'one'), LONG_AGO, LONG_AGO);
      await fs.rm(bed.share('one', 1));
      const before = bed.snapshot();
      const [said] = await bed.all((archive) => archive.split(['photos:one']));
      expect(said).toMatchObject({ result: 'differs', isFault: true });
      expect(said!.detail).toContain('is its disk bad?');
      expect(bed.snapshot()).toEqual(before);
      expect(await read('one')).toBe(TEXT);
    },
  );
});

describe('delint', () => {
  beforeEach(async () => {
    await bed.write('main', 'far/away', 'far away');
    await split();
  });

  it('believes nothing of what lies behind a link', async () => {
    await fs.rename(bed.path('main', 'far'), bed.path('elsewhere'));
    await fs.symlink(bed.path('elsewhere'), bed.path('main', 'far'));
    expect(await delint()).toEqual([]);
    await fs.rename(bed.path('elsewhere'), bed.path('unplugged'));
    const before = bed.snapshot();
    expect(await delint()).toMatchObject([{ path: 'far/away', result: 'unknown', isFault: true }]);
    expect(bed.snapshot()).toEqual(before);
    await fs.rm(bed.path('main', 'far'));
    expect((await delint()).map(({ result }) => result)).toEqual(Array(4).fill('removed'));
  });

  it('leaves shares of a file whose name is spelt in other bytes', async () => {
    await bed.write('main', 'caf\u00e9', 'coffee');
    await split();
    const [composed, decomposed] = ['caf\u00e9', 'cafe\u0301'].map((name) => bed.share(name, 1));
    await fs.rename(composed!, decomposed!);
    expect(await delint()).toMatchObject([{ path: 'cafe\u0301', result: 'unknown' }]);
    expect(await fs.stat(decomposed!)).toBeDefined();
  });

  it('takes no file for gone because its store was left out of the configuration', async () => {
    await fs.rm(bed.path('main', 'one'));
    bed.options = { isAlone: true };
    const before = bed.snapshot();
    await expect(delint()).rejects.toMatchObject({ code: 'HF_UNAVAILABLE' });
    expect(bed.snapshot()).toEqual(before);
    await bed.with((archive) => archive.init({ forgets: ['photos/spare'] }));
    expect((await delint()).map(({ result }) => result)).toEqual(Array(4).fill('removed'));
  });

  it('believes nothing of a drive that was mounted within a master store', async () => {
    const record = bed.catalogue.file('photos', 'far/away')!;
    await bed.catalogue.putFile('photos', 'far/away', { ...record, mountedIn: 'main' });
    await fs.rm(bed.path('main', 'far', 'away'));
    const before = bed.snapshot();
    expect(await delint()).toMatchObject([{ path: 'far/away', result: 'unknown' }]);
    expect(bed.snapshot()).toEqual(before);
  });
});

it('commit removes nothing when a replica that stays goes meanwhile', async () => {
  await bed.write('spare', 'one', TEXT);
  await split();
  bed.beforeAct = () => fs.rm(bed.path('main', 'one'), { force: true });
  const [said] = await bed.all((archive) => archive.commit(['photos:one']));
  expect(said).toMatchObject({ result: 'failed', isFault: true });
  expect(await fs.readFile(bed.path('spare', 'one'), 'utf8')).toBe(TEXT);
});

describe('names', () => {
  it('as long as a share of it can have are split', async () => {
    const longest = 'n'.repeat(255 - '-0.sf'.length);
    await bed.write('main', longest, 'long');
    await bed.write('main', `${longest}n`, 'too long');
    expect(await split()).toEqual({ [longest]: 'split', [`${longest}n`]: 'failed', one: 'split' });
    expect(await bed.results((archive) => archive.compare([`photos:${longest}`]))).toEqual({
      [longest]: '==',
    });
    const rows = await bed.with((archive) => Array.fromAsync(archive.scan([])));
    expect(rows.map(({ shares }) => shares.mark)).toEqual(['*', '-', '*']);
    expect(await delint()).toEqual([]);
  });

  it('that are not UTF-8 are told, and stop nothing', async () => {
    const odd = Buffer.concat([Buffer.from(bed.path('main', 'odd')), Buffer.of(0xff)]);
    await fs.writeFile(odd, 'odd');
    expect(await split()).toEqual({ '': 'failed', one: 'split' });
    const rows = await bed.with((archive) => Array.fromAsync(archive.scan([])));
    expect(rows.map(({ path, isDegraded }) => [path, isDegraded])).toEqual([
      ['', true],
      ['one', false],
    ]);
  });
});

describe('stores', () => {
  it('of which there is a copy are offline until one of them goes', async () => {
    await split();
    await fs.cp(bed.drive(1), bed.path('media', 'copy'), { recursive: true });
    const reasonOf = () => bed.with(async (archive) => archive.stores[3]!.reason);
    expect(await reasonOf()).toContain('both claim to be it');
    await fs.rm(bed.path('media', 'copy'), { recursive: true });
    expect(await reasonOf()).toBeUndefined();
  });

  it('that cannot be read are offline, and the others are not', async () => {
    await split();
    await fs.rm(bed.drive(1, 'shares', '.holdfast-archive'));
    await fs.mkdir(bed.drive(1, 'shares', '.holdfast-archive'));
    await fs.mkdir(bed.path('media', 'other', '.holdfast-label'), { recursive: true });
    await bed.with(async (archive) => {
      expect(archive.stores[3]!.reason).toContain('EISDIR');
      expect(archive.stores.filter(({ root }) => root === undefined).length).toBe(1);
    });
    expect(await read('one')).toBe(TEXT);
  });

  it('that links put into one another are refused', async () => {
    await fs.rename(bed.path('spare'), bed.path('main', 'sub'));
    await fs.symlink(bed.path('main', 'sub'), bed.path('spare'));
    await expect(split()).rejects.toMatchObject({
      code: 'HF_BAD_ARGUMENT',
      message: expect.stringContaining('store photos/spare lies in store photos/main'),
    });
  });
});

it('what killed runs left behind goes', async () => {
  const scratch = bed.path('data', 'archive-work', 'archive-999999999-x');
  await fs.mkdir(scratch, { recursive: true });
  await fs.writeFile(bed.drive(0, 'shares', '.holdfast-new-0.123.part'), 'half a share');
  await split();
  await bed.all((archive) => archive.compare([]));
  expect(await fs.readdir(bed.path('data', 'archive-work'))).toEqual([]);
  expect((await fs.readdir(bed.drive(0, 'shares'))).toSorted()).toEqual([
    '.holdfast-archive',
    'one-0.sf',
  ]);
});

it('a drive that is away is told, and what is there stays', async () => {
  await split();
  await bed.unplug(2);
  const [said] = await bed.all((archive) => archive.split(['photos:one']));
  expect(said).toMatchObject({ result: 'offline', detail: 'without share-2: offline' });
});

it('shares that another key sealed are neither completed nor replaced', async () => {
  await split();
  await fs.rm(bed.share('one', 1));
  const before = bed.snapshot();
  bed.shareKey = new Uint8Array(32).fill(8);
  const [said] = await bed.all((archive) => archive.split(['photos:one']));
  expect(said).toMatchObject({ result: 'differs', isFault: true });
  expect(said!.detail).toContain('another key');
  expect(bed.snapshot()).toEqual(before);
});

it('validate goes on after a file that cannot be validated', async () => {
  await reopen({ isSealed: false });
  await split();
  await bed.catalogue.removeFile('photos', 'one');
  await bed.write('main', 'two', 'two');
  expect(await split()).toEqual({ one: 'perfect', two: 'split' });
  expect(await bed.results((archive) => archive.validate([], { resplits: true }))).toEqual({
    one: 'failed',
    two: 'good',
  });
});
