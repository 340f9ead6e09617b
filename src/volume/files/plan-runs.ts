/**
 * Which ranges of a window become stripes of their own. Overwrites are stored as they are, to whole
 * units of 4 KiB, so that small ones next to each other share an extent; only where that would make
 * too many extents is what lies between them stored again, too.
 */
import { KiB, LIMITS, roundUp } from '../../base/index.ts';
import type { ByteRange, DirtyWindow } from './dirty-window.ts';
import type { ExtentMap } from './extent-map.ts';

/** What lies between two runs is stored again rather than have them apart. */
const GAP_BYTES_MAX = 64 * KiB;

/** The dirty bytes and no others. */
export function exactRuns(window: DirtyWindow): ByteRange[] {
  return joined([...window.pieces()], 0);
}

/**
 * To whole units, but not beyond what is written.
 * @param sizeBytes that is committed.
 */
export function alignedRuns(window: DirtyWindow, sizeBytes: number): ByteRange[] {
  const unit = LIMITS.paddingBytes;
  const units = [...window.pieces()].map(({ start, end }) => ({
    start: Math.floor(start / unit) * unit,
    end: Math.min(roundUp(end, unit), Math.max(end, sizeBytes)),
  }));
  return joined(units, 0);
}

/** The runs with all that is stored near to them, in few stripes. The window is known. */
export function compactRuns(
  window: ByteRange,
  runs: readonly ByteRange[],
  map: ExtentMap,
): ByteRange[] {
  const stored = [...map.parts(window)].filter(({ extent }) => extent);
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
