/**
 * Inodes as rows: found, numbered, written, and counted for what they take. Every inode row is
 * written here, so that usage and quotas follow from it.
 *
 * Invariants: a slot's usage ('U') is the sum over its inode rows; a directory's quota row ('Q')
 * the sum over the inodes that are charged to it or to a directory which is charged to it.
 */
import { assert, HoldfastError, type ObjectId } from '../../base/index.ts';
import type { LeaseClaim } from '../handles/handles.ts';
import type { Inode, InodeRecord, Nearness } from './namespace.ts';
import { ROOT_INODE } from './namespace.ts';
import * as keys from './namespace-rows.ts';
import type { InodeRow } from './namespace-rows.ts';
import { decodeQuota, encodeQuota, quotaKey } from './tree-rows.ts';
import type { QuotaUsage } from './tree.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { decodeNumber, encodeNumber, SLOT_COUNT, slotOfKey } from '../cells/rows.ts';

/** Counters take 52 bits of an inode number. */
const COUNTER_MAX = 2 ** 52;
/** Inodes of a slot beyond which new directories of it take other slots. */
const SLOT_INODES_MAX = 65_536;

/**
 * Bugs that tests plant to see that they would be found. `replace-protected`: a WORM volume
 * replaces after all. `writer-clock`: retention runs from when the writer says.
 * `first-encoding-only`: other encodings may have gaps. `any-content`: re-encoding may change it.
 * `no-lease-fence`: batches run whether their leases are held or not.
 */
export type NamespaceFault =
  | 'replace-protected'
  | 'writer-clock'
  | 'first-encoding-only'
  | 'any-content'
  | 'no-lease-fence';

/** What an operation goes by besides rows. */
export interface Circumstances {
  /** By the steward's clock. */
  readonly nowMs: number;
  /** Whether somebody may have an inode of this cell open; when left out nobody has any. */
  readonly isOpen?: ((inode: Inode, rows: Rows) => boolean) | undefined;
  /** Of a batch of who holds directory leases, by directory. */
  readonly claims?: ReadonlyMap<Inode, LeaseClaim> | undefined;
  /** Of a directory that is to lie elsewhere than its parent. */
  readonly randomSlot?: number | undefined;
  readonly fault?: NamespaceFault | undefined;
}

export function findInode(rows: Rows, inode: Inode): InodeRow | undefined {
  const value = rows.get(keys.inodeKey(inode));
  return value && keys.decodeInode(inode, value);
}

/** The inode that another row names. */
export function namedInode(rows: Rows, inode: Inode): InodeRow {
  const row = findInode(rows, inode);
  if (!row) throw new HoldfastError('HF_CORRUPT', `inode ${inode} is named and not there`);
  return row;
}

/** @throws HF_NOT_FOUND. */
export function givenInode(rows: Rows, inode: Inode): InodeRow {
  const row = findInode(rows, inode);
  if (!row) throw new HoldfastError('HF_NOT_FOUND', `inode ${inode} is gone`);
  return row;
}

/** Of inodes of other cells nobody knows here. */
export function mayBeOpen(rows: Rows, inode: Inode, { isOpen }: Circumstances): boolean {
  if (!isOpen) return false;
  const [from, to] = rows.slots ?? [0, SLOT_COUNT];
  const slot = keys.slotOfInode(inode);
  return slot < from || slot >= to || isOpen(inode, rows);
}

export function recordsOf(
  rows: Overlay,
  inodes: readonly Inode[],
): readonly (InodeRecord | undefined)[] {
  rows.need(inodes.map(keys.inodeKey));
  return inodes.map((inode) => {
    const row = findInode(rows, inode);
    return row && keys.recordOf(row);
  });
}

/** Where a scan goes on from a key: not in slots before those that are looked through. */
export function scanFrom(rows: Rows, from: Uint8Array | undefined): { from?: Uint8Array } {
  const [firstSlot] = rows.slots ?? [0];
  return from && slotOfKey(from) >= firstSlot ? { from } : {};
}

// Numbers.

export function allocateInodes(rows: Overlay, count: number, slot = 0): Inode {
  const first = decodeNumber(rows.get(keys.nextInodeKey(slot)), 'inode counter') || 2;
  assert(first + count < COUNTER_MAX, 'there are inode numbers left');
  rows.put(keys.nextInodeKey(slot), encodeNumber(first + count));
  return keys.makeInode(slot, first);
}

/**
 * A number that its slot has not come to yet would be given to somebody else, too.
 * @throws HF_BAD_ARGUMENT.
 */
export function checkAllocated(rows: Rows, inode: Inode): void {
  const slot = keys.slotOfInode(inode);
  const next = decodeNumber(rows.get(keys.nextInodeKey(slot)), 'inode counter');
  if (inode > keys.makeInode(slot, 0) && inode < keys.makeInode(slot, next)) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', `the number ${inode} was given to nobody`);
}

export function slotNear(near: Nearness | undefined): number {
  if (!near) return 0;
  return 'inode' in near ? keys.slotOfInode(near.inode) : slotOfObject(near.objectId);
}

function slotOfObject(id: ObjectId): number {
  return Number.parseInt(id.slice(0, 3), 16);
}

/**
 * Where a new directory lies: with its parent, so that most of what touches both stays within a
 * cell; those in the root and those of full slots elsewhere, so that a volume spreads over cells.
 */
export function slotOfNewDirectory(
  rows: Rows,
  parent: Inode,
  { randomSlot }: Circumstances,
): number {
  const slot = keys.slotOfInode(parent);
  if (randomSlot === undefined) return slot;
  if (parent === ROOT_INODE) return randomSlot;
  const { inodeCount } = keys.decodeUsage(rows.get(keys.usageKey(slot)));
  return inodeCount > SLOT_INODES_MAX ? randomSlot : slot;
}

