/**
 * What the operations of a namespace do to its rows: synchronous functions that a steward executes.
 * Each leaves the rows consistent or throws and leaves them as they were.
 *
 * Invariants: those of `inode-ops.ts` and `link-ops.ts`; an object has one 'I', one 'J' and one 'A'
 * row (none once the tree has changed its content); an implicit directory has an entry; an inode
 * with a release ('G') or a refusal ('V') has no 'I' row.
 */
import { bytesEqual, HoldfastError, LIMITS, type ObjectId } from '../../base/index.ts';
import type {
  Dirent,
  Inode,
  InodeRecord,
  Namespace,
  ObjectCommit,
  Reencoding,
  Release,
} from './namespace.ts';
import { ROOT_INODE } from './namespace.ts';
import * as keys from './namespace-rows.ts';
import type { BackLink, InodeRow } from './namespace-rows.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import * as extents from './extent-ops.ts';
import {
  addInode,
  allocateInodes,
  type Circumstances,
  findInode,
  givenInode,
  namedInode,
  type NamespaceFault,
  quotaWithin,
  saveInode,
  scanFrom,
  slotOfNewDirectory,
} from './inode-ops.ts';
import {
  addFirstLink,
  addLink,
  changedRow,
  checkEntriesOf,
  checkLease,
  checkName,
  entriesOf,
  findEntry,
  isSameLink,
  letGo,
  linksOf,
  posixOf,
  removeBackLink,
  removeLink,
  touchDirectory,
  unlinkEntry,
  vanish,
} from './link-ops.ts';
import { EMPTY_DIRECTORY_LINKS, newPosix, type PosixPart } from './posix-part.ts';
import { checkRemovable, checkReplaceable } from './retention.ts';
import { encodeSealed, xattrKey } from './tree-rows.ts';
import { removeRawKey } from '../uploads/raw-key-links.ts';
import { EMPTY_VALUE, hasRowWithin, keyAfter, prefixRange, rowsOfTag } from '../cells/rows.ts';

export type { Circumstances, NamespaceFault } from './inode-ops.ts';
export { allocateInodes, findInode } from './inode-ops.ts';

/** Set-user-id and set-group-id: not of content that somebody else has put. */
const SET_ID_BITS = 0o6000;
const GROUP_BITS = 0o070;

export type DirectoryRequest = Parameters<Namespace['makeDirectory']>[0];

export function makeRoot(
  rows: Overlay,
  { salt, nowMs }: { salt: Uint8Array; nowMs: number },
): void {
  if (rows.get(keys.inodeKey(ROOT_INODE))) return;
  const parts = { salt, attributes: new Uint8Array(), isImplicit: false };
  saveInode(rows, directoryRow(ROOT_INODE, parts, { nowMs }));
}

export function lookup(
  rows: Rows,
  { directory, name }: BackLink,
  circumstances: Circumstances,
): Dirent | undefined {
  checkLease(rows, directory, circumstances);
  const row = findEntry(rows, directory, name);
  return row && { name, record: keys.recordOf(row) };
}

