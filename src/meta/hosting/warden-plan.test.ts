/**
 * Aim: from any map and any set of nodes, step after step, the plan comes to an end where each cell
 * has members enough in distinct failure domains, there are cells enough, and stewards are spread.
 * Method: random clusters with fast-check, whose steps are carried out at once; what must hold at
 * the end is asked of the map.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeId } from '../../base/index.ts';
import { loneCell, type SpaceMap, withMembers, withMoved, withSplit } from './cell-map.ts';
import { slotsHeld, spreadStep } from './warden-spread.ts';
import {
  chooseMembers,
  countFirsts,
  type MetadataNode,
  nextStep,
  wantedCellCount,
} from './warden-plan.ts';

const nodeOf = (number: number): NodeId => (number * 7919).toString(16).padStart(32, '0') as NodeId;

function nodesIn(racks: readonly number[]): MetadataNode[] {
  return racks.map((rack, number) => ({
    node: nodeOf(number + 1),
    labels: { rack: `r${rack}` },
    isAlive: true,
    weight: 1,
  }));
}

function settle(
  map: SpaceMap,
  nodes: readonly MetadataNode[],
  isGivenUp: (node: NodeId) => boolean = () => false,
): SpaceMap {
  let at = map;
  for (let count = 0; ; count++) {
    if (count > 1000) throw new Error('it does not end');
    if (at.move) at = withMoved(at);
    const step =
      nextStep({ map: at, nodes, isGivenUp, firsts: countFirsts(at.cells) }) ??
      spreadStep(at, nodes);
    if (!step) return at;
    at =
      step.kind === 'split'
        ? withSplit(at, step.cell, step.members)
        : withMembers(at, step.cell, step.members);
  }
}

describe('the plan', () => {
  it('ends with cells, members and stewards spread', () => {
    const racks = fc.array(fc.nat(4), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(racks, (given) => {
        const nodes = nodesIn(given);
        const { cells } = settle(loneCell('v', [nodeOf(1)]), nodes);
        expect(cells.length).toBe(wantedCellCount(nodes.length));
        for (const { members } of cells) expect(members.length).toBe(Math.min(3, nodes.length));
        const firsts = [...countFirsts(cells).values()];
        expect(Math.max(...firsts)).toBeLessThanOrEqual(Math.min(...firsts) + cells.length / 2);
      }),
      { numRuns: 60 },
    );
  });

  it('gives no node more than three fifths of a space, and each its share, as nodes come', () => {
    const counts = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(counts, fc.boolean(), (added, hasRacks) => {
        let map = loneCell('v', [nodeOf(1)]);
        let nodes: MetadataNode[] = [];
        for (const count of added) {
          const racks = Array.from({ length: nodes.length + count }, (_, at) =>
            hasRacks ? at % 3 : 0,
          );
          map = settle(map, (nodes = nodesIn(racks)));
        }
        if (nodes.length < 6) return;
        const held = slotsHeld(map);
        const shares = nodes.map(({ node }) => (held.get(node) ?? 0) / 4096);
        expect(Math.max(...shares)).toBeLessThanOrEqual(0.6);
        expect(Math.min(...shares)).toBeGreaterThan(0);
        if (!hasRacks) return;
        for (const { members } of map.cells) {
          const rackOf = (node: NodeId) => nodes.find((one) => one.node === node)?.labels['rack'];
          expect(new Set(members.map(rackOf)).size).toBe(3);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('puts members into distinct racks as long as there are racks', () => {
    const nodes = nodesIn([0, 0, 0, 0, 1, 1, 2]);
    const rackOf = (node: NodeId) => nodes.find((one) => one.node === node)?.labels['rack'];
    for (const cell of ['a', 'b', 'c', 'd', 'e']) {
      expect(new Set(chooseMembers(cell, nodes).map(rackOf)).size).toBe(3);
    }
    const firsts = new Set(
      ['a', 'b', 'c', 'd', 'e', 'f'].map((cell) => chooseMembers(cell, nodes)[0]),
    );
    expect(firsts.size).toBeGreaterThan(1);
  });

  it('replaces a member only when it was given up, and keeps the others', () => {
    const nodes = nodesIn([0, 1, 2, 3, 4]);
    const map = settle(loneCell('v', [nodeOf(1), nodeOf(2), nodeOf(3)]), nodes);
    const gone = map.cells[0]!.members[0]!;
    const dead = nodes.map((one) => (one.node === gone ? { ...one, isAlive: false } : one));
    const same = settle(map, dead);
    for (const [index, { members }] of same.cells.entries()) {
      expect(new Set(members)).toEqual(new Set(map.cells[index]!.members));
    }
    const after = settle(map, dead, (node) => node === gone);
    for (const [index, { members }] of after.cells.entries()) {
      expect(members).not.toContain(gone);
      expect(members.length).toBe(3);
      const stayed = map.cells[index]!.members.filter((node) => node !== gone);
      expect(members).toEqual(expect.arrayContaining(stayed));
    }
  });

  it('keeps a dead member while there is nobody for its place, and lets go of who left', () => {
    const nodes = nodesIn([0, 1, 2]);
    const all = nodes.map(({ node }) => node);
    const map = loneCell('v', all);
    const dead = nodes.map((one, index) => ({ ...one, isAlive: index !== 0 }));
    expect(new Set(settle(map, dead, (node) => node === all[0]).cells[0]?.members)).toEqual(
      new Set(all),
    );
    expect(settle(map, nodes.slice(1)).cells[0]?.members).toEqual(all.slice(1));
  });
});

it('has two thirds as many cells as nodes once there are more than three', () => {
  expect([1, 3, 4, 6, 9, 500].map(wantedCellCount)).toEqual([1, 1, 3, 4, 6, 64]);
});
