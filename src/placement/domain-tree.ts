/**
 * The devices that take shards, as a tree with dense numbers, so that inner loops work on typed
 * arrays. A *node* is the root, a failure domain or a device; its *level* is 0 for the root,
 * 1 … levels for domains (widest first), then the device itself. A domain is its labels from the
 * widest level down: two racks may both have a "server-1".
 * The *room* of a level is how many positions of one row may lie in one node of that level.
 */
import { assert } from '../base/index.ts';
import type { Topology, TopologyDevice } from './layout.ts';

export interface DomainTree {
  /** Devices in state `in`, by rising number; their *index* here is used everywhere below. */
  readonly devices: readonly TopologyDevice[];
  /** Nodes on the way from the root to a device: levels, root and device included. */
  readonly depth: number;
  /** index × depth + level → node. */
  readonly paths: Int32Array;
  /** node → its parent, a smaller number; the root, 0, is its own. */
  readonly parents: Int32Array;
  /** node → level. */
  readonly levels: Int32Array;
}

export function domainTree(topology: Topology): DomainTree {
  const devices = topology.devices
    .filter(({ state }) => state === 'in')
    .toSorted((a, b) => a.number - b.number);
  const depth = topology.levels.length + 2;
  const parents = [0];
  const levels = [0];
  const known = new Map<string, number>();
  const paths = new Int32Array(devices.length * depth);
  for (const [index, { labels, number }] of devices.entries()) {
    assert(labels.length === depth - 2, 'a device has one label per level');
    let node = 0;
    for (const [above, label] of [...labels, `#${number}`].entries()) {
      const name = `${node}/${label}`;
      const child = known.get(name) ?? parents.length;
      if (child === parents.length) {
        known.set(name, child);
        parents.push(node);
        levels.push(above + 1);
      }
      node = child;
      paths[index * depth + above + 1] = node;
    }
  }
  assert(new Set(devices.map(({ number }) => number)).size === devices.length, 'numbers differ');
  return {
    devices,
    depth,
    paths,
    parents: Int32Array.from(parents),
    levels: Int32Array.from(levels),
  };
}

/**
 * The room of each level: the tolerance where a row of `filled` positions can keep to it (then
 * losing a whole domain loses nothing), else the smallest number with which a row can be filled.
 * Narrow levels first: where a wide level cannot be survived anyway, evenness there must not cost
 * the survival of a narrow one. A level that can keep to the tolerance never hinders a wider one.
 */
export function roomsOf(tree: DomainTree, filled: number, tolerance: number): Int32Array {
  const rooms = new Int32Array(tree.depth).fill(filled);
  rooms[tree.depth - 1] = 1;
  for (let level = tree.depth - 2; level >= 1; level--) {
    let room = Math.min(Math.max(tolerance, 1), filled);
    rooms[level] = room;
    while (positionsThatFit(tree, rooms) < filled) rooms[level] = ++room;
  }
  return rooms;
}

/** How many positions one row can have with these rooms. */
function positionsThatFit(tree: DomainTree, rooms: Int32Array): number {
  const fit = new Int32Array(tree.parents.length);
  for (let index = 0; index < tree.devices.length; index++) {
    fit[tree.paths[index * tree.depth + tree.depth - 1]!] = 1;
  }
  for (let node = fit.length - 1; node > 0; node--) {
    fit[tree.parents[node]!]! += Math.min(fit[node]!, rooms[tree.levels[node]!]!);
  }
  return Math.min(fit[0]!, rooms[0]!);
}
