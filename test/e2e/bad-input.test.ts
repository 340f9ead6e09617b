/**
 * Aim: what a user gets wrong is refused with one clear line and an exit code, and nothing is half
 * done (item 7; exit codes of `holdfast --help`). Method: one node and its commands; after each
 * refusal the listing, the work folder and the space used are those of before.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesUnder, flipByte } from './content.ts';
import { type Answer, Bed, type NodeProcess, type RunOptions } from './harness.ts';

let bed: Bed;
let node: NodeProcess;
let id: string;

beforeAll(async () => {
  bed = await Bed.open();
  node = await bed.up();
  await fs.writeFile(bed.path('work/letter.txt'), 'a letter to keep');
  await fs.mkdir(bed.path('work/folder'));
  id = await bed.ok(['put', 'letter.txt', '--name', 'letters/1']);
});

afterAll(async () => {
  await bed[Symbol.asyncDispose]();
});

/** One line that says what is wrong, on standard error only. */
function expectRefusal(answer: Answer, exitCode: number, words: RegExp): void {
  expect(answer.stderr).toMatch(words);
  expect(answer.stderr).toMatch(/^holdfast: [^\n]+\n$/);
  expect(answer.stderr).not.toMatch(/\bat .*\.ts:|fault of Holdfast|undefined|\[object/);
  expect(answer.exitCode).toBe(exitCode);
  expect(answer.stdout.toString()).toBe('');
}

async function refused(
  args: readonly string[],
  { exitCode, words, ...options }: { exitCode: number; words: RegExp } & RunOptions,
): Promise<void> {
  const before = await everything();
  expectRefusal(await bed.run(args, options), exitCode, words);
  expect(await everything()).toEqual(before);
}

/** All that a command could have changed. */
async function everything(): Promise<object> {
  using client = node.connect();
  const objects: string[] = [];
  await client.call('object.list', {}, { onItem: (object) => void objects.push(object.id) });
  const { stripes, unnamedChunks, devices } = await client.call('health', {});
  return {
    objects,
    stripes,
    unnamedChunks,
    devices: devices.map(({ path: place, state }) => `${place} ${state}`),
    volumes: await client.call('volume.list', {}),
    files: await filesUnder(bed.path('work')),
  };
}

describe('commands', () => {
  const unknownId = 'f'.repeat(32);
  const cases: [string, string[], number, RegExp][] = [
    ['a missing file', ['put', 'absent.txt'], 3, /there is no file absent\.txt/],
    ['a directory to put', ['put', 'folder'], 2, /folder is a directory/],
    ['an unknown id', ['get', unknownId], 3, /f{32}/],
    ['an unknown id, with -o', ['get', unknownId, '-o', 'out'], 3, /f{32}/],
    ['an unknown id to remove', ['rm', unknownId], 3, /f{32}/],
    ['an unknown id to query', ['query', unknownId], 3, /f{32}/],
    ['an unknown id to locate', ['where', unknownId], 3, /f{32}/],
    ['an unknown key', ['get', 'letters/2'], 3, /letters\/2/],
    ['an unknown command', ['frobnicate'], 2, /frobnicate/],
    ['an unknown option', ['put', 'letter.txt', '--fast'], 2, /--fast/],
    ['a missing argument', ['put'], 2, /file/],
    ['no such scheme', ['put', 'letter.txt', '--scheme', 'raid5'], 2, /raid5/],
    ['k > n', ['put', 'letter.txt', '--scheme', 'ida-5of3'], 2, /ida-5of3/],
    ['k = 0', ['put', 'letter.txt', '--scheme', 'ida-0of3'], 2, /ida-0of3/],
    ['n > 255', ['put', 'letter.txt', '--scheme', 'rs-200+56'], 2, /25[56]/],
    ['n > 255, copies', ['put', 'letter.txt', '--scheme', 'copy-256'], 2, /25[56]/],
    ['more shards than stores', ['put', 'letter.txt', '--scheme', 'rs-10+4'], 2, /14.*6|6.*14/],
    ['no such volume', ['put', 'letter.txt', '--volume', 'photos'], 3, /photos/],
    ['a volume that exists', ['volume', 'create', 'default'], 4, /default/],
    ['a bad name of a volume', ['volume', 'create', 'My Photos'], 2, /My Photos/],
    ['a volume too wide', ['volume', 'create', 'wide', '--scheme', 'rs-10+4'], 2, /14.*6|6.*14/],
    ['a policy too wide', ['volume', 'policy', 'default', '--scheme', 'rs-10+4'], 2, /14.*6|6.*14/],
    [
      'a range that is no number',
      ['get', 'letters/1', '-o', 'x', '--offset', '-1'],
      2,
      /-1|offset/,
    ],
    ['a directory as output', ['get', 'letters/1', '-o', 'folder'], 2, /folder is a directory/],
    ['no directory for output', ['get', 'letters/1', '-o', 'no/x'], 3, /no directory/],
    ['a name for get that exists', ['get', 'letters/1'], 4, /letter\.txt exists/],
    ['output that exists', ['get', 'letters/1', '-o', 'letter.txt'], 4, /letter\.txt exists/],
    ['an unknown store', ['dev', 'query', 'ffff'], 3, /ffff/],
    ['a file as a store', ['dev', 'add', 'letter.txt'], 2, /letter\.txt/],
    ['a folder that is not ours', ['dev', 'add', '.'], 8, /not empty \(/],
  ];
  it.each(cases)('refuses %s', async (_, args, exitCode, words) => {
    await refused(args, { exitCode, words });
  });

  it('keeps the file that is there, byte for byte, and replaces it with --force', async () => {
    await fs.writeFile(bed.path('work/mine.txt'), 'my own');
    await refused(['get', id, '-o', 'mine.txt'], { exitCode: 4, words: /--force/ });
    expect(await fs.readFile(bed.path('work/mine.txt'), 'utf8')).toBe('my own');
    await bed.ok(['get', id, '-o', 'mine.txt', '--force']);
    expect(await fs.readFile(bed.path('work/mine.txt'), 'utf8')).toBe('a letter to keep');
  });

  it('prints what there is when no command is named', async () => {
    const { stderr, exitCode } = await bed.run([]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^Usage: holdfast [^]*\nholdfast: name a command\n$/);
  });

  it('says the same as JSON when asked to', async () => {
    const { stderr, exitCode } = await bed.run(['get', unknownId, '--json']);
    expect(exitCode).toBe(3);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'HF_NOT_FOUND' } });
  });

  it('goes on with the others when one object to remove is unknown', async () => {
    const one = await bed.ok(['put', '-'], { input: 'one' });
    const two = await bed.ok(['put', '-'], { input: 'two' });
    const answer = await bed.run(['rm', one, unknownId, two]);
    expectRefusal(answer, 3, /f{32}/);
    expect((await bed.list()).map((object) => object.id)).toEqual([id]);
  });

  it('says that no node runs', async () => {
    for (const args of [['status'], ['put', 'letter.txt'], ['ls'], ['down'], ['health']]) {
      expectRefusal(await bed.run(args, { data: 'elsewhere' }), 10, /no node.*holdfast up/);
    }
    await expect(fs.access(bed.path('elsewhere'))).rejects.toThrow('ENOENT');
  });
});

