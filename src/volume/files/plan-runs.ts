/**
 * Which ranges of a window become stripes of their own. Overwrites are stored as they are, to whole
 * units of 4 KiB, so that small ones next to each other share an extent; only where that would make
 * too many extents is what lies between them stored again, too. What was made zeros is no part of a
 * run, unless it lies in such a unit or between two runs.
 */
import { KiB, LIMITS, roundUp } from '../../base/index.ts';
import { type ByteRange, type DirtyWindow, uncovered } from './dirty-window.ts';
import { type ExtentMap, isHole } from './extent-map.ts';

/** What lies between two runs is stored again rather than have them apart. */
const GAP_BYTES_MAX = 64 * KiB;

/** The dirty bytes and no others. */
export function exactRuns(window: DirtyWindow): ByteRange[] {
  return joined(writtenPieces(window), 0);
}

/** What was written to be zeros, but for what is stored with a run. */
export function holesBeside(window: DirtyWindow, runs: readonly ByteRange[]): ByteRange[] {
  const zeros = [...window.pieces()].filter(({ bytes }) => !bytes);
  return joined(zeros, 0).flatMap((hole) => uncovered(hole, within(runs, hole)));
}

function writtenPieces(window: DirtyWindow): ByteRange[] {
  return [...window.pieces()].filter(({ bytes }) => bytes);
}

function within(ranges: readonly ByteRange[], { start, end }: ByteRange): ByteRange[] {
  return ranges.filter((range) => range.start < end && range.end > start);
}

/**
 * To whole units, but not beyond what is written.
 * @param sizeBytes that is committed.
 */
export function alignedRuns(window: DirtyWindow, sizeBytes: number): ByteRange[] {
  const unit = LIMITS.paddingBytes;
  const units = writtenPieces(window).map(({ start, end }) => ({
    start: Math.floor(start / unit) * unit,
    end: Math.min(roundUp(end, unit), Math.max(end, sizeBytes)),
  }));
  return joined(units, 0);
}

/** The runs with all that is stored near to them, in few stripes. The window is known. */
export function compactRuns(
  window: DirtyWindow,
  runs: readonly ByteRange[],
  map: ExtentMap,
): ByteRange[] {
  const holes = holesBeside(window, runs);
  const stored = [...map.parts(window)]
    .filter((part) => !isHole(part))
    .flatMap((part) => uncovered(part, within(holes, part)));
  const all = [...runs, ...stored].toSorted((a, b) => a.start - b.start);
  return joined(all, GAP_BYTES_MAX);
}

function joined(ranges: readonly ByteRange[], gapBytesMax: number): ByteRange[] {
  const runs: { start: number; end: number }[] = [];
  for (const { start, end } of ranges) {
    const last = runs.at(-1);
    if (last && start <= last.end + gapBytesMax) last.end = Math.max(last.end, end);
    else runs.push({ start, end });
  }
  return runs;
}
