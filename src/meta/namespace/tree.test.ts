// Aim: what the model of the tree leaves out: limits, protected volumes, quotas that are used up,
// rows of before there was a tree, where inodes lie. Method: cases over rows in memory.
import { describe, expect, it } from 'vitest';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import { ByteWriter, errorCode, fromHex, KiB, type ObjectId, utf8 } from '../../base/index.ts';
import { EMPTY_VALUE, encodeNumber, rowKey } from '../cells/rows.ts';
import type { Circumstances } from './inode-ops.ts';
import { namespaceOf } from './namespace-cell.ts';
import { makeRoot } from './namespace-ops.ts';
import * as keys from './namespace-rows.ts';
import { type Inode, type ObjectCommit, ROOT_INODE } from './namespace.ts';
import { treeOf } from './tree-cell.ts';
import { checkTreeRows, MemoryRows } from './tree-invariants.test.ts';
import type { InodeStatus, Place } from './tree.ts';

const DAY_MS = 86_400_000;
const SALT = utf8('salt');
const OWNER = { mode: 0o600, uid: 1, gid: 1 };
const ID = 'ab'.repeat(16) as ObjectId;

class Bed {
  readonly #executor = new MemoryRows();
  readonly rows = this.#executor.rows;
  nowMs = 1000;
  readonly open = new Set<Inode>();
  readonly #now = (): Circumstances => ({
    nowMs: this.nowMs,
    randomSlot: 77,
    isOpen: (inode) => this.open.has(inode),
  });
  readonly tree = treeOf(this.#executor, this.#now);
  readonly namespace = namespaceOf(this.#executor, this.#now);

  static async open(): Promise<Bed> {
    const bed = new Bed();
    makeRoot(bed.rows, { salt: SALT, nowMs: bed.nowMs });
    return bed;
  }

  async file(name: string, directory = ROOT_INODE): Promise<Inode> {
    const place = placeOf(name, directory);
    return (await this.tree.makeNode({ ...OWNER, place, type: 'file' })).status.inode;
  }

  async directory(name: string, parent = ROOT_INODE): Promise<Inode> {
    const place = placeOf(name, parent);
    return (await this.tree.makeDirectory({ ...OWNER, place, salt: SALT })).status.inode;
  }

  async write(inode: Inode, offset: number, lengthBytes: number): Promise<InodeStatus> {
    const write = await this.namespace.allocateInodes(1, { inode });
    const extents = [extentOf(offset, lengthBytes, Number(write & 0xffffn))];
    const commit = { inode, write, extents, schemeNumbers: [3], sizeBytes: 0, baseChange: 0n };
    return (await this.tree.commitExtents(commit)).status;
  }

  async put(parts: Partial<ObjectCommit> = {}): Promise<Inode> {
    const inode = await this.namespace.allocateInodes(1);
    await this.namespace.commitObject({
      inode,
      createdAtMs: this.nowMs,
      objectId: ID,
      sizeBytes: 10,
      schemeNumbers: [3],
      attributes: utf8('x'),
      addressKey: new Uint8Array(32).fill(1),
      mayReplace: true,
      extents: [extentOf(0, 10, 1)],
      entry: { directory: ROOT_INODE, name: utf8('object') },
      ...parts,
    });
    return inode;
  }
}

function placeOf(name: string, directory = ROOT_INODE): Place {
  return { directory, name: utf8(name), directoryName: utf8(`${name}/`) };
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => undefined, errorCode);
}

