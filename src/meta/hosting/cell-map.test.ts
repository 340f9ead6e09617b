/**
 * Aim: a cell map always gives every slot to one cell, through any row of splits and moves, and
 * comes back from its bytes; bytes that say otherwise are refused. Method: random splits with
 * fast-check, some of whose moves are completed; single faults and random bytes.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { errorCode, type NodeId } from '../../base/index.ts';
import { SLOT_COUNT } from '../cells/rows.ts';
import {
  CELLS_MAX,
  decodeMap,
  encodeMap,
  loneCell,
  placeForSlot,
  placeOfSlot,
  slotCount,
  type SpaceMap,
  withMembers,
  withMoved,
  withSplit,
} from './cell-map.ts';

const node = (number: number): NodeId => number.toString(16).padStart(32, '0') as NodeId;

function splitWhereItCan(map: SpaceMap, choice: number): SpaceMap {
  if (map.move) return withMoved(map);
  const wide = map.cells.filter(({ slots }) => slotCount(slots) >= 2);
  const source = wide[choice % wide.length];
  if (!source || map.cells.length === CELLS_MAX) return map;
  return withSplit(map, source.cell, [node(choice % 5), node(5)]);
}

it('gives each slot to one cell, and comes back from its bytes', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { maxLength: 60 }), (choices) => {
      let map = loneCell('references', [node(1), node(2), node(3)]);
      for (const choice of choices) {
        map = splitWhereItCan(map, choice);
        expect(decodeMap(encodeMap(map))).toEqual(map);
        const widths = map.cells.map(({ slots }) => slotCount(slots));
        expect(widths.reduce((sum, width) => sum + width, 0)).toBe(SLOT_COUNT);
        let slot = 0;
        while (slot < SLOT_COUNT) {
          const { place, end } = placeForSlot(map, slot);
          expect(place).toBe(placeOfSlot(map, slot));
          expect(end).toBeGreaterThan(slot);
          slot = end;
        }
      }
    }),
  );
});

it('sends who was sent away by the source of a move to its target', () => {
  const map = withSplit(loneCell('v', [node(1)]), 'v', [node(2)]);
  expect(placeForSlot(map, 100, 'v')).toMatchObject({ place: { cell: 'v' }, end: 2048 });
  expect(placeForSlot(map, 3000)).toMatchObject({ place: { cell: 'v' }, end: 4096 });
  expect(placeForSlot(map, 3000, 'v')).toMatchObject({ place: { cell: 'v-1' }, end: 4096 });
  const moved = withMoved(map);
  expect(placeForSlot(moved, 3000)).toMatchObject({ place: { cell: 'v-1' }, end: 4096 });
  expect(withMembers(moved, 'v-1', [node(7)]).cells[1]?.members).toEqual([node(7)]);
});

it('is refused when slots are missing, a cell is twice there or its move is none', () => {
  const map = withSplit(loneCell('v', [node(1)]), 'v', [node(2)]);
  const [first, second] = [map.cells[0]!, map.cells[1]!];
  const faulty: SpaceMap[] = [
    { ...map, cells: [first] },
    { ...map, cells: [{ ...first, slots: { from: 0, to: 4000 } }, second] },
    { ...map, cells: [first, { ...second, cell: 'v' }] },
    { ...map, cells: [first, { ...second, members: [] }] },
    { ...map, cells: [first, { ...second, members: [node(1), node(1)] }] },
    { ...map, move: { ...map.move!, slots: { from: 0, to: 1 } } },
    { ...map, move: { ...map.move!, target: 'w' } },
  ];
  for (const each of faulty) {
    expect(() => decodeMap(encodeMap(each))).toThrow(/cell map/);
  }
});

it('is refused from bytes that are none', () => {
  const bytes = encodeMap(withSplit(loneCell('v', [node(1)]), 'v', [node(2)]));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const damaged = new Uint8Array(bytes);
      damaged[at]! ^= flip;
      try {
        decodeMap(damaged);
      } catch (error) {
        expect(errorCode(error)).toBe('HF_CORRUPT');
      }
    }),
  );
});
