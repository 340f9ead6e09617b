/**
 * Locks as rows: `slot L inode kind session owner start`. What operations do to them; who waits is
 * not among the rows (lock-lines.ts).
 *
 * Invariants: the rows of one owner are disjoint, and those that touch differ in mode; no two live
 * locks of different owners conflict. A lock is *live* while its session is.
 */
import { fromHex, HoldfastError, LIMITS, toHex } from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import {
  keyReader,
  prefixRange,
  rowKey,
  rowsOfTag,
  valueReader,
  valueWriter,
} from '../cells/rows.ts';
import type { Inode } from '../namespace/namespace.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import {
  LOCK_END,
  type LockAnswer,
  type LockHolder,
  type LockKind,
  type LockOwner,
  type LockRange,
  type LockRequest,
  type SessionId,
} from './handles.ts';
import { type LockedRange, overlaps, replaceRange } from './lock-ranges.ts';
import { checkSession, isLive } from './session-ops.ts';

const KINDS: readonly LockKind[] = ['posix', 'ofd', 'flock'];
const SESSION_BYTES = 16;
const WHOLE_FILE: LockRange = { start: 0n, end: LOCK_END };

/** A row. */
export interface HeldLock extends LockOwner, LockedRange {}

function locksPrefix(inode: Inode): Uint8Array {
  return rowKey(slotOfInode(inode), 'L', inode);
}

function ownerPrefix({ inode, kind, session, owner }: LockOwner): Uint8Array {
  const number = new Uint8Array([KINDS.indexOf(kind)]);
  return rowKey(slotOfInode(inode), 'L', inode, number, fromHex(session), owner);
}

function lockKey(lock: LockOwner, start: bigint): Uint8Array {
  const { inode, kind, session, owner } = lock;
  const number = new Uint8Array([KINDS.indexOf(kind)]);
  return rowKey(slotOfInode(inode), 'L', inode, number, fromHex(session), owner, start);
}

function encodeLock({ end, isExclusive, processId }: LockedRange): Uint8Array {
  return valueWriter(14)
    .bigU64(end)
    .u8(isExclusive ? 1 : 0)
    .u32(processId)
    .finish();
}

/** @throws HF_CORRUPT. */
export function decodeLock({ key, value }: Row): HeldLock {
  const { rest } = keyReader(key);
  const inode = rest.bigU64be();
  const kind = KINDS[rest.u8()];
  if (!kind) throw rest.corrupt('there is no such kind of lock');
  const session = toHex(rest.raw(SESSION_BYTES));
  const owner = rest.bigU64be();
  const start = rest.bigU64be();
  rest.end();
  const reader = valueReader(value, 'lock row');
  const end = reader.bigU64();
  const mode = reader.u8();
  const processId = reader.u32();
  if (mode > 1 || end <= start) throw reader.corrupt('its mode or range is none');
  reader.end();
  return { inode, kind, session, owner, start, end, isExclusive: mode === 1, processId };
}

/** flock is about the whole file. @throws HF_BAD_ARGUMENT for a range that is none. */
export function normalRange<Range extends LockRange & Pick<LockOwner, 'kind'>>(
  range: Range,
): Range {
  if (range.kind === 'flock') return { ...range, ...WHOLE_FILE };
  if (range.start >= 0n && range.start < range.end && range.end <= LOCK_END) return range;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'the range of a lock is empty or too large');
}

/** Whether two requests, or a request and a lock, cannot both be granted. */
export function isConflict(a: LockOwner & LockedRange, b: LockOwner & LockedRange): boolean {
  if (a.inode !== b.inode || (a.kind === 'flock') !== (b.kind === 'flock')) return false;
  return (a.isExclusive || b.isExclusive) && overlaps(a, b) && !isSameOwner(a, b);
}

export function isSameOwner(a: LockOwner, b: LockOwner): boolean {
  return a.owner === b.owner && a.session === b.session && a.kind === b.kind;
}

/** Live ones, in the order of their rows. */
export function locksOf(rows: Rows, inode: Inode): HeldLock[] {
  const live = new Map<string, boolean>();
  return rows
    .range(prefixRange(locksPrefix(inode)))
    .map(decodeLock)
    .filter(({ session }) => {
      const known = live.get(session) ?? isLive(rows, session);
      live.set(session, known);
      return known;
    });
}

