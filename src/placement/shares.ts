/**
 * The *share* of a device: how many positions of the whole table it is to have. Shares are
 * proportional to weight as far as the rooms allow: water is poured over the tree, one position at
 * a time, into the device that is then the least full, until its domain has all that the rooms give
 * it. For nested limits this greedy choice is the best there is: it makes the fullest device as
 * little full as possible, then the next one, and so on (Federgruen & Groenevelt 1986).
 */
import { assert, GROUP_COUNT } from '../base/index.ts';
import type { DomainTree } from './domain-tree.ts';
import { PrefixBudget, type PrefixRooms } from './prefix-rule.ts';

interface RowRooms {
  /** Of each level; see `roomsOf`. */
  readonly rooms: Int32Array;
  readonly prefixRooms: PrefixRooms;
}

/**
 * @param loads positions that each device has now; between equals the one that has more keeps it.
 * @returns positions by device index; their sum fills every row.
 */
export function fairShares(
  tree: DomainTree,
  { rooms, prefixRooms }: RowRooms,
  loads: Int32Array,
): Int32Array {
  const limits = tree.levels.map((level) => rooms[level]! * GROUP_COUNT);
  const budget = () => new PrefixBudget(tree, prefixRooms, rooms[0]!);
  // Weights may be so unlike that rows can be filled, and no prefix of them spread: rows go first.
  const shares = pour({ tree, limits, loads, budget: budget() }) ?? pour({ tree, limits, loads });
  assert(shares, 'the rooms let every row be filled');
  return pour({ tree, limits: trimmed(tree, limits, shares), loads, budget: budget() }) ?? shares;
}

/**
 * Limits without the crumbs of rounding: a domain whose share is a hair above m positions per row
 * is held to m, else a few rows would have m + 1 and promise less than all the others.
 */
function trimmed(tree: DomainTree, limits: Int32Array, shares: Int32Array): Int32Array {
  const nodeShares = sumOverNodes(tree, shares);
  const deviceCounts = sumOverNodes(tree, new Int32Array(shares.length).fill(1));
  return limits.map((limit, node) => {
    const crumbs = nodeShares[node]! % GROUP_COUNT;
    const whole = nodeShares[node]! - crumbs;
    return whole > 0 && crumbs <= deviceCounts[node]! ? Math.min(limit, whole) : limit;
  });
}

/** Sums of a figure of the devices for each node of the tree. */
export function sumOverNodes(tree: DomainTree, figures: Int32Array): Int32Array {
  const sums = new Int32Array(tree.parents.length);
  for (const [i, node] of tree.paths.entries()) sums[node]! += figures[Math.floor(i / tree.depth)]!;
  return sums;
}

interface Pouring {
  readonly tree: DomainTree;
  readonly limits: Int32Array;
  readonly loads: Int32Array;
  readonly budget?: PrefixBudget | undefined;
}

/** @returns `undefined` when the limits do not let every row be filled. */
function pour({ tree, limits, loads, budget }: Pouring): Int32Array | undefined {
  const shares = new Int32Array(tree.devices.length);
  // A weight of 0 is not "nothing": such a device takes what the others must not take.
  const weights = Float64Array.from(tree.devices, ({ weightBytes }) => Math.max(weightBytes, 1));
  const left = limits.slice();
  const fullness = weights.map((weight) => 1 / weight);
  while (left[0]! > 0) {
    const index = leastFull(fullness, shares, loads);
    if (fullness[index] === Infinity) return undefined;
    if (isFull(tree, left, index) || budget?.mayTake(index) === false) {
      fullness[index] = Infinity;
      continue;
    }
    shares[index]! += 1;
    budget?.take(index);
    fullness[index] = (shares[index]! + 1) / weights[index]!;
    for (let level = 0; level < tree.depth; level++) {
      left[tree.paths[index * tree.depth + level]!]! -= 1;
    }
  }
  return shares;
}

/** The device that one more position makes least full. */
function leastFull(fullness: Float64Array, shares: Int32Array, loads: Int32Array): number {
  let best = 0;
  for (let index = 1; index < fullness.length; index++) {
    if (fullness[index]! > fullness[best]!) continue;
    const isTie = fullness[index] === fullness[best];
    if (isTie && loads[index]! - shares[index]! <= loads[best]! - shares[best]!) continue;
    best = index;
  }
  return best;
}

function isFull(tree: DomainTree, left: Int32Array, index: number): boolean {
  for (let level = 0; level < tree.depth; level++) {
    if (left[tree.paths[index * tree.depth + level]!] === 0) return true;
  }
  return false;
}
