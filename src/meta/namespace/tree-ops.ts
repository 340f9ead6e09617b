/**
 * What the operations of a tree do to its rows: making, linking, removing, and attributes. As those
 * of `namespace-ops.ts`: each leaves the rows consistent, or throws and leaves them as they were.
 */
import { HoldfastError } from '../../base/index.ts';
import { givenFile, resized, timeOf } from './content-ops.ts';
import { checkUncommitted } from './extent-ops.ts';
import {
  addInode,
  allocateInodes,
  checkAllocated,
  type Circumstances,
  givenInode,
  mayBeOpen,
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
  discard,
  entriesOf,
  findEntry,
  isEmpty,
  letGo,
  linksOf,
  posixOf,
  removeLink,
  statusOf,
  touchDirectory,
  unlinkEntry,
} from './link-ops.ts';
import type { Inode, Release } from './namespace.ts';
import { directoryRow } from './namespace-ops.ts';
import { slotOfInode } from './namespace-rows.ts';
import type { InodeRow } from './namespace-rows.ts';
import { MODE_MAX, newPosix } from './posix-part.ts';
import { checkUnlinkable } from './retention.ts';
import { decodeSealed, encodeSealed, inodeOfKey, orphanKey, targetKey } from './tree-rows.ts';
import type {
  AttributeChanges,
  InodeStatus,
  NodeRequest,
  Ownership,
  Place,
  Removal,
  ScanPage,
  TreeDirectoryRequest,
  TreeEntry,
} from './tree.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { EMPTY_VALUE, prefixRange, rowKey, rowsOfTag } from '../cells/rows.ts';

/** Names that a file may have, as ext4 has it: what names it stays short. */
const LINKS_MAX = 65_000;
const ID_MAX = 2 ** 32 - 1;
/** Bytes of a symlink's target, sealed. */
const TARGET_BYTES_MAX = 8192;

const EMPTY = new Uint8Array();

// What stands at a place.

export interface Seen {
  /** The form of the name that its entry has. */
  readonly name: Uint8Array;
  readonly row: InodeRow;
}

/** @throws HF_LEASED, HF_FENCED, HF_NOT_FOUND, HF_NOT_DIRECTORY, HF_BAD_ARGUMENT. */
export function checkPlace(
  rows: Rows,
  { directory, name, directoryName }: Place,
  circumstances: Circumstances,
): InodeRow {
  checkName(name);
  checkName(directoryName);
  return checkEntriesOf(rows, directory, circumstances);
}

/** A directory hides what is none. */
export function seenAt(rows: Rows, { directory, name, directoryName }: Place): Seen | undefined {
  const asDirectory = findEntry(rows, directory, directoryName);
  if (asDirectory) return { name: directoryName, row: asDirectory };
  const row = findEntry(rows, directory, name);
  return row && { name, row };
}

/** @throws HF_NOT_FOUND. */
export function givenAt(rows: Rows, place: Place, circumstances: Circumstances): Seen {
  checkPlace(rows, place, circumstances);
  const seen = seenAt(rows, place);
  if (!seen) throw new HoldfastError('HF_NOT_FOUND');
  return seen;
}

/** @returns the directory's row. @throws HF_EXISTS. */
function checkFree(rows: Rows, place: Place, circumstances: Circumstances): InodeRow {
  const directory = checkPlace(rows, place, circumstances);
  if (seenAt(rows, place)) throw new HoldfastError('HF_EXISTS');
  return directory;
}

export function entryAt(rows: Rows, { name, row }: Seen): TreeEntry {
  return { name, status: statusOf(rows, row) };
}

export function lookup(
  rows: Rows,
  place: Place,
  circumstances: Circumstances,
): TreeEntry | undefined {
  checkPlace(rows, place, circumstances);
  const seen = seenAt(rows, place);
  return seen && entryAt(rows, seen);
}

