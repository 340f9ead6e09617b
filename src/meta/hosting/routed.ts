/**
 * An interface whose operations go to the cells that they concern, by the routes of its method
 * table: to one, to all in the order of their slots, or item by item.
 */
import { assert, errorCode, mapBounded } from '../../base/index.ts';
import type { SlotRange } from '../cells/cell-peers.ts';
import { SLOT_COUNT } from '../cells/rows.ts';
import type { AllCells, AnyMethod, ByItems } from '../remote/cell-methods.ts';
import { placeOfSlot, type VersionedMap } from './cell-map.ts';

/** Cells that one operation asks at once. */
const CELLS_AT_ONCE = 8;

/** One operation at one cell of the space. */
export interface CellOperation {
  readonly method: string;
  readonly isChange: boolean;
  readonly args: readonly unknown[];
}

/** How a space is asked. */
export interface RoutedSpace {
  /** As it is known, or as the registry has it now. */
  map(options: { readonly isNewest: boolean }): Promise<VersionedMap>;
  toSlot(slot: number, operation: CellOperation): Promise<unknown>;
  /** From a slot to the end of the cell that has it, or less: where it ended is answered too. */
  fromSlot(slot: number, operation: CellOperation): Promise<{ value: unknown; end: number }>;
  toCell(cell: string, operation: CellOperation): Promise<unknown>;
}

/** All methods of a table as functions, typed as `Api` by the caller's word. */
export function routedApi<Api>(
  methods: Readonly<Record<string, AnyMethod>>,
  space: RoutedSpace,
): Api {
  const operations = Object.entries(methods).map(([name, method]) => [
    name,
    (...args: unknown[]) => run(space, method, { method: name, isChange: method.isChange, args }),
  ]);
  return {
    ...(Object.fromEntries(operations) as object),
    async [Symbol.asyncDispose]() {},
  } as Api;
}

async function run(
  space: RoutedSpace,
  { route }: AnyMethod,
  operation: CellOperation,
): Promise<unknown> {
  const args = [...operation.args];
  if (typeof route === 'function') return await space.toSlot(route(args), operation);
  if ('slots' in route) return await runByItems(space, route, operation);
  if (operation.isChange) return await changeAll(space, route, operation);
  return route.isForEach
    ? await readEach(space, route, operation)
    : await readAll(space, route, operation);
}

async function readAll(
  space: RoutedSpace,
  { from, isEnough, merge }: AllCells<unknown[], unknown>,
  operation: CellOperation,
): Promise<unknown> {
  const args = [...operation.args];
  const answers: unknown[] = [];
  const slots = { from: from?.(args) ?? 0, to: SLOT_COUNT };
  for await (const { value } of answersFrom(space, slots, operation)) {
    answers.push(value);
    if (isEnough?.(answers, args)) break;
  }
  return merge(answers, args);
}

/** Side by side. @throws once all have been asked; an answer before a silence. */
async function readEach(
  space: RoutedSpace,
  { merge }: AllCells<unknown[], unknown>,
  operation: CellOperation,
): Promise<unknown> {
  const { cells } = await space.map({ isNewest: false });
  const answers = new Map<number, unknown>();
  const errors: unknown[] = [];
  await mapBounded(cells, CELLS_AT_ONCE, async ({ slots }) => {
    try {
      // Should it have been parted since, the others are asked for the rest.
      for await (const { slot, value } of answersFrom(space, slots, operation)) {
        answers.set(slot, value);
      }
    } catch (error) {
      errors.push(error);
    }
  });
  const isSilence = (error: unknown): boolean => errorCode(error) === 'HF_UNAVAILABLE';
  if (errors.length > 0) throw errors.find((error) => !isSilence(error)) ?? errors[0];
  const inOrder = [...answers].toSorted(([a], [b]) => a - b).map(([, value]) => value);
  return merge(inOrder, [...operation.args]);
}

/** What the cells that have these slots answer one after the other, each from which slot on. */
async function* answersFrom(
  space: RoutedSpace,
  { from, to }: SlotRange,
  operation: CellOperation,
): AsyncGenerator<{ readonly slot: number; readonly value: unknown }> {
  for (let slot = from; slot < to;) {
    const { value, end } = await space.fromSlot(slot, operation);
    assert(end > slot, 'each answer is about something');
    yield { slot, value };
    slot = end;
  }
}

/** Cells that came into being meanwhile have not heard of it: until there are none. */
async function changeAll(
  space: RoutedSpace,
  { merge }: AllCells<unknown[], unknown>,
  operation: CellOperation,
): Promise<unknown> {
  for (let map = await space.map({ isNewest: true }); ;) {
    // Those without slots last: they take over what their source knows.
    const cells = map.cells.toSorted((a, b) => Number(isEmpty(a.slots)) - Number(isEmpty(b.slots)));
    const answers: unknown[] = [];
    for (const { cell } of cells) answers.push(await space.toCell(cell, operation));
    const next = await space.map({ isNewest: true });
    const known = new Set(map.cells.map(({ cell }) => cell));
    if (next.cells.every(({ cell }) => known.has(cell))) return merge(answers, [...operation.args]);
    map = next;
  }
}

function isEmpty({ from, to }: SlotRange): boolean {
  return from === to;
}

async function runByItems(
  space: RoutedSpace,
  { slots, pick, join }: ByItems<unknown[], unknown>,
  operation: CellOperation,
): Promise<unknown> {
  const args = [...operation.args];
  const map = await space.map({ isNewest: false });
  const groups = new Map<string, { slot: number; indexes: number[] }>();
  for (const [index, slot] of slots(args).entries()) {
    const { cell } = placeOfSlot(map, slot);
    const group = groups.get(cell);
    if (group) group.indexes.push(index);
    else groups.set(cell, { slot, indexes: [index] });
  }
  if (groups.size === 0) groups.set('', { slot: 0, indexes: [] });
  // Should they have been parted since, the cell that is asked asks the others.
  const parts = await mapBounded(groups.values(), CELLS_AT_ONCE, async ({ slot, indexes }) => {
    const part = { ...operation, args: pick(args, indexes) };
    return { indexes, answer: await space.toSlot(slot, part) };
  });
  return join(parts, args);
}
