/**
 * The table while it is being made: device indexes by row and position, how many positions of each
 * row lie in each node, how many positions each device has (its *load*).
 *
 * One rule covers all others: a node whose devices' shares come to X positions per row gets at most
 * ⌈X⌉ of a row, and where it costs nothing at least ⌊X⌋. Shares respect the rooms, so ⌈X⌉ does: one
 * position on a device, no more than the room in a domain, and beyond that the most even spread
 * that the weights allow. Rows and shares form a flow network, so a table that keeps the rule and
 * meets every share exactly always exists. Only to save moves may a row have more than ⌈X⌉, up to
 * the room.
 */
import { assert, GROUP_COUNT } from '../base/index.ts';
import type { DomainTree } from './domain-tree.ts';
import type { PrefixRooms } from './prefix-rule.ts';
import { sumOverNodes } from './shares.ts';

/** In place of a device index. */
export const EMPTY = 0xffff;

/** Positions, and part of a share, that a device may be off it before anything moves for that. */
const LEFT_OVER_MAX = 2;
const LEFT_OVER_PART_MAX = 0.005;

export interface RowsOptions {
  readonly width: number;
  /** Positions that each device is to have. */
  readonly shares: Int32Array;
  /** Room of each level. */
  readonly rooms: Int32Array;
  /** See prefix-rule.ts. */
  readonly prefixRooms: PrefixRooms;
}

export class Rows {
  readonly tree: DomainTree;
  readonly width: number;
  readonly shares: Int32Array;
  readonly loads: Int32Array;
  /** node → the shares of its devices together. */
  readonly nodeShares: Int32Array;
  /** row × width + position (a *slot*) → device index. */
  readonly table: Uint16Array;
  /** row × nodes + node → positions of the row in the node. */
  readonly counts: Uint8Array;
  /** Positions of a row that have a device. */
  readonly filled: number;
  /** column × nodes + node → most positions of the row up to the column in the node: ⌈n X / F⌉. */
  readonly prefixMost: Uint8Array;
  /** As `prefixMost`, by the prefix rule alone: for as many columns as the rule is long. */
  readonly ruleMost: Uint8Array;
  /** node → ⌈X⌉. */
  readonly evenMost: Uint8Array;
  /** node → the room of its level, never passed. */
  readonly roomMost: Uint8Array;
  readonly #least: Uint8Array;

  constructor(tree: DomainTree, { width, shares, rooms, prefixRooms }: RowsOptions) {
    this.tree = tree;
    this.width = width;
    this.shares = shares;
    this.loads = new Int32Array(shares.length);
    this.table = new Uint16Array(GROUP_COUNT * width).fill(EMPTY);
    this.counts = new Uint8Array(GROUP_COUNT * tree.parents.length);
    this.nodeShares = sumOverNodes(tree, shares);
    this.filled = rooms[0]!;
    this.ruleMost = Uint8Array.from(
      prefixRooms.flatMap((most) => [...tree.levels].map((level) => most[level]!)),
    );
    this.prefixMost = prefixMost(this);
    this.roomMost = Uint8Array.from(tree.levels, (level) => rooms[level]!);
    this.evenMost = Uint8Array.from(this.nodeShares, (share) => Math.ceil(share / GROUP_COUNT));
    this.#least = Uint8Array.from(this.nodeShares, (share) => Math.floor(share / GROUP_COUNT));
  }

  rowOf(slot: number): number {
    return Math.floor(slot / this.width);
  }

  /** Gives a slot to a device, or takes it away with EMPTY. */
  set(slot: number, device: number): void {
    const { tree, table } = this;
    const before = table[slot]!;
    const base = this.rowOf(slot) * tree.parents.length;
    if (before !== EMPTY) {
      this.loads[before]! -= 1;
      const path = before * tree.depth;
      for (let l = 0; l < tree.depth; l++) this.counts[base + tree.paths[path + l]!]! -= 1;
    }
    table[slot] = device;
    if (device === EMPTY) return;
    this.loads[device]! += 1;
    const path = device * tree.depth;
    for (let l = 0; l < tree.depth; l++) this.counts[base + tree.paths[path + l]!]! += 1;
  }