describe('objects in the tree', () => {
  it('are plain files, which keep their id under other names until the last is gone', async () => {
    const bed = await Bed.open();
    const { tree, namespace } = bed;
    const inode = await bed.put();
    expect(await tree.lookup(placeOf('object'))).toMatchObject({
      status: { inode, mode: 0o644, uid: 0, linkCount: 1, storedBytes: 10, objectId: ID },
    });
    await tree.link(inode, placeOf('second'));
    await tree.rename({ from: placeOf('object'), to: placeOf('third') });
    expect((await namespace.object(ID))?.inode).toBe(inode);
    const names = (await namespace.list({ directory: ROOT_INODE })).map(({ name }) => name);
    expect(names).toEqual([utf8('second'), utf8('third')]);
    expect((await tree.unlink(placeOf('second'))).release).toBeUndefined();
    expect(await tree.unlink(placeOf('third'))).toMatchObject({
      status: { linkCount: 0, objectId: undefined },
      release: { inode },
    });
    expect(await namespace.object(ID)).toBeUndefined();
    expect(await namespace.releases()).toEqual([{ inode }]);
  });

  it('lose their content address when they are written to, and nothing else', async () => {
    const bed = await Bed.open();
    const inode = await bed.put();
    await bed.write(inode, 5, 20);
    expect(await bed.namespace.objectsByAddress(new Uint8Array(32).fill(1))).toEqual([]);
    expect(await bed.namespace.object(ID)).toMatchObject({ inode, sizeBytes: 25 });
    const [kept, written] = await bed.namespace.extents(inode);
    expect(kept).toEqual({
      ...extentOf(0, 10, 1),
      lengthBytes: 5,
      whole: { offset: 0, lengthBytes: 10 },
    });
    expect(written).toMatchObject({ offset: 5, lengthBytes: 20 });
    checkTreeRows(bed.rows);
  });

  it('replace what is no directory and has their name, which keeps its other names', async () => {
    const bed = await Bed.open();
    const inode = await bed.file('object');
    await bed.tree.link(inode, placeOf('other'));
    const objectInode = await bed.put();
    expect((await bed.tree.lookup(placeOf('object')))?.status.inode).toBe(objectInode);
    expect((await bed.tree.lookup(placeOf('other')))?.status).toMatchObject({
      inode,
      linkCount: 1,
    });
    checkTreeRows(bed.rows);
  });

  it('do not take a directory with them that the tree uses', async () => {
    const bed = await Bed.open();
    const made = await bed.namespace.makeDirectory({
      parent: ROOT_INODE,
      name: utf8('d/'),
      salt: SALT,
      attributes: SALT,
      isImplicit: true,
    });
    const directory = made.record.inode;
    await bed.put({ entry: { directory, name: utf8('object') } });
    await bed.tree.unlink(placeOf('object', directory));
    expect(await bed.tree.listAttributes({ directory })).toEqual([]);
    await bed.put({ entry: { directory, name: utf8('object') } });
    await bed.namespace.removeObject(ID);
    expect((await bed.tree.lookup(placeOf('d')))?.status.inode).toBe(directory);
  });

  it('are re-encoded with their names, attributes, and what they are charged to', async () => {
    const bed = await Bed.open();
    const { tree, namespace } = bed;
    const top = await bed.directory('top');
    const old = await bed.put({ entry: { directory: top, name: utf8('object') } });
    await tree.setQuota(top, { bytesMax: 10, inodesMax: 1 });
    await tree.charge(old);
    await tree.link(old, placeOf('second', top));
    await tree.setAttributes(old, { mode: 0o4750, uid: 9, accessedNs: 3n });
    await tree.setXattr({ inode: old, name: utf8('user.a'), value: utf8('value') });
    const before = await tree.getAttributes(old);
    const inode = await namespace.allocateInodes(1);
    const request = {
      inode,
      replaces: old,
      sizeBytes: 10,
      schemeNumbers: [18],
      attributes: utf8('y'),
      addressKey: new Uint8Array(32).fill(1),
      extents: [extentOf(0, 10, 2)],
    };
    const sealed = [{ name: utf8('user.a'), value: utf8('of the new one') }];
    const { changeCount: baseChange } = before as InodeStatus;
    const stale = { sealed, baseChange: baseChange - 1n };
    expect(await namespace.reencodeObject(request).catch(errorCode)).toBe('HF_BUSY');
    const late = namespace.reencodeObject({ ...request, xattrs: stale });
    expect(await late.catch(errorCode)).toBe('HF_BUSY');
    await namespace.reencodeObject({ ...request, xattrs: { sealed, baseChange } });
    const { mode, uid, linkCount, accessedNs, modifiedNs } = before as InodeStatus;
    for (const name of ['object', 'second']) {
      expect((await tree.lookup(placeOf(name, top)))?.status).toMatchObject({
        inode,
        mode,
        uid,
        linkCount,
        accessedNs,
        modifiedNs,
        quotaDirectory: top,
        objectId: ID,
      });
    }
    expect(await tree.getXattr(inode, utf8('user.a'))).toEqual(utf8('of the new one'));
    checkTreeRows(bed.rows);
  });
});

