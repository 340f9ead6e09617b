/**
 * One walk over the table, column by column: empty positions get a device, and devices over their
 * share give positions to devices that are short. A scheme with n shards uses the first n columns,
 * so the walk keeps each *prefix* of columns fair and each prefix of a row well spread: of the
 * first n positions of a row of F, a node with X per row gets at most ⌈n X / F⌉.
 *
 * Nothing else moves: a position is taken only from a device that is over its share, and given only
 * to one that is short.
 */
import { GROUP_COUNT } from '../base/index.ts';
import { mix } from './mix.ts';
import { EMPTY, type Rows } from './rows.ts';

/** What a device must be to get a position. */
interface Wish {
  readonly isShort: boolean;
  /** Leaves out the prefix rule only where nothing else is left. */
  readonly fitsRule: boolean;
  readonly fitsPrefix: boolean;
  readonly keepsEven: boolean;
}

/** What one walk does: the wishes for an empty position, best first, and for a move. */
interface Care {
  readonly fill: readonly Wish[];
  readonly move?: Wish;
  /** Moves only positions that break the prefix rule. */
  readonly movesBreaches?: boolean;
}

const SHORT: Wish = { isShort: true, fitsRule: true, fitsPrefix: false, keepsEven: false };
const CARES = {
  /** The prefix rule, where a domain has come. */
  rule: { fill: [], move: SHORT, movesBreaches: true },
  /** Fair prefixes and even rows. */
  prefix: {
    fill: [{ ...SHORT, fitsPrefix: true }, SHORT],
    move: { ...SHORT, fitsPrefix: true, keepsEven: true },
  },
  /** Even rows. */
  even: { fill: [], move: { ...SHORT, keepsEven: true } },
  /** Shares alone. */
  share: { fill: [], move: SHORT },
  /** Shares, whatever becomes of prefixes: they are set right afterwards. */
  any: { fill: [{ ...SHORT, fitsRule: false }], move: { ...SHORT, fitsRule: false } },
  /** What no device that is short could take: any other that the row may have. */
  rest: { fill: [{ ...SHORT, isShort: false, fitsRule: false }] },
} as const satisfies Record<string, Care>;

export class Sweep {
  readonly #rows: Rows;
  readonly #care: Care;
  /** Positions of each device in the columns up to the present one. */
  readonly #prefixLoads: Int32Array;
  /** As `Rows.counts`, of the columns before the present one. */
  readonly #prefixCounts: Uint8Array;
  #prefixPart = 0;
  #column = 0;

  constructor(rows: Rows, care: keyof typeof CARES) {
    this.#rows = rows;
    this.#care = CARES[care];
    this.#prefixLoads = new Int32Array(rows.loads.length);
    this.#prefixCounts = new Uint8Array(rows.counts.length);
  }

  run(): void {
    const filled = this.#rows.nodeShares[0]! / GROUP_COUNT;
    for (let column = 0; column < this.#rows.width; column++) {
      this.#openColumn(column, Math.min(1, (column + 1) / filled));
      // Each column in another order, so that the same devices do not meet again and again.
      const step = mix(column, 0, 0) | 1;
      const start = mix(column, 1, 0);
      for (let i = 0; i < GROUP_COUNT; i++) {
        this.#visit((Math.imul(i, step) + start) & (GROUP_COUNT - 1));
      }
    }
  }

