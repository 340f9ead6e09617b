/**
 * Content of files that are written in place: dirty ranges become extents or holes, of each byte
 * the last one committed counts, and what no extent names any more is loose. Or all content is
 * inline (`inline-ops.ts`), and there are no extents.
 *
 * Invariants: extents of one encoding never meet; the stored bytes of a file that is not inline are
 * those of its extents of encoding 0, and those of the others lie within ranges of these; a stripe
 * that was named by a holder and is not any more is loose ('F') or released, and is never named by
 * it again, because a write is committed once ('W').
 */
import { HoldfastError, LIMITS } from '../../base/index.ts';
import { checkExtent, checkRange, checkUncommitted, EXTENTS_PER_CALL_MAX } from './extent-ops.ts';
import { type Circumstances, givenInode, saveInode } from './inode-ops.ts';
import { changedRow, posixOf, statusOf } from './link-ops.ts';
import { checkInline, cutInline, putInline } from './inline-ops.ts';
import type { Extent, InlineContent, Inode } from './namespace.ts';
import * as keys from './namespace-rows.ts';
import type { InodeRow } from './namespace-rows.ts';
import { nsOf } from './posix-part.ts';
import { checkContentKept } from './retention.ts';
import { looseKey, looseOfKey, looseText, writeKey } from './tree-rows.ts';
import type {
  CommittedContent,
  ContentCommit,
  ContentRange,
  LooseStripes,
  NewTime,
} from './tree.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { EMPTY_VALUE, keyAfter, prefixRange } from '../cells/rows.ts';

/** Extents that one operation may cut off: an entry of the log has room for their rows. */
const CUT_EXTENTS_MAX = 4096;
const TIME_NS_MAX = 2n ** 64n - 1n;

interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export function commitContent(
  rows: Overlay,
  commit: ContentCommit,
  { nowMs }: Circumstances,
): CommittedContent {
  const { inode, write, attributes, inline, isOnlyOnBase = false } = commit;
  const before = givenFile(rows, inode);
  const touched = checkedRanges(commit);
  if (write !== undefined) checkUncommitted(rows, write);
  checkContentKept(rows, before, inline ? 0 : (touched.all[0]?.start ?? before.sizeBytes));
  const posix = posixOf(rows, before);
  const wasBase = posix.changeCount === commit.baseChange;
  // What is put whole would undo what it does not know of.
  if (!wasBase && (isOnlyOnBase || (inline && before.sizeBytes > 0))) {
    throw new HoldfastError('HF_BUSY', 'the file was changed by somebody else');
  }
  const changed = inline
    ? storeInline(rows, before, { ...commit, inline })
    : storeRanges(rows, before, { commit, touched });
  if (write !== undefined) rows.put(writeKey(write), keys.encodeInodeNumber(inode));
  const modifiedNs = timeOf(commit.modifiedNs ?? 'now', nowMs);
  const row = {
    ...changedRow(rows, before, nowMs, { modifiedNs, storedBytes: changed.storedBytes }),
    ...changed.row,
    ...(attributes && { attributes }),
    modifiedAtMs: nowMs,
  };
  const saved = saveContent(rows, row);
  return { status: statusOf(rows, saved), wasBase };
}

interface Stored {
  readonly storedBytes: number;
  readonly row: Partial<Pick<InodeRow, 'sizeBytes' | 'schemeNumbers' | 'isInline'>>;
}

/** It takes the place of all that there was. */
function storeInline(
  rows: Overlay,
  { inode, isInline = false, posix }: InodeRow,
  { inline, sizeBytes }: { readonly inline: InlineContent; readonly sizeBytes: number },
): Stored {
  const isStored = !isInline && posix?.storedBytes !== 0;
  if (isStored) cut(rows, inode, { start: 0, end: Number.MAX_SAFE_INTEGER });
  const isThere = putInline(rows, inode, inline);
  return {
    storedBytes: inline.lengthBytes,
    row: { sizeBytes, isInline: isThere || undefined },
  };
}

function storeRanges(
  rows: Overlay,
  before: InodeRow,
  { commit, touched }: { readonly commit: ContentCommit; readonly touched: TouchedRanges },
): Stored {
  const { inode, write, extents, schemeNumbers } = commit;
  let { storedBytes } = posixOf(rows, before);
  let isInline = before.isInline ?? false;
  if (isInline && touched.all.length > 0) {
    if (!covers(touched.all, { start: 0, end: storedBytes })) {
      throw new HoldfastError('HF_BUSY', 'the file has inline content that is to be written, too');
    }
    cutInline(rows, before, 0);
    [storedBytes, isInline] = [0, false];
  }
  for (const range of touched.all) storedBytes -= cut(rows, inode, range);
  for (const { start, end } of touched.written) storedBytes += end - start;
  for (const extent of extents) {
    const held = { ...extent, holder: write, whole: undefined };
    rows.put(keys.extentKey(inode, extent), keys.encodeExtent(held));
  }
  const end = touched.written.at(-1)?.end ?? 0;
  return {
    storedBytes,
    row: {
      ...(extents.length > 0 && { schemeNumbers }),
      sizeBytes: Math.max(before.sizeBytes, commit.sizeBytes, end),
      isInline: isInline || undefined,
    },
  };
}

