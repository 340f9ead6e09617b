/**
 * Aim: what people and scripts see of `shares` and `key split`: output, exit codes, files. Method:
 * the commands in this process, with streams of our own, in a folder of their own; no node runs.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from './index.ts';
import { type Io, processIo } from './io.ts';

let folder: string;
const content = Buffer.from('a line of text\n'.repeat(10_000));

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-cli-shares-'));
  await fs.writeFile(inWork('f'), content);
});

afterEach(async () => {
  await fs.rm(folder, { recursive: true });
});

const inWork = (name: string) => path.join(folder, name);

class Captured extends Writable {
  text = '';

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString('latin1');
    done();
  }
}

async function holdfast(argv: readonly string[], stdin = '', isStopped = false) {
  const [stdout, stderr] = [new Captured(), new Captured()];
  const io: Io = Object.defineProperties(
    {} as Io,
    Object.getOwnPropertyDescriptors({
      ...processIo(),
      stdin: Readable.from([Buffer.from(stdin)]),
      stdout,
      stderr,
      variables: { HOLDFAST_DATA: inWork('data') },
      workPath: folder,
      onSignal(listener: (signal: 'SIGINT') => void) {
        if (isStopped) queueMicrotask(() => listener('SIGINT'));
        return () => {};
      },
    }),
  );
  const code = await main(argv, io);
  return { code, out: stdout.text, error: stderr.text };
}

async function run(...argv: string[]): Promise<string[]> {
  const { code, out, error } = await holdfast(argv);
  expect({ code, error }).toEqual({ code: 0, error: '' });
  return out.trim().split('\n');
}

/** Makes the key file, so that later commands have nothing to note. */
async function makeKey(): Promise<void> {
  const { code, error } = await holdfast(['shares', 'split', 'f', '--pattern', 'first-%s.sf']);
  expect(code).toBe(0);
  expect(error).toContain('nothing that it seals can be read without it');
  await Promise.all([0, 1, 2, 3].map((index) => fs.rm(inWork(`first-${index}.sf`))));
}

