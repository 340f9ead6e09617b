/**
 * Aim: every opcode asks the file system for the right thing, and says what it answered. Method: a
 * session over a fake kernel and a file system in memory; fields of replies are compared.
 */
import { constants } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Answered, type Asked, FakeKernel } from '../../../test/mount/fake-kernel.ts';
import { MemoryFileSystem } from '../../../test/mount/memory-file-system.ts';
import { ERRNO } from '../errno.ts';
import { LOCK_IS_FLOCK, LOCK_TYPES, OPENED, SETATTR_VALID } from '../protocol/flags.ts';
import type { OpcodeName } from '../protocol/opcodes.ts';
import * as structs from '../protocol/structs.ts';

const { ENOENT } = ERRNO;
const {
  ATTRIBUTES,
  ATTR_OUT,
  CREATE_IN,
  DIRENT,
  ENTRY_OUT,
  GETXATTR_IN,
  GETXATTR_OUT,
  LOCK_IN,
  LOCK_OUT,
  OPEN_IN,
  OPEN_OUT,
  READ_IN,
  SETATTR_IN,
  SETXATTR_IN,
  STATFS_OUT,
  WRITE_IN,
  WRITE_OUT,
} = structs;

let kernel: FakeKernel;

beforeEach(async () => {
  kernel = await FakeKernel.serving(new MemoryFileSystem());
  return async () => await kernel.end();
});

async function asked(opcode: OpcodeName, request: Asked = {}): Promise<Answered> {
  const reply = await kernel.ask(opcode, request);
  expect(reply.errno, opcode).toBe(0);
  return reply;
}

/** What an entry in a reply says. */
function entryIn(reply: Answered) {
  return {
    inode: reply.u64(ENTRY_OUT.inode),
    mode: reply.u32(ATTRIBUTES.mode, ENTRY_OUT.bytes),
    uid: reply.u32(ATTRIBUTES.uid, ENTRY_OUT.bytes),
    linkCount: reply.u32(ATTRIBUTES.linkCount, ENTRY_OUT.bytes),
  };
}

async function attributesOf(inode: number) {
  const reply = await asked('getattr', { inode, struct: structs.GETATTR_IN });
  return {
    mode: reply.u32(ATTRIBUTES.mode, ATTR_OUT.bytes),
    sizeBytes: reply.u64(ATTRIBUTES.sizeBytes, ATTR_OUT.bytes),
    modifiedSeconds: reply.u64(ATTRIBUTES.modifiedSeconds, ATTR_OUT.bytes),
    accessedSeconds: reply.u64(ATTRIBUTES.accessedSeconds, ATTR_OUT.bytes),
  };
}

async function created(name: string, mode = 0o100644) {
  const reply = await asked('create', {
    struct: CREATE_IN,
    fields: { mode, flags: constants.O_RDWR | constants.O_CREAT },
    names: [name],
    caller: { uid: 1000, gid: 100 },
  });
  const openAt = ENTRY_OUT.bytes + ATTRIBUTES.bytes;
  return { ...entryIn(reply), file: reply.u64(OPEN_OUT.file, openAt) };
}

async function written(inode: number, offset: number, text: string): Promise<Answered> {
  return await asked('write', {
    inode,
    struct: WRITE_IN,
    fields: { file: 1, offset, lengthBytes: text.length },
    data: Buffer.from(text),
  });
}

async function contentOf(inode: number, offset = 0, lengthBytes = 4096): Promise<string> {
  const fields = { file: 1, offset, lengthBytes };
  return (await asked('read', { inode, struct: READ_IN, fields })).body.toString();
}

async function lookedUp(name: string, parent = 1): Promise<Answered> {
  return await asked('lookup', { inode: parent, names: [name] });
}