/** @param locks those of the inode, where they are known. */
export function conflictsOf(
  rows: Rows,
  request: LockRequest,
  locks: readonly HeldLock[] = locksOf(rows, request.inode),
): HeldLock[] {
  return locks.filter((lock) => isConflict(lock, request));
}

/**
 * Tries once.
 *
 * @param way.waits an flock is given up before it waits for the new one, as in Linux: two that
 *   share it and both want it alone would wait for ever.
 * @param way.mustQueue whether others wait that the request would pass.
 */
export function tryLock(
  rows: Overlay,
  request: LockRequest,
  way: { readonly waits: boolean; readonly mustQueue: boolean },
): LockAnswer {
  checkSession(rows, request.session);
  const locks = locksOf(rows, request.inode);
  const [first] = conflictsOf(rows, request, locks);
  if (way.waits && (first || way.mustQueue)) {
    if (request.kind === 'flock') clearOwner(rows, request);
    return { state: 'waiting' };
  }
  if (first) return { state: 'denied', by: holderOf(first) };
  if (!hasRoom(locks)) {
    throw new HoldfastError('HF_TOO_LARGE', 'the file has too many locks');
  }
  setLock(rows, request, locks);
  return { state: 'granted' };
}

/** What F_GETLK shows: the first in the way, as the kernel shows it. */
export function testLock(rows: Rows, request: LockRequest): LockHolder | undefined {
  checkSession(rows, request.session);
  return conflictsOf(rows, normalRange(request))
    .map(holderOf)
    .sort((a, b) => Number(a.start - b.start))[0];
}

export function holderOf(lock: HeldLock): LockHolder {
  const { session, kind, isExclusive, processId, start, end } = lock;
  return { session, kind, isExclusive, processId, start, end };
}

/** A request may cut a lock in two and add itself. */
export function hasRoom(locks: readonly HeldLock[]): boolean {
  return locks.length + 2 <= LIMITS.locksPerInodeMax;
}

/**
 * Grants what is known to conflict with nothing and to have room.
 * @param locks all of the inode.
 */
export function setLock(rows: Overlay, request: LockRequest, locks: readonly HeldLock[]): void {
  const own = locks.filter((lock) => isSameOwner(lock, request));
  replaceOwn(rows, own, { range: request, given: request });
}

/** Gives up what the owner has in the range. */
export function clearRange(rows: Overlay, range: LockOwner & LockRange): void {
  replaceOwn(rows, locksOfOwner(rows, range), { range: normalRange(range), given: undefined });
}

/** Gives up all that the owner has on the inode. */
export function clearOwner(rows: Overlay, owner: LockOwner): void {
  for (const lock of locksOfOwner(rows, owner)) rows.delete(lockKey(lock, lock.start));
}

/** The inode is gone. */
export function clearLocks(rows: Overlay, inode: Inode): void {
  for (const { key } of rows.range(prefixRange(locksPrefix(inode)))) rows.delete(key);
}

/** Deletes the locks of these sessions in some slots. */
export function sweepLocks(
  rows: Overlay,
  { slots, sessions }: { slots: [number, number]; sessions: ReadonlySet<SessionId> },
): void {
  for (const row of rowsOfTag(rows, 'L', { slots })) {
    if (sessions.has(decodeLock(row).session)) rows.delete(row.key);
  }
}

function locksOfOwner(rows: Rows, owner: LockOwner): HeldLock[] {
  return rows.range(prefixRange(ownerPrefix(owner))).map(decodeLock);
}

function replaceOwn(
  rows: Overlay,
  before: readonly HeldLock[],
  change: { readonly range: LockOwner & LockRange; readonly given: LockedRange | undefined },
): void {
  const { range, given } = change;
  const mode = given && { isExclusive: given.isExclusive, processId: given.processId };
  const after = replaceRange(before, { start: range.start, end: range.end }, mode);
  const gone = new Map(before.map((lock) => [lock.start, lock]));
  for (const lock of after) {
    const old = gone.get(lock.start);
    gone.delete(lock.start);
    if (!old || !isSameRange(old, lock)) rows.put(lockKey(range, lock.start), encodeLock(lock));
  }
  for (const start of gone.keys()) rows.delete(lockKey(range, start));
}

function isSameRange(a: LockedRange, b: LockedRange): boolean {
  return a.start === b.start && a.end === b.end && a.isExclusive === b.isExclusive;
}
