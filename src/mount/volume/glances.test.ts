/**
 * Aim: who lists a directory that others work in is answered about all in it at once, and yet who
 * opens or changes anything sees what others did before. Method: two file systems over one cell in
 * virtual time, in directories that nobody may hold; calls of the cell are counted.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { errorCode, LIMITS, utf8 } from '../../base/index.ts';
import type { Tree } from '../../meta/index.ts';
import { ERRNO, errnoOf } from '../errno.ts';
import type { Entry } from '../inode.ts';
import { type Caller, VolumeFileSystem } from '../index.ts';

const ROOT = 1;
const READ = { flags: 0, killsPrivileges: false };
const caller: Caller = { uid: 0, gid: 0, processId: 3, signal: new AbortController().signal };

let bed: FilesBed;
/** Questions of b, by the name of the door. */
let asked: string[];
let a: VolumeFileSystem;
let b: VolumeFileSystem;

beforeEach(async () => {
  bed = await FilesBed.open();
  asked = [];
  const leaseless = { ...bed.cell.handles, leaseDirectory: async () => undefined };
  const counted = Object.fromEntries(
    Object.entries(bed.cell.tree).map(([name, door]) => [
      name,
      async (...args: never[]) => {
        asked.push(name);
        return await (door as (...all: never[]) => Promise<unknown>)(...args);
      },
    ]),
  ) as unknown as Tree;
  a = await VolumeFileSystem.open(await bed.mountable({ handles: leaseless }));
  b = await VolumeFileSystem.open(await bed.mountable({ handles: leaseless, tree: counted }));
});

