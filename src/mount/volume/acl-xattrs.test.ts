/**
 * Aim: lists and modes say the same, whichever is changed; lists are inherited in place of the
 * umask; what has no extended attributes is answered without asking the volume. Method: a mount
 * over a volume in memory, asked as the kernel would.
 */
import { constants } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { errorCode, utf8 } from '../../base/index.ts';
import type { MountableVolume } from '../../volume/index.ts';
import type { Caller, Entry } from '../index.ts';
import { ACCESS_ACL, type Acl, DEFAULT_ACL, encodeAcl, parseAcl } from './acl.ts';
import { VolumeFileSystem } from './volume-file-system.ts';

const ROOT = 1;
const caller: Caller = { uid: 10, gid: 20, processId: 3, signal: new AbortController().signal };
const ACCESS = utf8(ACCESS_ACL);
const DEFAULT = utf8(DEFAULT_ACL);
const NOBODY = 0xffff_ffff;

const entry = (tag: number, permissions: number, id: number = NOBODY) => ({ tag, permissions, id });
const LIST: Acl = [entry(1, 7), entry(2, 6, 3000), entry(4, 5), entry(16, 6), entry(32, 1)];
const PLAIN: Acl = [entry(1, 6), entry(4, 4), entry(32, 0)];

let bed: FilesBed;
let fileSystem: VolumeFileSystem;
let readCount: number;

/** A volume that counts how often extended attributes are read. */
function counting(volume: MountableVolume): MountableVolume {
  const { tree } = volume;
  const getXattr = tree.getXattr.bind(tree);
  tree.getXattr = async (...asked) => {
    readCount += 1;
    return await getXattr(...asked);
  };
  return volume;
}

beforeEach(async () => {
  bed = await FilesBed.open();
  readCount = 0;
  fileSystem = await VolumeFileSystem.open(counting(await bed.mountable({})));
});

