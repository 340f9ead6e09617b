/**
 * Aim: a volume is one tree, whichever way it is used: what a mount makes is seen, read, renamed
 * and removed by keys and paths, and what put makes by the mount; open files stay what they were.
 * Method: a node in a process of its own serves a mount; this process does one thing through
 * node:fs and looks at it through the command line and the control interface, and the other way
 * round. Needs root and /dev/fuse; skipped, loudly, elsewhere.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FileView, ListedView, ObjectView, VolumeView } from '../../src/api/index.ts';
import { errorCode } from '../../src/base/index.ts';
import type { HoldfastClient } from '../../src/client/index.ts';
import { seededBytes } from './content.ts';
import { Bed, type NodeProcess, until } from './harness.ts';

const canMount = process.getuid?.() === 0 && existsSync('/dev/fuse');
if (!canMount) console.warn('SKIPPED: tests of mounted volumes need root and /dev/fuse');

const NO_UTF8 = Buffer.from([0x61, 0xff, 0xfe]);

let bed: Bed;
let node: NodeProcess;
let client: HoldfastClient;
let point: string;

const at = (name: string): string => `${point}/${name}`;
const atBytes = (name: Buffer): Buffer => Buffer.concat([Buffer.from(at('')), name]);

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
}

async function put(key: string, content: Uint8Array | string, ...flags: string[]): Promise<string> {
  return await bed.ok(['put', '-', '--name', key, ...flags], { input: content });
}

async function get(reference: string): Promise<Buffer> {
  const { exitCode, stdout, stderr } = await bed.run(['get', reference, '-o', '-']);
  if (exitCode !== 0) throw new Error(stderr);
  return stdout;
}

async function listed(prefix = '', volume = 'default'): Promise<ListedView[]> {
  const files: ListedView[] = [];
  const onItem = (file: ListedView) => void files.push(file);
  await client.call('object.list', { volume, prefix }, { onItem });
  return files;
}

async function keys(prefix = ''): Promise<(string | null)[]> {
  return (await listed(prefix)).map(({ key }) => key);
}

async function dir(path: string): Promise<FileView[]> {
  const entries: FileView[] = [];
  const onItem = (entry: FileView) => void entries.push(entry);
  await client.call('tree.list', { path }, { onItem });
  return entries;
}

async function contentBytes(): Promise<number> {
  const [volume] = (await client.call('volume.list', {})) as [VolumeView];
  return volume.contentBytes;
}

async function removeAll(): Promise<void> {
  for (const name of await fs.readdir(point, { encoding: 'buffer' })) {
    await fs.rm(atBytes(name), { recursive: true });
  }
  for (const { id } of await listed()) await client.call('object.remove', { reference: id });
}

describe.skipIf(!canMount)('one tree, two ways in', () => {
  beforeAll(async () => {
    bed = await Bed.open();
    node = await bed.up();
    client = node.connect();
    point = bed.path('mnt');
    await fs.mkdir(point);
    await bed.ok(['mount', 'default', point]);
  });

  afterEach(removeAll);

  afterAll(async () => {
    client[Symbol.dispose]();
    await bed.run(['umount', point, '--force']);
    await bed[Symbol.asyncDispose]();
  });

  it('files of the mount are listed, read, renamed and removed by their keys', async () => {
    const contents: Record<string, Buffer> = {
      empty: Buffer.alloc(0),
      small: Buffer.from('small'),
      large: await seededBytes('large', 12_000_001),
      'd/e/nested': Buffer.from('nested'),
      ' a b\n"': Buffer.from('odd'),
      ['n'.repeat(255)]: Buffer.from('long'),
    };
    await fs.mkdir(at('d/e'), { recursive: true });
    for (const [key, content] of Object.entries(contents)) {
      await fs.writeFile(at(key), content, { mode: 0o640 });
      await fs.utimes(at(key), 1_000_000_000, 1_234_567_890.25);
    }
    const wanted = Object.keys(contents).toSorted();
    const all = await listed();
    expect(all.map(({ key }) => key)).toEqual(wanted);
    for (const { key, id, sizeBytes, mode, modifiedAtMs } of all) {
      const content = contents[key!]!;
      expect([mode, modifiedAtMs, sizeBytes]).toEqual([0o640, 1_234_567_890_250, content.length]);
      expect((await get(key!)).equals(content), key!).toBe(true);
      expect((await get(id)).equals(content), id).toBe(true);
      const status = await client.call('tree.status', { path: key! });
      expect(status).toMatchObject({ type: 'file', mode: 0o640, sizeBytes: content.length });
      expect(await client.call('object.query', { reference: key! })).toMatchObject({ id, key });
    }
    expect(await keys('d/')).toEqual(['d/e/nested']);

    await bed.ok(['mv', 'small', 'd/moved']);
    expect(await fs.readFile(at('d/moved'), 'utf8')).toBe('small');
    expect(await codeOf(fs.stat(at('small')))).toBe('ENOENT');
    await bed.ok(['mv', 'd/e', 'f']);
    expect(await fs.readFile(at('f/nested'), 'utf8')).toBe('nested');
    expect(await keys('f')).toEqual(['f/nested']);
    await bed.ok(['rm', 'large', 'd/moved', 'f/nested', 'empty']);
    expect((await fs.readdir(point)).toSorted()).toEqual(
      ['d', 'f', ' a b\n"', 'n'.repeat(255)].toSorted(),
    );
    expect(await fs.readdir(at('f'))).toEqual([]);
    await bed.ok(['rmdir', 'f']);
    expect(await codeOf(fs.stat(at('f')))).toBe('ENOENT');
  });

  it('objects are listed, read, renamed and removed by the mount', async () => {
    const contents: Record<string, Buffer> = {
      empty: Buffer.alloc(0),
      small: Buffer.from('small'),
      large: await seededBytes('large', 12_000_001),
      'd/e/nested': Buffer.from('nested'),
    };
    for (const [key, content] of Object.entries(contents)) await put(key, content);
    expect((await fs.readdir(point)).toSorted()).toEqual(['d', 'empty', 'large', 'small']);
    for (const [key, content] of Object.entries(contents)) {
      expect(content.equals(await fs.readFile(at(key))), key).toBe(true);
      const { mode, uid, size } = await fs.stat(at(key));
      expect([mode & 0o7777, uid, size]).toEqual([0o644, 0, content.length]);
    }
    expect((await fs.stat(at('d'))).mode & 0o7777).toBe(0o755);
    await fs.rename(at('small'), at('d/moved'));
    await fs.rename(at('d/e'), at('f'));
    expect(await keys()).toEqual(['d/moved', 'empty', 'f/nested', 'large']);
    expect(String(await get('d/moved'))).toBe('small');
    await fs.chmod(at('large'), 0o600);
    expect((await listed('large'))[0]).toMatchObject({ key: 'large', mode: 0o600 });
    for (const key of ['d/moved', 'empty', 'large']) await fs.unlink(at(key));
    expect(await keys()).toEqual(['f/nested']);
    expect((await bed.run(['get', 'large', '-o', '-'])).exitCode).toBe(3);
    expect(await fs.readdir(at('d')), 'the mount has used it').toEqual([]);
  });

  it('directories of put vanish with what is in them, unless the mount used them', async () => {
    await put('gone/a', 'x');
    await put('kept/a', 'x');
    await fs.mkdir(at('made'));
    await put('made/a', 'x');
    await fs.writeFile(at('kept/b'), 'y');
    await bed.ok(['rm', 'gone/a', 'kept/a', 'made/a', 'kept/b']);
    expect((await fs.readdir(point)).toSorted()).toEqual(['kept', 'made']);
    expect(await keys()).toEqual([]);
  });

  it('links and special files are seen by path, and no content', async () => {
    await fs.writeFile(at('file'), 'content');
    await fs.mkdir(at('d'));
    await fs.link(at('file'), at('d/hard'));
    await fs.symlink('d/hard', at('soft'));
    await promisify(execFile)('mkfifo', [at('fifo')]);
    await promisify(execFile)('mknod', [at('device'), 'c', '1', '3']);
    await bed.ok(['ln', 'file', 'third']);
    await bed.ok(['ln', '-s', 'file', 'made-here']);
    expect((await fs.stat(at('third'))).nlink).toBe(3);
    expect(await fs.readFile(at('made-here'), 'utf8')).toBe('content');
    const types = (await dir('')).map(({ path, type }) => `${path} ${type}`);
    expect(types).toEqual([
      'd directory',
      'device characterDevice',
      'fifo fifo',
      'file file',
      'made-here symlink',
      'soft symlink',
      'third file',
    ]);
    const files = await listed();
    expect(files.map(({ key }) => key)).toEqual(['d/hard', 'file', 'third']);
    expect(new Set(files.map(({ id }) => id)).size).toBe(1);
    expect((await client.call('tree.status', { path: 'soft' })).target).toBe('d/hard');
    for (const key of ['soft', 'fifo']) expect((await bed.run(['get', key])).exitCode).toBe(3);
    await bed.ok(['mv', 'fifo', 'pipe']);
    expect((await fs.stat(at('pipe'))).isFIFO()).toBe(true);
    await bed.ok(['unlink', 'third']);
    expect((await fs.stat(at('file'))).nlink).toBe(2);
    await bed.ok(['rm', 'soft', 'pipe', 'device', 'd/hard']);
    expect((await fs.readdir(point)).toSorted(), 'rm takes all names').toEqual(['d', 'made-here']);
    expect(await fs.readdir(at('d'))).toEqual([]);
  });

  it('a sparse file is as long as it is, with zeros', async () => {
    const before = await contentBytes();
    await using file = await fs.open(at('sparse'), 'w');
    await file.write('head');
    await file.truncate(20_000_000);
    await file.sync();
    expect((await listed())[0]).toMatchObject({ key: 'sparse', sizeBytes: 20_000_000 });
    const content = await get('sparse');
    expect(content.length).toBe(20_000_000);
    expect(content.subarray(0, 4).toString()).toBe('head');
    expect(content.subarray(4).every((byte) => byte === 0)).toBe(true);
    expect((await contentBytes()) - before).toBeLessThan(100_000);
  });

  it('a file that is being written is read as it was stored last', async () => {
    await using file = await fs.open(at('log'), 'w');
    expect(String(await get('log'))).toBe('');
    await file.write('one ');
    await file.sync();
    await file.write('two');
    expect(['one ', 'one two']).toContain(String(await get('log')));
    await file.close();
    expect(String(await get('log'))).toBe('one two');
  });

  it('what put replaces stays for who has it open, and gives owner and mode', async () => {
    await fs.writeFile(at('kept'), 'old content', { mode: 0o4750 });
    await fs.chown(at('kept'), 1234, 5678);
    await fs.chmod(at('kept'), 0o4750);
    await using open = await fs.open(at('kept'), 'r+');
    expect((await bed.run(['put', '-', '--name', 'kept'], { input: 'new' })).exitCode).toBe(4);
    await put('kept', 'new', '--force');
    const { mode, uid, gid, ino } = await fs.stat(at('kept'));
    expect([mode & 0o7777, uid, gid]).toEqual([0o750, 1234, 5678]);
    expect(await fs.readFile(at('kept'), 'utf8')).toBe('new');
    const status = await open.stat();
    expect([status.nlink, status.ino === ino]).toEqual([0, false]);
    await open.write('OLD', 0);
    await open.sync();
    expect(String((await open.read({ position: 0 })).buffer.subarray(0, 11))).toBe('OLD content');
    expect(String(await get('kept'))).toBe('new');
    await open.close();
    await put('kept', 'newer', '--force');
    expect(String(await fs.readFile(at('kept')))).toBe('newer');
    expect((await fs.stat(at('kept'))).uid).toBe(1234);
  });

  it('what rm removes stays for who has it open, and its space is free afterwards', async () => {
    await put('object', await seededBytes('object', 3_000_000));
    await fs.writeFile(at('file'), await seededBytes('file', 3_000_000));
    await using first = await fs.open(at('object'), 'r');
    await using second = await fs.open(at('file'), 'r+');
    await bed.ok(['rm', 'object', 'file']);
    expect(await keys()).toEqual([]);
    expect(await fs.readdir(point)).toEqual([]);
    const wanted = await seededBytes('object', 3_000_000);
    expect(wanted.equals(await first.readFile())).toBe(true);
    await second.write('still', 0);
    await second.sync();
    expect((await second.stat()).nlink).toBe(0);
    await first.close();
    await second.close();
    // A node that has just started takes everything as open for a while: others may have it.
    await until('the space is free', async () => {
      await client.call('repair', {});
      return (await contentBytes()) === 0;
    });
    expect((await bed.health()).stripes.ok).toBe(0);
  });

  it('a key may be the name of a directory, too: the mount shows the directory', async () => {
    await put('a', 'file');
    await put('a/b', 'inside');
    expect(await keys()).toEqual(['a', 'a/b']);
    expect(await fs.readdir(point)).toEqual(['a']);
    expect((await fs.stat(at('a'))).isDirectory()).toBe(true);
    expect(await fs.readFile(at('a/b'), 'utf8')).toBe('inside');
    expect(String(await get('a'))).toBe('file');
    await fs.rename(at('a'), at('c'));
    expect(await fs.readFile(at('a'), 'utf8'), 'it was hidden').toBe('file');
    expect(await keys()).toEqual(['a', 'c/b']);
    await put('a/b', 'again');
    await bed.ok(['rm', 'a/b']);
    expect(await fs.readFile(at('a'), 'utf8')).toBe('file');
    await put('c', 'hidden by the directory of the mount');
    expect((await fs.stat(at('c'))).isDirectory()).toBe(true);
    await bed.ok(['rm', 'c']);
    expect(await keys()).toEqual(['a', 'c/b']);
    // Nothing of the mount has both: there a directory and a file do not share a name.
    await fs.writeFile(at('x'), '');
    expect(await codeOf(fs.mkdir(at('x')))).toBe('EEXIST');
    expect(await codeOf(fs.writeFile(at('c'), ''))).toBe('EISDIR');
  });

  it('keys that no path can be are refused', async () => {
    const bad = ['/a', 'a/', 'a//b', '.', '..', 'a/./b', 'a/../b', 'x'.repeat(256), 'a\0b'];
    for (const key of [...bad, `${'ab/'.repeat(400)}x`]) {
      const calls = [
        () => client.put(bytesOf('x'), { key }),
        () => client.call('object.query', { reference: key }),
        () => client.call('object.remove', { reference: key }),
      ];
      for (const call of calls) {
        expect(await call().catch(errorCode), key).toBe('HF_BAD_ARGUMENT');
      }
    }
    expect(await fs.readdir(point)).toEqual([]);
    for (const key of ['...', ' ', '\\', '*', 'ä', '名', '-', 'y'.repeat(255), '\ufeffbom']) {
      await client.put(bytesOf(key), { key });
      expect(await fs.readFile(at(key), 'utf8')).toBe(key);
    }
    expect((await fs.readdir(point)).length).toBe(9);
  });

  it('a file that lies too deep for a key is listed, and reached by its id', async () => {
    const deep = Array.from({ length: 6 }, (_, index) => `${index}`.repeat(200)).join('/');
    await fs.mkdir(at(deep), { recursive: true });
    await fs.writeFile(at(`${deep}/file`), 'deep');
    const [file] = await listed();
    expect(file!.key).toBe(`${deep}/file`);
    expect((await bed.run(['get', file!.key!, '-o', '-'])).exitCode).toBe(2);
    expect(String(await get(file!.id))).toBe('deep');
    await bed.ok(['rm', file!.id]);
    expect(await fs.readdir(at(deep))).toEqual([]);
  });

  it('names that are no UTF-8 look like no other, and are reached by id', async () => {
    await fs.writeFile(atBytes(NO_UTF8), 'bytes');
    await fs.writeFile(at('a\ufffd\ufffd'), 'replaced');
    await fs.writeFile(at('line\nfeed'), 'control');
    await fs.writeFile(at("$'a\\xff'"), 'quoted');
    const lines = (await bed.ok(['ls'])).split('\n');
    const shown = lines.map((line) => /^\S+/.exec(line)![0]);
    expect(shown).toEqual([
      "$'$\\'a\\\\xff\\''",
      'a\ufffd\ufffd',
      "$'a\\xff\\xfe'",
      "$'line\\x0afeed'",
    ]);
    const found = (await bed.list()).find(({ key }) => key === 'a\udcff\udcfe') as ObjectView;
    expect(String(await get(found.id))).toBe('bytes');
    const query = await bed.ok(['query', found.id]);
    expect(query).toContain("$'a\\xff\\xfe'");
    expect(await bed.ok(['dir'])).toContain("$'a\\xff\\xfe'");
    const { path } = (await dir('')).find((each) => !each.path.isWellFormed())!;
    expect(await client.call('tree.status', { path })).toMatchObject({ path, sizeBytes: 5 });
    await client.call('tree.rename', { from: path, to: `${path}b` });
    const renamed = Buffer.concat([NO_UTF8, Buffer.from('b')]);
    expect(await fs.readFile(atBytes(renamed), 'utf8')).toBe('bytes');
    const unfit = client.get({ reference: path });
    expect(await unfit.catch(errorCode)).toBe('HF_BAD_ARGUMENT');
    await bed.ok(['rm', found.id]);
    expect((await fs.readdir(point)).length).toBe(3);
  });

  it('lists come in pages, and long', async () => {
    for (const key of ['c', 'a/2']) await put(key, key);
    await fs.writeFile(at('a/1'), 'x'.repeat(2048), { mode: 0o600 });
    await fs.writeFile(at('b'), '');
    const page = async (...flags: string[]) =>
      (await bed.json<ListedView[]>(['ls', ...flags])).map(({ key }) => key);
    expect(await page('--limit', '2')).toEqual(['a/1', 'a/2']);
    expect(await page('--limit', '2', '--after', 'a/2')).toEqual(['b', 'c']);
    expect(await page('a/', '--after', 'a/1')).toEqual(['a/2']);
    expect((await bed.run(['ls', '--limit', '0'])).exitCode).toBe(2);
    const [first] = (await bed.ok(['ls', '-l', 'a/'])).split('\n');
    expect(first).toMatch(/^-rw-------  \d{4}-\d\d-\d\dT\S+Z +2 KiB  0{16}[0-9a-f]{16}  a\/1$/);
  });

  it('counts and scrubs what both have made', async () => {
    const before = await contentBytes();
    await put('object', await seededBytes('1', 200_000));
    await fs.writeFile(at('file'), await seededBytes('2', 200_000));
    await fs.mkdir(at('d'));
    await fs.symlink('file', at('link'));
    const { volumes } = await client.call('status', {});
    expect(volumes).toMatchObject([{ name: 'default', objectCount: 2 }]);
    expect((await contentBytes()) - before).toBe(400_000);
    const { stripes } = await bed.health();
    expect(stripes.ok).toBeGreaterThanOrEqual(2);
    const { checked, bad } = await client.call('scrub', {});
    expect([checked >= 2 * 6, bad]).toEqual([true, 0]);
  });
});

describe.skipIf(!canMount)('a WORM volume that is mounted', () => {
  beforeAll(async () => {
    bed = await Bed.open();
    node = await bed.up();
    client = node.connect();
    point = bed.path('mnt');
    await fs.mkdir(point);
    await fs.mkdir(bed.path('brief'));
    await bed.ok(['volume', 'create', 'ledger', '--worm']);
    await bed.ok(['volume', 'create', 'brief', '--worm', '--retain', '1s']);
    await bed.ok(['mount', 'ledger', point]);
    await bed.ok(['mount', 'brief', bed.path('brief')]);
  });

  afterAll(async () => {
    client[Symbol.dispose]();
    for (const name of ['mnt', 'brief']) await bed.run(['umount', bed.path(name), '--force']);
    await bed[Symbol.asyncDispose]();
  });

  it('takes what is added', async () => {
    await fs.mkdir(at('d/e'), { recursive: true });
    await fs.writeFile(at('d/file'), 'one ');
    await fs.appendFile(at('d/file'), 'two');
    expect(await fs.readFile(at('d/file'), 'utf8')).toBe('one two');
    await fs.link(at('d/file'), at('hard'));
    await fs.symlink('hard', at('soft'));
    await fs.chmod(at('hard'), 0o600);
    await fs.utimes(at('hard'), 1, 1);
    await fs.rename(at('d/e'), at('empty'));
    await fs.rmdir(at('empty'));
    await using tail = await fs.open(at('hard'), 'r+');
    await tail.write(' three', 7);
    await tail.truncate(20);
    await tail.close();
    expect(await fs.readFile(at('d/file'), 'latin1')).toBe(`one two three${'\0'.repeat(7)}`);
    const large = await seededBytes('large', 70_000_001);
    await fs.writeFile(at('large'), large);
    expect(large.equals(await fs.readFile(at('large')))).toBe(true);
  });

  it('refuses what would change, replace or remove something, with EPERM', async () => {
    await fs.mkdir(at('full'));
    await fs.writeFile(at('full/file'), 'content');
    await fs.symlink('file', at('full/link'));
    await fs.writeFile(at('other'), 'other');
    await bed.ok(['put', '-', '--name', 'object', '--volume', 'ledger'], { input: 'object' });
    await using file = await fs.open(at('full/file'), 'r+');
    const refused: Record<string, () => Promise<unknown>> = {
      unlink: () => fs.unlink(at('full/file')),
      'unlink a link': () => fs.unlink(at('full/link')),
      'unlink an object': () => fs.unlink(at('object')),
      'cut when opened': () => fs.writeFile(at('full/file'), 'x'),
      cut: () => fs.truncate(at('full/file'), 3),
      'write in place': () => file.write('C', 0),
      'append to an object': () => fs.appendFile(at('object'), 'x'),
      rename: () => fs.rename(at('full/file'), at('new')),
      'rename over': () => fs.rename(at('other'), at('full/file')),
      'rename a directory that is full': () => fs.rename(at('full'), at('new')),
    };
    for (const [what, work] of Object.entries(refused)) {
      expect(await codeOf(work()), what).toBe('EPERM');
    }
    expect(await codeOf(fs.rmdir(at('full')))).toBe('ENOTEMPTY');
    await file.close();
    expect(await fs.readFile(at('full/file'), 'utf8')).toBe('content');
    expect(await fs.readFile(at('object'), 'utf8')).toBe('object');
    for (const key of ['full/file', 'full/link', 'object']) {
      expect((await bed.run(['rm', key, '--volume', 'ledger'])).exitCode, key).toBe(11);
      const put = ['put', '-', '--force', '--name', key, '--volume', 'ledger'];
      expect((await bed.run(put, { input: 'x' })).exitCode, key).toBe(11);
    }
  });

  it('lets go of everything when its time has passed', async () => {
    const brief = (name: string) => bed.path('brief', name);
    await fs.mkdir(brief('d'));
    await fs.writeFile(brief('d/file'), 'x');
    await fs.writeFile(brief('d/second'), 'x');
    await fs.symlink('file', brief('d/link'));
    await bed.ok(['put', '-', '--name', 'd/object', '--volume', 'brief'], { input: 'x' });
    await until('it may be removed', async () => {
      return (await codeOf(fs.unlink(brief('d/object')))) === undefined;
    });
    await fs.unlink(brief('d/link'));
    await fs.rename(brief('d/second'), brief('d/third'));
    expect(await codeOf(fs.writeFile(brief('d/file'), 'y')), 'content is kept').toBe('EPERM');
    await bed.ok(['rm', 'd/file', 'd/third', '--volume', 'brief']);
    await fs.rmdir(brief('d'));
    expect(await listed('', 'brief')).toEqual([]);
  });

  it('is a file system that is only read, mounted with ro', async () => {
    await fs.writeFile(at('there'), 'x');
    await bed.ok(['umount', point]);
    await bed.ok(['mount', 'ledger', point, '-o', 'ro']);
    const refused = [
      () => fs.writeFile(at('new'), ''),
      () => fs.appendFile(at('there'), 'x'),
      () => fs.unlink(at('there')),
      () => fs.rename(at('there'), at('new')),
      () => fs.mkdir(at('new')),
      () => fs.chmod(at('there'), 0o600),
    ];
    for (const work of refused) expect(await codeOf(work())).toBe('EROFS');
    expect(await fs.readFile(at('there'), 'utf8')).toBe('x');
  });
});

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
