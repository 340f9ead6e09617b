/**
 * The *prefix rule*: the first p positions of a row, for every p up to the *rule's length*, lie in
 * as many domains as there are, at each level as evenly as can be. A scheme whose shards are copies
 * uses only the first positions of a row, as many as losses are borne and one more; the room of a
 * whole row would let them all stand in one domain.
 *
 * Rooms of a longer prefix are never smaller than those of a shorter one. So the sets that a prefix
 * may be of are those of nested laminar matroids: whichever way a prefix was begun, it can go on.
 */
import { GROUP_COUNT } from '../base/index.ts';
import { type DomainTree, roomsOf } from './domain-tree.ts';

/** By length less 1: the room of each level. */
export type PrefixRooms = readonly Int32Array[];

/** @param length of the rule, in positions; no more than there are devices. */
export function prefixRoomsOf(tree: DomainTree, length: number): PrefixRooms {
  const rooms: Int32Array[] = [];
  for (let count = 1; count <= length; count++) {
    const before = rooms.at(-1);
    rooms.push(roomsOf(tree, count, 1).map((room, level) => Math.max(room, before?.[level] ?? 0)));
  }
  return rooms;
}

/**
 * Keeps shares, while they are poured, to what rows with such prefixes can have: of a row of F
 * positions all but F − p are in the rooms of its first p.
 */
export class PrefixBudget {
  readonly #tree: DomainTree;
  /** By length: the limit of each node, and how much of it is taken. */
  readonly #lengths: { readonly rooms: Int32Array; readonly taken: Int32Array; left: number }[];

  constructor(tree: DomainTree, rooms: PrefixRooms, filled: number) {
    this.#tree = tree;
    this.#lengths = rooms.map((each, i) => ({
      rooms: each,
      taken: new Int32Array(tree.parents.length),
      left: (filled - i - 1) * GROUP_COUNT,
    }));
  }

  /** Once it may not, it never may again. */
  mayTake(device: number): boolean {
    return this.#lengths.every((length) => length.left > 0 || this.#hasRoom(length, device));
  }

  take(device: number): void {
    const { depth, paths } = this.#tree;
    for (const length of this.#lengths) {
      let level = depth - 1;
      for (; level >= 0; level--) {
        const node = paths[device * depth + level]!;
        if (length.taken[node]! >= length.rooms[level]! * GROUP_COUNT) break;
        length.taken[node]! += 1;
      }
      if (level >= 0) length.left -= 1;
    }
  }

  #hasRoom({ rooms, taken }: { rooms: Int32Array; taken: Int32Array }, device: number): boolean {
    const { depth, paths } = this.#tree;
    for (let level = 0; level < depth; level++) {
      if (taken[paths[device * depth + level]!]! >= rooms[level]! * GROUP_COUNT) return false;
    }
    return true;
  }
}
