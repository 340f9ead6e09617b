/**
 * What the operations of a namespace do to its rows: synchronous functions that a steward executes.
 * Each leaves the rows consistent or throws and leaves them as they were.
 *
 * Invariants: an entry ('D') names an inode that is there ('I') and whose back-link ('P') names the
 * entry; an object has one 'I', one 'J', one 'A' and at most one 'P' row; an implicit directory has
 * an entry; an inode with a release ('G') or a refusal ('V') has no 'I' row.
 */
import { assert, bytesEqual, HoldfastError, LIMITS, type ObjectId } from '../../base/index.ts';
import type {
  Dirent,
  ExtentPlace,
  Inode,
  InodeRecord,
  Namespace,
  ObjectCommit,
  Reencoding,
  Release,
} from './namespace.ts';
import { ROOT_INODE } from './namespace.ts';
import * as keys from './namespace-rows.ts';
import type { InodeRow } from './namespace-rows.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import * as extents from './extent-ops.ts';
import { checkRemovable, checkReplaceable } from './retention.ts';
import {
  decodeNumber,
  EMPTY_VALUE,
  encodeNumber,
  hasRowWithin,
  keyAfter,
  prefixRange,
  rowsOfTag,
} from '../cells/rows.ts';

/** A directory entry's name, or the key of an object, sealed. */
const NAME_BYTES_MAX = 2048;
/** Counters take 52 bits of an inode number. */
const COUNTER_MAX = 2 ** 52;

/**
 * Bugs that tests plant to see that they would be found. `replace-protected`: a WORM volume
 * replaces after all. `writer-clock`: retention runs from when the writer says.
 * `first-encoding-only`: other encodings may have gaps. `any-content`: re-encoding may change it.
 */
export type NamespaceFault =
  | 'replace-protected'
  | 'writer-clock'
  | 'first-encoding-only'
  | 'any-content';

/** What an operation goes by besides rows. */
export interface Circumstances {
  /** By the steward's clock. */
  readonly nowMs: number;
  readonly fault?: NamespaceFault | undefined;
}

export type DirectoryRequest = Parameters<Namespace['makeDirectory']>[0];

export function makeRoot(
  rows: Overlay,
  { salt, nowMs }: { salt: Uint8Array; nowMs: number },
): void {
  if (rows.get(keys.inodeKey(ROOT_INODE))) return;
  const attributes = new Uint8Array();
  writeInode(rows, directoryRow(ROOT_INODE, { salt, attributes, isImplicit: false }, nowMs));
}

export function allocateInodes(rows: Overlay, count: number, slot = 0): Inode {
  const first = decodeNumber(rows.get(keys.nextInodeKey(slot)), 'inode counter') || 2;
  assert(first + count < COUNTER_MAX, 'there are inode numbers left');
  rows.put(keys.nextInodeKey(slot), encodeNumber(first + count));
  return keys.makeInode(slot, first);
}

export function findInode(rows: Rows, inode: Inode): InodeRow | undefined {
  const value = rows.get(keys.inodeKey(inode));
  return value && keys.decodeInode(inode, value);
}

/** The inode that another row names. */
function namedInode(rows: Rows, inode: Inode): InodeRow {
  const row = findInode(rows, inode);
  if (!row) throw new HoldfastError('HF_CORRUPT', `inode ${inode} is named and not there`);
  return row;
}

function writeInode(rows: Overlay, row: InodeRow): void {
  rows.put(keys.inodeKey(row.inode), keys.encodeInode(row));
}

function findEntry(rows: Rows, directory: Inode, name: Uint8Array): InodeRow | undefined {
  const value = rows.get(keys.direntKey(directory, name));
  return value && namedInode(rows, keys.decodeInodeNumber(value, 'directory entry'));
}

export function lookup(rows: Rows, directory: Inode, name: Uint8Array): Dirent | undefined {
  const row = findEntry(rows, directory, name);
  return row && { name, record: keys.recordOf(row) };
}