describe('names', () => {
  it('CREATE, LOOKUP and what is not there', async () => {
    const file = await created('a');
    expect(file).toMatchObject({ mode: 0o100644, uid: 1000, linkCount: 1 });
    expect(entryIn(await lookedUp('a')).inode).toBe(file.inode);
    const nothing = await lookedUp('b');
    expect(nothing.u64(ENTRY_OUT.inode)).toBe(0);
    expect(nothing.u64(ENTRY_OUT.entrySeconds)).toBe(3600);
    expect(nothing.bytes.length).toBe(16 + 128);
  });

  it('names are bytes', async () => {
    const name = Buffer.from([0xff, 0xfe, 0x20]);
    await asked('mkdir', { struct: structs.MKDIR_IN, fields: { mode: 0o700 }, names: [name] });
    expect((await kernel.ask('lookup', { names: [name] })).u64(ENTRY_OUT.inode)).toBeGreaterThan(1);
  });

  it('MKDIR, RMDIR', async () => {
    const mkdir = { struct: structs.MKDIR_IN, fields: { mode: 0o700 }, names: ['d'] };
    expect(entryIn(await asked('mkdir', mkdir))).toMatchObject({ mode: 0o040700, linkCount: 2 });
    expect((await kernel.ask('unlink', { names: ['d'] })).errno).not.toBe(0);
    await asked('rmdir', { names: ['d'] });
    expect((await kernel.ask('rmdir', { names: ['d'] })).errno).toBe(ENOENT);
  });

  it('MKNOD', async () => {
    const fields = { mode: constants.S_IFCHR | 0o600, deviceNumber: 0x501 };
    const reply = await asked('mknod', { struct: structs.MKNOD_IN, fields, names: ['tty'] });
    expect(reply.u32(ATTRIBUTES.deviceNumber, ENTRY_OUT.bytes)).toBe(0x501);
  });

  it('SYMLINK, READLINK', async () => {
    const { inode } = entryIn(await asked('symlink', { names: ['s', '../to/ä'] }));
    expect((await asked('readlink', { inode })).body.toString()).toBe('../to/ä');
  });

  it('LINK, UNLINK', async () => {
    const { inode } = await created('a');
    const link = { struct: structs.LINK_IN, fields: { inode }, names: ['b'] };
    expect(entryIn(await asked('link', link)).linkCount).toBe(2);
    await asked('unlink', { names: ['a'] });
    expect(entryIn(await lookedUp('b'))).toMatchObject({ inode, linkCount: 1 });
  });

  it('RENAME, RENAME2', async () => {
    const a = await created('a');
    const b = await created('b');
    const to = (flags: number, names: string[]): Asked => ({
      struct: structs.RENAME2_IN,
      fields: { newParent: 1, flags },
      names,
    });
    expect((await kernel.ask('rename2', to(1, ['a', 'b']))).errno).not.toBe(0);
    await asked('rename2', to(2, ['a', 'b']));
    expect(entryIn(await lookedUp('a')).inode).toBe(b.inode);
    expect((await kernel.ask('rename2', to(4, ['a', 'b']))).errno).toBe(ERRNO.EINVAL);
    const rename = { struct: structs.RENAME_IN, fields: { newParent: 1 }, names: ['b', 'c'] };
    await asked('rename', rename);
    expect(entryIn(await lookedUp('c')).inode).toBe(a.inode);
  });
});

describe('files', () => {
  it('OPEN, WRITE, READ, FLUSH, FSYNC, RELEASE', async () => {
    const { inode } = await created('a');
    const open = await asked('open', { inode, struct: OPEN_IN, fields: { flags: 2 } });
    const file = open.u64(OPEN_OUT.file);
    expect(open.u32(OPEN_OUT.openFlags) & OPENED.keepCache).toBe(OPENED.keepCache);
    const reply = await written(inode, 3, 'hello');
    expect(reply.u32(WRITE_OUT.lengthBytes)).toBe(5);
    expect(await contentOf(inode)).toBe('\0\0\0hello');
    expect(await contentOf(inode, 5, 2)).toBe('ll');
    expect(await contentOf(inode, 100)).toBe('');
    await asked('flush', { inode, struct: structs.FLUSH_IN, fields: { file } });
    await asked('fsync', { inode, struct: structs.FSYNC_IN, fields: { file } });
    await asked('syncfs', { struct: structs.SYNCFS_IN });
    await asked('release', { inode, struct: structs.RELEASE_IN, fields: { file } });
  });

  it('a megabyte at once, across chunks', async () => {
    const { inode } = await created('big');
    const text = 'x'.repeat(2 ** 20 - 1) + 'y';
    await written(inode, 2 ** 19, text);
    expect(await contentOf(inode, 2 ** 19, 2 ** 20)).toBe(text);
    expect((await attributesOf(inode)).sizeBytes).toBe(2 ** 19 + 2 ** 20);
  });

  it('O_TRUNC with OPEN, O_EXCL with CREATE', async () => {
    const { inode } = await created('a');
    await written(inode, 0, 'hello');
    await asked('open', { inode, struct: OPEN_IN, fields: { flags: constants.O_TRUNC } });
    expect((await attributesOf(inode)).sizeBytes).toBe(0);
    const again = { struct: CREATE_IN, fields: { flags: constants.O_EXCL }, names: ['a'] };
    expect((await kernel.ask('create', again)).errno).not.toBe(0);
  });

  it('TMPFILE, given a name by LINK', async () => {
    const reply = await asked('tmpfile', { struct: CREATE_IN, fields: { mode: 0o100600 } });
    const { inode, linkCount } = entryIn(reply);
    expect(linkCount).toBe(0);
    await asked('link', { struct: structs.LINK_IN, fields: { inode }, names: ['named'] });
    expect(entryIn(await lookedUp('named'))).toMatchObject({ inode, linkCount: 1 });
  });

  it('FALLOCATE, LSEEK, COPY_FILE_RANGE', async () => {
    const { inode } = await created('a');
    const fallocate = (mode: number): Asked => ({
      inode,
      struct: structs.FALLOCATE_IN,
      fields: { offset: 0, lengthBytes: 3 * 2 ** 20, mode },
    });
    await asked('fallocate', fallocate(0));
    expect((await attributesOf(inode)).sizeBytes).toBe(3 * 2 ** 20);
    expect((await kernel.ask('fallocate', fallocate(0x40))).errno).not.toBe(0);
    await written(inode, 2 ** 20, 'data');
    const seek = (whence: number, offset: number): Asked => ({
      inode,
      struct: structs.LSEEK_IN,
      fields: { offset, whence },
    });
    expect((await asked('lseek', seek(3, 0))).u64(0)).toBe(2 ** 20);
    expect((await asked('lseek', seek(4, 2 ** 20))).u64(0)).toBe(2 ** 21);
    expect((await kernel.ask('lseek', seek(3, 2 ** 22))).errno).toBe(ERRNO.ENXIO);
    expect((await kernel.ask('lseek', seek(0, 0))).errno).toBe(ERRNO.EINVAL);
    const target = await created('b');
    const copy: Asked = {
      inode,
      struct: structs.COPY_FILE_RANGE_IN,
      fields: { offset: 2 ** 20, targetInode: target.inode, targetOffset: 1, lengthBytes: 4 },
    };
    expect((await asked('copyFileRange', copy)).u32(0)).toBe(4);
    expect((await asked('copyFileRange64', copy)).u64(0)).toBe(4);
    expect(await contentOf(target.inode)).toBe('\0data');
  });
});

