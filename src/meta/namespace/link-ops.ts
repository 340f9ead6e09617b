/**
 * Links: entries of directories with the back-links of what they name, the times of the directories
 * that have them, and what becomes of an inode that loses its last one.
 *
 * Invariants: an entry ('D') names an inode that is there ('I'); an inode has one back-link ('P')
 * for each entry that names it; a directory has one at most. An inode without a link is an orphan
 * ('O'), or an object without a key.
 */
import { bytesEqual, HoldfastError } from '../../base/index.ts';
import { checkDirectoryLease, clearLease } from '../handles/lease-rows.ts';
import { clearLocks } from '../handles/lock-ops.ts';
import { hasRawKeysOrUploads, removeRawKey } from '../uploads/raw-key-links.ts';
import type { Inode, Release } from './namespace.ts';
import { ROOT_INODE } from './namespace.ts';
import * as keys from './namespace-rows.ts';
import type { BackLink, InodeRow } from './namespace-rows.ts';
import {
  type Circumstances,
  deleteInode,
  findInode,
  mayBeOpen,
  namedInode,
  saveInode,
} from './inode-ops.ts';
import { defaultPosix, nsOf, type PosixPart, UNCOUNTED_LINKS } from './posix-part.ts';
import { inlineKey, orphanKey, quotaKey, targetKey, xattrKey } from './tree-rows.ts';
import type { InodeStatus } from './tree.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { EMPTY_VALUE, hasRowWithin, keyAfter, prefixRange } from '../cells/rows.ts';

/** A directory entry's name, or the key of an object, sealed. */
const NAME_BYTES_MAX = 2048;

// Entries.

export function checkName(name: Uint8Array): void {
  if (name.length >= 1 && name.length <= NAME_BYTES_MAX) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', `a name takes 1 to ${NAME_BYTES_MAX} sealed bytes`);
}