export function makeDirectory(
  rows: Overlay,
  request: DirectoryRequest,
  circumstances: Circumstances,
): Dirent {
  const { parent, name } = request;
  checkName(name);
  const above = checkEntriesOf(rows, parent, circumstances);
  const present = findEntry(rows, parent, name);
  if (present && present.type !== 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
  if (present) return { name, record: keys.recordOf(present) };
  const inode = allocateInodes(rows, 1, slotOfNewDirectory(rows, parent, circumstances));
  const quotaDirectory = quotaWithin(rows, above);
  const row = directoryRow(inode, { ...request, quotaDirectory }, circumstances);
  addInode(rows, row);
  addFirstLink(rows, { directory: parent, name }, inode);
  touchDirectory(rows, parent, circumstances, { directories: 1 });
  return { name, record: keys.recordOf(row) };
}

export function directoryRow(
  inode: Inode,
  parts: Pick<DirectoryRequest, 'salt' | 'attributes' | 'isImplicit'> & Partial<PosixPart>,
  { nowMs }: Circumstances,
): InodeRow {
  const { salt, attributes, isImplicit } = parts;
  const { mode = 0o755, uid = 0, gid = 0, quotaDirectory } = parts;
  const posix = { mode, uid, gid, quotaDirectory, linkCount: EMPTY_DIRECTORY_LINKS };
  return {
    inode,
    type: 'directory',
    sizeBytes: 0,
    createdAtMs: nowMs,
    modifiedAtMs: nowMs,
    salt,
    attributes,
    objectId: undefined,
    schemeNumbers: [],
    isImplicit,
    addressKey: undefined,
    posix: newPosix(posix, nowMs),
  };
}

export function entryOf(rows: Rows, inode: Inode): BackLink | undefined {
  return linksOf(rows, inode)[0];
}

export function list(
  rows: Overlay,
  request: { directory: Inode; after?: Uint8Array | undefined; limit: number },
  circumstances: Circumstances,
): readonly Dirent[] {
  checkLease(rows, request.directory, circumstances);
  return entriesOf(rows, request).map(({ name, row }) => ({ name, record: keys.recordOf(row) }));
}

// Objects.

function findObject(rows: Rows, id: ObjectId): InodeRow | undefined {
  const value = rows.get(keys.objectKey(id));
  return value && objectNamedBy(rows, value);
}

/** The object that the value of a 'J' row names. */
function objectNamedBy(rows: Rows, value: Uint8Array): InodeRow {
  return namedInode(rows, keys.decodeInodeNumber(value, 'object row'));
}

export function object(rows: Rows, id: ObjectId): InodeRecord | undefined {
  const row = findObject(rows, id);
  return row && keys.recordOf(row);
}

export function objectsByAddress(rows: Overlay, addressKey: Uint8Array): readonly InodeRecord[] {
  const inodes = rows
    .range(prefixRange(keys.addressRowKey(addressKey)))
    .map((row) => keys.inodeAtEndOf(row.key));
  rows.need(inodes.map(keys.inodeKey));
  return inodes
    .map((inode) => keys.recordOf(namedInode(rows, inode)))
    .sort((a, b) => a.createdAtMs - b.createdAtMs || Number(a.inode - b.inode));
}

export function listObjects(
  rows: Overlay,
  { after, limit }: { after?: ObjectId | undefined; limit: number },
): readonly InodeRecord[] {
  const from = scanFrom(rows, after && keyAfter(keys.objectKey(after)));
  const inodes = Array.from(rowsOfTag(rows, 'J', { ...from, limit }), ({ value }) =>
    keys.decodeInodeNumber(value, 'object row'),
  );
  rows.need(inodes.map(keys.inodeKey));
  return inodes.map((inode) => keys.recordOf(namedInode(rows, inode)));
}

export function commitObject(
  rows: Overlay,
  commit: ObjectCommit,
  circumstances: Circumstances,
): readonly Release[] {
  const { inode, entry, objectId } = commit;
  const { nowMs, fault } = circumstances;
  extents.checkUncommitted(rows, inode);
  checkSchemes(commit);
  if (entry) checkName(entry.name);
  const directory = entry && checkEntriesOf(rows, entry.directory, circumstances);
  const { byId, byEntry } = findStanding(rows, commit, fault);
  extents.commitExtents(rows, commit, fault === 'first-encoding-only');
  const left = byId ? linksToChange(rows, byId.inode, circumstances) : [];
  if (byId) removeRawKey(rows, objectId);
  const released = [
    byId && removeAll(rows, byId, circumstances),
    byEntry && unlinkEntry(rows, { row: byEntry, at: entry as BackLink }, circumstances).release,
  ];
  const modifiedAtMs = fault === 'writer-clock' ? commit.createdAtMs : nowMs;
  const quotaDirectory = directory && quotaWithin(rows, directory);
  const { sizeBytes } = commit;
  const replaced = entry && (byEntry ?? byId);
  const posix = objectPosix({ sizeBytes, quotaDirectory, replaced }, nowMs);
  writeObject(rows, { ...commit, modifiedAtMs, posix });
  if (entry) {
    addLink(rows, entry, inode);
    touchDirectory(rows, entry.directory, circumstances);
  }
  // The new entry stands by now, so that its directory does not vanish with the old one.
  for (const at of left) {
    if (!entry || !isSameLink(at, entry)) leaveDirectory(rows, at.directory, circumstances);
  }
  return released.filter((release) => release !== undefined);
}

/** Only what is charged to a quota, or takes another owner or mode, has it from the beginning. */
function objectPosix(
  object: { sizeBytes: number; quotaDirectory: Inode | undefined; replaced: InodeRow | undefined },
  nowMs: number,
): PosixPart | undefined {
  const { sizeBytes: storedBytes, quotaDirectory, replaced } = object;
  const before = replaced?.type === 'file' ? replaced.posix : undefined;
  if (!before && quotaDirectory === undefined) return undefined;
  const { uid, gid } = before ?? { uid: 0, gid: 0 };
  const mode = replaced && before ? keptMode(replaced, before) : 0o644;
  return newPosix({ mode, uid, gid, linkCount: 1, storedBytes, quotaDirectory }, nowMs);
}

/** An access control list does not stay, and may have denied the group what the bits grant it. */
function keptMode({ hasXattrs }: Pick<InodeRow, 'hasXattrs'>, { mode }: PosixPart): number {
  const group = mode & GROUP_BITS & (hasXattrs ? mode << 3 : GROUP_BITS);
  return (mode & ~(SET_ID_BITS | GROUP_BITS)) | group;
}

/** All links of an inode, each of which is to go or to change. @throws HF_LEASED, HF_FENCED. */
function linksToChange(rows: Rows, inode: Inode, circumstances: Circumstances): BackLink[] {
  const links = linksOf(rows, inode);
  for (const { directory } of links) checkLease(rows, directory, circumstances);
  return links;
}

/** An object with all its links; its directories are the caller's to leave. */
function removeAll(
  rows: Overlay,
  row: InodeRow,
  circumstances: Circumstances,
): Release | undefined {
  const before = { ...row, posix: posixOf(rows, row) };
  for (const at of linksOf(rows, row.inode)) removeLink(rows, at, row.inode);
  return letGo(rows, before, circumstances).release;
}

/** An entry has gone for good. */
function leaveDirectory(rows: Overlay, directory: Inode, circumstances: Circumstances): void {
  touchDirectory(rows, directory, circumstances);
  vanish(rows, directory, circumstances);
}

/** Takes the place of an inode: all its names, attributes, and what was recorded of its times. */
export function reencodeObject(
  rows: Overlay,
  request: Reencoding,
  circumstances: Circumstances,
): Release {
  const { inode, replaces, sizeBytes, addressKey } = request;
  const { nowMs, fault } = circumstances;
  extents.checkUncommitted(rows, inode);
  checkSchemes(request);
  const old = findInode(rows, replaces);
  if (!old?.objectId) throw new HoldfastError('HF_NOT_FOUND', 'the object was replaced or removed');
  const isSame = fault === 'any-content' || isSameAddress(old.addressKey, addressKey);
  if (old.sizeBytes !== sizeBytes || !isSame) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'an object keeps its content when it is re-encoded');
  }
  extents.commitExtents(rows, request);
  const { posix } = changedRow(rows, old, nowMs);
  const links = linksToChange(rows, replaces, circumstances);
  const hasXattrs = keepXattrs(rows, old, request);
  for (const at of links) removeBackLink(rows, at, replaces);
  letGo(rows, old, circumstances);
  const { objectId, createdAtMs, modifiedAtMs } = old;
  writeObject(rows, { ...request, objectId, createdAtMs, modifiedAtMs, posix, hasXattrs });
  for (const at of links) {
    addLink(rows, at, inode);
    // Nothing has changed for who looks at the names, but those that know the inode look again.
    saveInode(rows, changedRow(rows, namedInode(rows, at.directory), nowMs));
  }
  return { inode: replaces };
}