afterEach(async () => {
  for (const each of [a, b]) await each[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

async function make(fs: VolumeFileSystem, name: string, parent = ROOT): Promise<Entry> {
  const made = await fs.create(caller, parent, { name: utf8(name), mode: 0o644, flags: 2 });
  await fs.flush(caller, made.inode, { file: made.file, owner: 0n });
  await fs.release(caller, made.inode, { file: made.file, flockOwner: undefined });
  return made;
}

async function find(fs: VolumeFileSystem, name: string, parent = ROOT): Promise<Entry> {
  const entry = await fs.lookup(caller, parent, utf8(name));
  if (entry.inode === undefined) throw new Error(`there is no ${name}`);
  return entry;
}

async function list(fs: VolumeFileSystem, directory = ROOT): Promise<number> {
  const { file } = await fs.openDirectory(caller, directory);
  let cookie = 0;
  for (;;) {
    const page = await fs.list(caller, directory, { file, cookie, withEntries: false });
    if (page.length === 0) break;
    cookie = page.at(-1)!.cookie;
  }
  fs.releaseDirectory(caller, directory, file);
  return cookie - 2;
}

async function open(fs: VolumeFileSystem, inode: number): Promise<void> {
  const { file } = await fs.open(caller, inode, READ);
  await fs.release(caller, inode, { file, flockOwner: undefined });
}

async function stale(work: Promise<unknown>): Promise<boolean> {
  return await work.then(
    () => false,
    (error: unknown) => errnoOf(error) === ERRNO.ESTALE,
  );
}

it('tells of all that was listed without asking again', async () => {
  for (let index = 0; index < 50; index++) await make(a, `f${index}`);
  expect(await list(b)).toBe(50);
  asked = [];
  for (let index = 0; index < 50; index++) {
    const { inode } = await find(b, `f${index}`);
    await b.getAttributes(caller, inode);
  }
  expect(asked).toEqual([]);
  await bed.bed.env.clock.sleep(LIMITS.glancePauseMs + 1);
  await find(b, 'f7');
  expect(asked.length).toBeGreaterThan(0);
});

it('asks for a page again while it is looked at, not for each name', async () => {
  for (let index = 0; index < 200; index++) await make(a, `f${index}`);
  await list(b);
  asked = [];
  for (let index = 0; index < 200; index++) {
    await find(b, `f${index}`);
    if (index % 5 === 4) await bed.bed.env.clock.sleep(LIMITS.glancePauseMs - 10);
  }
  expect(asked).toEqual(['listAttributes', 'listAttributes', 'listAttributes']);
  await bed.bed.env.clock.sleep(LIMITS.glancePauseMs + 1);
  await find(b, 'f1');
  expect(asked.at(-1)).toBe('lookup');
});

it('does not open what the name does not mean any more', async () => {
  await make(a, 'new');
  await make(a, 'f');
  await list(b);
  await a.rename(caller, ROOT, {
    name: utf8('new'),
    newParent: ROOT,
    newName: utf8('f'),
    flag: undefined,
  });
  const old = await find(b, 'f');
  expect(await stale(b.open(caller, old.inode, READ))).toBe(true);
  const { inode } = await find(b, 'f'); // as the kernel does then
  expect(inode).not.toBe(old.inode);
  await open(b, inode);
});

it('heeds a mode that has become stricter before it opens', async () => {
  const made = await make(a, 'f');
  await list(b);
  await a.setAttributes(caller, made.inode, { mode: 0o600, killsPrivileges: false });
  const seen = await find(b, 'f');
  expect(await stale(b.open(caller, seen.inode, READ))).toBe(true);
  const again = await find(b, 'f');
  expect(again.attributes.mode & 0o777).toBe(0o600);
  await open(b, again.inode);
});

it('notices that a directory on the way is another one', async () => {
  const first = await a.makeDirectory(caller, ROOT, { name: utf8('d'), mode: 0o755 });
  const second = await a.makeDirectory(caller, ROOT, { name: utf8('e'), mode: 0o755 });
  await make(a, 'f', first.inode);
  await make(a, 'f', second.inode);
  await list(b);
  await list(b, (await find(b, 'd')).inode);
  for (const [name, newName] of [
    ['d', 'gone'],
    ['e', 'd'],
  ] as const) {
    const wanted = { name: utf8(name), newParent: ROOT, newName: utf8(newName), flag: undefined };
    await a.rename(caller, ROOT, wanted);
  }
  const directory = await find(b, 'd');
  const file = await find(b, 'f', directory.inode);
  expect(await stale(b.open(caller, file.inode, READ))).toBe(true);
  const present = await find(b, 'd');
  expect(present.inode).not.toBe(directory.inode);
  await open(b, (await find(b, 'f', present.inode)).inode);
});

it('never says from a listing that a name is free', async () => {
  await make(a, 'f');
  await list(b);
  await make(a, 'new');
  await open(b, (await find(b, 'new')).inode);
});

it('shows at once what was done on this node', async () => {
  const { inode } = await make(b, 'f');
  await make(b, 'g');
  await list(b);
  await b.setAttributes(caller, inode, { mode: 0o600, killsPrivileges: false });
  expect((await find(b, 'f')).attributes.mode & 0o777).toBe(0o600);
  await list(b);
  await b.unlink(caller, ROOT, utf8('g'));
  expect((await b.lookup(caller, ROOT, utf8('g'))).inode).toBeUndefined();
  await list(b);
  const newParent = ROOT;
  const wanted = { name: utf8('f'), newParent, newName: utf8('h'), flag: undefined };
  await b.rename(caller, ROOT, wanted);
  expect((await b.lookup(caller, ROOT, utf8('f'))).inode).toBeUndefined();
  await list(b);
  await b.link(caller, (await find(b, 'h')).inode, { parent: ROOT, name: utf8('i') });
  expect((await find(b, 'h')).attributes.linkCount).toBe(2);
});

it('is exact about what is open', async () => {
  const made = await make(a, 'f');
  const { inode } = await find(b, 'f');
  const { file } = await b.open(caller, inode, READ);
  await list(b);
  await a.setAttributes(caller, made.inode, { mode: 0o640, killsPrivileges: false });
  expect((await b.getAttributes(caller, inode)).attributes.mode & 0o777).toBe(0o640);
  await b.release(caller, inode, { file, flockOwner: undefined });
});

it('changes what is there, not what was listed', async () => {
  await make(a, 'f');
  await list(b);
  await a.unlink(caller, ROOT, utf8('f'));
  const { inode } = await find(b, 'f');
  const work = b.setAttributes(caller, inode, { mode: 0o600, killsPrivileges: false });
  expect(await stale(work)).toBe(true);
  const code = await b.unlink(caller, ROOT, utf8('f')).then(() => 'ok', errorCode);
  expect(code).toBe('HF_NOT_FOUND');
});