describe('what is removed while it is open', () => {
  it('goes on for who has it, takes nothing new, and is charged to nobody', async () => {
    const bed = await Bed.open();
    const { tree } = bed;
    const top = await bed.directory('top');
    await tree.setQuota(top, { bytesMax: 10, inodesMax: undefined });
    const file = await bed.file('file', top);
    const inner = await bed.directory('inner', top);
    await bed.write(file, 0, 10);
    for (const inode of [file, inner, top]) bed.open.add(inode);
    await tree.unlink(placeOf('file', top));
    await tree.removeDirectory(placeOf('inner', top));
    expect(await tree.getQuota(top)).toMatchObject({ usage: { bytes: 0, inodes: 0 } });
    expect(await bed.write(file, 0, 30)).toMatchObject({ linkCount: 0, sizeBytes: 30 });
    expect(await codeOf(bed.file('file', inner))).toBe('HF_NOT_FOUND');
    await tree.removeDirectory(placeOf('top'));
    expect(await tree.listAttributes({ directory: top })).toEqual([]);
    expect(await tree.releaseOrphans([file, inner, top])).toEqual([]);
    bed.open.clear();
    expect(await tree.releaseOrphans([file, inner, top])).toEqual([{ inode: file }]);
    expect(await tree.getAttributes(inner)).toBeUndefined();
    checkTreeRows(bed.rows);
  });

  it('stays also when an object takes its name, or is removed', async () => {
    const bed = await Bed.open();
    const file = await bed.file('object');
    bed.open.add(file);
    const object = await bed.put();
    expect(await bed.namespace.releases()).toEqual([]);
    bed.open.add(object);
    await bed.namespace.removeObject(ID);
    expect(await bed.tree.orphans()).toEqual([file, object]);
    expect((await bed.namespace.extents(object)).length).toBe(1);
    await bed.tree.link(object, placeOf('again'));
    expect(await bed.tree.orphans()).toEqual([file]);
  });
});

describe('rows of before there was a tree', () => {
  it('are read, and become newer ones when they change', async () => {
    const bed = await Bed.open();
    const old = (flags: number, type: number): ByteWriter =>
      new ByteWriter()
        .u8(1)
        .u8(type)
        .u8(flags)
        .u16(3)
        .u64(type === 0 ? 10 : 0)
        .u64(5)
        .u64(6);
    const file = keys.makeInode(0, 40);
    const directory = keys.makeInode(0, 41);
    const address = new Uint8Array(32).fill(9);
    const { rows } = bed;
    const name = utf8('file');
    rows.put(
      keys.inodeKey(file),
      old(2, 0).bytes(SALT).bytes(name).raw(fromHex(ID)).raw(address).finish(),
    );
    rows.put(keys.objectKey(ID), keys.encodeInodeNumber(file));
    rows.put(keys.addressRowKey(address, file), EMPTY_VALUE);
    rows.put(
      keys.extentKey(file, { encoding: 0, offset: 0 }),
      keys.encodeExtent(extentOf(0, 10, 1)),
    );
    rows.put(keys.inodeKey(directory), old(0, 1).bytes(SALT).bytes(SALT).finish());
    rows.put(keys.direntKey(ROOT_INODE, utf8('d/')), keys.encodeInodeNumber(directory));
    rows.put(keys.direntKey(directory, name), keys.encodeInodeNumber(file));
    const up = { directory: ROOT_INODE, name: utf8('d/') };
    rows.put(keys.backLinkKey(directory), keys.encodeBackLink(up));
    rows.put(keys.backLinkKey(file), keys.encodeBackLink({ directory, name }));
    rows.put(keys.usageKey(0), new ByteWriter().u8(1).u64(1).u64(10).finish());
    rows.put(keys.nextInodeKey(0), encodeNumber(50));

    const { tree } = bed;
    const known = { mode: 0o644, linkCount: 1, storedBytes: 10, changedNs: 6_000_000n };
    expect((await tree.lookup(placeOf('file', directory)))?.status).toMatchObject(known);
    expect((await tree.getAttributes(directory))?.linkCount).toBe(1);
    expect(await tree.parentOf(directory)).toBe(ROOT_INODE);
    await tree.link(file, placeOf('link'));
    await tree.rename({ from: placeOf('file', directory), to: placeOf('moved') });
    await bed.directory('inner', directory);
    expect(await tree.getAttributes(file)).toMatchObject({ linkCount: 2, objectId: ID });
    expect((await tree.getAttributes(directory))?.linkCount).toBe(1);
    await tree.removeDirectory(placeOf('inner', directory));
    await tree.removeDirectory(placeOf('d'));
    await tree.unlink(placeOf('link'));
    expect((await tree.unlink(placeOf('moved'))).release).toEqual({ inode: file });
    expect([...rows.range({ from: rowKey(0, 'P'), to: rowKey(0, 'Q') })]).toEqual([]);
  });
});

