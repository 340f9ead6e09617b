/**
 * Which membership goes to another node, so that the nodes hold a space in equal parts: nodes that
 * are new get their share, and none holds much more than the others. A pure function; each step
 * leaves both nodes with less than the one had before, so steps come to an end, and two wardens who
 * see the nodes differently do not undo each other's.
 *
 * Failure domains come first: where one rack has a single node, that node is a member everywhere.
 */
import type { NodeId } from '../../base/index.ts';
import { DEFAULT_LABEL, LEVELS } from '../../cluster/index.ts';
import { type CellPlace, slotCount, type SpaceMap } from './cell-map.ts';
import type { MembersStep, MetadataNode } from './warden-plan.ts';

/** `undefined` when nothing would be better, or something else is under way. */
export function spreadStep(map: SpaceMap, nodes: readonly MetadataNode[]): MembersStep | undefined {
  if (map.move) return undefined;
  const held = slotsHeld(map);
  const loadOf = ({ node, weight }: MetadataNode, more = 0): number =>
    ((held.get(node) ?? 0) + more) / weight;
  const alive = nodes.filter(({ isAlive }) => isAlive);
  const byLoad = alive.toSorted((a, b) => loadOf(a) - loadOf(b));
  const isWell = ({ members }: CellPlace): boolean =>
    members.every((member) => alive.some(({ node }) => node === member));
  const cells = map.cells.filter(isWell);
  for (const from of byLoad.toReversed()) {
    for (const { cell, members, slots } of cells) {
      if (!members.includes(from.node)) continue;
      const to = byLoad.find(
        (one) =>
          !members.includes(one.node) &&
          loadOf(one, slotCount(slots)) < loadOf(from) &&
          isAsFarApart(replaced(members, from, one), { members, nodes }),
      );
      if (to)
        return { kind: 'members', cell, members: replaced(members, from, to), added: [to.node] };
    }
  }
  return undefined;
}

/** Slots of the space by node. */
export function slotsHeld({ cells }: Pick<SpaceMap, 'cells'>): ReadonlyMap<NodeId, number> {
  const held = new Map<NodeId, number>();
  for (const { members, slots } of cells) {
    for (const member of members) held.set(member, (held.get(member) ?? 0) + slotCount(slots));
  }
  return held;
}

function replaced(members: readonly NodeId[], from: MetadataNode, to: MetadataNode): NodeId[] {
  return members.map((member) => (member === from.node ? to.node : member));
}

/** In no fewer domains, on each level. */
function isAsFarApart(
  next: readonly NodeId[],
  { members, nodes }: { members: readonly NodeId[]; nodes: readonly MetadataNode[] },
): boolean {
  const before = domainCounts(members, nodes);
  return domainCounts(next, nodes).every((count, level) => count >= before[level]!);
}

function domainCounts(members: readonly NodeId[], nodes: readonly MetadataNode[]): number[] {
  const labels = members.map((member) => nodes.find(({ node }) => node === member)?.labels ?? {});
  return LEVELS.slice(0, -1).map((_, level) => {
    const domains = labels.map((each) =>
      LEVELS.slice(0, level + 1).map((name) => each[name] ?? DEFAULT_LABEL),
    );
    return new Set(domains.map((path) => path.join('/'))).size;
  });
}
