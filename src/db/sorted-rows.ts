/**
 * Rows in key order, in memory: blocks of a few hundred rows, found by binary search. A change
 * moves one block's rows at the most, so that a hundred thousand rows stay quick.
 *
 * Invariants: keys rise within a block and from block to block; no block is empty.
 */
import { compareBytes } from '../base/index.ts';
import type { Row } from './local-db.ts';

const BLOCK_ROWS_MAX = 512;

/** The first index in 0 … count for which `isAtOrAfter` holds; it holds for all that follow. */
function firstIndex(count: number, isAtOrAfter: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isAtOrAfter(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

interface Place {
  readonly blockIndex: number;
  readonly rowIndex: number;
}

export class SortedRows {
  readonly #blocks: Row[][] = [];

  /** Where the first row is whose key is not below `key`; the end of the last block if none is. */
  #place(key: Uint8Array): Place {
    const found = firstIndex(
      this.#blocks.length,
      (index) => compareBytes(this.#blocks[index]!.at(-1)!.key, key) >= 0,
    );
    const blockIndex = Math.min(found, Math.max(this.#blocks.length - 1, 0));
    const block = this.#blocks[blockIndex] ?? [];
    const rowIndex = firstIndex(block.length, (index) => compareBytes(block[index]!.key, key) >= 0);
    return { blockIndex, rowIndex };
  }

  #at({ blockIndex, rowIndex }: Place): Row | undefined {
    return this.#blocks[blockIndex]?.[rowIndex];
  }

  get(key: Uint8Array): Row | undefined {
    const row = this.#at(this.#place(key));
    return row && compareBytes(row.key, key) === 0 ? row : undefined;
  }

  /** Inserts the row, or puts it in the place of the one with its key. */
  put(row: Row): void {
    const place = this.#place(row.key);
    const { blockIndex, rowIndex } = place;
    const present = this.#at(place);
    if (this.#blocks.length === 0) this.#blocks.push([]);
    const block = this.#blocks[blockIndex]!;
    const isSameKey = present !== undefined && compareBytes(present.key, row.key) === 0;
    block.splice(rowIndex, isSameKey ? 1 : 0, row);
    if (block.length > BLOCK_ROWS_MAX) {
      this.#blocks.splice(blockIndex + 1, 0, block.splice(block.length >>> 1));
    }
  }

  delete(key: Uint8Array): void {
    const place = this.#place(key);
    const present = this.#at(place);
    if (!present || compareBytes(present.key, key) !== 0) return;
    const block = this.#blocks[place.blockIndex]!;
    block.splice(place.rowIndex, 1);
    if (block.length === 0) this.#blocks.splice(place.blockIndex, 1);
  }

  /** Rows from `from` on, ascending. The rows must not change meanwhile. */
  *ascend(from: Uint8Array): Generator<Row> {
    const { blockIndex, rowIndex } = this.#place(from);
    for (let index = blockIndex; index < this.#blocks.length; index++) {
      const block = this.#blocks[index]!;
      for (let at = index === blockIndex ? rowIndex : 0; at < block.length; at++) yield block[at]!;
    }
  }

  /** Rows below `to`, descending. The rows must not change meanwhile. */
  *descend(to: Uint8Array): Generator<Row> {
    const { blockIndex, rowIndex } = this.#place(to);
    for (let index = blockIndex; index >= 0 && index < this.#blocks.length; index--) {
      const block = this.#blocks[index]!;
      for (let at = (index === blockIndex ? rowIndex : block.length) - 1; at >= 0; at--) {
        yield block[at]!;
      }
    }
  }
}
