/**
 * Protected volumes (WORM): objects are added, never replaced, and removed only when their
 * retention has ended. A row of the cell says so; the steward that executes an operation decides by
 * its own clock. The retention of an object runs from its creation or its commit, whichever is
 * later: a writer's clock cannot shorten it. Of the tree, everything but directories is kept, with
 * its names; a file that was never an object can grow.
 */
import { HoldfastError } from '../../base/index.ts';
import type { InodeRecord, Retention } from './namespace.ts';
import { decodeRetention, encodeRetention, PROTECTION_KEY } from './namespace-rows.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';

/** The longer of two retentions; without an end is longest. */
export function longerRetention(a: Retention, b: Retention): Retention {
  if (a.retentionMs === undefined || b.retentionMs === undefined) return { retentionMs: undefined };
  return { retentionMs: Math.max(a.retentionMs, b.retentionMs) };
}

/** `undefined` when the volume is not protected. */
export function retentionOf(rows: Rows): Retention | undefined {
  const value = rows.get(PROTECTION_KEY);
  return value && decodeRetention(value);
}

export function protect(rows: Overlay, wanted: Retention): void {
  const before = retentionOf(rows);
  const next = before ? longerRetention(before, wanted) : wanted;
  if (before && next.retentionMs === before.retentionMs) return;
  rows.put(PROTECTION_KEY, encodeRetention(next));
}

/** @throws HF_WORM when something would be replaced in a protected volume. */
export function checkReplaceable(rows: Rows, standing: readonly unknown[]): void {
  if (standing.length === 0 || !retentionOf(rows)) return;
  throw new HoldfastError('HF_WORM', 'the volume is WORM: what it holds is never replaced');
}

/** @throws HF_WORM when content of a protected volume would change before this offset. */
export function checkContentKept(
  rows: Rows,
  { sizeBytes, objectId }: InodeRecord,
  offset: number,
): void {
  if (!retentionOf(rows) || (!objectId && offset >= sizeBytes)) return;
  throw new HoldfastError('HF_WORM', 'the volume is WORM: content is only added to files');
}

/** @throws HF_WORM when what is no directory would lose a name before its retention has ended. */
export function checkUnlinkable(rows: Rows, row: InodeRecord, nowMs: number): void {
  if (row.type !== 'directory') checkRemovable(rows, row, nowMs);
}

/** @throws HF_WORM before the end of the object's retention. */
export function checkRemovable(rows: Rows, object: InodeRecord, nowMs: number): void {
  const retention = retentionOf(rows);
  if (!retention) return;
  const { retentionMs } = retention;
  if (retentionMs === undefined) {
    throw new HoldfastError('HF_WORM', 'the volume is WORM: what it holds is never removed');
  }
  const untilMs = Math.max(object.createdAtMs, object.modifiedAtMs) + retentionMs;
  if (nowMs >= untilMs) return;
  const until = new Date(Math.min(untilMs, 8.64e15)).toISOString();
  throw new HoldfastError('HF_WORM', `the volume is WORM: the object is kept until ${until}`);
}