/** @throws HF_NOT_FOUND, HF_NOT_DIRECTORY. */
function checkDirectory(rows: Rows, directory: Inode): void {
  const row = findInode(rows, directory);
  if (!row) throw new HoldfastError('HF_NOT_FOUND', 'the directory is gone');
  if (row.type !== 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
}

function checkName(name: Uint8Array): void {
  if (name.length >= 1 && name.length <= NAME_BYTES_MAX) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', `a name takes 1 to ${NAME_BYTES_MAX} sealed bytes`);
}

export function makeDirectory(rows: Overlay, request: DirectoryRequest, nowMs: number): Dirent {
  const { parent, name } = request;
  checkName(name);
  checkDirectory(rows, parent);
  const present = findEntry(rows, parent, name);
  if (present && present.type !== 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
  if (present) return { name, record: keys.recordOf(present) };
  const inode = allocateInodes(rows, 1, keys.slotOfInode(parent));
  const row = directoryRow(inode, request, nowMs);
  writeInode(rows, row);
  link(rows, { directory: parent, name }, inode);
  return { name, record: keys.recordOf(row) };
}

function directoryRow(
  inode: Inode,
  parts: Pick<DirectoryRequest, 'salt' | 'attributes' | 'isImplicit'>,
  nowMs: number,
): InodeRow {
  return {
    inode,
    type: 'directory',
    sizeBytes: 0,
    createdAtMs: nowMs,
    modifiedAtMs: nowMs,
    salt: parts.salt,
    attributes: parts.attributes,
    objectId: undefined,
    schemeNumbers: [],
    isImplicit: parts.isImplicit,
    addressKey: undefined,
  };
}

function link(rows: Overlay, at: keys.BackLink, inode: Inode): void {
  rows.put(keys.direntKey(at.directory, at.name), keys.encodeInodeNumber(inode));
  rows.put(keys.backLinkKey(inode), keys.encodeBackLink(at));
}

export function entryOf(rows: Rows, inode: Inode): keys.BackLink | undefined {
  const value = rows.get(keys.backLinkKey(inode));
  return value && keys.decodeBackLink(value);
}

export function list(
  rows: Rows,
  request: { directory: Inode; after?: Uint8Array | undefined; limit: number },
): readonly Dirent[] {
  const { directory, after, limit } = request;
  const range = prefixRange(keys.direntKey(directory));
  const from = after ? keyAfter(keys.direntKey(directory, after)) : range.from;
  return rows.range({ from, to: range.to, limit }).map((row) => ({
    name: keys.nameOfDirent(row),
    record: keys.recordOf(namedInode(rows, keys.decodeInodeNumber(row.value, 'directory entry'))),
  }));
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

export function objectsByAddress(rows: Rows, addressKey: Uint8Array): readonly InodeRecord[] {
  return rows
    .range(prefixRange(keys.addressRowKey(addressKey)))
    .map((row) => keys.recordOf(namedInode(rows, keys.inodeAtEndOf(row.key))))
    .sort((a, b) => a.createdAtMs - b.createdAtMs || Number(a.inode - b.inode));
}

export function listObjects(
  rows: Rows,
  { after, limit }: { after?: ObjectId | undefined; limit: number },
): readonly InodeRecord[] {
  const from = after ? { from: keyAfter(keys.objectKey(after)) } : {};
  return Array.from(rowsOfTag(rows, 'J', { ...from, limit }), (row) =>
    keys.recordOf(objectNamedBy(rows, row.value)),
  );
}

export function commitObject(
  rows: Overlay,
  commit: ObjectCommit,
  { nowMs, fault }: Circumstances,
): readonly Release[] {
  const { inode, entry } = commit;
  extents.checkUncommitted(rows, inode);
  checkSchemes(commit);
  if (entry) {
    checkName(entry.name);
    checkDirectory(rows, entry.directory);
  }
  const standing = findStanding(rows, commit, fault);
  extents.commitExtents(rows, commit, fault === 'first-encoding-only');
  const released = standing.map((old) => dropObject(rows, old.row));
  const modifiedAtMs = fault === 'writer-clock' ? commit.createdAtMs : nowMs;
  writeObject(rows, { ...commit, modifiedAtMs });
  // The new entry stands by now, so that its directory does not vanish with the old one.
  for (const { at } of standing) {
    if (at && !isSameEntry(at, entry)) removeEntry(rows, at);
  }
  return released;
}

/** Takes the place of an inode, all its names, and what was recorded of its times. */
export function reencodeObject(
  rows: Overlay,
  request: Reencoding,
  { fault }: Circumstances,
): Release {
  const { inode, replaces, sizeBytes, addressKey } = request;
  extents.checkUncommitted(rows, inode);
  checkSchemes(request);
  const old = findInode(rows, replaces);
  if (!old?.objectId) throw new HoldfastError('HF_NOT_FOUND', 'the object was replaced or removed');
  const isSame = fault === 'any-content' || isSameAddress(old.addressKey, addressKey);
  if (old.sizeBytes !== sizeBytes || !isSame) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'an object keeps its content when it is re-encoded');
  }
  extents.commitExtents(rows, request);
  const entry = entryOf(rows, replaces);
  const release = dropObject(rows, old);
  const { objectId, createdAtMs, modifiedAtMs } = old;
  writeObject(rows, { ...request, objectId, createdAtMs, modifiedAtMs, entry });
  return release;
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
  readonly row: InodeRow;
  readonly at: keys.BackLink | undefined;
}

/** What the commit replaces: the object with its id and the one at its entry. */
function findStanding(
  rows: Rows,
  { objectId, entry, mayReplace }: ObjectCommit,
  fault: NamespaceFault | undefined,
): Standing[] {
  const byId = findObject(rows, objectId);
  const byEntry = entry && findEntry(rows, entry.directory, entry.name);
  const found = [byId, byEntry?.inode === byId?.inode ? undefined : byEntry];
  const standing = found.filter((row) => row !== undefined);
  if (fault !== 'replace-protected') checkReplaceable(rows, standing);
  if (standing.length > 0 && !mayReplace) throw new HoldfastError('HF_EXISTS');
  if (byEntry?.type === 'directory') throw new HoldfastError('HF_IS_DIRECTORY');
  return standing.map((row) => ({ row, at: entryOf(rows, row.inode) }));
}

function isSameEntry(a: keys.BackLink, b: keys.BackLink | undefined): boolean {
  return b !== undefined && a.directory === b.directory && Buffer.compare(a.name, b.name) === 0;
}

type NewObject = Omit<ObjectCommit, 'extents' | 'mayReplace'> & Pick<InodeRecord, 'modifiedAtMs'>;

function writeObject(rows: Overlay, commit: NewObject): void {
  const { inode, createdAtMs, modifiedAtMs, objectId, addressKey, entry } = commit;
  writeInode(rows, {
    inode,
    type: 'file',
    sizeBytes: commit.sizeBytes,
    createdAtMs,
    modifiedAtMs,
    salt: new Uint8Array(),
    attributes: commit.attributes,
    objectId,
    schemeNumbers: commit.schemeNumbers,
    isImplicit: false,
    addressKey,
  });
  rows.put(keys.objectKey(objectId), keys.encodeInodeNumber(inode));
  rows.put(keys.addressRowKey(addressKey, inode), EMPTY_VALUE);
  if (entry) link(rows, entry, inode);
  count(rows, inode, { objectCount: 1, contentBytes: commit.sizeBytes });
}

/** Removes an object and leaves its release; its entry is the caller's to remove or replace. */
function dropObject(rows: Overlay, row: InodeRow): Release {
  const { inode, objectId, addressKey } = row;
  if (!objectId || !addressKey) {
    throw new HoldfastError('HF_CORRUPT', `inode ${inode} stands for an object and is none`);
  }
  rows.delete(keys.inodeKey(inode));
  rows.delete(keys.objectKey(objectId));
  rows.delete(keys.addressRowKey(addressKey, inode));
  rows.delete(keys.backLinkKey(inode));
  rows.put(keys.releaseKey(inode), EMPTY_VALUE);
  count(rows, inode, { objectCount: -1, contentBytes: -row.sizeBytes });
  return { inode };
}

export function removeObject(rows: Overlay, id: ObjectId, { nowMs }: Circumstances): Release {
  const row = findObject(rows, id);
  if (!row) throw new HoldfastError('HF_NOT_FOUND', 'there is no such object');
  checkRemovable(rows, row, nowMs);
  const at = entryOf(rows, row.inode);
  const release = dropObject(rows, row);
  if (at) removeEntry(rows, at);
  return release;
}

/** Removes an entry, and the implicit directories above it that have none left. */
function removeEntry(rows: Overlay, at: keys.BackLink): void {
  rows.delete(keys.direntKey(at.directory, at.name));
  const directory = namedInode(rows, at.directory);
  if (!directory.isImplicit || hasRowWithin(rows, keys.direntKey(at.directory))) return;
  const above = entryOf(rows, at.directory);
  if (!above) throw new HoldfastError('HF_CORRUPT', 'an implicit directory has no back-link');
  rows.delete(keys.inodeKey(at.directory));
  rows.delete(keys.backLinkKey(at.directory));
  removeEntry(rows, above);
}

function count(rows: Overlay, inode: Inode, change: keys.Usage): void {
  const key = keys.usageKey(keys.slotOfInode(inode));
  const before = keys.decodeUsage(rows.get(key));
  const after = {
    objectCount: before.objectCount + change.objectCount,
    contentBytes: before.contentBytes + change.contentBytes,
  };
  assert(after.objectCount >= 0 && after.contentBytes >= 0, 'usage does not fall below nothing');
  rows.put(key, keys.encodeUsage(after));
}

export function usage(rows: Rows): keys.Usage {
  let objectCount = 0;
  let contentBytes = 0;
  for (const row of rowsOfTag(rows, 'U')) {
    const ofSlot = keys.decodeUsage(row.value);
    objectCount += ofSlot.objectCount;
    contentBytes += ofSlot.contentBytes;
  }
  return { objectCount, contentBytes };
}

export function refuse(rows: Overlay, inode: Inode): 'committed' | 'refused' {
  if (rows.get(keys.refusedKey(inode))) return 'refused';
  if (rows.get(keys.inodeKey(inode)) || rows.get(keys.releaseKey(inode))) return 'committed';
  rows.put(keys.refusedKey(inode), EMPTY_VALUE);
  rows.delete(keys.stagedKey(inode));
  if (hasRowWithin(rows, keys.extentKey(inode))) rows.put(keys.releaseKey(inode), EMPTY_VALUE);
  return 'refused';
}

export function releases(rows: Rows): readonly Release[] {
  return Array.from(rowsOfTag(rows, 'G'), ({ key }) => ({ inode: keys.inodeAtEndOf(key) }));
}

export function finishRelease(
  rows: Overlay,
  { inode }: Release,
  places: readonly ExtentPlace[],
): void {
  if (!rows.get(keys.releaseKey(inode))) return; // it was finished before
  for (const place of places) rows.delete(keys.extentKey(inode, place));
  if (!hasRowWithin(rows, keys.extentKey(inode))) rows.delete(keys.releaseKey(inode));
}
