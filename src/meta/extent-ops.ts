/**
 * Extents of an inode, staged while it is written and completed by its commit. They never overlap,
 * so whether they cover the content is known from the sum of their bytes and where they end.
 */
import { bytesEqual, HoldfastError } from '../base/index.ts';
import type { Extent, Inode, ObjectCommit } from './namespace.ts';
import {
  decodeExtent,
  encodeExtent,
  extentKey,
  inodeKey,
  refusedKey,
  releaseKey,
  stagedKey,
} from './namespace-rows.ts';
import type { Overlay, Rows } from './overlay.ts';
import { prefixRange, valueReader, valueWriter } from './rows.ts';

/** Extents that one call may bring. */
const EXTENTS_PER_CALL_MAX = 256;

/** What is staged of an inode: bytes, and where the last extent ends. */
interface Staged {
  readonly bytes: number;
  readonly end: number;
}

/** @throws HF_FENCED when a commit of the inode is refused; HF_EXISTS when it is committed. */
export function checkUncommitted(rows: Rows, inode: Inode): void {
  if (rows.get(refusedKey(inode))) {
    throw new HoldfastError('HF_FENCED', `inode ${inode} was refused`);
  }
  if (rows.get(inodeKey(inode)) || rows.get(releaseKey(inode))) {
    throw new HoldfastError('HF_EXISTS', `inode ${inode} was committed before`);
  }
}

export function extentsFrom(
  rows: Rows,
  { inode, from, limit }: { inode: Inode; from: number; limit: number },
): readonly Extent[] {
  const { to } = prefixRange(extentKey(inode));
  return rows.range({ from: extentKey(inode, from), to, limit }).map(decodeExtent);
}

export function stageExtents(rows: Overlay, inode: Inode, extents: readonly Extent[]): void {
  checkUncommitted(rows, inode);
  const staged = addExtents(rows, inode, { extents, before: readStaged(rows, inode) });
  const value = valueWriter(17).u64(staged.bytes).u64(staged.end).finish();
  rows.put(stagedKey(inode), value);
}

/** Adds the last extents. @throws HF_BAD_ARGUMENT when all of them do not cover the content. */
export function commitExtents(rows: Overlay, commit: ObjectCommit): void {
  const { inode, extents, sizeBytes } = commit;
  const before = readStaged(rows, inode);
  const { bytes, end } = addExtents(rows, inode, { extents, before });
  if (bytes !== sizeBytes || end !== sizeBytes) {
    const message = `extents hold ${bytes} bytes up to ${end}, the content has ${sizeBytes}`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  if (before.bytes > 0) rows.delete(stagedKey(inode));
}

function readStaged(rows: Rows, inode: Inode): Staged {
  const value = rows.get(stagedKey(inode));
  if (!value) return { bytes: 0, end: 0 };
  const reader = valueReader(value, 'staged row');
  const staged = { bytes: reader.u64(), end: reader.u64() };
  reader.end();
  return staged;
}

/** Writes extents that meet no other; one that is there already is passed over. */
function addExtents(
  rows: Overlay,
  inode: Inode,
  { extents, before }: { extents: readonly Extent[]; before: Staged },
): Staged {
  if (extents.length > EXTENTS_PER_CALL_MAX) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `${extents.length} extents in one call`);
  }
  let { bytes, end } = before;
  for (const extent of extents) {
    checkExtent(extent);
    const extentEnd = extent.offset + extent.lengthBytes;
    // Behind everything there is nothing to meet: no look-up for what is written in order.
    if (extent.offset < end && isPresent(rows, inode, extent)) continue;
    rows.put(extentKey(inode, extent.offset), encodeExtent(extent));
    bytes += extent.lengthBytes;
    end = Math.max(end, extentEnd);
  }
  return { bytes, end };
}

function checkExtent({ offset, lengthBytes }: Extent): void {
  const isValid =
    Number.isSafeInteger(offset) &&
    offset >= 0 &&
    Number.isSafeInteger(lengthBytes) &&
    lengthBytes >= 1 &&
    Number.isSafeInteger(offset + lengthBytes);
  if (!isValid) throw new HoldfastError('HF_BAD_ARGUMENT', 'an extent is out of range');
}

/** @throws HF_BAD_ARGUMENT when the extent meets another one. */
function isPresent(rows: Rows, inode: Inode, extent: Extent): boolean {
  const { from } = prefixRange(extentKey(inode));
  const to = extentKey(inode, extent.offset + extent.lengthBytes);
  const [row] = rows.range({ from, to, limit: 1, isReverse: true });
  const last = row && decodeExtent(row);
  if (!last || last.offset + last.lengthBytes <= extent.offset) return false;
  const isSame =
    last.offset === extent.offset &&
    last.lengthBytes === extent.lengthBytes &&
    last.schemeNumber === extent.schemeNumber &&
    bytesEqual(last.stripe, extent.stripe) &&
    bytesEqual(last.wrappedKey, extent.wrappedKey);
  if (!isSame) throw new HoldfastError('HF_BAD_ARGUMENT', 'two extents meet');
  return true;
}
