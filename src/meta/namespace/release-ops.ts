/**
 * What is left of inodes that are gone, or will never be: a release ('G') while extents of it are
 * there, a refusal ('V') of what was not committed. Operations over rows, as of `namespace-ops.ts`.
 */
import type { ExtentPlace, Inode, Release } from './namespace.ts';
import * as keys from './namespace-rows.ts';
import { looseKey, writeKey } from './tree-rows.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { EMPTY_VALUE, hasRowWithin, rowsOfTag } from '../cells/rows.ts';

export function refuse(rows: Overlay, inode: Inode): 'committed' | 'refused' {
  if (rows.get(keys.refusedKey(inode))) return 'refused';
  const committed = [keys.inodeKey(inode), keys.releaseKey(inode), writeKey(inode)];
  if (committed.some((key) => rows.get(key))) return 'committed';
  rows.put(keys.refusedKey(inode), EMPTY_VALUE);
  rows.delete(keys.stagedKey(inode));
  if (hasRowWithin(rows, keys.extentKey(inode))) rows.put(keys.releaseKey(inode), EMPTY_VALUE);
  return 'refused';
}

export function isToRelease(rows: Rows, inode: Inode): boolean {
  return rows.get(keys.releaseKey(inode)) !== undefined;
}

export function releases(rows: Rows): readonly Release[] {
  return Array.from(rowsOfTag(rows, 'G'), ({ key }) => ({ inode: keys.inodeAtEndOf(key) }));
}

/** What a write of the tree holds stays as a loose stripe: its reference is another holder's. */
export function finishRelease(
  rows: Overlay,
  { inode }: Release,
  places: readonly ExtentPlace[],
): void {
  if (!rows.get(keys.releaseKey(inode))) return; // it was finished before
  for (const place of places) {
    const key = keys.extentKey(inode, place);
    const value = rows.get(key);
    const { holder, stripe } = value ? keys.decodeExtent({ key, value }) : {};
    if (holder !== undefined && stripe) rows.put(looseKey(inode, { holder, stripe }), EMPTY_VALUE);
    rows.delete(key);
  }
  if (!hasRowWithin(rows, keys.extentKey(inode))) rows.delete(keys.releaseKey(inode));
}