  #openColumn(column: number, part: number): void {
    const { table, width } = this.#rows;
    this.#column = column;
    this.#prefixPart = part;
    for (let slot = column; slot < table.length; slot += width) {
      if (table[slot] !== EMPTY) this.#prefixLoads[table[slot]!]! += 1;
    }
  }

  #visit(row: number): void {
    const rows = this.#rows;
    const slot = row * rows.width + this.#column;
    const before = rows.table[slot]!;
    const after = before === EMPTY ? this.#filling(row) : this.#replacement(row, before);
    if (after !== before) {
      rows.set(slot, after);
      if (before !== EMPTY) this.#prefixLoads[before]! -= 1;
      this.#prefixLoads[after]! += 1;
    }
    if (after === EMPTY) return;
    const { depth, paths, parents } = rows.tree;
    for (let level = 0; level < depth; level++) {
      this.#prefixCounts[row * parents.length + paths[after * depth + level]!]! += 1;
    }
  }

  #filling(row: number): number {
    for (const wish of this.#care.fill) {
      const device = this.#pick(row, EMPTY, wish);
      if (device !== EMPTY) return device;
    }
    return EMPTY;
  }

  #replacement(row: number, device: number): number {
    const { move, movesBreaches } = this.#care;
    if (!move || !this.#rows.isOver(device)) return device;
    if (movesBreaches && !this.#breaksRule(row, device)) return device;
    if (move.fitsPrefix && !this.#isPrefixOver(device)) return device;
    const other = this.#pick(row, device, move);
    return other === EMPTY ? device : other;
  }

  #breaksRule(row: number, device: number): boolean {
    const { tree, ruleMost } = this.#rows;
    const { depth, paths, parents } = tree;
    for (let level = 0; level < depth; level++) {
      const node = paths[device * depth + level]!;
      const most = ruleMost[this.#column * parents.length + node];
      if (most === undefined) return false;
      if (this.#prefixCounts[row * parents.length + node]! >= most) return true;
    }
    return false;
  }

  #isPrefixOver(device: number): boolean {
    return this.#prefixLoads[device]! > this.#rows.shares[device]! * this.#prefixPart;
  }

  /** The device with the emptiest prefix that fits; a hash decides between equals. */
  #pick(row: number, leaving: number, wish: Wish): number {
    const rows = this.#rows;
    let best = EMPTY;
    let bestFullness = Infinity;
    for (let device = 0; device < rows.shares.length; device++) {
      if (wish.isShort && !rows.isShort(device)) continue;
      const fullness = (this.#prefixLoads[device]! + 1) / rows.shares[device]!;
      if (fullness > bestFullness) continue;
      if (fullness === bestFullness && !this.#winsTie(row, device, best)) continue;
      if (!this.#fits(row, device, leaving, wish)) continue;
      best = device;
      bestFullness = fullness;
    }
    return best;
  }

  #winsTie(row: number, device: number, other: number): boolean {
    if (other === EMPTY) return true;
    const { devices } = this.#rows.tree;
    const column = this.#column;
    return mix(row, column, devices[device]!.number) < mix(row, column, devices[other]!.number);
  }

  #fits(row: number, device: number, leaving: number, wish: Wish): boolean {
    const rows = this.#rows;
    if (!rows.mayEnter(row, [leaving, device], rows.evenMost)) return false;
    if (wish.keepsEven && !rows.mayLeave(row, leaving, device)) return false;
    const { prefixMost, ruleMost } = rows;
    if (!wish.fitsPrefix) return !wish.fitsRule || this.#fitsAll(row, device, ruleMost);
    if (leaving !== EMPTY && this.#isPrefixOver(device)) return false;
    return this.#fitsAll(row, device, prefixMost);
  }

  #fitsAll(row: number, device: number, most: Uint8Array): boolean {
    if (this.#column * this.#rows.tree.parents.length >= most.length) return true;
    for (let level = 0; level < this.#rows.tree.depth; level++) {
      if (!this.#fitsPrefixes(row, device, { level, most })) return false;
    }
    return true;
  }

  /** With `device` in this column, is every prefix of the row spread well at this level? */
  #fitsPrefixes(
    row: number,
    device: number,
    { level, most }: { readonly level: number; readonly most: Uint8Array },
  ): boolean {
    const { table, width, counts, tree } = this.#rows;
    const { depth, paths, parents } = tree;
    const node = paths[device * depth + level]!;
    const at = row * parents.length + node;
    let count = this.#prefixCounts[at]! + 1;
    if (count > most[this.#column * parents.length + node]!) return false;
    if (counts[at] === this.#prefixCounts[at]) return true; // nothing of the node comes later
    const end = Math.min(width, most.length / parents.length);
    for (let column = this.#column + 1; column < end; column++) {
      const later = table[row * width + column]!;
      if (later === EMPTY || paths[later * depth + level] !== node) continue;
      count += 1;
      if (count > most[column * parents.length + node]!) return false;
    }
    return true;
  }
}