// Rows, and what they weigh.

/**
 * Writes the row, new or in the place of the one before.
 * @param before where that is known. @throws HF_QUOTA.
 */
export function saveInode(
  rows: Overlay,
  row: InodeRow,
  before: InodeRow | undefined = findInode(rows, row.inode),
): void {
  account(rows, before, row);
  rows.put(keys.inodeKey(row.inode), keys.encodeInode(row));
}

/** Writes the row of a number that was just taken. @throws HF_QUOTA. */
export function addInode(rows: Overlay, row: InodeRow): void {
  account(rows, undefined, row);
  rows.add(keys.inodeKey(row.inode), keys.encodeInode(row));
}

/** The row as it is but for its quota, which may be passed: its content is there already. */
export function recharge(rows: Overlay, row: InodeRow): void {
  account(rows, findInode(rows, row.inode), row, true);
  rows.put(keys.inodeKey(row.inode), keys.encodeInode(row));
}

export function deleteInode(rows: Overlay, row: InodeRow): void {
  account(rows, row, undefined);
  rows.delete(keys.inodeKey(row.inode));
}

function storedBytesOf(row: InodeRow): number {
  return row.posix?.storedBytes ?? (row.type === 'file' ? row.sizeBytes : 0);
}

/** Both are of one inode. */
function account(
  rows: Overlay,
  before: InodeRow | undefined,
  after: InodeRow | undefined,
  mayExceed = false,
): void {
  const { inode } = (before ?? after) as InodeRow;
  const old = weightOf(before);
  const young = weightOf(after);
  countUsage(rows, keys.slotOfInode(inode), {
    objectCount: young.objectCount - old.objectCount,
    contentBytes: young.bytes - old.bytes,
    inodeCount: young.inodes - old.inodes,
  });
  const from = before?.posix?.quotaDirectory;
  const to = after?.posix?.quotaDirectory;
  if (from === to) {
    const change = { bytes: young.bytes - old.bytes, inodes: young.inodes - old.inodes };
    chargeQuotas(rows, to, { ...change, mayExceed });
  } else {
    // What is charged to a directory goes where it goes.
    const within = chargedTo(rows, inode);
    const bytes = { from: old.bytes + within.bytes, to: young.bytes + within.bytes };
    const inodes = { from: old.inodes + within.inodes, to: young.inodes + within.inodes };
    chargeQuotas(rows, from, { bytes: -bytes.from, inodes: -inodes.from, mayExceed });
    chargeQuotas(rows, to, { bytes: bytes.to, inodes: inodes.to, mayExceed });
  }
}

function chargedTo(rows: Rows, directory: Inode): QuotaUsage {
  const value = rows.get(quotaKey(directory));
  return value ? decodeQuota(value).usage : { bytes: 0, inodes: 0 };
}

function weightOf(row: InodeRow | undefined): QuotaUsage & { readonly objectCount: number } {
  if (!row) return { objectCount: 0, bytes: 0, inodes: 0 };
  const isNamed = row.type === 'file' && (row.posix?.linkCount ?? 0) > 0;
  const objectCount = row.objectId || isNamed ? 1 : 0;
  return { objectCount, bytes: storedBytesOf(row), inodes: 1 };
}

function countUsage(rows: Overlay, slot: number, change: keys.Usage): void {
  const { objectCount, contentBytes, inodeCount } = change;
  if (objectCount === 0 && contentBytes === 0 && inodeCount === 0) return;
  const before = keys.decodeUsage(rows.get(keys.usageKey(slot)));
  const after = {
    // Files of mounts and directories were not counted once, and may go now.
    objectCount: Math.max(0, before.objectCount + objectCount),
    contentBytes: before.contentBytes + contentBytes,
    inodeCount: Math.max(0, before.inodeCount + inodeCount),
  };
  assert(after.contentBytes >= 0, 'usage does not fall below nothing');
  rows.put(keys.usageKey(slot), keys.encodeUsage(after));
}

/** Of a directory with a quota and of those that it is charged to itself. @throws HF_QUOTA. */
function chargeQuotas(
  rows: Overlay,
  directory: Inode | undefined,
  change: QuotaUsage & { readonly mayExceed: boolean },
): void {
  if (change.bytes === 0 && change.inodes === 0) return;
  for (let at = directory; at !== undefined; at = findInode(rows, at)?.posix?.quotaDirectory) {
    const value = rows.get(quotaKey(at));
    if (!value) throw new HoldfastError('HF_CORRUPT', `inode ${at} is charged and has no quota`);
    const { quota, usage } = decodeQuota(value);
    const bytes = usage.bytes + change.bytes;
    const inodes = usage.inodes + change.inodes;
    assert(bytes >= 0 && inodes >= 0, 'what is charged does not fall below nothing');
    const { bytesMax = Infinity, inodesMax = Infinity } = quota ?? {};
    const isOver =
      (change.bytes > 0 && bytes > bytesMax) || (change.inodes > 0 && inodes > inodesMax);
    if (isOver && !change.mayExceed) {
      throw new HoldfastError('HF_QUOTA', 'the quota of the directory is used up');
    }
    rows.put(quotaKey(at), encodeQuota({ quota, usage: { bytes, inodes } }));
  }
}

/** The directory with a quota that what is in this directory is charged to. */
export function quotaWithin(rows: Rows, directory: InodeRow): Inode | undefined {
  if (rows.get(quotaKey(directory.inode))) return directory.inode;
  return directory.posix?.quotaDirectory;
}