/** @returns whether there are any. @throws HF_BUSY when they may be others by now. */
function keepXattrs(rows: Overlay, old: InodeRow, { inode, xattrs }: Reencoding): true | undefined {
  if (!xattrs && !hasRowWithin(rows, xattrKey(old.inode))) return undefined;
  if (xattrs?.baseChange !== posixOf(rows, old).changeCount) {
    throw new HoldfastError('HF_BUSY', 'the object was changed meanwhile');
  }
  for (const { name, value } of xattrs.sealed) {
    rows.put(xattrKey(inode, name), encodeSealed(value));
  }
  return xattrs.sealed.length > 0 || undefined;
}

function isSameAddress(known: Uint8Array | undefined, claimed: Uint8Array): boolean {
  return known !== undefined && bytesEqual(known, claimed);
}

/** @throws HF_BAD_ARGUMENT. */
function checkSchemes({ schemeNumbers }: Pick<ObjectCommit, 'schemeNumbers'>): void {
  const { length } = schemeNumbers;
  const isValid =
    length >= 1 && length <= LIMITS.encodingsMax && new Set(schemeNumbers).size === length;
  if (!isValid) throw new HoldfastError('HF_BAD_ARGUMENT', `an object has no ${length} encodings`);
}

interface Standing {
  readonly byId: InodeRow | undefined;
  /** Another one than by id. */
  readonly byEntry: InodeRow | undefined;
}