describe('a protected volume', () => {
  it('keeps names and content, and lets files grow', async () => {
    const bed = await Bed.open();
    const { tree } = bed;
    const object = await bed.put();
    const file = await bed.file('file');
    await bed.write(file, 0, 10);
    const empty = await bed.directory('empty');
    const full = await bed.directory('full');
    await bed.file('inner', full);
    await bed.namespace.protect({ retentionMs: DAY_MS });
    const here = placeOf('new');
    const refused = [
      () => tree.unlink(placeOf('file')),
      () => tree.unlink(placeOf('object')),
      () => tree.rename({ from: placeOf('file'), to: here }),
      () => tree.rename({ from: placeOf('full'), to: here }),
      () => tree.rename({ from: placeOf('file'), to: placeOf('empty'), flag: 'exchange' }),
      () => tree.setAttributes(file, { sizeBytes: 3 }),
      () => tree.setAttributes(object, { sizeBytes: 30 }),
      () => bed.write(file, 9, 5),
      () => bed.write(object, 10, 5),
    ];
    for (const ask of refused) expect(await codeOf(ask())).toBe('HF_WORM');
    const xattr = { inode: file, name: utf8('user.a'), value: SALT };
    await tree.setXattr(xattr);
    expect(await codeOf(tree.setXattr(xattr))).toBe('HF_WORM');
    expect(await codeOf(tree.removeXattr(file, xattr.name))).toBe('HF_WORM');
    await tree.link(file, here);
    await tree.setAttributes(file, { mode: 0o400 });
    expect(await bed.write(file, 10, 5)).toMatchObject({ sizeBytes: 15 });
    await tree.rename({ from: placeOf('empty'), to: placeOf('renamed') });
    expect((await tree.getAttributes(empty))?.linkCount).toBe(2);
    bed.nowMs += DAY_MS;
    await tree.unlink(placeOf('file'));
    await tree.unlink(placeOf('object'));
    // What may go may still not be replaced.
    await bed.file('young');
    const over = tree.rename({ from: placeOf('new'), to: placeOf('young') });
    expect(await codeOf(over)).toBe('HF_WORM');
  });

  it('counts the time from the last content, not from what a caller says', async () => {
    const bed = await Bed.open();
    const file = await bed.file('file');
    await bed.namespace.protect({ retentionMs: DAY_MS });
    bed.nowMs += DAY_MS / 2;
    await bed.write(file, 0, 5);
    await bed.tree.setAttributes(file, { modifiedNs: 0n });
    bed.nowMs += DAY_MS / 2;
    expect(await codeOf(bed.tree.unlink(placeOf('file')))).toBe('HF_WORM');
    bed.nowMs += DAY_MS / 2;
    expect(await codeOf(bed.tree.unlink(placeOf('file')))).toBeUndefined();
  });
});

