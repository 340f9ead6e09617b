/**
 * Last touch: where a chain of moves has left a prefix of a row crowded, the free slots of the row
 * (those that have got another device anyway) exchange their devices. Loads do not change.
 */
import { GROUP_COUNT } from '../base/index.ts';
import { EMPTY, type Rows } from './rows.ts';

export function arrange(rows: Rows, isFree: (slot: number) => boolean): void {
  const { table, width, prefixMost, tree } = rows;
  const { depth, paths, parents } = tree;
  const counts = new Uint8Array(parents.length);
  const fits = (column: number, device: number) => {
    for (let level = 0; level < depth; level++) {
      const node = paths[device * depth + level]!;
      if (counts[node]! >= prefixMost[column * parents.length + node]!) return false;
    }
    return true;
  };
  for (let row = 0; row < GROUP_COUNT; row++) {
    counts.fill(0);
    for (let column = 0; column < width; column++) {
      const slot = row * width + column;
      if (table[slot] === EMPTY) continue;
      if (isFree(slot) && !fits(column, table[slot]!)) {
        for (let other = slot + 1; other < (row + 1) * width; other++) {
          if (table[other] === EMPTY || !isFree(other) || !fits(column, table[other]!)) continue;
          [table[slot], table[other]] = [table[other]!, table[slot]!];
          break;
        }
      }
      const path = table[slot]! * depth;
      for (let level = 0; level < depth; level++) counts[paths[path + level]!]! += 1;
    }
  }
}