/** What the commit replaces: the object with its id and what is at its entry. */
function findStanding(
  rows: Rows,
  { objectId, entry, mayReplace }: ObjectCommit,
  fault: NamespaceFault | undefined,
): Standing {
  const byId = findObject(rows, objectId);
  const atEntry = entry && findEntry(rows, entry.directory, entry.name);
  const byEntry = atEntry?.inode === byId?.inode ? undefined : atEntry;
  const standing = [byId, byEntry].filter((row) => row !== undefined);
  if (fault !== 'replace-protected') checkReplaceable(rows, standing);
  if (standing.length > 0 && !mayReplace) throw new HoldfastError('HF_EXISTS');
  if (atEntry?.type === 'directory') throw new HoldfastError('HF_IS_DIRECTORY');
  return { byId, byEntry };
}

type NewObject = Omit<ObjectCommit, 'extents' | 'mayReplace' | 'entry'> &
  Pick<InodeRow, 'modifiedAtMs' | 'posix' | 'hasXattrs'>;

function writeObject(rows: Overlay, commit: NewObject): void {
  const { inode, objectId, addressKey } = commit;
  saveInode(rows, {
    inode,
    type: 'file',
    sizeBytes: commit.sizeBytes,
    createdAtMs: commit.createdAtMs,
    modifiedAtMs: commit.modifiedAtMs,
    salt: new Uint8Array(),
    attributes: commit.attributes,
    objectId,
    schemeNumbers: commit.schemeNumbers,
    isImplicit: false,
    addressKey,
    posix: commit.posix,
    hasXattrs: commit.hasXattrs,
  });
  rows.put(keys.objectKey(objectId), keys.encodeInodeNumber(inode));
  rows.put(keys.addressRowKey(addressKey, inode), EMPTY_VALUE);
}

export function removeObject(rows: Overlay, id: ObjectId, circumstances: Circumstances): Release {
  const row = findObject(rows, id);
  if (!row) throw new HoldfastError('HF_NOT_FOUND', 'there is no such object');
  return removeWithLinks(rows, row, circumstances);
}

export function removeFile(rows: Overlay, inode: Inode, circumstances: Circumstances): Release {
  const row = givenInode(rows, inode);
  if (row.type === 'directory') throw new HoldfastError('HF_IS_DIRECTORY');
  if (linksOf(rows, inode).length === 0) throw new HoldfastError('HF_NOT_FOUND', 'it was removed');
  return removeWithLinks(rows, row, circumstances);
}

function removeWithLinks(rows: Overlay, row: InodeRow, circumstances: Circumstances): Release {
  checkRemovable(rows, row, circumstances.nowMs);
  const links = linksToChange(rows, row.inode, circumstances);
  if (row.objectId) removeRawKey(rows, row.objectId);
  removeAll(rows, row, circumstances);
  for (const { directory } of links) leaveDirectory(rows, directory, circumstances);
  return { inode: row.inode };
}

export function usage(rows: Rows): keys.Usage {
  let [objectCount, contentBytes, inodeCount] = [0, 0, 0];
  for (const row of rowsOfTag(rows, 'U')) {
    const ofSlot = keys.decodeUsage(row.value);
    objectCount += ofSlot.objectCount;
    contentBytes += ofSlot.contentBytes;
    inodeCount += ofSlot.inodeCount;
  }
  return { objectCount, contentBytes, inodeCount };
}