/** @throws HF_NOT_FOUND, also for one that is removed and still open; HF_NOT_DIRECTORY. */
export function checkDirectory(rows: Rows, directory: Inode): InodeRow {
  const row = findInode(rows, directory);
  if (!row) throw new HoldfastError('HF_NOT_FOUND', 'the directory is gone');
  if (row.type !== 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
  if (row.posix?.linkCount === 0) throw new HoldfastError('HF_NOT_FOUND', 'it was removed');
  return row;
}

/**
 * Every operation on the entries of a directory begins with it.
 * @throws HF_LEASED when somebody else holds the directory's lease; HF_FENCED when the claim on it
 *   counts no more.
 */
export function checkLease(rows: Rows, directory: Inode, { claims }: Circumstances): void {
  checkDirectoryLease(rows, directory, claims?.get(directory));
}

/** The same, and as {@link checkDirectory}. */
export function checkEntriesOf(
  rows: Rows,
  directory: Inode,
  circumstances: Circumstances,
): InodeRow {
  checkLease(rows, directory, circumstances);
  return checkDirectory(rows, directory);
}

export function findEntry(rows: Rows, directory: Inode, name: Uint8Array): InodeRow | undefined {
  const value = rows.get(keys.direntKey(directory, name));
  return value && namedInode(rows, keys.decodeInodeNumber(value, 'directory entry'));
}

/** Entries of a page with the inodes that they name, which may be of many slots. */
export function entriesOf(
  rows: Overlay,
  request: { directory: Inode; after?: Uint8Array | undefined; limit: number },
): { name: Uint8Array; row: InodeRow }[] {
  const { directory, after, limit } = request;
  const range = prefixRange(keys.direntKey(directory));
  const from = after ? keyAfter(keys.direntKey(directory, after)) : range.from;
  const found = rows.range({ from, to: range.to, limit }).map((row) => ({
    name: keys.nameOfDirent(row),
    inode: keys.decodeInodeNumber(row.value, 'directory entry'),
  }));
  rows.need(found.map(({ inode }) => keys.inodeKey(inode)));
  return found.map(({ name, inode }) => ({ name, row: namedInode(rows, inode) }));
}

/** Whether nothing is in a directory that is to go: no entry, raw key or upload. */
export function isEmpty(rows: Rows, directory: Inode, circumstances: Circumstances): boolean {
  checkLease(rows, directory, circumstances);
  return !hasRowWithin(rows, keys.direntKey(directory)) && !hasRawKeysOrUploads(rows, directory);
}

/** Where the inode's names are. */
export function linksOf(rows: Rows, inode: Inode): BackLink[] {
  return rows.range(prefixRange(keys.backLinkKey(inode))).map(keys.linkOf);
}

/** The first link of an inode. */
export function addFirstLink(rows: Overlay, at: BackLink, inode: Inode): void {
  rows.put(keys.direntKey(at.directory, at.name), keys.encodeInodeNumber(inode));
  rows.add(keys.backLinkKey(inode, at), EMPTY_VALUE);
}

export function addLink(rows: Overlay, at: BackLink, inode: Inode): void {
  rows.put(keys.direntKey(at.directory, at.name), keys.encodeInodeNumber(inode));
  rows.put(keys.backLinkKey(inode, at), EMPTY_VALUE);
}

export function removeLink(rows: Overlay, at: BackLink, inode: Inode): void {
  rows.delete(keys.direntKey(at.directory, at.name));
  removeBackLink(rows, at, inode);
}

export function removeBackLink(rows: Overlay, at: BackLink, inode: Inode): void {
  const key = keys.backLinkKey(inode, at);
  rows.delete(rows.get(key) ? key : keys.backLinkKey(inode));
}

export function isSameLink(a: BackLink, b: BackLink): boolean {
  return a.directory === b.directory && bytesEqual(a.name, b.name);
}

// What changes with a link.

export function posixOf(rows: Rows, row: InodeRow): PosixPart {
  if (row.posix) return row.posix;
  const isDirectory = row.type === 'directory';
  return defaultPosix(row, isDirectory ? UNCOUNTED_LINKS : linksOf(rows, row.inode).length);
}

export function statusOf(rows: Rows, row: InodeRow): InodeStatus {
  return { ...keys.recordOf(row), ...posixOf(rows, row) };
}

/** The row after a change of now; what is given is changed. */
export function changedRow(
  rows: Rows,
  row: InodeRow,
  nowMs: number,
  change: Partial<PosixPart> = {},
): InodeRow {
  const before = posixOf(rows, row);
  const changeCount = before.changeCount + 1n;
  return { ...row, posix: { ...before, changedNs: nsOf(nowMs), changeCount, ...change } };
}

/**
 * An entry of the directory has come, gone or become another one.
 *
 * @param change.directories how many more directories it has.
 * @param change.isOfTree it does not vanish with its last entry any more.
 */
export function touchDirectory(
  rows: Overlay,
  directory: Inode,
  { nowMs }: Circumstances,
  { directories = 0, isOfTree = false }: { directories?: number; isOfTree?: boolean } = {},
): void {
  const before = namedInode(rows, directory);
  const { linkCount } = posixOf(rows, before);
  const row = changedRow(rows, before, nowMs, {
    modifiedNs: nsOf(nowMs),
    linkCount: linkCount === UNCOUNTED_LINKS ? linkCount : linkCount + directories,
  });
  saveInode(rows, { ...row, isImplicit: row.isImplicit && !isOfTree }, before);
}

/** Removes an implicit directory without entries, and those above it that have none then. */
export function vanish(rows: Overlay, directory: Inode, circumstances: Circumstances): void {
  const row = namedInode(rows, directory);
  if (!row.isImplicit || directory === ROOT_INODE) return;
  if (!isEmpty(rows, directory, circumstances)) return;
  const [above] = linksOf(rows, directory);
  if (!above) throw new HoldfastError('HF_CORRUPT', 'an implicit directory has no back-link');
  checkLease(rows, above.directory, circumstances);
  removeLink(rows, above, directory);
  letGo(rows, row, circumstances);
  touchDirectory(rows, above.directory, circumstances, { directories: -1 });
  vanish(rows, above.directory, circumstances);
}

/** A directory does not vanish with its last entry any more. */
export function keepDirectory(rows: Overlay, row: InodeRow): void {
  if (row.isImplicit) saveInode(rows, { ...row, isImplicit: false });
}

// The last link.

/** Removes one link of what is no directory; the caller sees to the directory's times. */
export function unlinkEntry(
  rows: Overlay,
  { row, at }: { row: InodeRow; at: BackLink },
  circumstances: Circumstances,
): { row: InodeRow; release: Release | undefined } {
  const linkCount = posixOf(rows, row).linkCount - 1;
  const after = changedRow(rows, row, circumstances.nowMs, { linkCount });
  removeLink(rows, at, row.inode);
  if (linkCount > 0) {
    saveInode(rows, after);
    return { row: after, release: undefined };
  }
  if (row.objectId) removeRawKey(rows, row.objectId);
  return letGo(rows, row, circumstances);
}

/**
 * What becomes of an inode without links: an orphan while somebody may have it open, then nothing
 * but a release. It is an object no more.
 */
export function letGo(
  rows: Overlay,
  before: InodeRow,
  circumstances: Circumstances,
): { row: InodeRow; release: Release | undefined } {
  const isObject = before.objectId !== undefined;
  removeObjectRows(rows, before);
  const unlinked = { linkCount: 0, quotaDirectory: undefined };
  const row: InodeRow = {
    ...changedRow(rows, before, circumstances.nowMs, unlinked),
    objectId: undefined,
    addressKey: undefined,
    isImplicit: false,
  };
  saveInode(rows, row);
  if (mayBeOpen(rows, row.inode, circumstances)) {
    rows.put(orphanKey(row.inode), EMPTY_VALUE);
    return { row, release: undefined };
  }
  return { row, release: discard(rows, row, isObject) };
}

/** 'J' and 'A'. */
export function removeObjectRows(rows: Overlay, { inode, objectId, addressKey }: InodeRow): void {
  if (objectId) rows.delete(keys.objectKey(objectId));
  if (addressKey) rows.delete(keys.addressRowKey(addressKey, inode));
}

/** Deletes an inode without links. @returns its release when it had content, or was an object. */
export function discard(rows: Overlay, row: InodeRow, wasObject = false): Release | undefined {
  const { inode, type } = row;
  deleteInode(rows, row);
  clearLocks(rows, inode);
  for (const { key } of rows.range(prefixRange(xattrKey(inode)))) rows.delete(key);
  if (type === 'symlink') rows.delete(targetKey(inode));
  if (row.isInline) rows.delete(inlineKey(inode));
  if (type === 'directory') {
    clearLease(rows, inode);
    if (rows.get(quotaKey(inode))) rows.delete(quotaKey(inode));
  }
  const hasRelease = wasObject || (type === 'file' && hasRowWithin(rows, keys.extentKey(inode)));
  if (!hasRelease) return undefined;
  rows.put(keys.releaseKey(inode), EMPTY_VALUE);
  return { inode };
}
