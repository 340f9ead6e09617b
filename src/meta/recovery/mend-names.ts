/**
 * Puts right what of a volume's names was over several cells when their snapshots were taken, so
 * that no row speaks of one that is not there:
 *
 * 1. An entry, id or address of an inode that is not there goes.
 * 2. An inode that knows its entry, id or address, which is not there, gets it again.
 */
import type { Row } from '../../db/index.ts';
import { EMPTY_VALUE, keyReader, SLOT_COUNT } from '../cells/rows.ts';
import {
  addressRowKey,
  decodeInode,
  decodeInodeNumber,
  direntKey,
  encodeInodeNumber,
  inodeAtEndOf,
  inodeKey,
  linkOf,
  objectKey,
} from '../namespace/namespace-rows.ts';
import type { Inode } from '../namespace/namespace.ts';
import { orphanKey } from '../namespace/tree-rows.ts';
import type { RecoveredSpace } from './recovered-space.ts';

/** @returns how many rows were put right. @throws HF_CORRUPT. */
export async function mendNames(space: RecoveredSpace): Promise<number> {
  let count = 0;
  for (const row of space.rows()) {
    const { slot, tag } = keyReader(row.key);
    if (slot >= SLOT_COUNT) continue;
    const named = inodeNamedBy(tag, row);
    const isDangling = named !== undefined && !space.get(inodeKey(named));
    const missing = isDangling
      ? []
      : rowsOwed(space, tag, row).filter(({ key }) => !space.get(key));
    if (isDangling) await space.transact({ puts: [], deletes: [row.key] });
    if (missing.length > 0) await space.transact({ puts: missing, deletes: [] });
    count += missing.length + (isDangling ? 1 : 0);
  }
  return count;
}

/** Whom a row speaks of that may be in another cell. */
function inodeNamedBy(tag: string, { key, value }: Row): Inode | undefined {
  if (tag === 'D' || tag === 'J') return decodeInodeNumber(value, 'row that names an inode');
  return tag === 'A' ? inodeAtEndOf(key) : undefined;
}

/** What there is in other slots, when this row is there. */
function rowsOwed(space: RecoveredSpace, tag: string, row: Row): Row[] {
  if (tag !== 'P' && tag !== 'I') return [];
  const { rest } = keyReader(row.key);
  const inode = rest.bigU64be();
  const value = encodeInodeNumber(inode);
  if (tag === 'P') {
    const { directory, name } = linkOf(row);
    return space.get(inodeKey(directory)) ? [{ key: direntKey(directory, name), value }] : [];
  }
  if (space.get(orphanKey(inode))) return []; // it was unlinked, and somebody may have it open
  const { objectId, addressKey } = decodeInode(inode, row.value);
  return [
    ...(objectId ? [{ key: objectKey(objectId), value }] : []),
    ...(addressKey ? [{ key: addressRowKey(addressKey, inode), value: EMPTY_VALUE }] : []),
  ];
}