describe('attributes', () => {
  it('SETATTR changes what is valid and leaves the rest', async () => {
    const { inode } = await created('a', 0o104755);
    const set = (valid: number, fields: Readonly<Record<string, number>>): Asked => ({
      inode,
      struct: SETATTR_IN,
      fields: { mode: 0o600, sizeBytes: 77, modifiedSeconds: -9, valid, ...fields },
    });
    await asked('setattr', set(SETATTR_VALID.size, {}));
    expect(await attributesOf(inode)).toMatchObject({ mode: 0o104755, sizeBytes: 77 });
    await asked('setattr', set(SETATTR_VALID.modified, {}));
    expect(await attributesOf(inode)).toMatchObject({ modifiedSeconds: -9, mode: 0o104755 });
    await asked('setattr', set(SETATTR_VALID.modifiedNow | SETATTR_VALID.modified, {}));
    expect((await attributesOf(inode)).modifiedSeconds).toBeGreaterThan(0);
    await asked('setattr', set(SETATTR_VALID.uid | SETATTR_VALID.killPrivileges, { uid: 7 }));
    expect((await attributesOf(inode)).mode).toBe(0o100755);
    await asked('setattr', set(SETATTR_VALID.mode, {}));
    expect((await attributesOf(inode)).mode).toBe(0o100600);
  });

  it('extended ones', async () => {
    const set = (flags: number, value: string): Asked => ({
      struct: SETXATTR_IN,
      fields: { lengthBytes: value.length, flags },
      names: ['user.a'],
      data: Buffer.from(value),
    });
    const get = (lengthBytes: number): Asked => ({
      struct: GETXATTR_IN,
      fields: { lengthBytes },
      names: ['user.a'],
    });
    expect((await kernel.ask('setxattr', set(2, 'one'))).errno).not.toBe(0);
    await asked('setxattr', set(1, 'one'));
    expect((await kernel.ask('setxattr', set(1, 'two'))).errno).not.toBe(0);
    expect((await asked('getxattr', get(0))).u32(GETXATTR_OUT.lengthBytes)).toBe(3);
    expect((await asked('getxattr', get(3))).body.toString()).toBe('one');
    expect((await kernel.ask('getxattr', get(2))).errno).toBe(ERRNO.ERANGE);
    const list = await asked('listxattr', { struct: GETXATTR_IN, fields: { lengthBytes: 99 } });
    expect(list.body.toString()).toBe('user.a\0');
    await asked('removexattr', { names: ['user.a'] });
    expect((await kernel.ask('getxattr', get(0))).errno).not.toBe(0);
  });

  it('STATFS', async () => {
    const reply = await asked('statfs');
    expect(reply.u64(STATFS_OUT.blockCount)).toBe(2 ** 22);
    expect(reply.u32(STATFS_OUT.nameBytesMax)).toBe(255);
    expect(reply.bytes.length).toBe(96);
  });
});

