/**
 * Aim: wherever commit, move, split or delint is stopped, no file is lost, and a second run
 * finishes (trap 52). Method: the machine stops after 0, 1, 2 … acts, until a run gets through;
 * after each stop the files are read from what is there, and the verb is run again.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import { expect, it } from 'vitest';
import { mapBounded } from '../base/index.ts';
import { ArchiveBed, type ArchiveBedOptions } from '../../test/suites/archive-bed.ts';

/** Short: what matters is where it is stopped, and that is between acts on whole files. */
const FILES = { 'a/one': 'content of one\n'.repeat(300), 'a/b/two': 'two' };

async function filledBed(options: ArchiveBedOptions): Promise<ArchiveBed> {
  const bed = await ArchiveBed.open(options);
  for (const [name, content] of Object.entries(FILES)) {
    await bed.write('main', name, content);
    await bed.write('spare', name, content);
  }
  return bed;
}

/** Beds that run side by side: they wait for their files more than they work. */
const BEDS = 6;

/** Runs `work` in beds that stop after 0, 1, 2 … acts. @returns how many acts it takes. */
async function stopEverywhere(
  options: ArchiveBedOptions & { readonly isSplit: boolean },
  work: (bed: ArchiveBed) => Promise<unknown>,
  check: (bed: ArchiveBed) => Promise<void>,
): Promise<number> {
  const isThroughAfter = async (acts: number): Promise<boolean> => {
    await using bed = await filledBed(options);
    if (options.isSplit) await bed.all((archive) => archive.split([]));
    bed.actsLeft = acts;
    await work(bed).catch(() => undefined);
    const isThrough = bed.actsLeft > 0;
    bed.actsLeft = Infinity;
    await check(bed);
    return isThrough;
  };
  for (let acts = 0; ; acts += BEDS) {
    const stops = Array.from({ length: BEDS }, (_, index) => acts + index);
    const through = await mapBounded(stops, BEDS, isThroughAfter);
    if (through.includes(true)) return acts + through.indexOf(true);
  }
}

/** As a reader gets it. */
async function read(bed: ArchiveBed, name: string): Promise<string> {
  return await bed.with((archive) =>
    archive.read(`photos:${name}`, (file) => fs.readFile(file, 'utf8')),
  );
}

it.each([0, 1])('commit, %i replicas kept', async (replicas) => {
  const commit = (bed: ArchiveBed) => bed.all((archive) => archive.commit([]));
  const acts = await stopEverywhere({ replicas, isSplit: true }, commit, async (bed) => {
    for (const [name, content] of Object.entries(FILES)) {
      expect(await read(bed, name)).toBe(content);
    }
    await commit(bed);
    for (const [name, content] of Object.entries(FILES)) {
      expect(await read(bed, name)).toBe(content);
      const [cmp] = await bed.all((archive) => archive.compare([`photos:${name}`]));
      expect(cmp!.result).toBe('==');
      const left = ['main', 'spare'].filter((store) => bed.snapshot()[`${store}/${name}`]);
      expect(left.length).toBe(replicas);
    }
  });
  expect(acts).toBeGreaterThan(8);
});

it.each([
  ['a folder', 'a', 'x/y', { 'a/one': 'x/y/one', 'a/b/two': 'x/y/b/two' }],
  ['a file', 'a/one', 'a/b', { 'a/one': 'a/b/one', 'a/b/two': 'a/b/two' }],
])('move %s', async (_, from, to, moved) => {
  const move = (bed: ArchiveBed) => bed.with((a) => a.move(`photos:${from}`, `photos:${to}`));
  const acts = await stopEverywhere({ isSplit: true }, move, async (bed) => {
    const delint = bed.all((archive) => archive.lint([], { removes: true }));
    const removed = await delint.catch((error: Error & { code: string }) => error.code);
    // Either nothing was begun, or all was done, or delint waits for the rest.
    expect([[], 'HF_BUSY']).toContainEqual(removed);
    await move(bed).catch((error: Error) => expect(error.message).toMatch(/there is no|itself/));
    for (const [name, target] of Object.entries(moved)) {
      expect(await read(bed, target)).toBe(FILES[name as keyof typeof FILES]);
    }
    const rows = await bed.with((archive) => Array.fromAsync(archive.scan([])));
    expect(rows.filter(({ isDegraded }) => isDegraded)).toEqual([]);
    expect(rows.filter(({ kind }) => kind === 'file').map(({ path }) => path)).toEqual(
      Object.values(moved).toSorted(),
    );
    expect(await bed.all((archive) => archive.lint([]))).toEqual([]);
  });
  expect(acts).toBeGreaterThanOrEqual(6);
});

