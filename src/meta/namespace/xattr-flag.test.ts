// Aim: an inode's status tells whether it has extended attributes, and one that is a list sets the
// mode with it. Method: cases over rows in memory; rows are read back.
import { expect, it } from 'vitest';
import { errorCode, utf8 } from '../../base/index.ts';
import { makeRoot } from './namespace-ops.ts';
import * as keys from './namespace-rows.ts';
import { ROOT_INODE } from './namespace.ts';
import { treeOf } from './tree-cell.ts';
import { MemoryRows } from './tree-invariants.test.ts';

const name = utf8('sealed name');
const value = utf8('sealed value');

async function opened() {
  const executor = new MemoryRows();
  const tree = treeOf(executor, () => ({ nowMs: 1000, randomSlot: 77, isOpen: () => false }));
  makeRoot(executor.rows, { salt: utf8('salt'), nowMs: 1000 });
  const place = { directory: ROOT_INODE, name: utf8('file'), directoryName: utf8('file/') };
  const node = { place, mode: 0o640, uid: 1, gid: 1, type: 'file' } as const;
  const { inode } = (await tree.makeNode(node)).status;
  return { tree, inode, rows: executor.rows };
}

it('is there from the first to the last attribute, also in the row', async () => {
  const { tree, inode, rows } = await opened();
  const look = async () => (await tree.getAttributes(inode))?.hasXattrs ?? false;
  expect(await look()).toBe(false);
  await tree.setXattr({ inode, name, value });
  await tree.setXattr({ inode, name: utf8('other'), value });
  expect(await look()).toBe(true);
  const row = rows.get(keys.inodeKey(inode))!;
  expect(keys.encodeInode(keys.decodeInode(inode, row))).toEqual(row);
  expect(keys.decodeInode(inode, row).hasXattrs).toBe(true);
  await tree.removeXattr(inode, name);
  expect(await look()).toBe(true);
  await tree.removeXattr(inode, utf8('other'));
  expect(await look()).toBe(false);
});

it('sets the mode in the same step, or nothing', async () => {
  const { tree, inode } = await opened();
  const { mode, changeCount } = await tree.setXattr({ inode, name, value, permissions: 0o4660 });
  expect([mode, changeCount]).toEqual([0o4660, 1n]);
  const refused = [
    tree.setXattr({ inode, name, value, permissions: 0o10000 }),
    tree.setXattr({ inode, name, value, permissions: 0o600, mode: 'create' }),
  ];
  const codes = await Promise.all(refused.map(async (each) => await each.catch(errorCode)));
  expect(codes).toEqual(['HF_BAD_ARGUMENT', 'HF_EXISTS']);
  expect((await tree.getAttributes(inode))?.mode).toBe(0o4660);
});