describe('quotas', () => {
  it('stop what would pass them, also from within and with objects', async () => {
    const bed = await Bed.open();
    const { tree } = bed;
    const top = await bed.directory('top');
    await tree.setQuota(top, { bytesMax: 100, inodesMax: 3 });
    const inner = await bed.directory('inner', top);
    await tree.setQuota(inner, { bytesMax: 1000, inodesMax: undefined });
    const file = await bed.file('file', inner);
    await bed.write(file, 0, 60);
    expect(await codeOf(bed.write(file, 60, 41))).toBe('HF_QUOTA');
    expect(await codeOf(bed.write(file, 1000, 41))).toBe('HF_QUOTA');
    await bed.write(file, 0, 100);
    await tree.setAttributes(file, { sizeBytes: 90 });
    await tree.setAttributes(file, { sizeBytes: 5000 }); // a hole
    const put = bed.put({ entry: { directory: inner, name: utf8('object') } });
    expect(await codeOf(put)).toBeUndefined();
    expect(await codeOf(bed.file('more', top))).toBe('HF_QUOTA');
    expect(await tree.getQuota(top)).toMatchObject({ usage: { bytes: 100, inodes: 3 } });
    expect(await tree.getQuota(inner)).toMatchObject({ usage: { bytes: 100, inodes: 2 } });
    await tree.rename({ from: placeOf('file', inner), to: placeOf('out') });
    expect(await tree.getQuota(top)).toMatchObject({ usage: { bytes: 10, inodes: 2 } });
    await tree.setQuota(top, undefined);
    await bed.file('more', top);
    expect(await tree.getQuota(top)).toBeUndefined();
    checkTreeRows(bed.rows);
  });

  it('move with a directory that has one, and what is charged to it', async () => {
    const bed = await Bed.open();
    const top = await bed.directory('top');
    const inner = await bed.directory('inner', top);
    await bed.tree.setQuota(inner, { bytesMax: 100, inodesMax: undefined });
    await bed.write(await bed.file('file', inner), 0, 60);
    await bed.tree.setQuota(top, { bytesMax: 100, inodesMax: undefined });
    await bed.tree.charge(inner);
    expect(await bed.tree.getQuota(top)).toMatchObject({ usage: { bytes: 60, inodes: 2 } });
    checkTreeRows(bed.rows);
  });

  it('count what was there before, as it is charged from the top', async () => {
    const bed = await Bed.open();
    const top = await bed.directory('top');
    const inner = await bed.directory('inner', top);
    const file = await bed.file('file', inner);
    await bed.write(file, 0, 60);
    await bed.tree.setQuota(top, { bytesMax: 10, inodesMax: undefined });
    expect(await bed.tree.getQuota(top)).toMatchObject({ usage: { bytes: 0, inodes: 0 } });
    for (const inode of [inner, file]) await bed.tree.charge(inode);
    expect(await bed.tree.getQuota(top)).toMatchObject({ usage: { bytes: 60, inodes: 2 } });
    expect(await codeOf(bed.write(file, 60, 1))).toBe('HF_QUOTA');
    const out = bed.tree.rename({ from: placeOf('inner', top), to: placeOf('inner') });
    expect(await codeOf(out)).toBe('HF_CROSS_TREE');
  });
});

describe('limits', () => {
  it('hold for attributes, names, links, times, targets and extents', async () => {
    const bed = await Bed.open();
    const { tree } = bed;
    const inode = await bed.file('file');
    const name = utf8('user.a');
    const xattr = (bytes: number) => tree.setXattr({ inode, name, value: new Uint8Array(bytes) });
    await xattr(64 * KiB);
    expect(await codeOf(xattr(65 * KiB))).toBe('HF_TOO_LARGE');
    for (let index = 1; index < 1000; index++) {
      await tree.setXattr({ inode, name: utf8(`${index}`), value: name });
    }
    const another = tree.setXattr({ inode, name: utf8('another'), value: name });
    expect(await codeOf(another)).toBe('HF_TOO_LARGE');
    const long = { ...placeOf('x'), name: new Uint8Array(2049) };
    const wrong = [
      () => tree.lookup(long),
      () => tree.lookup(placeOf('')),
      () => tree.setAttributes(inode, { mode: 0o10000 }),
      () => tree.setAttributes(inode, { modifiedNs: 2n ** 64n }),
      () => tree.setAttributes(inode, { sizeBytes: -1 }),
      () => tree.makeNode({ ...OWNER, place: placeOf('s'), type: 'symlink' }),
      () => tree.makeNode({ ...OWNER, place: placeOf('s'), type: 'fifo', deviceNumber: 1 }),
    ];
    for (const ask of wrong) expect(await codeOf(ask())).toBe('HF_BAD_ARGUMENT');
  });

  it('stop a cut that an entry has no room for; in steps it goes', async () => {
    const bed = await Bed.open();
    const inode = await bed.file('file');
    for (let at = 0; at < 17; at++) {
      const write = await bed.namespace.allocateInodes(1, { inode });
      const extents = Array.from({ length: 256 }, (_, n) => extentOf((at * 256 + n) * 10, 10, n));
      const commit = { inode, write, extents, schemeNumbers: [3], sizeBytes: 0, baseChange: 0n };
      await bed.tree.commitExtents(commit);
    }
    expect(await codeOf(bed.tree.setAttributes(inode, { sizeBytes: 0 }))).toBe('HF_TOO_LARGE');
    await bed.tree.setAttributes(inode, { sizeBytes: 10_000 });
    const cut = await bed.tree.setAttributes(inode, { sizeBytes: 0 });
    expect(cut).toMatchObject({ sizeBytes: 0, storedBytes: 0 });
  });
});