it('move, undone after it was stopped', async () => {
  await using bed = await filledBed({});
  await bed.all((archive) => archive.split([]));
  const before = bed.snapshot();
  bed.actsLeft = 5;
  const move = (from: string, to: string) =>
    bed.with((archive) => archive.move(`photos:${from}`, `photos:${to}`));
  await expect(move('a', 'z')).rejects.toThrow('the machine has stopped');
  bed.actsLeft = Infinity;
  expect(bed.snapshot()).not.toEqual(before);
  await expect(move('a', 'y')).rejects.toMatchObject({ code: 'HF_BUSY' });
  await move('z', 'a');
  expect(bed.snapshot()).toEqual(before);
  expect(await bed.results((archive) => archive.validate([], { resplits: false }))).toEqual({
    'a/b/two': 'good',
    'a/one': 'good',
  });
});

it.each([true, false])('split; sealed: %s', async (isSealed) => {
  const split = (bed: ArchiveBed) => bed.all((archive) => archive.split([]));
  const acts = await stopEverywhere({ isSealed, isSplit: false }, split, async (bed) => {
    await split(bed);
    expect(await bed.results((archive) => archive.compare([]))).toEqual({
      'a/b/two': '==',
      'a/one': '==',
    });
    expect(await bed.results((archive) => archive.validate([], { resplits: true }))).toEqual({
      'a/b/two': 'good',
      'a/one': 'good',
    });
    const left = Object.keys(bed.snapshot()).filter((name) => name.includes('.holdfast-new-'));
    expect(left).toEqual([]);
  });
  expect(acts).toBeGreaterThan(8);
});

it.each([true, false])('split --overwrite of a changed file; sealed: %s', async (isSealed) => {
  const changed = 'other content\n'.repeat(300);
  const overwrite = async (bed: ArchiveBed) => {
    await bed.write('main', 'a/one', changed);
    await bed.all((archive) => archive.split(['photos:a/one'], { overwrites: true }));
  };
  await stopEverywhere({ isSealed, isSplit: true }, overwrite, async (bed) => {
    expect(await fs.readFile(bed.path('main', 'a/one'), 'utf8')).toBe(changed);
    await overwrite(bed);
    const [cmp] = await bed.all((archive) => archive.compare(['photos:a/one']));
    expect(cmp!.result).toBe('==');
  });
});

it.each([true, false])(
  'split --overwrite, stopped, is never taken for perfect; sealed: %s',
  async (isSealed) => {
    // As long as the old content, so that lengths tell nothing.
    const changed = FILES['a/one'].replaceAll('one', 'two');
    const overwrite = async (bed: ArchiveBed) => {
      await bed.write('main', 'a/one', changed);
      await bed.write('spare', 'a/one', changed);
      await bed.all((archive) => archive.split(['photos:a/one'], { overwrites: true }));
    };
    await stopEverywhere({ isSealed, isSplit: true }, overwrite, async (bed) => {
      const [split] = await bed.all((archive) => archive.split(['photos:a/one']));
      const [cmp] = await bed.all((archive) => archive.compare(['photos:a/one']));
      if (split!.isFault) expect(split!.result).toBe('differs');
      else expect(cmp!.result).toBe('==');
      await fs.rm(bed.path('main', 'a/one'));
      await fs.rm(bed.path('spare', 'a/one'));
      const [said] = await bed.all((archive) => archive.recover(['photos:a/one']));
      const file = await fs.readFile(bed.path('main', 'a/one')).catch(() => 'not there');
      const digest = createHash('sha256').update(file).digest('hex');
      // The content before is better than none, and it is told.
      expect(said!.isFault).toBe(digest !== bed.catalogue.file('photos', 'a/one')!.digest);
    });
  },
);

it('init', async () => {
  for (let acts = 0, isThrough = false; !isThrough; acts++) {
    await using bed = await filledBed({});
    await fs.rm(bed.drive(0, 'shares'), { recursive: true });
    const init = () => bed.with((archive) => archive.init({ adopts: ['photos/share-0'] }));
    bed.actsLeft = acts;
    await init().catch(() => undefined);
    isThrough = bed.actsLeft > 0;
    bed.actsLeft = Infinity;
    await init();
    expect(await bed.results((archive) => archive.split([]))).toMatchObject({ 'a/one': 'split' });
  }
});

it('delint and discard remove no share of another file', async () => {
  const delint = async (bed: ArchiveBed) => {
    await fs.rm(bed.path('main', 'a/one'), { force: true });
    await fs.rm(bed.path('spare', 'a/one'), { force: true });
    await bed.all((archive) => archive.lint([], { removes: true }));
  };
  await stopEverywhere({ isSplit: true }, delint, async (bed) => {
    await delint(bed);
    const shares = Object.keys(bed.snapshot()).filter((name) => name.endsWith('.sf'));
    expect(shares.length).toBe(4);
    expect(await bed.results((archive) => archive.compare([]))).toEqual({ 'a/b/two': '==' });
  });
});