/** @throws HF_NOT_FOUND, HF_IS_DIRECTORY, HF_BAD_ARGUMENT. */
export function givenFile(rows: Rows, inode: Inode): InodeRow {
  const row = givenInode(rows, inode);
  if (row.type === 'directory') throw new HoldfastError('HF_IS_DIRECTORY');
  if (row.type !== 'file') throw new HoldfastError('HF_BAD_ARGUMENT', 'only files have content');
  return row;
}

/** @throws HF_BAD_ARGUMENT. */
export function timeOf(time: NewTime, nowMs: number): bigint {
  if (time === 'now') return nsOf(nowMs);
  if (time >= 0n && time <= TIME_NS_MAX) return time;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'times are nanoseconds since 1970, below 2^64');
}

/** Content has changed: what it was is not known by its address any more. */
function saveContent(rows: Overlay, row: InodeRow): InodeRow {
  const { objectId, addressKey, inode } = row;
  if (addressKey) rows.delete(keys.addressRowKey(addressKey, inode));
  const saved = { ...row, objectId, addressKey: undefined };
  saveInode(rows, saved);
  return saved;
}

/** Joined where they touch, in order. */
interface TouchedRanges {
  /** What the extents of encoding 0 cover. */
  readonly written: readonly ByteRange[];
  /** That and the holes. */
  readonly all: readonly ByteRange[];
}

/** @throws HF_BAD_ARGUMENT, HF_TOO_LARGE. */
function checkedRanges(commit: ContentCommit): TouchedRanges {
  const { extents, holes = [], inline, schemeNumbers, sizeBytes, write } = commit;
  if (Math.max(extents.length, holes.length) > EXTENTS_PER_CALL_MAX) {
    throw badExtents(`${extents.length} extents and ${holes.length} holes in one call`);
  }
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw badExtents('a size is none');
  if (schemeNumbers.length > LIMITS.encodingsMax) throw badExtents('there are too many encodings');
  for (const extent of extents) {
    checkExtent(extent);
    if (extent.encoding >= schemeNumbers.length) throw badExtents('an encoding has no scheme');
  }
  for (const hole of holes) checkRange(hole);
  const hasRanges = extents.length + holes.length > 0;
  if (hasRanges && write === undefined) throw badExtents('ranges are committed by a write');
  if (hasRanges && inline) throw badExtents('inline content stands alone');
  if (inline) checkInline(inline, sizeBytes);
  const first = extents.filter(({ encoding }) => encoding === 0);
  const written = joinedRanges(first);
  for (let encoding = 1; encoding < schemeNumbers.length; encoding++) {
    const others = extents.filter((extent) => extent.encoding === encoding);
    for (const range of joinedRanges(others)) {
      if (!covers(written, range)) throw badExtents('an extent lies outside of what is written');
    }
  }
  return { written, all: holes.length > 0 ? joinedRanges([...first, ...holes]) : written };
}

/** Whether one of them does. */
function covers(ranges: readonly ByteRange[], { start, end }: ByteRange): boolean {
  return ranges.some((range) => range.start <= start && end <= range.end);
}

/** @throws HF_BAD_ARGUMENT when two of them meet. */
function joinedRanges(given: readonly ContentRange[]): ByteRange[] {
  const ranges: { start: number; end: number }[] = [];
  for (const { offset, lengthBytes } of given.toSorted((a, b) => a.offset - b.offset)) {
    const last = ranges.at(-1);
    if (last && offset < last.end) throw badExtents('two ranges meet');
    if (last && offset === last.end) last.end += lengthBytes;
    else ranges.push({ start: offset, end: offset + lengthBytes });
  }
  return ranges;
}

function badExtents(reason: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', reason);
}

/**
 * Takes a range away from the extents of all encodings.
 * @returns bytes that were stored there.
 * @throws HF_TOO_LARGE for more extents than an entry can hold.
 */
function cut(rows: Overlay, inode: Inode, range: ByteRange): number {
  let bytes = 0;
  for (let encoding = 0; encoding < LIMITS.encodingsMax; encoding++) {
    if (encoding > 0 && !hasEncodingFrom(rows, inode, encoding)) break;
    for (const extent of extentsWithin(rows, { inode, encoding, range })) {
      const taken = takeAway(rows, { inode, extent, range });
      if (encoding === 0) bytes += taken;
    }
  }
  return bytes;
}

function hasEncodingFrom(rows: Rows, inode: Inode, encoding: number): boolean {
  const { to } = prefixRange(keys.extentKey(inode));
  return (
    rows.range({ from: keys.extentKey(inode, { encoding, offset: 0 }), to, limit: 1 }).length > 0
  );
}

