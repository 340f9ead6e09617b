/**
 * Aim: what is wrong is told of the right one (a replica, a share, a key, a store that is away),
 * and nothing wrong passes for the file or for protection. Method: as archive.test.ts.
 */
import fs from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ArchiveBed } from '../../test/suites/archive-bed.ts';
import { Archive, type Catalogue, parseConfig } from './index.ts';

const LONG_AGO = 1_500_000_000;
const TEXT = 'good line of the file\n'.repeat(2000);
const EVIL = TEXT.replaceAll('good', 'evil');

let bed: ArchiveBed;

beforeEach(async () => {
  bed = await ArchiveBed.open();
  await bed.write('main', 'one', TEXT);
  await bed.write('spare', 'one', TEXT);
  await bed.results((archive) => archive.split([]));
});

afterEach(async () => await bed[Symbol.asyncDispose]());

const first = async (...args: Parameters<ArchiveBed['all']>) => (await bed.all(...args))[0]!;
const read = (name: string) =>
  bed.with((archive) => archive.read(`photos:${name}`, (file) => fs.readFile(file, 'utf8')));
const shares = () => Object.entries(bed.snapshot()).filter(([name]) => name.endsWith('.sf'));
const allPlugged = [0, 1, 2, 3];

async function loseCatalogue(): Promise<void> {
  await bed.catalogue.removeFile('photos', 'one');
}

describe.each([
  ['of the same length', EVIL, undefined],
  ['of another length', 'evil', undefined],
  ['with an old time', EVIL, LONG_AGO],
])('a spare replica that was altered, %s, without the master', (_, content, time) => {
  beforeEach(async () => {
    await fs.rm(bed.path('main', 'one'));
    await bed.write('spare', 'one', content);
    if (time !== undefined) await fs.utimes(bed.path('spare', 'one'), time, time);
  });

  it.each(['with', 'without'])('is passed over for the shares, %s the catalogue', async (how) => {
    if (how === 'without') await loseCatalogue();
    expect(await read('one')).toBe(TEXT);
    await bed.all((archive) => archive.extract(['photos:one'], bed.path('out')));
    expect(await fs.readFile(bed.path('out', 'one'), 'utf8')).toBe(TEXT);
    const said = await first((archive) => archive.recover(['photos:one']));
    expect(said).toMatchObject({ result: 'recovered', isFault: false });
    expect(said.detail).toContain('4 shares');
    expect(said.detail).toContain(`${bed.path('spare', 'one')} is not what was split`);
    expect(await fs.readFile(bed.path('main', 'one'), 'utf8')).toBe(TEXT);
  });

  it('is to blame, and its shares are not', async () => {
    const rows = await bed.with((archive) => Array.fromAsync(archive.scan([])));
    expect(rows[0]).toMatchObject({ shares: { mark: '*', good: 4 } });
    if (content !== EVIL) {
      expect(rows[0]).toMatchObject({ replicas: { main: '-', spare: 'X' }, isDegraded: true });
    }
    const resplit = await first((archive) => archive.validate([], { resplits: true }));
    expect(resplit).toMatchObject({ result: 'failed', isFault: true });
    expect(resplit.detail).toContain(`${bed.path('spare', 'one')} is not what was split`);
  });

  it('replaces no share, not even when that is asked for', async () => {
    const before = shares();
    for (const overwrites of [false, true]) {
      const said = await first((archive) => archive.split([], { overwrites }));
      expect(said).toMatchObject({ result: 'differs', isFault: true });
      expect(said.detail).toContain('recover');
      expect(said.detail).not.toContain('--overwrite');
    }
    expect(shares()).toEqual(before);
  });

  it('is not brought back when there are too few shares either', async () => {
    for (const index of [0, 1]) await fs.rm(bed.share('one', index));
    const said = await first((archive) => archive.recover(['photos:one']));
    expect(said.detail).toMatch(/have 2, need 3.*spare\/one is not what was split/);
    await expect(fs.stat(bed.path('main', 'one'))).rejects.toThrow('ENOENT');
  });
});

it('a master that its owner has changed since is what is read', async () => {
  await bed.write('main', 'one', 'newer');
  await fs.utimes(bed.path('main', 'one'), 4_000_000_000, 4_000_000_000);
  expect(await read('one')).toBe('newer');
});

describe('a share key that was lost', () => {
  const openWith = async (catalogue: Catalogue, files: Record<string, string>) => {
    for (const [name, content] of Object.entries(files)) await bed.write('main', name, content);
    const asked: boolean[] = [];
    await using archive = await Archive.open({
      config: parseConfig(bed.yaml, 'archive.yaml'),
      dataPath: bed.path('data'),
      async shareKey(mayBeMade) {
        asked.push(await mayBeMade());
        return bed.shareKey;
      },
      knownKey: async () => undefined,
      random: { bytes: (count) => new Uint8Array(count) },
      catalogue,
      disks: await bed.disks(),
    });
    await Array.fromAsync(archive.split([]));
    return asked;
  };

  it('is not replaced while there are shares that it sealed', async () => {
    expect(await openWith(bed.catalogue, { two: 'two' })).toContain(false);
    await loseCatalogue();
    expect(await openWith(bed.catalogue, { three: 'three' })).not.toContain(true);
  });

  it('may be made for the first share', async () => {
    await bed[Symbol.asyncDispose]();
    bed = await ArchiveBed.open();
    expect(await openWith(bed.catalogue, { two: 'two' })).toEqual([true]);
  });
});