describe('a commit of content', () => {
  it('is refused when it makes no sense, when it comes again, or on another base', async () => {
    const bed = await Bed.open();
    const { tree, namespace } = bed;
    const inode = await bed.file('file');
    const write = await namespace.allocateInodes(1, { inode });
    const good = { inode, write, schemeNumbers: [3, 18], sizeBytes: 0, baseChange: 0n };
    const wrong = [
      [extentOf(0, 10, 1), extentOf(5, 10, 2)],
      [extentOf(0, 10, 1), extentOf(5, 10, 2, 1)],
      [extentOf(0, 10, 1, 2)],
      [extentOf(0, 0, 1)],
      Array.from({ length: 257 }, (_, n) => extentOf(n, 1, n)),
    ];
    for (const extents of wrong) {
      expect(await codeOf(tree.commitExtents({ ...good, extents }))).toBe('HF_BAD_ARGUMENT');
    }
    const extents = [extentOf(0, 10, 1), extentOf(0, 10, 2, 1)];
    const late = { ...good, extents, baseChange: 7n, isOnlyOnBase: true };
    expect(await codeOf(tree.commitExtents(late))).toBe('HF_BUSY');
    expect((await tree.commitExtents({ ...late, baseChange: 0n })).wasBase).toBe(true);
    expect(await codeOf(tree.commitExtents({ ...good, extents }))).toBe('HF_EXISTS');
    const next = await namespace.allocateInodes(1, { inode });
    expect(await namespace.refuse(next)).toBe('refused');
    expect(await codeOf(tree.commitExtents({ ...good, write: next, extents }))).toBe('HF_FENCED');
    const directory = await bed.directory('d');
    const other = { ...good, write: next + 1n, extents };
    expect(await codeOf(tree.commitExtents({ ...other, inode: directory }))).toBe(
      'HF_IS_DIRECTORY',
    );
  });
});

describe('inodes', () => {
  it('lie with what they belong to; directories of the root, of full slots do not', async () => {
    const bed = await Bed.open();
    const top = await bed.directory('top');
    expect(keys.slotOfInode(top)).toBe(77);
    const inner = await bed.directory('inner', top);
    expect(keys.slotOfInode(await bed.file('file', inner))).toBe(77);
    expect(keys.slotOfInode(await bed.file('file'))).toBe(0);
    const near = await bed.namespace.allocateInodes(5, { inode: top });
    expect(keys.slotOfInode(near)).toBe(77);
    const objectId = `123${'0'.repeat(29)}` as ObjectId;
    expect(keys.slotOfInode(await bed.namespace.allocateInodes(1, { objectId }))).toBe(0x123);
    const full = keys.makeInode(9, 5);
    bed.rows.put(keys.inodeKey(full), (await rowOf(bed, top)).value);
    const isFull = { objectCount: 0, contentBytes: 0, inodeCount: 65_537 };
    bed.rows.put(keys.usageKey(9), keys.encodeUsage(isFull));
    expect(keys.slotOfInode(await bed.directory('d', full))).toBe(77);
    bed.rows.put(keys.usageKey(9), keys.encodeUsage({ ...isFull, inodeCount: 65_536 }));
    expect(keys.slotOfInode(await bed.directory('e', full))).toBe(9);
  });

  it('are found many at once', async () => {
    const bed = await Bed.open();
    const inodes = [await bed.file('a'), 999n, await bed.directory('d')];
    const records = await bed.namespace.records(inodes);
    expect(records.map((record) => record?.type)).toEqual(['file', undefined, 'directory']);
  });

  it('are listed by pages wherever they lie', async () => {
    const bed = await Bed.open();
    const all: Inode[] = [];
    for (const slot of [3, 3, 0, 4000, 17]) {
      const inode = await bed.namespace.allocateInodes(1, { inode: keys.makeInode(slot, 1) });
      await bed.tree.makeNode({ ...OWNER, type: 'file', inode });
      all.push(inode);
    }
    all.sort((a, b) => (a < b ? -1 : 1));
    const pages: Inode[] = [];
    for (let page = await bed.tree.orphans({ limit: 2 }); page.length > 0;) {
      pages.push(...page);
      page = await bed.tree.orphans({ after: page.at(-1), limit: 2 });
    }
    expect(pages).toEqual(all);
    expect(await bed.tree.releaseOrphans([...all, 999n])).toEqual([]);
    expect(await bed.tree.orphans()).toEqual([]);
    expect(await bed.tree.usage()).toEqual({ inodeCount: 1, contentBytes: 0 });
  });
});

async function rowOf(bed: Bed, inode: Inode): Promise<{ value: Uint8Array }> {
  return { value: bed.rows.get(keys.inodeKey(inode)) as Uint8Array };
}