describe('stores that are not ours', () => {
  it('refuses a store of another cluster, and leaves it as it was', async () => {
    const foreign = bed.path('foreign-store');
    const other = await bed.up({ data: 'other', stores: [foreign, bed.path('foreign-2')] });
    const kept = await bed.ok(['put', '-'], { data: 'other', input: 'theirs' });
    await refused(['dev', 'add', foreign], { exitCode: 8, words: /in use/ });
    await other.stop();
    await refused(['dev', 'add', foreign], { exitCode: 8, words: /store of another cluster/ });
    const again = await bed.up({ data: 'other' });
    expect(await bed.ok(['get', kept, '-o', '-'], { data: 'other' })).toBe('theirs');
    await again.stop();
  });

  it('goes on without a store whose folder was replaced by a plain one, and says so', async () => {
    const [, place = ''] = bed.firstStores();
    await fs.rename(place, bed.path('aside'));
    await fs.mkdir(place);
    await fs.writeFile(path.join(place, 'note'), 'not a store');
    await expect
      .poll(async () => (await bed.devices())[1]?.state, { timeout: 20_000 })
      .toBe('missing');
    const status = await bed.ok(['status']);
    expect(status).toMatch(/warning: store .*disk-2 is away: /);
    await bed.ok(['get', id, '-o', '-']);
    expect(await fs.readdir(place), 'nothing is written beside the store').toEqual(['note']);
    await fs.rm(place, { recursive: true });
    await fs.rename(bed.path('aside'), place);
    await expect
      .poll(async () => (await bed.devices())[1]?.state, { timeout: 20_000 })
      .toBe('active');
    await bed.ok(['repair']);
    expect((await bed.health()).exitCode).toBe(0);
  });
});