it('another key is told by scan, check and split, though times and lengths are right', async () => {
  bed.shareKey = new Uint8Array(32).fill(8);
  const [row] = await bed.with((archive) => Array.fromAsync(archive.scan([])));
  expect(row).toMatchObject({ isDegraded: true, shares: { mark: 'X' } });
  expect(row!.shares.bad[0]!.reason).toContain('another key');
  expect(await first((a) => a.check([]))).toMatchObject({ isFault: true });
  expect(await first((a) => a.split([]))).toMatchObject({ result: 'differs', isFault: true });
});

it('one file under another key is named, and the others have their turn', async () => {
  bed.shareKey = new Uint8Array(32).fill(8);
  await bed.write('main', 'two', TEXT);
  await bed.all((archive) => archive.split(['photos:two']));
  for (const name of ['one', 'two']) await fs.rm(bed.path('main', name));
  await fs.rm(bed.path('spare', 'one'));
  for (const verb of ['compare', 'verify', 'recover'] as const) {
    const [one, two] = await bed.all((archive) => archive[verb]([]));
    expect(one).toMatchObject({ path: 'one', isFault: true });
    expect(one!.detail).toContain('one-0.sf is sealed with another key');
    expect(two).toMatchObject({ path: 'two', isFault: false });
  }
});

it('nothing is protected while no store is there', async () => {
  await fs.rename(bed.path('main'), bed.path('main-away'));
  await fs.rename(bed.path('spare'), bed.path('spare-away'));
  const split = await first((archive) => archive.split([]));
  expect(split).toMatchObject({ result: 'failed', isFault: true });
  expect(split.detail).toContain('no master store of it is online');
  for (const index of allPlugged) await bed.unplug(index);
  for (const verb of ['compare', 'verify', 'check'] as const) {
    expect(await first((archive) => archive[verb]([]))).toMatchObject({ isFault: true });
  }
});

it('shares that are away are not good', async () => {
  for (const index of allPlugged) await bed.unplug(index);
  const validate = () => first((archive) => archive.validate([], { resplits: false }));
  expect(await validate()).toMatchObject({ result: 'offline', isFault: true });
  expect(await first((archive) => archive.split([]))).toMatchObject({
    result: 'offline',
    isFault: true,
  });
  expect(await first((archive) => archive.compare([]))).toMatchObject({
    result: '!#',
    detail: '0 of 4 shares, 4 offline',
  });
});

it('one drive that is away is no fault while its share is known', async () => {
  await bed.unplug(3);
  const said = await first((archive) => archive.split([]));
  expect(said).toMatchObject({ result: 'offline', isFault: false });
  const validate = await first((archive) => archive.validate([], { resplits: false }));
  expect(validate).toMatchObject({ result: 'offline', isFault: false });
});

it('validate with nothing to look at does not pass for good', async () => {
  await loseCatalogue();
  const [said] = await bed.all((archive) => archive.validate([], { resplits: false }));
  expect(said).toMatchObject({ result: 'failed', isFault: true });
});

describe.each([true, false])('split --verify; sealed: %s', (isSealed) => {
  it('makes a corrupt share again; cmp says so', async () => {
    await bed[Symbol.asyncDispose]();
    bed = await ArchiveBed.open({ isSealed });
    await bed.write('main', 'one', TEXT);
    await bed.all((archive) => archive.split([]));
    const before = bed.snapshot();
    await bed.flip(bed.share('one', 2), 999);
    const cmp = await first((archive) => archive.compare([]));
    expect(cmp).toMatchObject({ result: '!E' });
    expect(cmp.detail).toMatch(/^\d of 4 shares; .*split --verify/);
    expect(await bed.results((a) => a.split([]))).toEqual({ one: 'perfect' });
    const verify = () => bed.results((a) => a.split([], { overwrites: false, verifies: true }));
    await fs.rm(bed.path('main', 'one'));
    expect(await read('one')).toBe(TEXT);
    await bed.write('main', 'one', TEXT);
    expect(await verify()).toEqual({ one: 'completed' });
    expect(bed.snapshot()).toEqual(before);
    expect(await verify()).toEqual({ one: 'perfect' });
  });
});

it('a corrupt share is not taken into a new catalogue as good', async () => {
  const before = bed.snapshot();
  await loseCatalogue();
  await bed.flip(bed.share('one', 2), 999);
  expect(await bed.results((a) => a.split([]))).toEqual({ one: 'completed' });
  expect(bed.snapshot()).toEqual(before);
});

it.each([
  ['a share is altered', () => bed.flip(bed.share('one', 3), 999)],
  ['a replica differs', () => bed.write('spare', 'one', EVIL)],
  ['nothing is wrong', async () => {}],
])('commit -n says what commit says: %s', async (_, spoil) => {
  await spoil();
  const before = bed.snapshot();
  const dry = await first((archive) => archive.commit([]), { isDryRun: true });
  expect(bed.snapshot()).toEqual(before);
  expect(await first((archive) => archive.commit([]))).toEqual(dry);
});

it('init refuses to adopt or forget what no store is called', async () => {
  for (const name of ['photos/share-9', 'main', 'photos/mian']) {
    for (const how of [{ adopts: [name] }, { forgets: [name] }]) {
      const init = bed.with((archive) => archive.init(how));
      await expect(init).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
    }
  }
});
