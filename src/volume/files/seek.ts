/** Where a file has content and where holes, with what is not committed. */
import type { ByteRange } from './dirty-window.ts';
import { isHole } from './extent-map.ts';
import type { FileState } from './file-state.ts';

/** The first byte at or behind an offset that is no hole; `undefined`: there is none. */
export async function firstData(state: FileState, offset: number): Promise<number | undefined> {
  for await (const { data } of stretches(state, offset)) {
    if (data[0]) return data[0].start;
  }
  return undefined;
}

/** The first hole there, at the latest the end of the file; `undefined` behind that. */
export async function firstHole(state: FileState, offset: number): Promise<number | undefined> {
  if (offset >= state.sizeBytes) return undefined;
  let position = offset;
  for await (const { data, end } of stretches(state, offset)) {
    for (const each of data) {
      if (each.start > position) return position;
      position = Math.max(position, each.end);
    }
    if (position < end) return position;
  }
  return position;
}

/** What comes after an offset, as much of it at a time as is looked up at once. */
async function* stretches(
  state: FileState,
  offset: number,
): AsyncGenerator<{ readonly data: readonly ByteRange[]; readonly end: number }> {
  for (let start = offset; start < state.sizeBytes;) {
    await state.map.look({ start, end: start + 1 });
    const end = Math.min(state.sizeBytes, state.map.knownTo(start));
    const range = { start, end };
    const stored = state.committedParts(range).filter((part) => !isHole(part));
    const written = [...state.pieces(range)].filter(({ bytes }) => bytes);
    const data = [...stored, ...written].toSorted((a, b) => a.start - b.start);
    if (end > start) yield { data, end };
    start = end;
  }
}