describe('starting', () => {
  /** While the node is stopped and has another keyring, or none. It goes on with its own. */
  async function withKeyring(other: Buffer | undefined, work: () => Promise<void>): Promise<void> {
    const file = bed.path('data/keyring.json');
    await node.stop();
    const own = await fs.readFile(file);
    await (other ? fs.writeFile(file, other) : fs.rm(file));
    try {
      await work();
    } finally {
      await fs.writeFile(file, own);
      node = await bed.up();
    }
    expect(await bed.ok(['get', id, '-o', '-'])).toBe('a letter to keep');
  }

  it('refuses a second node on the same data, and the first goes on', async () => {
    const answer = await bed.run(['up']);
    expectRefusal(answer, 8, /in use/);
    expect(await bed.ok(['get', id, '-o', '-'])).toBe('a letter to keep');
  });

  it('refuses the keyring of another cluster, and starts again with its own', async () => {
    const other = await bed.up({ data: 'third' });
    await other.stop();
    const foreign = await fs.readFile(bed.path('third/keyring.json'));
    await withKeyring(foreign, async () => {
      const before = await filesUnder(bed.path('data'));
      expectRefusal(await bed.run(['up']), 9, /keyring .* another cluster/);
      expect(await filesUnder(bed.path('data'))).toEqual(before);
    });
  });

  it('refuses a damaged keyring', async () => {
    const file = bed.path('data/keyring.json');
    const own = await fs.readFile(file);
    await withKeyring(own, async () => {
      await flipByte(file, own.length >> 1, 1);
      expectRefusal(await bed.run(['up']), 7, /keyring\.json/);
      await fs.writeFile(file, own.subarray(0, own.length >> 1));
      expectRefusal(await bed.run(['up']), 7, /keyring\.json/);
    });
  });

  it('refuses to begin anew beside stores whose keys are gone', async () => {
    await withKeyring(undefined, async () => {
      expectRefusal(await bed.run(['up']), 9, /--recover/);
    });
  });

  it('refuses a recovery kit that is damaged, missing, not ours, or not needed', async () => {
    await bed.ok(['key', 'export', bed.path('kit.txt')]);
    const kit = await fs.readFile(bed.path('kit.txt'), 'utf8');
    const up = (file: string) =>
      bed.run(['up', '--recover', file, '--store', ...bed.firstStores()], { data: 'recovered' });
    expectRefusal(await bed.run(['up', '--recover', 'kit'], { data: 'recovered' }), 3, /kit/);
    const letters = [...kit.matchAll(/[0-9a-zA-Z]{8}/g)].map(({ index }) => index + 3);
    for (const at of [letters.at(-1)!, letters[letters.length >> 1]!]) {
      const letter = kit[at] === 'a' ? 'b' : 'a';
      await fs.writeFile(bed.path('bad-kit.txt'), kit.slice(0, at) + letter + kit.slice(at + 1));
      expectRefusal(await up(bed.path('bad-kit.txt')), 7, /recovery kit is damaged/);
    }
    await fs.writeFile(bed.path('bad-kit.txt'), 'hello');
    expectRefusal(await up(bed.path('bad-kit.txt')), 9, /not a recovery kit/);
    await node.stop();
    const own = await bed.run(['up', '--recover', bed.path('kit.txt')]);
    expectRefusal(own, 4, /without --recover/);
    const third = await bed.up({ data: 'third' });
    await bed.ok(['key', 'export', bed.path('third-kit.txt')], { data: 'third' });
    await third.stop();
    expectRefusal(await up(bed.path('third-kit.txt')), 9, /kit is of another cluster/);
    await expect(fs.access(bed.path('recovered/keyring.json'))).rejects.toThrow('ENOENT');
    node = await bed.up();
    expect(await bed.ok(['get', id, '-o', '-'])).toBe('a letter to keep');
  });
});
