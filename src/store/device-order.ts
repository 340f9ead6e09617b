/**
 * Chunks in the order in which they lie on the device, a bounded number at a time: an index of any
 * size is looked through once for each portion.
 */
import type { ChunkId } from '../base/index.ts';
import { chunkBlocks } from './footer.ts';
import { BLOCK_BYTES } from './geometry.ts';
import type { IndexTable } from './index-table.ts';
import { idAt, readExtent, WORD_EXTENT, WORD_LENGTH } from './slot.ts';

const PORTION_MAX = 65_536;

export interface PlacedChunk {
  readonly id: ChunkId;
  /** First block of the chunk. */
  readonly start: number;
}

export interface Portion {
  /** In the order of their first blocks. */
  readonly chunks: readonly PlacedChunk[];
  /** Bytes of all chunks from where the portion begins to the end of the device. */
  readonly bytesAhead: number;
}

/**
 * The next chunks that start at block `from` or later; none at the end. Chunks put meanwhile may be
 * missing.
 * @param options.turn lets others work between two parts of the index.
 * @param options.portionMax for tests.
 */
export async function nextPortion(
  index: IndexTable,
  from: number,
  options: { readonly turn: () => Promise<void>; readonly portionMax?: number },
): Promise<Portion> {
  const { turn, portionMax = PORTION_MAX } = options;
  let chunks: PlacedChunk[] = [];
  let end = Infinity;
  let bytesAhead = 0;
  const keepFirst = (): void => {
    chunks.sort((a, b) => a.start - b.start);
    if (chunks.length <= portionMax) return;
    chunks = chunks.slice(0, portionMax);
    end = chunks.at(-1)!.start;
  };
  for (const number of index.partitions.keys()) {
    index.visit(number, (words, at) => {
      const { start } = readExtent(words, at + WORD_EXTENT);
      if (start < from) return;
      bytesAhead += chunkBlocks(words[at + WORD_LENGTH]!) * BLOCK_BYTES;
      if (start > end) return;
      chunks.push({ id: new Uint8Array(idAt(words, at)) as ChunkId, start });
      if (chunks.length === 2 * portionMax) keepFirst();
    });
    await turn();
  }
  keepFirst();
  return { chunks, bytesAhead };
}