export function parentOf(rows: Rows, directory: Inode): Inode {
  if (givenInode(rows, directory).type !== 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
  return linksOf(rows, directory)[0]?.directory ?? directory;
}

export function listAttributes(
  rows: Overlay,
  request: { directory: Inode; after?: Uint8Array | undefined; limit: number },
  circumstances: Circumstances,
): readonly TreeEntry[] {
  checkLease(rows, request.directory, circumstances);
  const { type } = givenInode(rows, request.directory);
  if (type !== 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
  return entriesOf(rows, request).map((entry) => entryAt(rows, entry));
}

// Making.

export function makeNode(
  rows: Overlay,
  request: NodeRequest,
  circumstances: Circumstances,
): TreeEntry {
  const { place, type, target } = request;
  checkOwnership(request);
  checkKind(request);
  const directory = place && checkFree(rows, place, circumstances);
  const inode = takeNumber(rows, request, place ? slotOfInode(place.directory) : 0);
  const row: InodeRow = {
    ...nodeRow(inode, request, circumstances),
    posix: newPosix(
      {
        ...ownershipOf(request),
        linkCount: place ? 1 : 0,
        deviceNumber: request.deviceNumber ?? 0,
        quotaDirectory: directory && quotaWithin(rows, directory),
      },
      circumstances.nowMs,
    ),
  };
  saveMade(rows, row, request);
  if (type === 'symlink') rows.put(targetKey(inode), encodeSealed(target?.sealed ?? EMPTY));
  if (!place) rows.put(orphanKey(inode), EMPTY_VALUE);
  else {
    addFirstLink(rows, place, inode);
    touchDirectory(rows, place.directory, circumstances, { isOfTree: true });
  }
  return entryAt(rows, { name: place?.name ?? EMPTY, row });
}

function nodeRow(
  inode: Inode,
  { type, target, attributes = EMPTY }: NodeRequest,
  { nowMs }: Circumstances,
): InodeRow {
  return {
    inode,
    type,
    sizeBytes: target?.sizeBytes ?? 0,
    createdAtMs: nowMs,
    modifiedAtMs: nowMs,
    salt: EMPTY,
    attributes,
    objectId: undefined,
    schemeNumbers: [],
    isImplicit: false,
    addressKey: undefined,
  };
}

export function makeDirectory(
  rows: Overlay,
  request: TreeDirectoryRequest,
  circumstances: Circumstances,
): TreeEntry {
  const { place, salt, attributes = EMPTY } = request;
  checkOwnership(request);
  const above = checkFree(rows, place, circumstances);
  const slot = slotOfNewDirectory(rows, place.directory, circumstances);
  const inode = takeNumber(rows, request, slot);
  const parts = { ...ownershipOf(request), quotaDirectory: quotaWithin(rows, above) };
  const made = { salt, attributes, isImplicit: false, ...parts };
  const row = directoryRow(inode, made, circumstances);
  saveMade(rows, row, request);
  const { directory, directoryName: name } = place;
  addFirstLink(rows, { directory, name }, inode);
  touchDirectory(rows, directory, circumstances, { directories: 1, isOfTree: true });
  return entryAt(rows, { name, row });
}

/** @throws HF_EXISTS, HF_FENCED when the number that was given is used; HF_BAD_ARGUMENT. */
function takeNumber(
  rows: Overlay,
  { inode }: { readonly inode?: Inode | undefined },
  slot: number,
): Inode {
  if (inode === undefined) return allocateInodes(rows, 1, slot);
  checkAllocated(rows, inode);
  checkUncommitted(rows, inode);
  return inode;
}

function saveMade(
  rows: Overlay,
  row: InodeRow,
  { inode }: { readonly inode?: Inode | undefined },
): void {
  if (inode === undefined) addInode(rows, row);
  else saveInode(rows, row);
}

function ownershipOf({ mode, uid, gid }: Ownership): Ownership {
  return { mode, uid, gid };
}

/** @throws HF_BAD_ARGUMENT. */
export function checkOwnership({ mode = 0, uid = 0, gid = 0 }: AttributeChanges): void {
  if (isWithin(mode, MODE_MAX) && isWithin(uid, ID_MAX) && isWithin(gid, ID_MAX)) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'a mode, user or group is none');
}

/** @throws HF_BAD_ARGUMENT. */
function checkKind({ type, target, deviceNumber = 0 }: NodeRequest): void {
  const isDevice = type === 'characterDevice' || type === 'blockDevice';
  const hasItsParts =
    (type === 'symlink') === (target !== undefined) &&
    (target === undefined ||
      (target.sealed.length <= TARGET_BYTES_MAX && isWithin(target.sizeBytes, TARGET_BYTES_MAX))) &&
    isWithin(deviceNumber, isDevice ? ID_MAX : 0);
  if (!hasItsParts) throw new HoldfastError('HF_BAD_ARGUMENT', `that makes no ${type}`);
}

function isWithin(number: number, max: number): boolean {
  return Number.isSafeInteger(number) && number >= 0 && number <= max;
}

export function readLink(rows: Rows, inode: Inode): Uint8Array {
  const { type } = givenInode(rows, inode);
  const value = rows.get(targetKey(inode));
  if (type !== 'symlink') throw new HoldfastError('HF_BAD_ARGUMENT', 'it is no symlink');
  if (!value) throw new HoldfastError('HF_CORRUPT', `symlink ${inode} has no target`);
  return decodeSealed(value, 'symlink target');
}

// Links.

export function link(
  rows: Overlay,
  { inode, place }: { inode: Inode; place: Place },
  circumstances: Circumstances,
): InodeStatus {
  checkLease(rows, place.directory, circumstances);
  const before = givenInode(rows, inode);
  if (before.type === 'directory') {
    throw new HoldfastError('HF_DENIED', 'a directory has one name');
  }
  const directory = checkFree(rows, place, circumstances);
  const { linkCount, quotaDirectory } = posixOf(rows, before);
  if (linkCount >= LINKS_MAX) throw new HoldfastError('HF_TOO_MANY_LINKS');
  const quota = quotaWithin(rows, directory);
  if (linkCount > 0 && quota !== quotaDirectory) {
    throw new HoldfastError('HF_CROSS_TREE', 'all names of a file are under one quota');
  }
  const row = changedRow(rows, before, circumstances.nowMs, {
    linkCount: linkCount + 1,
    quotaDirectory: quota,
  });
  saveInode(rows, row);
  if (rows.get(orphanKey(inode))) rows.delete(orphanKey(inode));
  addLink(rows, place, inode);
  touchDirectory(rows, place.directory, circumstances, { isOfTree: true });
  return statusOf(rows, row);
}

export function unlink(rows: Overlay, place: Place, circumstances: Circumstances): Removal {
  const { name, row } = givenAt(rows, place, circumstances);
  if (row.type === 'directory') throw new HoldfastError('HF_IS_DIRECTORY');
  checkUnlinkable(rows, row, circumstances.nowMs);
  const { directory } = place;
  const left = unlinkEntry(rows, { row, at: { directory, name } }, circumstances);
  touchDirectory(rows, directory, circumstances, { isOfTree: true });
  return { status: statusOf(rows, left.row), release: left.release };
}

export function removeDirectory(
  rows: Overlay,
  place: Place,
  circumstances: Circumstances,
): InodeStatus {
  const { row } = givenAt(rows, place, circumstances);
  if (row.type !== 'directory') throw new HoldfastError('HF_NOT_DIRECTORY');
  if (!isEmpty(rows, row.inode, circumstances)) throw new HoldfastError('HF_NOT_EMPTY');
  const { directory, directoryName: name } = place;
  removeLink(rows, { directory, name }, row.inode);
  const left = letGo(rows, row, circumstances);
  touchDirectory(rows, directory, circumstances, { directories: -1, isOfTree: true });
  return statusOf(rows, left.row);
}

// Attributes.

export function setAttributes(
  rows: Overlay,
  { inode, changes }: { inode: Inode; changes: AttributeChanges },
  { nowMs }: Circumstances,
): InodeStatus {
  checkOwnership(changes);
  const { sizeBytes, mode, uid, gid, attributes, accessedNs, modifiedNs } = changes;
  const before =
    sizeBytes === undefined
      ? givenInode(rows, inode)
      : resized(rows, givenFile(rows, inode), sizeBytes);
  const posix = posixOf(rows, before);
  const isResized = sizeBytes !== undefined;
  const row = changedRow(rows, before, nowMs, {
    mode: mode ?? posix.mode,
    uid: uid ?? posix.uid,
    gid: gid ?? posix.gid,
    accessedNs: accessedNs === undefined ? posix.accessedNs : timeOf(accessedNs, nowMs),
    modifiedNs:
      modifiedNs !== undefined || isResized ? timeOf(modifiedNs ?? 'now', nowMs) : posix.modifiedNs,
  });
  const saved = {
    ...row,
    ...(attributes && { attributes }),
    ...(isResized && { modifiedAtMs: nowMs }),
    isImplicit: false,
  };
  saveInode(rows, saved);
  return statusOf(rows, saved);
}

// Orphans.

/** Inodes that have rows of this tag, in the order of their numbers. */
export function inodesOfTag(
  rows: Rows,
  tag: string,
  { after, limit }: ScanPage & { limit: number },
): readonly Inode[] {
  const found: Inode[] = [];
  let last = after;
  while (found.length < limit) {
    const from =
      last === undefined ? undefined : prefixRange(rowKey(slotOfInode(last), tag, last)).to;
    const [row] = rowsOfTag(rows, tag, { ...scanFrom(rows, from), limit: 1 });
    if (!row) break;
    last = inodeOfKey(row.key);
    found.push(last);
  }
  return found;
}

export function releaseOrphans(
  rows: Overlay,
  inodes: readonly Inode[],
  circumstances: Circumstances,
): readonly Release[] {
  const releases: Release[] = [];
  for (const inode of inodes) {
    if (!rows.get(orphanKey(inode)) || mayBeOpen(rows, inode, circumstances)) continue;
    rows.delete(orphanKey(inode));
    const release = discard(rows, givenInode(rows, inode));
    if (release) releases.push(release);
  }
  return releases;
}
