/**
 * Makes every row keep the prefix rule (prefix-rule.ts), whatever the shares and the fewest moves
 * have made of it, and puts positions that have no device behind all others: schemes that are
 * narrow enough need none of them.
 *
 * Most rows have what they need and only exchange positions: of a row, at most two for each column
 * of the rule move for that. A row that has not gets a device of another domain; what that does to
 * loads is evened out by moves that keep the rule.
 */
import { GROUP_COUNT } from '../base/index.ts';
import { EMPTY, type Rows } from './rows.ts';

/** Walks over the table, after which what is left uneven stays so. */
const WALKS_MAX = 8;

export function spreadPrefixes(rows: Rows, kept: Uint16Array): void {
  const prefix = new Prefix(rows);
  for (let row = 0; row < GROUP_COUNT; row++) {
    putEmptyLast(rows, row);
    spreadRow(prefix, row, kept);
  }
  for (let walk = 0; walk < WALKS_MAX && !rows.isMet(); walk++) if (!evenOut(prefix)) return;
}

/** Whether every row keeps the rule already. */
export function isSpread(rows: Rows): boolean {
  const prefix = new Prefix(rows);
  for (let row = 0; row < GROUP_COUNT; row++) {
    const slots = rows.table.subarray(row * rows.width, row * rows.width + rows.filled);
    if (slots.includes(EMPTY) || !prefix.keepsRule(row)) return false;
  }
  return true;
}

/** Counts the first positions of one row by node. */
class Prefix {
  readonly rows: Rows;
  readonly #counts: Uint8Array;

  constructor(rows: Rows) {
    this.rows = rows;
    this.#counts = new Uint8Array(rows.tree.parents.length);
  }

  begin(): void {
    this.#counts.fill(0);
  }

  fits(column: number, device: number): boolean {
    const { tree, ruleMost } = this.rows;
    const { depth, paths, parents } = tree;
    if (device === EMPTY) return false;
    for (let level = 0; level < depth; level++) {
      const node = paths[device * depth + level]!;
      if (this.#counts[node]! >= ruleMost[column * parents.length + node]!) return false;
    }
    return true;
  }

  add(device: number): void {
    const { depth, paths } = this.rows.tree;
    for (let level = 0; level < depth; level++) this.#counts[paths[device * depth + level]!]! += 1;
  }

  /** Also with another device in one slot. */
  keepsRule(row: number, [slot, device]: readonly [number, number] = [-1, EMPTY]): boolean {
    this.begin();
    const start = row * this.rows.width;
    for (let column = 0; column < this.rows.ruleLength; column++) {
      const each = start + column === slot ? device : this.rows.table[start + column]!;
      if (!this.fits(column, each)) return false;
      this.add(each);
    }
    return true;
  }
}

function putEmptyLast({ table, width, filled }: Rows, row: number): void {
  const end = (row + 1) * width;
  let last = end - 1;
  for (let slot = row * width; slot < end - width + filled; slot++) {
    if (table[slot] !== EMPTY) continue;
    while (last > slot && table[last] === EMPTY) last--;
    exchange(table, slot, last);
  }
}

function spreadRow(prefix: Prefix, row: number, kept: Uint16Array): void {
  const { rows } = prefix;
  prefix.begin();
  for (let column = 0; column < rows.ruleLength; column++) {
    const slot = row * rows.width + column;
    if (!prefix.fits(column, rows.table[slot]!)) {
      const later = cheapestLater(prefix, slot, kept);
      if (later !== undefined) exchange(rows.table, slot, later);
      else takeIn(prefix, slot);
    }
    prefix.add(rows.table[slot]!);
  }
}

function exchange(table: Uint16Array, a: number, b: number): void {
  [table[a], table[b]] = [table[b]!, table[a]!];
}

/** The later slot of the row whose device fits here, at the fewest moves. */
function cheapestLater(prefix: Prefix, slot: number, kept: Uint16Array): number | undefined {
  const { table, width, filled, ruleLength } = prefix.rows;
  const start = slot - (slot % width);
  const isMoved = (at: number, device: number): number => (kept[at] === device ? 0 : 1);
  let best: number | undefined;
  let bestCost = Infinity;
  for (let other = slot + 1; other < start + filled; other++) {
    const [here, there] = [table[slot]!, table[other]!];
    if (!prefix.fits(slot - start, there)) continue;
    const before = isMoved(slot, here) + isMoved(other, there);
    const moves = isMoved(slot, there) + isMoved(other, here) - before;
    // In another column of the rule its device may be wrong again.
    const cost = 2 * moves + (other < start + ruleLength ? 1 : 0);
    if (cost >= bestCost) continue;
    best = other;
    bestCost = cost;
  }
  return best;
}

/** Gives a slot to the shortest device that fits, from the fullest of this and later slots. */
function takeIn(prefix: Prefix, slot: number): void {
  const { rows } = prefix;
  const { table, width, filled, loads, shares, roomMost } = rows;
  const row = rows.rowOf(slot);
  const column = slot - row * width;
  const excess = (device: number): number => loads[device]! - shares[device]!;
  const slots = Array.from({ length: filled - column }, (_, i) => slot + i);
  const held = new Set(table.subarray(row * width, row * width + filled));
  const entering = [...loads.keys()]
    .filter((device) => !held.has(device) && prefix.fits(column, device))
    .toSorted((a, b) => excess(a) - excess(b));
  const leaving = slots.toSorted((a, b) => excess(table[b]!) - excess(table[a]!));
  for (const device of entering) {
    const other = leaving.find((each) => rows.mayEnter(row, [table[each]!, device], roomMost));
    if (other === undefined) continue;
    rows.set(other, device);
    exchange(table, slot, other);
    return;
  }
}

/** One walk of moves that keep all rules, from devices over their share to those that are short. */
function evenOut(prefix: Prefix): boolean {
  const { rows } = prefix;
  const { table, width, filled, roomMost } = rows;
  const short = [...rows.loads.keys()].filter((device) => rows.isShort(device));
  let hasMoved = false;
  for (let slot = 0; slot < table.length; slot++) {
    const before = table[slot]!;
    if (slot % width >= filled || !rows.isOver(before)) continue;
    const row = rows.rowOf(slot);
    const after = short.find(
      (device) =>
        rows.isShort(device) &&
        rows.mayEnter(row, [before, device], roomMost) &&
        prefix.keepsRule(row, [slot, device]),
    );
    if (after === undefined) continue;
    rows.set(slot, after);
    hasMoved = true;
  }
  return hasMoved;
}
