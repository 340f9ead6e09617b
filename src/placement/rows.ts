/**
 * The table while it is being made: device indexes by row and position, how many positions of each
 * row lie in each node, how many positions each device has (its *load*).
 *
 * One rule covers all others: a node whose devices' shares come to X positions per row gets at most
 * ⌈X⌉ of a row, and where it costs nothing at least ⌊X⌋. Shares respect the rooms, so ⌈X⌉ does: one
 * position on a device, no more than the room in a domain, and beyond that the most even spread that
 * the weights allow. Rows and shares form a flow network, so a table that keeps the rule and meets
 * every share exactly always exists.
 */
import { assert, GROUP_COUNT } from '../base/index.ts';
import type { DomainTree } from './domain-tree.ts';

/** In place of a device index. */
export const EMPTY = 0xffff;

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
  readonly #most: Uint8Array;
  readonly #least: Uint8Array;

  constructor(tree: DomainTree, width: number, shares: Int32Array) {
    this.tree = tree;
    this.width = width;
    this.shares = shares;
    this.loads = new Int32Array(shares.length);
    this.table = new Uint16Array(GROUP_COUNT * width).fill(EMPTY);
    this.counts = new Uint8Array(GROUP_COUNT * tree.parents.length);
    this.nodeShares = new Int32Array(tree.parents.length);
    for (const [slot, node] of tree.paths.entries()) {
      this.nodeShares[node]! += shares[Math.floor(slot / tree.depth)]!;
    }
    this.#most = Uint8Array.from(this.nodeShares, (share) => Math.ceil(share / GROUP_COUNT));
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

  isOver(device: number): boolean {
    return this.loads[device]! > this.shares[device]!;
  }

  isShort(device: number): boolean {
    return this.loads[device]! < this.shares[device]!;
  }

  /** May the row take `device` when `leaving` (or EMPTY) goes? Domains of both do not change. */
  mayEnter(row: number, device: number, leaving: number): boolean {
    const { depth, paths, parents } = this.tree;
    const base = row * parents.length;
    for (let level = depth - 1; level >= 0; level--) {
      const node = paths[device * depth + level]!;
      if (leaving !== EMPTY && paths[leaving * depth + level] === node) return true;
      if (this.counts[base + node]! >= this.#most[node]!) return false;
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
  evict(rooms: Int32Array): void {
    const { tree, counts } = this;
    const nodes = tree.parents.length;
    for (let row = 0; row < GROUP_COUNT; row++) {
      // Children have larger numbers than their parents: narrow domains are set right first.
      for (let node = nodes - 1; node > 0; node--) {
        while (counts[row * nodes + node]! > rooms[tree.levels[node]!]!) {
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
