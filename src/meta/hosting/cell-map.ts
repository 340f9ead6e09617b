/**
 * Which cell has which slots of a space, and on which nodes it is: the *cell map* of a space, one
 * record `cells/<space>` of the registry, so that a split is one compare-and-set.
 *
 *     u8 1 | space (text) | last number u32 | cells u8 × cell | move u8: 0, or 1 and a move
 *     cell: id (text) | from u16 | to u16 | members u8 × node 16
 *     move: source (text) | target (text) | from u16 | to u16
 *
 * A space without a record is one cell of all slots on the home node, and has the space's name.
 *
 * Invariants: the cells stand in the order of their slots and leave none out; a cell may have none
 * yet. A *move* orders the source to hand slots at one end of its range to the target, its
 * neighbour; who completes it writes the new ranges and takes the order away, in one step.
 */
import { assert, ByteReader, ByteWriter, fromHex, hexId, type NodeId } from '../../base/index.ts';
import type { CellId } from '../../log/index.ts';
import type { SlotRange } from '../cells/cell-peers.ts';
import { SLOT_COUNT } from '../cells/rows.ts';

export const ALL_SLOTS: SlotRange = { from: 0, to: SLOT_COUNT };

export interface CellPlace {
  readonly cell: CellId;
  readonly slots: SlotRange;
  /** The first is the steward when all are well; the others take over in this order. */
  readonly members: readonly NodeId[];
}

export interface SlotMove {
  readonly source: CellId;
  readonly target: CellId;
  readonly slots: SlotRange;
}

export interface SpaceMap {
  readonly space: string;
  readonly cells: readonly CellPlace[];
  readonly move: SlotMove | undefined;
  /** Of the cell that was made last: no name is used twice. */
  readonly lastNumber: number;
}

/** A cell map and the version of its record: 0 when there is none. */
export interface VersionedMap extends SpaceMap {
  readonly version: number;
}

export const MEMBERS_MAX = 7;
/** Cells of one space (ruling 21 has no more use for them). */
export const CELLS_MAX = 64;

const KEY_PREFIX = 'cells/';
/** Is set after each change of a cell map: who follows them looks at this key alone. */
export const CHANGES_KEY = 'cells-changed';
const RECORD_VERSION = 1;

/** Of all cell maps, or of one. */
export function mapKey(space = ''): string {
  return KEY_PREFIX + space;
}

/** How a space begins. */
export function loneCell(space: string, members: readonly NodeId[]): SpaceMap {
  const cells = [{ cell: space, slots: ALL_SLOTS, members }];
  return { space, cells, move: undefined, lastNumber: 0 };
}

export function holds({ from, to }: SlotRange, slot: number): boolean {
  return slot >= from && slot < to;
}

export function slotCount({ from, to }: SlotRange): number {
  return to - from;
}

export function placeOfSlot({ cells }: SpaceMap, slot: number): CellPlace {
  const place = cells.find(({ slots }) => holds(slots, slot));
  assert(place, 'each slot has a cell');
  return place;
}

/**
 * The cell to ask for a slot, and up to where it can answer.
 * @param movedFrom the cell that said last that the slot is not its own.
 */
export function placeForSlot(
  map: SpaceMap,
  slot: number,
  movedFrom?: CellId,
): { readonly place: CellPlace; readonly end: number } {
  const { move } = map;
  const place = placeOfSlot(map, slot);
  if (move?.source !== place.cell) return { place, end: place.slots.to };
  if (!holds(move.slots, slot)) {
    return { place, end: slot < move.slots.from ? move.slots.from : place.slots.to };
  }
  const target = movedFrom === place.cell ? placeOfCell(map, move.target) : undefined;
  return { place: target ?? place, end: move.slots.to };
}

export function placeOfCell({ cells }: SpaceMap, cell: CellId): CellPlace | undefined {
  return cells.find((place) => place.cell === cell);
}

/** The map with an order to hand the upper half of a cell to a new one. */
export function withSplit(map: SpaceMap, source: CellId, members: readonly NodeId[]): SpaceMap {
  assert(!map.move && map.cells.length < CELLS_MAX, 'one move at a time, and a bounded count');
  const index = map.cells.findIndex(({ cell }) => cell === source);
  const slots = map.cells[index]?.slots;
  assert(slots && slotCount(slots) >= 2, 'there is something to split');
  const middle = (slots.from + slots.to) >>> 1;
  const lastNumber = map.lastNumber + 1;
  const target = `${map.space}-${lastNumber}`;
  const cell = { cell: target, slots: { from: slots.to, to: slots.to }, members };
  return {
    ...map,
    lastNumber,
    cells: map.cells.toSpliced(index + 1, 0, cell),
    move: { source, target, slots: { from: middle, to: slots.to } },
  };
}

