// Aim: inline content comes with its inode in both doors, is counted, refused where it is too long
// or would undo what its writer does not know, and goes whole when extents come. Method: cases over
// rows in memory; what the model of the tree does has its place in tree-model.test.ts.
import { describe, expect, it } from 'vitest';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import { errorCode, KiB, type ObjectId, utf8 } from '../../base/index.ts';
import { rowKey } from '../cells/rows.ts';
import type { Circumstances } from './inode-ops.ts';
import { namespaceOf } from './namespace-cell.ts';
import { makeRoot } from './namespace-ops.ts';
import { type Inode, ROOT_INODE } from './namespace.ts';
import { treeOf } from './tree-cell.ts';
import { checkTreeRows, MemoryRows } from './tree-invariants.test.ts';
import type { InodeStatus, Place } from './tree.ts';

const DAY_MS = 86_400_000;
const SALT = utf8('salt');
const OWNER = { mode: 0o600, uid: 1, gid: 1 };

class Bed {
  readonly #executor = new MemoryRows();
  readonly rows = this.#executor.rows;
  readonly #now = (): Circumstances => ({ nowMs: 1000, randomSlot: 77 });
  readonly tree = treeOf(this.#executor, this.#now);
  readonly namespace = namespaceOf(this.#executor, this.#now);

  static async open(): Promise<Bed> {
    const bed = new Bed();
    makeRoot(bed.rows, { salt: SALT, nowMs: 1000 });
    return bed;
  }

  async file(name: string, directory = ROOT_INODE): Promise<Inode> {
    const place = placeOf(name, directory);
    return (await this.tree.makeNode({ ...OWNER, place, type: 'file' })).status.inode;
  }

  async directory(name: string): Promise<Inode> {
    const place = placeOf(name);
    return (await this.tree.makeDirectory({ ...OWNER, place, salt: SALT })).status.inode;
  }

  async write(inode: Inode, offset: number, lengthBytes: number): Promise<InodeStatus> {
    const write = await this.namespace.allocateInodes(1, { inode });
    const extents = [extentOf(offset, lengthBytes, Number(write & 0xffffn))];
    const commit = { inode, write, extents, schemeNumbers: [3], sizeBytes: 0, baseChange: 0n };
    return (await this.tree.commitExtents(commit)).status;
  }

  /** An object of ten bytes. */
  async put(): Promise<Inode> {
    const inode = await this.namespace.allocateInodes(1);
    await this.namespace.commitObject({
      inode,
      createdAtMs: 1000,
      objectId: 'ab'.repeat(16) as ObjectId,
      sizeBytes: 10,
      schemeNumbers: [3],
      attributes: utf8('x'),
      addressKey: new Uint8Array(32).fill(1),
      mayReplace: true,
      extents: [extentOf(0, 10, 1)],
      entry: { directory: ROOT_INODE, name: utf8('object') },
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

describe('inline content', () => {
  const inlineOf = (text: string, lengthBytes = text.length) => ({
    sealed: utf8(text),
    lengthBytes,
  });
  const nothing = { extents: [], schemeNumbers: [], isOnlyOnBase: true };

  it('comes with its inode, in both doors, and is counted', async () => {
    const bed = await Bed.open();
    const top = await bed.directory('top');
    await bed.tree.setQuota(top, { bytesMax: 5, inodesMax: undefined });
    const inode = await bed.file('file', top);
    const put = (text: string, baseChange: bigint) =>
      bed.tree.commitExtents({
        inode,
        ...nothing,
        inline: inlineOf(text),
        sizeBytes: 9,
        baseChange,
      });
    const { status } = await put('abcd', 0n);
    expect(status).toMatchObject({ isInline: true, sizeBytes: 9, storedBytes: 4, changeCount: 1n });
    expect(status.inline).toBeUndefined();
    const known = { ...status, inline: inlineOf('abcd') };
    expect(await bed.tree.getAttributes(inode, { withContent: true })).toEqual(known);
    expect(await bed.namespace.record(inode, { withContent: true })).toMatchObject({
      isInline: true,
      inline: inlineOf('abcd'),
    });
    expect((await bed.namespace.record(inode))?.inline).toBeUndefined();
    expect((await bed.tree.lookup(placeOf('file', top)))?.status).toEqual(status);
    expect(await codeOf(put('abcdef', 1n))).toBe('HF_QUOTA');
    expect(await bed.tree.getQuota(top)).toMatchObject({ usage: { bytes: 4 } });
    expect((await bed.tree.unlink(placeOf('file', top))).release).toBeUndefined();
    checkTreeRows(bed.rows);
    expect(bed.rows.range({ from: rowKey(77, 'B'), to: rowKey(77, 'C') })).toEqual([]);
  });

  it('is refused when it is too long, longer than its file, or with anything else', async () => {
    const bed = await Bed.open();
    const inode = await bed.file('file');
    const code = async (parts: object): Promise<string | undefined> => {
      const commit = { inode, ...nothing, inline: inlineOf('abcd'), sizeBytes: 9, baseChange: 0n };
      return await codeOf(bed.tree.commitExtents({ ...commit, ...parts }));
    };
    const sizeBytes = 100 * KiB;
    expect(await code({ inline: inlineOf('a', 16 * KiB + 1), sizeBytes })).toBe('HF_TOO_LARGE');
    const sealed = new Uint8Array(16 * KiB + 65);
    expect(await code({ inline: { sealed, lengthBytes: 1 } })).toBe('HF_TOO_LARGE');
    expect(await code({ sizeBytes: 3 })).toBe('HF_BAD_ARGUMENT');
    const extents = [extentOf(0, 5, 1)];
    const held = { write: 900n, schemeNumbers: [3] };
    const holes = [{ offset: 0, lengthBytes: 5 }];
    expect(await code({ ...held, extents })).toBe('HF_BAD_ARGUMENT');
    expect(await code({ ...held, holes })).toBe('HF_BAD_ARGUMENT');
    const ranges = { inline: undefined, schemeNumbers: [3] };
    expect(await code({ ...ranges, extents })).toBe('HF_BAD_ARGUMENT');
    expect(await code({ ...ranges, write: 900n, extents, holes })).toBe('HF_BAD_ARGUMENT');
    expect(await code({ ...ranges, write: 900n, holes: [{ offset: 0, lengthBytes: 0 }] })).toBe(
      'HF_BAD_ARGUMENT',
    );
    expect(await code({})).toBeUndefined();
  });

  it('takes what there was with it, and goes when it is brought in extents', async () => {
    const bed = await Bed.open();
    const inode = await bed.put();
    const put = async (baseChange: bigint): Promise<string | undefined> => {
      const commit = { inode, ...nothing, inline: inlineOf('abcd'), sizeBytes: 4, baseChange };
      return await codeOf(bed.tree.commitExtents(commit));
    };
    expect(await put(7n)).toBe('HF_BUSY');
    expect(await put(0n)).toBeUndefined();
    expect(await bed.namespace.extents(inode)).toEqual([]);
    expect(await bed.tree.looseInodes()).toEqual([inode]);
    expect(await bed.namespace.objectsByAddress(new Uint8Array(32).fill(1))).toEqual([]);
    expect(await codeOf(bed.write(inode, 1, 20))).toBe('HF_BUSY');
    expect(await bed.write(inode, 0, 20)).toMatchObject({ storedBytes: 20, sizeBytes: 20 });
    expect((await bed.tree.getAttributes(inode))?.isInline).toBeUndefined();
    checkTreeRows(bed.rows);
  });

  it('is only added to a protected volume', async () => {
    const bed = await Bed.open();
    const { tree } = bed;
    const [old, young] = [await bed.file('old'), await bed.file('young')];
    const put = async (inode: Inode, baseChange: bigint): Promise<string | undefined> => {
      const commit = { inode, ...nothing, inline: inlineOf('abcd'), sizeBytes: 4, baseChange };
      return await codeOf(tree.commitExtents(commit));
    };
    await put(old, 0n);
    await bed.namespace.protect({ retentionMs: DAY_MS });
    expect(await put(young, 0n)).toBeUndefined();
    for (const inode of [old, young]) {
      expect(await put(inode, 1n)).toBe('HF_WORM');
      expect(await codeOf(tree.setAttributes(inode, { sizeBytes: 2 }))).toBe('HF_WORM');
      const holes = [{ offset: 1, lengthBytes: 1 }];
      const commit = { inode, ...nothing, write: 900n, holes, sizeBytes: 0, baseChange: 1n };
      expect(await codeOf(tree.commitExtents(commit))).toBe('HF_WORM');
    }
  });
});
