/**
 * Extents of an inode, staged while it is written and completed by its commit. Those of one
 * encoding never overlap, so whether they cover the content is known from the sum of their bytes
 * and where they end.
 */
import { bytesEqual, HoldfastError, LIMITS } from '../../base/index.ts';
import type { Extent, ExtentPlace, Inode, ObjectCommit } from './namespace.ts';
import {
  decodeExtent,
  encodeExtent,
  extentKey,
  inodeKey,
  refusedKey,
  releaseKey,
  stagedKey,
} from './namespace-rows.ts';
import { writeKey } from './tree-rows.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { prefixRange, valueReader, valueWriter } from '../cells/rows.ts';

/** Extents that one call may bring. */
export const EXTENTS_PER_CALL_MAX = 256;

/** What is staged of one encoding: bytes, and where the last extent ends. */
interface Staged {
  readonly bytes: number;
  readonly end: number;
}

const NOTHING_STAGED: Staged = { bytes: 0, end: 0 };

/** @throws HF_FENCED when a commit of the inode is refused; HF_EXISTS when it is committed. */
export function checkUncommitted(rows: Rows, inode: Inode): void {
  if (rows.get(refusedKey(inode))) {
    throw new HoldfastError('HF_FENCED', `inode ${inode} was refused`);
  }
  const used = [inodeKey(inode), releaseKey(inode), writeKey(inode)];
  if (used.some((key) => rows.get(key))) {
    throw new HoldfastError('HF_EXISTS', `inode ${inode} was committed before`);
  }
}

export function extentsFrom(
  rows: Rows,
  { inode, from, limit }: { inode: Inode; from: ExtentPlace; limit: number },
): readonly Extent[] {
  const { to } = prefixRange(extentKey(inode));
  return rows.range({ from: extentKey(inode, from), to, limit }).map(decodeExtent);
}

export function stageExtents(rows: Overlay, inode: Inode, extents: readonly Extent[]): void {
  checkUncommitted(rows, inode);
  const staged = addExtents(rows, inode, { extents, before: readStaged(rows, inode) });
  rows.put(stagedKey(inode), encodeStaged(staged));
}

/**
 * Adds the last extents.
 * @param isCareless a planted fault: only the first encoding is looked at.
 * @throws HF_BAD_ARGUMENT when those of an encoding do not cover the content.
 */
export function commitExtents(
  rows: Overlay,
  commit: Pick<ObjectCommit, 'inode' | 'extents' | 'sizeBytes' | 'schemeNumbers'>,
  isCareless = false,
): void {
  const { inode, extents, sizeBytes, schemeNumbers } = commit;
  const before = readStaged(rows, inode);
  const staged = addExtents(rows, inode, { extents, before });
  for (let encoding = 0; encoding < Math.max(schemeNumbers.length, staged.length); encoding++) {
    const { bytes, end } = staged[encoding] ?? NOTHING_STAGED;
    const wanted = encoding < schemeNumbers.length ? sizeBytes : 0;
    if ((bytes === wanted && end === wanted) || (isCareless && encoding > 0)) continue;
    const message =
      `extents of encoding ${encoding} hold ${bytes} bytes up to ${end}, ` +
      `the content has ${wanted}`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  if (before.length > 0) rows.delete(stagedKey(inode));
}

/** By encoding. */
function readStaged(rows: Rows, inode: Inode): readonly Staged[] {
  const value = rows.get(stagedKey(inode));
  if (!value) return [];
  const reader = valueReader(value, 'staged row');
  const staged: Staged[] = [];
  while (reader.left > 0) staged.push({ bytes: reader.u64(), end: reader.u64() });
  return staged;
}

function encodeStaged(staged: readonly Staged[]): Uint8Array {
  const writer = valueWriter(1 + 16 * staged.length);
  for (const { bytes, end } of staged) writer.u64(bytes).u64(end);
  return writer.finish();
}

/** Writes extents that meet no other; one that is there already is passed over. */
function addExtents(
  rows: Overlay,
  inode: Inode,
  { extents, before }: { extents: readonly Extent[]; before: readonly Staged[] },
): readonly Staged[] {
  if (extents.length > EXTENTS_PER_CALL_MAX) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `${extents.length} extents in one call`);
  }
  const staged = [...before];
  for (const extent of extents) {
    checkExtent(extent);
    while (staged.length <= extent.encoding) staged.push(NOTHING_STAGED);
    const { bytes, end } = staged[extent.encoding] as Staged;
    // Behind everything there is nothing to meet: no look-up for what is written in order.
    if (extent.offset < end && isPresent(rows, inode, extent)) continue;
    rows.put(extentKey(inode, extent), encodeExtent(extent));
    staged[extent.encoding] = {
      bytes: bytes + extent.lengthBytes,
      end: Math.max(end, extent.offset + extent.lengthBytes),
    };
  }
  return staged;
}

/** @throws HF_BAD_ARGUMENT. */
export function checkExtent(extent: Extent): void {
  const { encoding } = extent;
  checkRange(extent);
  if (Number.isSafeInteger(encoding) && encoding >= 0 && encoding < LIMITS.encodingsMax) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'an extent is of no encoding');
}

/** @throws HF_BAD_ARGUMENT. */
export function checkRange({ offset, lengthBytes }: Pick<Extent, 'offset' | 'lengthBytes'>): void {
  const isValid =
    Number.isSafeInteger(offset) &&
    offset >= 0 &&
    Number.isSafeInteger(lengthBytes) &&
    lengthBytes >= 1 &&
    Number.isSafeInteger(offset + lengthBytes);
  if (!isValid) throw new HoldfastError('HF_BAD_ARGUMENT', 'a range is none');
}

/** @throws HF_BAD_ARGUMENT when the extent meets another one of its encoding. */
function isPresent(rows: Rows, inode: Inode, extent: Extent): boolean {
  const { encoding, offset, lengthBytes } = extent;
  const from = extentKey(inode, { encoding, offset: 0 });
  const to = extentKey(inode, { encoding, offset: offset + lengthBytes });
  const [row] = rows.range({ from, to, limit: 1, isReverse: true });
  const last = row && decodeExtent(row);
  if (!last || last.offset + last.lengthBytes <= offset) return false;
  const isSame =
    last.offset === offset &&
    last.lengthBytes === lengthBytes &&
    last.schemeNumber === extent.schemeNumber &&
    bytesEqual(last.stripe, extent.stripe) &&
    bytesEqual(last.wrappedKey, extent.wrappedKey);
  if (!isSame) throw new HoldfastError('HF_BAD_ARGUMENT', 'two extents meet');
  return true;
}