afterEach(async () => {
  await fileSystem[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

async function set(inode: number, name: Uint8Array, acl: Acl, killsSetGroupId = false) {
  const value = encodeAcl(acl);
  await fileSystem.setXattr(caller, inode, { name, value, mode: undefined, killsSetGroupId });
}

async function get(inode: number, name: Uint8Array): Promise<unknown> {
  const asked = async () => await fileSystem.getXattr(caller, inode, name);
  return await asked().then(parseAcl, errorCode);
}

async function modeOf(inode: number): Promise<number> {
  return (await fileSystem.getAttributes(caller, inode)).attributes.mode & 0o7777;
}

async function chmod(inode: number, mode: number): Promise<void> {
  await fileSystem.setAttributes(caller, inode, { mode, killsPrivileges: false });
}

async function make(
  name: string,
  { parent = ROOT, mode = 0o666, umask = 0o022 } = {},
): Promise<Entry> {
  const made = { name: utf8(name), mode: mode | constants.S_IFREG, umask, deviceNumber: 0 };
  return await fileSystem.makeNode(caller, parent, made);
}

async function makeDirectory(
  name: string,
  { parent = ROOT, mode = 0o777, umask = 0o022 } = {},
): Promise<Entry> {
  return await fileSystem.makeDirectory(caller, parent, { name: utf8(name), mode, umask });
}

it('a list that is set sets the mode', async () => {
  const { inode } = await make('a', { mode: 0o4666 });
  await set(inode, ACCESS, LIST);
  expect(await modeOf(inode)).toBe(0o4761);
  expect(await get(inode, ACCESS)).toEqual(LIST);
  const names = await fileSystem.listXattrs(caller, inode);
  expect(names.map((name) => Buffer.from(name).toString())).toEqual([ACCESS_ACL]);
});

it('a mode that is set changes the list, and none is kept that says no more', async () => {
  const { inode } = await make('a');
  await set(inode, ACCESS, LIST);
  await chmod(inode, 0o700);
  expect(await get(inode, ACCESS)).toEqual(
    LIST.map((each) => ([16, 32].includes(each.tag) ? { ...each, permissions: 0 } : each)),
  );
  await set(inode, ACCESS, PLAIN);
  expect([await modeOf(inode), await get(inode, ACCESS)]).toEqual([0o640, 'HF_NO_DATA']);
  await set(inode, ACCESS, LIST);
  await fileSystem.removeXattr(caller, inode, ACCESS);
  await fileSystem.removeXattr(caller, inode, ACCESS);
  expect([await modeOf(inode), await get(inode, ACCESS)]).toEqual([0o761, 'HF_NO_DATA']);
  await set(inode, ACCESS, LIST);
  await set(inode, ACCESS, []);
  expect(await get(inode, ACCESS)).toBe('HF_NO_DATA');
});

it('the set-group-id bit goes when the kernel says so', async () => {
  const { inode } = await make('a', { mode: 0o2777 });
  await set(inode, ACCESS, LIST);
  expect(await modeOf(inode)).toBe(0o2761);
  await set(inode, ACCESS, LIST, true);
  expect(await modeOf(inode)).toBe(0o761);
});

it('what is no list, or not for this, is refused', async () => {
  const { inode } = await make('a');
  const value = new Uint8Array([2, 0, 0, 0, 1]);
  const setting = fileSystem.setXattr(caller, inode, { name: ACCESS, value, mode: undefined });
  expect(await setting.catch(errorCode)).toBe('HF_BAD_ARGUMENT');
  expect(await set(inode, DEFAULT, LIST).catch(errorCode)).toBe('HF_DENIED');
});

it('without a default list the umask counts', async () => {
  expect((await make('a')).attributes.mode & 0o7777).toBe(0o644);
  expect((await makeDirectory('d', { umask: 0o077 })).attributes.mode & 0o7777).toBe(0o700);
});

it('a default list is inherited, and then the umask does not count', async () => {
  const { inode: parent } = await makeDirectory('d');
  await set(parent, DEFAULT, LIST);
  const file = await make('f', { parent, mode: 0o660, umask: 0o077 });
  expect(file.attributes.mode & 0o7777).toBe(0o660);
  expect(await get(file.inode, ACCESS)).toEqual(
    LIST.map((each) => ({ ...each, permissions: { 1: 6, 32: 0 }[each.tag] ?? each.permissions })),
  );
  const inner = await makeDirectory('inner', { parent, mode: 0o2777 });
  expect(inner.attributes.mode & 0o7777).toBe(0o2761);
  expect([await get(inner.inode, ACCESS), await get(inner.inode, DEFAULT)]).toEqual([LIST, LIST]);
  const { inode: link } = await fileSystem.makeSymlink(caller, parent, {
    name: utf8('l'),
    target: utf8('f'),
  });
  expect(await get(link, ACCESS)).toBe('HF_NO_DATA');
  const { inode, file: opened } = await fileSystem.createUnnamed(caller, parent, {
    mode: 0o600,
    umask: 0o777,
    flags: 0,
  });
  expect(await modeOf(inode)).toBe(0o600);
  await fileSystem.release(caller, inode, { file: opened, flockOwner: undefined });
});

it('a default list that says no more than a mode leaves a mode alone', async () => {
  const { inode: parent } = await makeDirectory('d');
  await set(parent, DEFAULT, PLAIN);
  const { inode } = await make('f', { parent, umask: 0o077 });
  expect([await modeOf(inode), await get(inode, ACCESS)]).toEqual([0o640, 'HF_NO_DATA']);
});

it('what has no extended attributes is answered from memory', async () => {
  const { inode } = await make('a');
  await modeOf(ROOT);
  expect([await get(inode, ACCESS), await get(ROOT, DEFAULT)]).toEqual([
    'HF_NO_DATA',
    'HF_NO_DATA',
  ]);
  await make('b');
  expect(await get(inode, utf8('security.capability'))).toBe('HF_NO_DATA');
  expect(readCount).toBe(0);
  const name = utf8('user.colour');
  await fileSystem.setXattr(caller, inode, { name, value: utf8('green'), mode: undefined });
  await get(inode, ACCESS);
  expect(readCount).toBe(1);
  await fileSystem.removeXattr(caller, inode, name);
  await modeOf(inode);
  await get(inode, ACCESS);
  expect(readCount).toBe(1);
});