describe('directories', () => {
  async function listed(opcode: 'readdir' | 'readdirplus', lengthBytes: number) {
    const file = (await asked('opendir', { struct: OPEN_IN })).u64(OPEN_OUT.file);
    const entryBytes = opcode === 'readdirplus' ? ENTRY_OUT.bytes + ATTRIBUTES.bytes : 0;
    const names: string[] = [];
    let pageCount = 0;
    for (let cookie = 0; ; pageCount++) {
      const fields = { file, offset: cookie, lengthBytes };
      const page = await asked(opcode, { struct: READ_IN, fields });
      if (page.body.length === 0) break;
      for (let at = 0; at < page.body.length;) {
        const nameAt = at + entryBytes + DIRENT.bytes;
        const nameBytes = page.u32(DIRENT.nameBytes, at + entryBytes);
        names.push(page.body.subarray(nameAt, nameAt + nameBytes).toString());
        cookie = page.u64(DIRENT.cookie, at + entryBytes);
        at += entryBytes + Math.ceil((DIRENT.bytes + nameBytes) / 8) * 8;
      }
    }
    await asked('fsyncdir', { struct: structs.FSYNC_IN, fields: { file } });
    await asked('releasedir', { struct: structs.RELEASE_IN, fields: { file } });
    return { names, pageCount };
  }

  it.each(['readdir', 'readdirplus'] as const)('%s, in as many pages as it takes', async (op) => {
    const all = Array.from({ length: 50 }, (_, index) => `file ${index}`);
    for (const name of all) await created(name);
    const { names, pageCount } = await listed(op, 1000);
    expect(names).toEqual(['.', '..', ...all]);
    expect(pageCount).toBeGreaterThan(1);
    expect(await listed(op, 65_536)).toMatchObject({ names, pageCount: 1 });
  });
});

describe('locks', () => {
  const range = { start: 10, last: 19 };
  const lock = (owner: number, type: keyof typeof LOCK_TYPES, more = {}): Asked => ({
    inode: 1,
    struct: LOCK_IN,
    fields: { ...range, owner, type: LOCK_TYPES[type], processId: owner, ...more },
  });

  it('SETLK, GETLK', async () => {
    await asked('setlk', lock(1, 'exclusive'));
    expect((await kernel.ask('setlk', lock(2, 'shared'))).errno).toBe(ERRNO.EAGAIN);
    const held = await asked('getlk', lock(2, 'shared'));
    expect(held.u32(LOCK_OUT.type)).toBe(LOCK_TYPES.exclusive);
    expect([held.u64(LOCK_OUT.start), held.u64(LOCK_OUT.last)]).toEqual([10, 19]);
    expect(held.u32(LOCK_OUT.processId)).toBe(1);
    await asked('setlk', lock(2, 'exclusive', { start: 20, last: 2n ** 63n - 1n }));
    await asked('setlk', lock(1, 'unlocked'));
    expect((await asked('getlk', lock(2, 'shared'))).u32(LOCK_OUT.type)).toBe(LOCK_TYPES.unlocked);
  });

  it('flock is of another kind', async () => {
    await asked('setlk', lock(1, 'exclusive'));
    await asked('setlk', lock(2, 'exclusive', { flags: LOCK_IS_FLOCK }));
    expect((await kernel.ask('setlk', lock(3, 'shared', { flags: LOCK_IS_FLOCK }))).errno).toBe(
      ERRNO.EAGAIN,
    );
  });

  it('SETLKW is answered when FLUSH gives up what is in the way', async () => {
    await asked('setlk', lock(1, 'exclusive'));
    const waiting = asked('setlkw', lock(2, 'exclusive'));
    await asked('flush', { struct: structs.FLUSH_IN, fields: { lockOwner: 1 } });
    await waiting;
    expect((await kernel.ask('setlk', lock(1, 'shared'))).errno).toBe(ERRNO.EAGAIN);
  });

  it('RELEASE gives up flock locks', async () => {
    await asked('setlk', lock(1, 'exclusive', { flags: LOCK_IS_FLOCK }));
    const fields = { lockOwner: 1, releaseFlags: 2 };
    await asked('release', { struct: structs.RELEASE_IN, fields });
    await asked('setlk', lock(2, 'exclusive', { flags: LOCK_IS_FLOCK }));
  });

  it('a file system without them says so for good', async () => {
    const fileSystem = Object.assign(new MemoryFileSystem(), { locks: undefined });
    const other = await FakeKernel.serving(fileSystem as unknown as MemoryFileSystem);
    expect((await other.ask('setlk', lock(1, 'shared'))).errno).toBe(ERRNO.ENOSYS);
    await other.end();
  });
});
