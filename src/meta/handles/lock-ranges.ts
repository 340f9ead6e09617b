/**
 * Arithmetic of the ranges that one owner has locked: they never overlap, and two that touch are of
 * different modes. Pure.
 */
import type { LockRange } from './handles.ts';

export interface LockedRange extends LockRange {
  readonly isExclusive: boolean;
  readonly processId: number;
}

export function overlaps(a: LockRange, b: LockRange): boolean {
  return a.start < b.end && b.start < a.end;
}

/**
 * What the owner has afterwards, ascending.
 *
 * @param own ascending, as described above.
 * @param given `undefined`: the range is given up. Else it takes the place of what was there, and
 *   melts together with its like on both sides.
 */
export function replaceRange(
  own: readonly LockedRange[],
  range: LockRange,
  given: Pick<LockedRange, 'isExclusive' | 'processId'> | undefined,
): LockedRange[] {
  const kept = own.flatMap((old) => remains(old, range));
  if (!given) return kept;
  let { start, end } = range;
  const apart: LockedRange[] = [];
  for (const old of kept) {
    const isLike = old.isExclusive === given.isExclusive;
    if (isLike && old.end === start) ({ start } = old);
    else if (isLike && old.start === end) ({ end } = old);
    else apart.push(old);
  }
  const at = apart.findIndex((old) => old.start >= end);
  return apart.toSpliced(at < 0 ? apart.length : at, 0, { ...given, start, end });
}

/** What of `old` lies outside of `range`: nothing, one part or two. */
function remains(old: LockedRange, range: LockRange): LockedRange[] {
  if (!overlaps(old, range)) return [old];
  const parts: LockedRange[] = [];
  if (old.start < range.start) parts.push({ ...old, end: range.start });
  if (old.end > range.end) parts.push({ ...old, start: range.end });
  return parts;
}
