/**
 * Aim: whichever row of an object or directory is missing because cells were saved at several
 * moments, what is left is whole: it is there as before, or not at all. Method: a volume's cell
 * with objects and folders; each row that may lie in another cell is taken away by itself.
 */
import { describe, expect, it } from 'vitest';
import { extentOf } from '../../../test/suites/meta-makers.ts';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { type ObjectId, toHex, utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { MemoryLog } from '../../log/index.ts';
import { keyReader, SLOT_COUNT } from '../cells/rows.ts';
import { ROOT_INODE } from '../namespace/namespace.ts';
import { openVolumeCell } from '../volume-cell/volume-cell.ts';
import { mendNames } from './mend-names.ts';
import { RecoveredSpace } from './recovered-space.ts';

/** Objects with and without a key. */
const COUNT = 6;

async function volumeDb(): Promise<MemoryDb> {
  const db = new MemoryDb();
  const log = new MemoryLog();
  await using volume = await openVolumeCell({ env: virtualEnv(1), cell: 'volume', log, db });
  for (let number = 1; number <= COUNT; number++) {
    const { namespace } = volume;
    const name = utf8(`name ${number}`);
    const entry = number % 2 === 0 ? { directory: ROOT_INODE, name } : undefined;
    await namespace.commitObject({
      inode: await namespace.allocateInodes(1),
      createdAtMs: 1,
      objectId: `${number}`.repeat(32) as ObjectId,
      sizeBytes: 100,
      schemeNumbers: [3],
      attributes: new Uint8Array(),
      addressKey: new Uint8Array(32).fill(number * 16),
      extents: [extentOf(0, 100, number)],
      entry,
      mayReplace: false,
    });
  }
  return db;
}

/** Rows of names by their keys; the counts of a slot are not mended. */
async function mended(db: MemoryDb): Promise<{ rows: Map<string, string>; count: number }> {
  const space = await RecoveredSpace.open([{ cell: 'volume', db }]);
  const count = await mendNames(space);
  const rows = new Map<string, string>();
  for (const { key, value } of space.rows()) {
    const { slot, tag } = keyReader(key);
    if (slot < SLOT_COUNT && 'IDJAPC'.includes(tag)) rows.set(toHex(key), toHex(value));
  }
  return { rows, count };
}

async function without(isLost: (tag: string, nth: number) => boolean) {
  const db = await volumeDb();
  const seen = new Map<string, number>();
  const deletes = [];
  for (const { key } of (await RecoveredSpace.open([{ cell: 'volume', db }])).rows()) {
    const { tag } = keyReader(key);
    const nth = seen.get(tag) ?? 0;
    seen.set(tag, nth + 1);
    if (isLost(tag, nth)) deletes.push(key);
  }
  expect(deletes.length).toBeGreaterThan(0);
  await db.transact({ puts: [], deletes });
  return await mended(db);
}

describe('names of several moments', () => {
  it('are left alone where they fit', async () => {
    expect((await mended(await volumeDb())).count).toBe(0);
  });

  it.each(['D', 'J', 'A'])('get a lost %s row again from their inode', async (lost) => {
    const { rows: before } = await mended(await volumeDb());
    const { rows, count } = await without((tag, nth) => tag === lost && nth === 1);
    expect(count).toBe(1);
    expect(rows).toEqual(before);
  });

  it('lose what speaks of an inode that is not there', async () => {
    const { rows: before } = await mended(await volumeDb());
    // The root is the first; what is an inode's own lies in its slot, and is lost with it.
    const { rows, count } = await without(
      (tag, nth) => (tag === 'I' && nth > 0) || tag === 'P' || tag === 'C',
    );
    expect(count).toBe(COUNT + COUNT + COUNT / 2);
    const left = [...rows.keys()].map((key) => keyReader(Buffer.from(key, 'hex')).tag);
    expect(left).toEqual(['I']);
    expect(before.size).toBeGreaterThan(4 * COUNT);
  });
});