function extentsWithin(
  rows: Rows,
  { inode, encoding, range }: { inode: Inode; encoding: number; range: ByteRange },
): Extent[] {
  const first = keys.extentKey(inode, { encoding, offset: 0 });
  const from = keys.extentKey(inode, { encoding, offset: range.start });
  const to = keys.extentKey(inode, { encoding, offset: range.end });
  const before = rows
    .range({ from: first, to: from, limit: 1, isReverse: true })
    .map(keys.decodeExtent)
    .filter(({ offset, lengthBytes }) => offset + lengthBytes > range.start);
  const within = rows.range({ from, to, limit: CUT_EXTENTS_MAX + 1 }).map(keys.decodeExtent);
  if (within.length <= CUT_EXTENTS_MAX) return [...before, ...within];
  throw new HoldfastError('HF_TOO_LARGE', 'more extents than can be cut off at once');
}

/** What of the extent lies outside of the range stays. @returns bytes that do not. */
function takeAway(
  rows: Overlay,
  { inode, extent, range }: { inode: Inode; extent: Extent; range: ByteRange },
): number {
  const { offset, lengthBytes, stripe } = extent;
  const end = offset + lengthBytes;
  const left = { start: offset, end: Math.min(end, range.start) };
  const right = { start: Math.max(offset, range.end), end };
  const kept = [left, right].filter((window) => window.start < window.end);
  rows.delete(keys.extentKey(inode, extent));
  for (const window of kept) putWindow(rows, inode, { extent, window });
  const holder = extent.holder ?? inode;
  if (kept.length === 0) rows.put(looseKey(inode, { holder, stripe }), EMPTY_VALUE);
  return lengthBytes - kept.reduce((sum, window) => sum + window.end - window.start, 0);
}

function putWindow(
  rows: Overlay,
  inode: Inode,
  { extent, window }: { extent: Extent; window: ByteRange },
): void {
  const { offset, lengthBytes } = extent;
  const part: Extent = {
    ...extent,
    offset: window.start,
    lengthBytes: window.end - window.start,
    whole: extent.whole ?? { offset, lengthBytes },
  };
  rows.put(keys.extentKey(inode, part), keys.encodeExtent(part));
}

/** The file with another size, not saved with its times yet. @throws HF_TOO_LARGE, HF_WORM. */
export function resized(rows: Overlay, before: InodeRow, sizeBytes: number): InodeRow {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw badExtents('a size is none');
  checkContentKept(rows, before, sizeBytes);
  const { inode, addressKey } = before;
  if (sizeBytes === before.sizeBytes) return before;
  if (addressKey) rows.delete(keys.addressRowKey(addressKey, inode));
  const posix = posixOf(rows, before);
  const row = { ...before, sizeBytes, addressKey: undefined };
  if (sizeBytes > before.sizeBytes) return { ...row, posix };
  const range = { start: sizeBytes, end: Number.MAX_SAFE_INTEGER };
  const storedBytes = before.isInline
    ? cutInline(rows, before, sizeBytes)
    : posix.storedBytes - cut(rows, inode, range);
  const isInline = (before.isInline && storedBytes > 0) || undefined;
  return { ...row, isInline, posix: { ...posix, storedBytes } };
}

// Loose stripes.

export function looseStripes(rows: Overlay, inode: Inode): readonly LooseStripes[] {
  // More than are asked for, so that those that are named again do not hide the others.
  const found = rows.range({ ...prefixRange(looseKey(inode)), limit: CUT_EXTENTS_MAX });
  if (found.length === 0) return [];
  const named = namedStripes(rows, inode);
  const byHolder = new Map<Inode, LooseStripes['stripes'][number][]>();
  let count = 0;
  for (const { key } of found) {
    const { holder, stripe } = looseOfKey(key);
    if (named.has(looseText(holder, stripe))) {
      rows.delete(key); // once its other extents go it is loose again
      continue;
    }
    if (count === EXTENTS_PER_CALL_MAX) continue;
    byHolder.set(holder, [...(byHolder.get(holder) ?? []), stripe]);
    count += 1;
  }
  return Array.from(byHolder, ([holder, stripes]) => ({ inode, holder, stripes }));
}

/** All that extents of the inode name, with the holder. */
function namedStripes(rows: Rows, inode: Inode): ReadonlySet<string> {
  const named = new Set<string>();
  const { from, to } = prefixRange(keys.extentKey(inode));
  for (let next = from; ;) {
    const page = rows.range({ from: next, to, limit: LIMITS.listPageMax });
    for (const { holder = inode, stripe } of page.map(keys.decodeExtent)) {
      named.add(looseText(holder, stripe));
    }
    const last = page.at(-1);
    if (!last || page.length < LIMITS.listPageMax) return named;
    next = keyAfter(last.key);
  }
}

export function finishLooseStripes(rows: Overlay, { inode, holder, stripes }: LooseStripes): void {
  for (const stripe of stripes) {
    const key = looseKey(inode, { holder, stripe });
    if (rows.get(key)) rows.delete(key);
  }
}

export function committedWrites(rows: Overlay, writes: readonly Inode[]): readonly Inode[] {
  rows.need(writes.map(writeKey));
  return writes.filter((write) => rows.get(writeKey(write)));
}

export function forgetWrites(rows: Overlay, writes: readonly Inode[]): void {
  for (const write of writes) {
    if (rows.get(writeKey(write))) rows.delete(writeKey(write));
  }
}
