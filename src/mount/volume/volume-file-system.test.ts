/**
 * Aim: a volume answers as a file system should where the tests with the real kernel (test/e2e)
 * do not look: attributes, inheritance, orphans, listings, what is refused. Method: the file system
 * is asked directly, over a volume in memory with real stripes.
 */
import { constants } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { errorCode, utf8 } from '../../base/index.ts';
import type { MountableVolume } from '../../volume/index.ts';
import type { AttributeChanges, Caller, Entry } from '../index.ts';
import { VolumeFileSystem } from './volume-file-system.ts';

const ROOT = 1;
const caller: Caller = { uid: 10, gid: 20, processId: 3, signal: new AbortController().signal };
const FILE = 0o644;
const keptPrivileges: AttributeChanges = { killsPrivileges: false };

let bed: FilesBed;
let volume: MountableVolume;
let fileSystem: VolumeFileSystem;
let released: bigint[];

beforeEach(async () => {
  bed = await FilesBed.open();
  released = [];
  const release = async (inode: bigint) => void released.push(inode);
  volume = await bed.mountable({ release });
  fileSystem = await VolumeFileSystem.open(volume);
});

afterEach(async () => {
  await fileSystem[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

async function create(name: string, { parent = ROOT, flags = 0, mode = FILE } = {}) {
  return await fileSystem.create(caller, parent, { name: utf8(name), mode, flags });
}

async function write(inode: number, file: number, text: string, offset = 0): Promise<void> {
  const about = { isFromCache: false, killsPrivileges: false };
  await fileSystem.write(caller, inode, { ...about, file, offset, data: utf8(text) });
}

async function read(inode: number, file: number): Promise<string> {
  const bytes = await fileSystem.read(caller, inode, { file, offset: 0, lengthBytes: 1000 });
  return Buffer.from(bytes).toString();
}

async function release(inode: number, file: number): Promise<void> {
  await fileSystem.release(caller, inode, { file, flockOwner: undefined });
}

async function found(name: string, parent = ROOT): Promise<Entry> {
  const entry = await fileSystem.lookup(caller, parent, utf8(name));
  if (entry.inode === undefined) throw new Error(`there is no ${name}`);
  return entry;
}

async function names(inode: number): Promise<string[]> {
  const { file } = await fileSystem.openDirectory(caller, inode);
  const all: string[] = [];
  for (let cookie = 0; ;) {
    const page = await fileSystem.list(caller, inode, { file, cookie, withEntries: true });
    all.push(...page.map(({ name }) => Buffer.from(name).toString()));
    const last = page.at(-1);
    if (!last) break;
    ({ cookie } = last);
  }
  fileSystem.releaseDirectory(caller, inode, file);
  return all;
}

const code = async (work: Promise<unknown>) => await work.catch(errorCode);

describe('attributes', () => {
  it('are those of the volume, with what is dirty', async () => {
    const { inode, file, attributes } = await create('a');
    expect(attributes).toMatchObject({ uid: 10, gid: 20, linkCount: 1, sizeBytes: 0 });
    expect(attributes.mode).toBe(constants.S_IFREG | FILE);
    await write(inode, file, 'hello', 100);
    const dirty = (await fileSystem.getAttributes(caller, inode)).attributes;
    expect(dirty.sizeBytes).toBe(105);
    expect((await found('a')).attributes.sizeBytes).toBe(105);
    await fileSystem.flush(caller, inode, { file, owner: 0n });
    await release(inode, file);
    expect((await found('a')).attributes).toMatchObject({ sizeBytes: 105, storedBytes: 105 });
  });

  it('are set, each by itself; times that cannot be said are the nearest', async () => {
    const { inode, file } = await create('a', { mode: 0o6755 });
    const set = async (changes: Partial<AttributeChanges>) =>
      (await fileSystem.setAttributes(caller, inode, { ...keptPrivileges, ...changes })).attributes;
    const modified = { seconds: 2 ** 33, nanoseconds: 7 };
    expect((await set({ modified })).modified).toEqual(modified);
    expect((await set({ accessed: { seconds: -5, nanoseconds: 0 } })).accessed.seconds).toBe(0);
    expect(await set({ uid: 1, gid: 2 })).toMatchObject({ uid: 1, gid: 2 });
    expect((await set({ killsPrivileges: true })).mode & 0o7777).toBe(0o755);
    await write(inode, file, 'x');
    expect((await set({ modified })).modified).toEqual(modified);
    await fileSystem.sync(caller, inode, { file, dataOnly: false });
    expect((await found('a')).attributes.modified, 'a later commit keeps it').toEqual(modified);
    expect(await set({ sizeBytes: 3 })).toMatchObject({ sizeBytes: 3 });
  });

  it('extended ones are kept, but for those of the system', async () => {
    const { inode } = await create('a');
    const [name, value] = [utf8('user.colour'), utf8('green')];
    const set = (mode?: 'create' | 'replace') =>
      fileSystem.setXattr(caller, inode, { name, value, mode });
    const asked = async () => await fileSystem.getXattr(caller, inode, name);
    expect(await code(asked())).toBe('HF_NO_DATA');
    expect(await code(set('replace'))).toBe('HF_NO_DATA');
    await set('create');
    expect(await code(set('create'))).toBe('HF_EXISTS');
    expect(Buffer.from(await fileSystem.getXattr(caller, inode, name)).toString()).toBe('green');
    const listed = await fileSystem.listXattrs(caller, inode);
    expect(listed.map((each) => Buffer.from(each).toString())).toEqual(['user.colour']);
    await fileSystem.removeXattr(caller, inode, name);
    expect(await fileSystem.listXattrs(caller, inode)).toEqual([]);
    const other = utf8('system.nfs4_acl');
    const setOther = fileSystem.setXattr(caller, inode, { name: other, value, mode: undefined });
    expect(await code(setOther)).toBe('HF_UNSUPPORTED');
  });
});

describe('names', () => {
  it('in a set-group-id directory everything is of its group', async () => {
    const made = { name: utf8('d'), mode: 0o755 };
    const { inode } = await fileSystem.makeDirectory(caller, ROOT, made);
    const changes = { ...keptPrivileges, mode: 0o2775, gid: 99 };
    await fileSystem.setAttributes(caller, inode, changes);
    expect((await create('f', { parent: inode })).attributes.gid).toBe(99);
    const inner = await fileSystem.makeDirectory(caller, inode, made);
    expect(inner.attributes).toMatchObject({ gid: 99, mode: constants.S_IFDIR | 0o2755 });
  });

  it('a number is the same while the kernel knows it, and never of another inode', async () => {
    const { inode } = await create('a');
    expect((await found('a')).inode).toBe(inode);
    fileSystem.forget(inode);
    expect(await code(fileSystem.getAttributes(caller, inode))).toBe('HF_NOT_FOUND');
    const again = (await found('a')).inode;
    const other = (await create('b')).inode;
    expect(new Set([ROOT, inode, again, other]).size).toBe(4);
  });

  it('are made once, unless who makes a file takes what is there', async () => {
    const { inode, file } = await create('a');
    await write(inode, file, 'content');
    await fileSystem.flush(caller, inode, { file, owner: 0n });
    expect(await code(create('a', { flags: constants.O_EXCL }))).toBe('HF_EXISTS');
    const taken = await create('a');
    expect(await read(taken.inode, taken.file)).toBe('content');
    const cut = await create('a', { flags: constants.O_TRUNC });
    expect([cut.inode, cut.attributes.sizeBytes]).toEqual([inode, 0]);
    await fileSystem.makeDirectory(caller, ROOT, { name: utf8('d'), mode: 0o755 });
    expect(await code(create('d'))).toBe('HF_IS_DIRECTORY');
    expect(await code(create('x', { parent: inode }))).toBe('HF_NOT_DIRECTORY');
  });

  it('a listing has all of them once, also those that objects and directories share', async () => {
    const all = Array.from({ length: 300 }, (_, index) => `name-${index}`);
    for (const name of all) await fileSystem.makeNode(caller, ROOT, node(name, constants.S_IFIFO));
    await using objects = await bed.objects();
    const content = () =>
      (async function* () {
        yield utf8('x');
      })();
    await objects.put(content(), { key: 'both' });
    await objects.put(content(), { key: 'both/inner' });
    expect((await names(ROOT)).toSorted()).toEqual(['.', '..', 'both', ...all].toSorted());
    expect((await found('both')).attributes.mode & constants.S_IFMT).toBe(constants.S_IFDIR);
  });

  it('devices, pipes and sockets are what they were made', async () => {
    const made = { ...node('null', constants.S_IFCHR | 0o600), deviceNumber: 0x103 };
    expect((await fileSystem.makeNode(caller, ROOT, made)).attributes).toMatchObject({
      mode: constants.S_IFCHR | 0o600,
      deviceNumber: 0x103,
    });
    const target = utf8('some/where');
    const link = await fileSystem.makeSymlink(caller, ROOT, { name: utf8('l'), target });
    expect(link.attributes.sizeBytes).toBe(10);
    expect(await fileSystem.readSymlink(caller, link.inode)).toEqual(new Uint8Array(target));
  });
});

describe('content', () => {
  it('of what is removed stays until the last one closes it', async () => {
    const { inode, file, attributes } = await create('a');
    const second = (await fileSystem.open(caller, inode, opening)).file;
    await write(inode, file, 'content');
    await fileSystem.unlink(caller, ROOT, utf8('a'));
    fileSystem.forget(inode);
    await release(inode, file);
    expect(await read(inode, second)).toBe('content');
    expect(released).toEqual([]);
    await release(inode, second);
    expect(released).toEqual([attributes.inode]);
  });

  it('of what is renamed over goes, when nobody has it open', async () => {
    const { file, inode, attributes } = await create('old');
    await release(inode, file);
    await create('new');
    const renamed = { name: utf8('new'), newParent: ROOT, newName: utf8('old'), flag: undefined };
    await fileSystem.rename(caller, ROOT, renamed);
    await fileSystem.syncAll();
    const left = await bed.cell.tree.getAttributes(attributes.inode);
    expect(left?.linkCount ?? 0).toBe(0);
  });

  it('of a file without a name can get one', async () => {
    const made = await fileSystem.createUnnamed(caller, ROOT, { mode: FILE, flags: 0 });
    await write(made.inode, made.file, 'unnamed');
    const place = { parent: ROOT, name: utf8('named') };
    expect((await fileSystem.link(caller, made.inode, place)).attributes.linkCount).toBe(1);
    await release(made.inode, made.file);
    expect(released).toEqual([]);
    const { file } = await fileSystem.open(caller, made.inode, opening);
    expect(await read(made.inode, file)).toBe('unnamed');
  });

  it('has holes, and space is not set aside', async () => {
    const { inode, file } = await create('a');
    await write(inode, file, 'x'.repeat(20_000));
    const range = { file, offset: 4096, lengthBytes: 8192 };
    const allocate = (flags: number) => fileSystem.allocate(caller, inode, { ...range, flags });
    expect(await code(allocate(0))).toBe('HF_UNSUPPORTED');
    await allocate(3);
    const seek = (offset: number, finds: 'data' | 'hole') =>
      fileSystem.seek(caller, inode, { file, offset, finds });
    expect([await seek(0, 'data'), await seek(30_000, 'hole')]).toEqual([0, undefined]);
    expect((await fileSystem.getAttributes(caller, inode)).attributes.sizeBytes).toBe(20_000);
    const at = { file, offset: 5000, lengthBytes: 3 };
    expect([...(await fileSystem.read(caller, inode, at))]).toEqual([0, 0, 0]);
  });

  it('is copied', async () => {
    const source = await create('a');
    await write(source.inode, source.file, 'content');
    const target = await create('b');
    const copy = {
      file: source.file,
      offset: 2,
      lengthBytes: 100,
      target: target.inode,
      targetFile: target.file,
      targetOffset: 0,
    };
    expect(await fileSystem.copy(caller, source.inode, copy)).toBe(5);
    expect(await read(target.inode, target.file)).toBe('ntent');
  });

  it('that was left open is stored when the mount is gone', async () => {
    const { inode, file, attributes } = await create('a');
    await write(inode, file, 'content');
    await fileSystem[Symbol.asyncDispose]();
    expect((await bed.cell.tree.getAttributes(attributes.inode))!.sizeBytes).toBe(7);
  });
});

it('statistics count content, and what still fits', async () => {
  expect(await fileSystem.statistics()).toMatchObject({ freeBlockCount: 1000, blockBytes: 4096 });
});

const opening = { flags: 0, killsPrivileges: false };

function node(name: string, mode: number) {
  return { name: utf8(name), mode, deviceNumber: 0 };
}