  /** Columns that the prefix rule is about. */
  get ruleLength(): number {
    return this.ruleMost.length / this.tree.parents.length;
  }

  /** Whether every device has its share; then every row has all its positions. */
  isMet(): boolean {
    return this.loads.every((load, device) => load === this.shares[device]);
  }

  /** As far as chains of moves that heed prefixes too can bring it. */
  isNearlyMet(): boolean {
    return this.loads.every((load, device) => {
      const share = this.shares[device]!;
      return Math.abs(load - share) <= Math.max(LEFT_OVER_MAX, share * LEFT_OVER_PART_MAX);
    });
  }

  /** Whether no row has more positions in a node than its room. */
  hasRoom(): boolean {
    const nodes = this.tree.parents.length;
    return this.counts.every((count, at) => count <= this.roomMost[at % nodes]!);
  }

  isOver(device: number): boolean {
    return this.loads[device]! > this.shares[device]!;
  }

  isShort(device: number): boolean {
    return this.loads[device]! < this.shares[device]!;
  }

  /**
   * May the row take `device` when `leaving` (or EMPTY) goes? Domains of both do not change.
   * @param most `evenMost` or `roomMost`.
   */
  mayEnter(row: number, [leaving, device]: readonly [number, number], most: Uint8Array): boolean {
    const { depth, paths, parents } = this.tree;
    const base = row * parents.length;
    for (let level = depth - 1; level >= 0; level--) {
      const node = paths[device * depth + level]!;
      if (leaving !== EMPTY && paths[leaving * depth + level] === node) return true;
      if (this.counts[base + node]! >= most[node]!) return false;
    }
    return true;
  }

  /** Does the row stay well spread when `device` goes and `entering` comes? */
  mayLeave(row: number, device: number, entering: number): boolean {
    const { depth, paths, parents } = this.tree;
    const base = row * parents.length;
    for (let level = depth - 1; level >= 0; level--) {
      const node = paths[device * depth + level]!;
      if (paths[entering * depth + level] === node) return true;
      if (this.counts[base + node]! <= this.#least[node]!) return false;
    }
    return true;
  }

  /** Takes away positions beyond the rooms, where the topology has changed under a row. */
  evict(): void {
    const { tree, counts, roomMost } = this;
    const nodes = tree.parents.length;
    for (let row = 0; row < GROUP_COUNT; row++) {
      // Children have larger numbers than their parents: narrow domains are set right first.
      for (let node = nodes - 1; node > 0; node--) {
        while (counts[row * nodes + node]! > roomMost[node]!) {
          this.set(this.#fullestIn(row, node), EMPTY);
        }
      }
    }
  }

  /** The slot of a row whose device, below `node`, is the furthest over its share. */
  #fullestIn(row: number, node: number): number {
    const { depth, paths, levels } = this.tree;
    let best = -1;
    let bestExcess = -Infinity;
    for (let slot = row * this.width; slot < (row + 1) * this.width; slot++) {
      const device = this.table[slot]!;
      if (device === EMPTY || paths[device * depth + levels[node]!] !== node) continue;
      const excess = this.loads[device]! - this.shares[device]!;
      if (excess < bestExcess) continue;
      best = slot;
      bestExcess = excess;
    }
    assert(best >= 0, 'a crowded domain has a device in the row');
    return best;
  }
}

function prefixMost({ tree, width, nodeShares, ruleMost }: Rows): Uint8Array {
  const nodes = tree.parents.length;
  const most = new Uint8Array(width * nodes);
  const deviceCounts = sumOverNodes(tree, new Int32Array(tree.devices.length).fill(1));
  const positions = nodeShares[0]!;
  for (let column = 0; column < width; column++) {
    const part = Math.min(column + 1, positions / GROUP_COUNT);
    for (let node = 0; node < nodes; node++) {
      // Shares are whole numbers: up to one position per device is rounding, not a right to more.
      const share = (nodeShares[node]! - deviceCounts[node]!) * part;
      const at = column * nodes + node;
      most[at] = Math.min(Math.max(1, Math.ceil(share / positions)), ruleMost[at] ?? width);
    }
    most[column * nodes] = part; // the root
  }
  return most;
}
