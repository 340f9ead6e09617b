/**
 * Inline content: what a small file has, sealed, in a row of its own ('B') instead of in extents. A
 * cell cannot open it, so all that it does to it is to put it whole, to show less of its end, and
 * to take it away.
 *
 * Invariants: an inode has a 'B' row where its 'I' row says so, and no extents then; its stored
 * bytes are those of the inline content that are seen, at least one, and no more than its size.
 */
import { HoldfastError, KiB } from '../../base/index.ts';
import type { InlineContent, Inode } from './namespace.ts';
import type { InodeRow } from './namespace-rows.ts';
import { decodeSealed, encodeSealed, inlineKey } from './tree-rows.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';

/** Writers stay below, as LIMITS.inlineBytesMax says. */
const INLINE_BYTES_MAX = 16 * KiB;
/** Room for what sealing adds. */
const SEAL_BYTES_MAX = 64;

/** @throws HF_CORRUPT. */
export function inlineOf(
  rows: Rows,
  { inode, isInline, posix }: InodeRow,
): InlineContent | undefined {
  if (!isInline) return undefined;
  const value = rows.get(inlineKey(inode));
  if (!value) throw new HoldfastError('HF_CORRUPT', `inode ${inode} has lost its inline content`);
  return { sealed: decodeSealed(value, 'inline content'), lengthBytes: posix?.storedBytes ?? 0 };
}

/** @throws HF_TOO_LARGE, HF_BAD_ARGUMENT. */
export function checkInline({ sealed, lengthBytes }: InlineContent, sizeBytes: number): void {
  if (lengthBytes > INLINE_BYTES_MAX || sealed.length > INLINE_BYTES_MAX + SEAL_BYTES_MAX) {
    throw new HoldfastError('HF_TOO_LARGE', `${sealed.length} bytes are too many to be inline`);
  }
  if (Number.isSafeInteger(lengthBytes) && lengthBytes >= 0 && lengthBytes <= sizeBytes) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'inline content is no longer than its file');
}

/** @returns whether there is any now. */
export function putInline(rows: Overlay, inode: Inode, inline: InlineContent): boolean {
  const key = inlineKey(inode);
  if (inline.lengthBytes > 0) rows.put(key, encodeSealed(inline.sealed));
  else if (rows.get(key)) rows.delete(key);
  return inline.lengthBytes > 0;
}

/** No more of it is seen than that. @returns bytes that are. */
export function cutInline(rows: Overlay, { inode, posix }: InodeRow, sizeBytes: number): number {
  if (sizeBytes === 0) rows.delete(inlineKey(inode));
  return Math.min(posix?.storedBytes ?? 0, sizeBytes);
}