describe('shares', () => {
  it('split, one to each target; combine from folders and files', async () => {
    await makeKey();
    const targets = 'a,b,c,d';
    const missing = await holdfast(['shares', 'split', 'f', '--targets', targets]);
    expect(missing.code).toBe(3);
    expect(await run('shares', 'split', 'f', '--targets', targets, '--make-targets')).toEqual([
      'a/f-0.sf',
      'b/f-1.sf',
      'c/f-2.sf',
      'd/f-3.sf',
    ]);
    expect((await holdfast(['shares', 'combine', '-o', 'o', 'a', 'c', 'd/f-3.sf'])).error).toBe('');
    expect((await fs.readFile(inWork('o'))).equals(content)).toBe(true);
    const again = await holdfast(['shares', 'combine', '-o', 'o', 'a', 'b', 'c']);
    expect({ code: again.code, error: again.error }).toEqual({
      code: 4,
      error: expect.stringContaining('exists'),
    });
  });

  it('never two on one target unless asked', async () => {
    await makeKey();
    await fs.mkdir(inWork('a'));
    await fs.mkdir(inWork('b'));
    await fs.symlink('a', inWork('same'));
    for (const targets of ['a,b', 'a,b,same', 'a,a,b']) {
      const few = ['shares', 'split', '-k', '2', '-n', '3', 'f', '--targets', targets];
      const { code, error } = await holdfast(few);
      expect({ code, error }).toMatchObject({
        code: 2,
        error: expect.stringContaining('2 targets'),
      });
      expect(await fs.readdir(inWork('a'))).toEqual([]);
    }
    const asked = ['-k', '2', '-n', '3', 'f', '--targets', 'a,b', '--share-targets'];
    expect(await run('shares', 'split', ...asked)).toEqual(['a/f-0.sf', 'b/f-1.sf', 'a/f-2.sf']);
  });

  it('too few: one line, exit code 6, no file', async () => {
    await makeKey();
    await run('shares', 'split', 'f');
    const few = await holdfast(['shares', 'combine', '-o', 'o', 'f-0.sf', 'f-2.sf']);
    expect(few).toEqual({ code: 6, out: '', error: 'holdfast: have 2, need 3\n' });
    expect((await fs.readdir(folder)).filter((name) => name.startsWith('o'))).toEqual([]);
  });

  it('names what is bad; verify tells by its exit code', async () => {
    await makeKey();
    await run('shares', 'split', 'f');
    expect(await run('shares', 'verify', '.')).toEqual(['4 good shares, 3 needed']);
    const share = await fs.readFile(inWork('f-1.sf'));
    share[40]! ^= 1;
    await fs.writeFile(inWork('f-1.sf'), share);
    const combined = await holdfast(['shares', 'combine', '-o', 'o', '.']);
    expect(combined).toEqual({
      code: 0,
      out: '',
      error: 'holdfast: warning: f-1.sf: its bytes do not match its checksum\n',
    });
    expect((await fs.readFile(inWork('o'))).equals(content)).toBe(true);
    const bad = await holdfast(['shares', 'verify', '.']);
    expect(bad.code).toBe(1);
    expect(bad.out).toContain('f-1.sf: its bytes do not match');
    expect((await holdfast(['shares', 'verify', 'f-0.sf', 'f-1.sf'])).code).toBe(6);
  });

  it('says of plain shares made from no more than k that nothing vouches for them', async () => {
    await run('shares', 'split', '-k', '2', '-n', '3', '--plain', 'f');
    const unverified = await holdfast(['shares', 'add', 'f-0.sf', 'f-1.sf', '--numbers', '7']);
    expect(unverified).toMatchObject({ code: 0, error: expect.stringContaining('unverified') });
    expect(await run('shares', 'add', 'f-0.sf', 'f-1.sf', 'f-2.sf')).toEqual(['f-3.sf']);
    const none = { code: 3, error: expect.stringContaining('there is no file') };
    expect(await holdfast(['shares', 'plan', 'nothing'])).toMatchObject(none);
  });

  it('plain ones are as gnetraid makes them, and a doubt is said', async () => {
    await fs.writeFile(inWork('h'), 'hello world\n');
    await run('shares', 'split', '--plain', '--points', '1,2,3,4,5,6,7', 'h');
    const share = await fs.readFile(inWork('h-0.sf'), 'hex');
    expect(share).toBe('5346010c030100010ccbd17b1f9e30de');
    const three = ['shares', 'combine', '-o', 'o', 'h-0.sf', 'h-1.sf', 'h-3.sf'];
    const { code, error } = await holdfast(three);
    expect({ code, error }).toEqual({ code: 0, error: expect.stringContaining('unverified') });
    await run('shares', 'combine', '-o', 'p', '.');
    expect(await fs.readFile(inWork('p'), 'utf8')).toBe('hello world\n');
    await expect(fs.stat(inWork('data'))).rejects.toThrow('ENOENT');
  });

  it('add makes a lost one again, and new ones', async () => {
    await makeKey();
    await run('shares', 'split', 'f');
    const digest = async () =>
      createHash('sha256')
        .update(await fs.readFile(inWork('f-2.sf')))
        .digest('hex');
    const before = await digest();
    await fs.rm(inWork('f-2.sf'));
    expect(await run('shares', 'add', '--numbers', '2', '.')).toEqual(['f-2.sf']);
    expect(await digest()).toBe(before);
    expect(await run('shares', 'add', '.', '--count', '2')).toEqual(['f-4.sf', 'f-5.sf']);
    await run('shares', 'combine', '-o', 'o', 'f-5.sf', 'f-2.sf', 'f-4.sf');
    expect((await fs.readFile(inWork('o'))).equals(content)).toBe(true);
  });

  it('plan says what split makes', async () => {
    await makeKey();
    const chunking = ['--out-file-size', '70000', '-k', '2', '-n', '3'];
    const { out } = await holdfast(['shares', 'plan', 'f', '--json', ...chunking]);
    const plan = JSON.parse(out) as { chunks: { shareBytes: number }[]; totalBytes: number };
    const paths = await run('shares', 'split', 'f', ...chunking);
    const sizes = await Promise.all(paths.map(async (name) => (await fs.stat(inWork(name))).size));
    expect(sizes).toEqual(plan.chunks.flatMap(({ shareBytes: s }) => [s, s, s]));
    expect(plan.totalBytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
    const two = await holdfast(['shares', 'plan', 'f', '--chunks', '2', '--in-chunk-size', '9K']);
    expect(two.code).toBe(2);
  });

  it('sealed ones whose ends were cut off exactly do not pass for plain ones', async () => {
    await makeKey();
    for (const name of await run('shares', 'split', 'f')) {
      await fs.truncate(inWork(name), (await fs.stat(inWork(name))).size - 144);
    }
    const { code, error } = await holdfast(['shares', 'combine', '-o', 'o', '--name', 'f', '.']);
    expect({ code, error }).toMatchObject({
      code: 0,
      error: expect.stringContaining('looks sealed'),
    });
  });

  it('sealed ones need their key', async () => {
    await makeKey();
    await run('shares', 'split', 'f');
    await fs.rename(inWork('data'), inWork('elsewhere'));
    const without = await holdfast(['shares', 'combine', '-o', 'o', '.']);
    expect(without).toMatchObject({ code: 3, error: expect.stringContaining('--key') });
    await run('shares', 'combine', '-o', 'o', '.', '--key', 'elsewhere/share-key');
    expect((await fs.readFile(inWork('o'))).equals(content)).toBe(true);
  });
});

/** Two files on the same disks `a`, `b`, `c`. */
async function twoFiles(split: (file: string) => readonly string[]): Promise<void> {
  await makeKey();
  await fs.writeFile(inWork('g'), 'another file');
  for (const disk of ['a', 'b', 'c', 'd', 'e']) await fs.mkdir(inWork(disk));
  await run(...split('f'));
  await run(...split('g'));
}

describe.each([
  [
    'shares',
    (file: string) => ['shares', 'split', '-k', '2', '-n', '3', file, '--targets', 'a,b, c'],
  ],
  [
    'chunk',
    (file: string) => ['chunk', 'make', '--data', '2', '--parity', '1', file, '-d', 'a,b, c'],
  ],
])('%s of two files on the same disks', (group, split) => {
  const restore = group === 'shares' ? 'combine' : 'get';

  it('are verified one after the other; the worst is the exit code', async () => {
    await twoFiles(split);
    const lines = await run(group, 'verify', 'a', 'b', 'c');
    expect(lines.map((line) => line.slice(0, 3)).toSorted()).toEqual(['f: ', 'g: ']);
    for (const disk of ['a', 'b']) {
      const found = (await fs.readdir(inWork(disk))).find((name) => name.startsWith('g'));
      await fs.rm(inWork(`${disk}/${found}`));
    }
    const bad = await holdfast([group, 'verify', 'a', 'b', 'c']);
    expect(bad.code).toBe(6);
    const one = await holdfast([group, 'verify', '--name', 'f', 'a', 'b', 'c', '--json']);
    expect({ code: one.code, k: JSON.parse(one.out).k }).toEqual({ code: 0, k: 2 });
    const json = await holdfast([group, 'verify', 'a', 'b', 'c', '--json']);
    const { files } = JSON.parse(json.out) as { files: { name: string }[] };
    expect(files.map(({ name }) => name).toSorted()).toEqual(['f', 'g']);
  });

  it('are restored by name, and it is said that a name is needed', async () => {
    await twoFiles(split);
    const both = await holdfast([group, restore, '-o', 'o', 'a', 'c']);
    expect(both).toMatchObject({ code: 2, error: expect.stringContaining('--name') });
    await run(group, restore, '-o', 'o', '--name', 'f', 'a', 'c');
    expect((await fs.readFile(inWork('o'))).equals(content)).toBe(true);
    const none = await holdfast([group, restore, '-o', 'p', '--name', 'h', 'a', 'c']);
    expect(none).toMatchObject({ code: 3, error: expect.stringContaining('of h') });
    const again = await holdfast([group, restore, '-o', 'o', '--name', 'g', 'a', 'c']);
    expect(again.code).toBe(4);
    await run(group, restore, '-o', 'o', '--force', '--name', 'g', 'a', 'c');
    expect(await fs.readFile(inWork('o'), 'utf8')).toBe('another file');
    const { code, out } = await holdfast([group, restore, '-o', '-', '--name', 'g', 'a', 'b']);
    expect({ code, out }).toEqual({ code: 0, out: 'another file' });
    await expect(fs.stat(inWork('-'))).rejects.toThrow('ENOENT');
    expect(await fs.readdir(inWork('data'))).toEqual(['share-key']);
  });

  it('places with none of them are not found', async () => {
    await makeKey();
    await fs.mkdir(inWork('empty'));
    for (const place of ['empty', 'missing']) {
      const { code, error } = await holdfast([group, restore, '-o', 'o', place]);
      expect({ place, code, error }).toMatchObject({
        code: 3,
        error: expect.stringMatching(/there/),
      });
    }
  });
});

it('chunk verify --each looks at one disk by itself, all files', async () => {
  await twoFiles((file) => ['chunk', 'make', '--data', '2', '--parity', '1', file, '-d', 'a,b,c']);
  expect((await run('chunk', 'verify', '--each', 'a')).toSorted()).toEqual([
    'f: 1 of 3 chunk files good',
    'g: 1 of 3 chunk files good',
  ]);
});

describe('shares add', () => {
  beforeEach(async () => {
    await twoFiles((file) => ['shares', 'split', file, '-k', '2', '-n', '3', '--targets', 'a,b,c']);
  });

  const shareNames = async (disk: string) =>
    (await fs.readdir(inWork(disk))).filter((name) => name.startsWith('f'));

  it('puts no two on one disk by default', async () => {
    const { code, error } = await holdfast([
      'shares',
      'add',
      '--name',
      'f',
      '--count',
      '2',
      'a',
      'b',
      'd',
    ]);
    expect({ code, error }).toMatchObject({ code: 2, error: expect.stringContaining('--targets') });
    expect(await run('shares', 'add', '--name', 'f', 'a', 'b', 'c', 'd')).toEqual(['d/f-3.sf']);
    expect(
      await run(
        'shares',
        'add',
        '--name',
        'f',
        '--count',
        '2',
        'a',
        'b',
        'c',
        '--targets',
        'd,e',
        '--share-targets',
      ),
    ).toHaveLength(2);
    expect(await shareNames('a')).toEqual(['f-0.sf']);
  });

  it('refuses a target that has one, named or not', async () => {
    const add = (...more: string[]) =>
      holdfast(['shares', 'add', '--name', 'f', 'a', 'b', ...more]);
    for (const target of ['a', 'c']) {
      const { code, error } = await add('--targets', target);
      expect({ code, error }).toMatchObject({ code: 2, error: expect.stringContaining('already') });
    }
    expect((await add('--targets', 'c', '--share-targets', '--numbers', '9')).code).toBe(0);
  });
});

describe('shares in chunks', () => {
  beforeEach(makeKey);

  it('are called by their numbers, and a chunk that is gone is named', async () => {
    await fs.writeFile(inWork('big'), Buffer.alloc(1_000_000, 'big'));
    await run('shares', 'split', '-k', '2', '-n', '3', '--chunks', '3', 'big');
    for (const share of [0, 1, 2]) await fs.rm(inWork(`big-1-${share}.sf`));
    await fs.rm(inWork('big-2-0.sf'));
    const { code, out } = await holdfast(['shares', 'verify', '--name', 'big', '.']);
    expect(code).toBe(6);
    const lines = out
      .trim()
      .split('\n')
      .map((line) => line.replace(/\(bytes.*?\)/, '(…)'));
    expect(lines).toEqual([
      'chunk 0 (…): 3 good shares, 2 needed',
      'chunk 2 (…): 2 good shares, 2 needed',
      'chunk 1 (…): no shares, 2 needed',
      'the file cannot be restored from these',
    ]);
    for (const verb of [
      ['combine', '-o', 'o'],
      ['add', '--count', '2'],
    ]) {
      const { code: exit, error } = await holdfast(['shares', ...verb, '--name', 'big', '.']);
      expect({ exit, error }).toMatchObject({
        exit: 6,
        error: expect.stringContaining('of chunk 1 ('),
      });
    }
    await fs.rm(inWork('big-2-1.sf'));
    const few = await holdfast(['shares', 'verify', '--name', 'big', '.']);
    expect(few.out).toMatch(/chunk 2 \(bytes .*\): 1 good share, 2 needed/);
  });
});

it('a command that is stopped says just that', async () => {
  await makeKey();
  const stopped = await holdfast(['shares', 'split', 'f'], '', true);
  expect(stopped).toEqual({ code: 130, out: '', error: 'holdfast: interrupted\n' });
});

it('says what is missing, and what to do', async () => {
  const says = async (code: number, text: string, ...argv: string[]) => {
    const { code: exit, error } = await holdfast(argv);
    expect({ argv, exit, error }).toMatchObject({
      exit: code,
      error: expect.stringContaining(text),
    });
    expect(error).not.toMatch(/ENOENT|ENOSPC|EROFS/);
  };
  await fs.writeFile(inWork('s'), 'secret');
  await says(3, '--make-targets', 'shares', 'split', 'f', '--targets', 'x,y,z,w');
  await says(3, 'there is no file', 'shares', 'plan', 'none');
  await says(3, 'there is no file', 'chunk', 'plan', 'none');
  await says(3, 'there is no file', 'key', 'split', '-k', '1', '-n', '2', 'none');
  await says(3, 'there is no key file', 'key', 'split', '-k', '2', '-n', '2');
  await says(3, 'there is no file', 'key', 'combine', '-o', 'k', 'none');
  await says(3, 'there is no directory', 'key', 'split', '-k', '2', '-n', '2', 's', '-o', 'none/x');
  await says(6, 'f', 'shares', 'verify', 'f');
});

describe('key split and combine', () => {
  it('warns that one text is the whole key, and names files that are none', async () => {
    await makeKey();
    const one = await holdfast(['key', 'split', '-k', '1', '-n', '2', '-o', 'p']);
    expect(one).toMatchObject({ code: 0, error: expect.stringContaining('whole key') });
    await fs.writeFile(inWork('odd.txt'), 'odd\n');
    const odd = await holdfast(['key', 'combine', '-o', 'k', 'p-1.txt', 'odd.txt']);
    expect(odd).toMatchObject({
      code: 2,
      error: expect.stringContaining('odd.txt is no key share'),
    });
    await run('key', 'split', '-k', '2', '-n', '2', '-o', 'q');
    const mixed = await holdfast(['key', 'combine', '-o', 'k', 'p-1.txt', 'q-1.txt']);
    expect(mixed).toMatchObject({ code: 2, error: expect.stringMatching(/p-1\.txt .*q-1\.txt/) });
  });

  it('any two of three restore the key; one does not', async () => {
    await makeKey();
    const key = await fs.readFile(inWork('data/share-key'), 'utf8');
    const lines = await run('key', 'split', '-k', '2', '-n', '3');
    expect(lines.length).toBe(3);
    await fs.writeFile(inWork('1.txt'), `${lines[0]}\n`);
    const both = await holdfast(['key', 'combine', '-o', 'k', '1.txt', '-'], `${lines[2]}\n`);
    expect(both).toMatchObject({ code: 0, error: '' });
    expect(await fs.readFile(inWork('k'), 'utf8')).toBe(key);
    expect((await fs.stat(inWork('k'))).mode & 0o777).toBe(0o600);
    const one = await holdfast(['key', 'combine', '-o', 'none', '1.txt']);
    expect(one).toEqual({ code: 6, out: '', error: 'holdfast: have 1, need 2\n' });
  });

  it('into files of their own, of any secret file', async () => {
    await fs.writeFile(inWork('kit.txt'), 'a recovery kit\n'.repeat(100));
    const names = ['p-1.txt', 'p-2.txt', 'p-3.txt'];
    expect(await run('key', 'split', '-k', '2', '-n', '3', 'kit.txt', '-o', 'p')).toEqual(names);
    expect((await fs.stat(inWork('p-1.txt'))).mode & 0o777).toBe(0o600);
    await run('key', 'combine', '-o', 'again', 'p-3.txt', 'p-1.txt');
    expect(await fs.readFile(inWork('again'), 'utf8')).toBe('a recovery kit\n'.repeat(100));
  });
});