/** The map after its move. */
export function withMoved(map: SpaceMap): SpaceMap {
  const { move } = map;
  assert(move, 'a move was ordered');
  const moved = map.cells.map((place): CellPlace => {
    const { from, to } = place.slots;
    if (place.cell === move.source) {
      const slots =
        move.slots.to === to ? { from, to: move.slots.from } : { from: move.slots.to, to };
      return { ...place, slots };
    }
    if (place.cell !== move.target) return place;
    if (from === to) return { ...place, slots: move.slots };
    const slots = { from: Math.min(from, move.slots.from), to: Math.max(to, move.slots.to) };
    return { ...place, slots };
  });
  return { ...map, cells: moved, move: undefined };
}

export function withMembers(map: SpaceMap, cell: CellId, members: readonly NodeId[]): SpaceMap {
  assert(new Set(members).size === members.length, 'a node is a member once');
  assert(members.length >= 1 && members.length <= MEMBERS_MAX, 'a cell has members');
  return {
    ...map,
    cells: map.cells.map((place) => (place.cell === cell ? { ...place, members } : place)),
  };
}

export function encodeMap({ space, cells, move, lastNumber }: SpaceMap): Uint8Array {
  const writer = new ByteWriter(64 * cells.length)
    .u8(RECORD_VERSION)
    .text(space)
    .u32(lastNumber)
    .u8(cells.length);
  for (const { cell, slots, members } of cells) {
    writer.text(cell).u16(slots.from).u16(slots.to).u8(members.length);
    for (const member of members) writer.raw(fromHex(member));
  }
  writer.u8(move ? 1 : 0);
  if (move) writer.text(move.source).text(move.target).u16(move.slots.from).u16(move.slots.to);
  return writer.finish();
}

/** @throws HF_CORRUPT. */
export function decodeMap(bytes: Uint8Array): SpaceMap {
  const reader = new ByteReader(bytes, 'cell map');
  const version = reader.u8();
  if (version !== RECORD_VERSION) throw reader.corrupt(`version ${version} is not known`);
  const space = reader.text();
  const lastNumber = reader.u32();
  const cells = Array.from({ length: reader.u8() }, () => readPlace(reader));
  const hasMove = reader.u8() === 1;
  const move = hasMove
    ? { source: reader.text(), target: reader.text(), slots: readSlots(reader) }
    : undefined;
  reader.end();
  const map = { space, cells, move, lastNumber };
  const fault = faultOf(map);
  if (fault) throw reader.corrupt(fault);
  return map;
}

function readPlace(reader: ByteReader): CellPlace {
  const cell = reader.text();
  const slots = readSlots(reader);
  const members = Array.from({ length: reader.u8() }, () => hexId<NodeId>(reader.raw(16)));
  return { cell, slots, members };
}

function readSlots(reader: ByteReader): SlotRange {
  return { from: reader.u16(), to: reader.u16() };
}

/** What is wrong with a map. */
function faultOf({ cells, move }: SpaceMap): string | undefined {
  let next = 0;
  for (const { slots, members } of cells) {
    if (slots.from !== next || slots.to < slots.from) return 'its slots have gaps';
    next = slots.to;
    if (members.length < 1 || members.length > MEMBERS_MAX) return 'a cell has no members';
    if (new Set(members).size < members.length) return 'a node is a member twice';
  }
  if (next !== SLOT_COUNT) return 'its slots have gaps';
  if (cells.length > CELLS_MAX) return 'it has too many cells';
  if (new Set(cells.map(({ cell }) => cell)).size < cells.length) return 'a cell is there twice';
  if (!move) return undefined;
  const source = cells.findIndex(({ cell }) => cell === move.source);
  const target = cells.findIndex(({ cell }) => cell === move.target);
  if (source === -1 || target === -1 || Math.abs(source - target) !== 1) return 'its move is none';
  const { from, to } = (cells[source] as CellPlace).slots;
  const isWithin =
    move.slots.from < move.slots.to && from <= move.slots.from && move.slots.to <= to;
  const edge = target > source ? move.slots.to === to : move.slots.from === from;
  return isWithin && edge ? undefined : 'its move is none';
}
