/**
 * The operations of a cell as they travel between nodes. A *method table* has one row for each
 * operation of an interface: the shapes of its arguments and its answer, whether it changes
 * anything, and its *route*: which cells of a space it goes to. Clients and servers follow from the
 * table (here remote-cells.ts and serve-cells.ts; of many cells hosting/).
 *
 * A change is one operation of the cell: that is what a retry tag keeps the answer of. One that is
 * *named* has a tag among its arguments: asked again it is done once, whoever carries it.
 */
import * as v from 'valibot';
import { HoldfastError, LIMITS, STRIPE_ID_BYTES, type StripeId } from '../../base/index.ts';
import type { Inode } from '../namespace/namespace.ts';

export interface CellMethod<Args, Result> {
  readonly isChange: boolean;
  readonly isNamed?: boolean;
  readonly args: v.GenericSchema<unknown, Args>;
  readonly result: v.GenericSchema<unknown, Result>;
  /** As the constructors below have checked it. */
  readonly route: AnyRoute;
}

/** To the cell of this slot; to all; or item by item. */
export type Route<Args, Result> =
  | ((args: Args) => number)
  | AllCells<Args, Result>
  | ByItems<Args, Result>;

/** A route whose types nobody needs any more. */
export type AnyRoute = Route<unknown[], unknown>;

/**
 * Each cell answers for its slots alone, asked one after the other in the order of their slots. A
 * change goes also to those cells that have none yet, and must do no harm when it is made twice.
 */
export interface AllCells<Args, Result> {
  /** The first slot that matters; 0 when left out. */
  readonly from?: (args: Args) => number;
  /** In the order of the slots; at least one. */
  readonly merge: (answers: readonly Result[], args: Args) => Result;
  /** Whether the cells that follow can add nothing. */
  readonly isEnough?: (answers: readonly Result[], args: Args) => boolean;
  /** Of a read that each cell is to hear of, also while another one does not answer. */
  readonly isForEach?: boolean;
}

/** A list among the arguments is cut up, so that each cell gets what lies in its slots. */
export interface ByItems<Args, Result> {
  /** The slot of each item. */
  readonly slots: (args: Args) => readonly number[];
  /** The same with these items alone: indexes, ascending. */
  readonly pick: (args: Args, indexes: readonly number[]) => Args;
  readonly join: (parts: readonly PartAnswer<Result>[], args: Args) => Result;
}

export interface PartAnswer<Result> {
  readonly indexes: readonly number[];
  readonly answer: Result;
}

export type CellMethods<Api> = {
  readonly [Name in Extract<keyof Api, string>]: Api[Name] extends (
    ...args: infer Args
  ) => Promise<infer Result>
    ? CellMethod<Args, Result>
    : never;
};

/** A row whose types nobody needs any more. */
export type AnyMethod = CellMethod<unknown[], unknown>;

export function reads<Args, Result>(
  args: v.GenericSchema<unknown, Args>,
  result: v.GenericSchema<unknown, Result>,
  route: Route<NoInfer<Args>, NoInfer<Result>>,
): CellMethod<Args, Result> {
  return { isChange: false, args, result, route: route as unknown as AnyRoute };
}

export function changes<Args, Result>(
  args: v.GenericSchema<unknown, Args>,
  result: v.GenericSchema<unknown, Result>,
  route: Route<NoInfer<Args>, NoInfer<Result>>,
): CellMethod<Args, Result> {
  return { isChange: true, args, result, route: route as unknown as AnyRoute };
}

export function namedChanges<Args, Result>(
  args: v.GenericSchema<unknown, Args>,
  result: v.GenericSchema<unknown, Result>,
  route: Route<NoInfer<Args>, NoInfer<Result>>,
): CellMethod<Args, Result> {
  return { ...changes(args, result, route), isNamed: true };
}

// Ways to join the answers of several cells.

export function nothing(): undefined {}

export function concatenated<Item>(answers: readonly (readonly Item[])[]): Item[] {
  return answers.flat();
}

export function partsConcatenated<Item>(parts: readonly PartAnswer<readonly Item[]>[]): Item[] {
  return parts.flatMap(({ answer }) => answer);
}

/** One answer for each item, in the order of the items. */
export function partsInOrder<Item>(parts: readonly PartAnswer<readonly Item[]>[]): Item[] {
  const all: Item[] = [];
  for (const { indexes, answer } of parts) {
    for (const [at, index] of indexes.entries()) all[index] = answer[at] as Item;
  }
  return all;
}

/** The elements of a list with these indexes. */
export function picked<Item>(items: readonly Item[], indexes: readonly number[]): Item[] {
  return indexes.map((index) => items[index] as Item);
}

/** @throws HF_BAD_ARGUMENT. */
export function checked<Value>(schema: v.GenericSchema<unknown, Value>, value: unknown): Value {
  const { success, output, issues } = v.safeParse(schema, value);
  if (success) return output;
  throw new HoldfastError('HF_BAD_ARGUMENT', issues[0].message);
}

// Shapes that several tables use.

export function wholeUpTo(max: number) {
  return v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(max));
}

export const whole = wholeUpTo(Number.MAX_SAFE_INTEGER);
export const schemeNumber = wholeUpTo(0xffff);
export const limit = v.pipe(whole, v.minValue(1));
export const bytes = v.custom<Uint8Array>((value) => value instanceof Uint8Array);
export const inode = v.pipe(
  v.bigint(),
  v.minValue(0n),
  v.maxValue(2n ** 64n - 1n),
) satisfies v.GenericSchema<unknown, Inode>;
export const stripe = v.custom<StripeId>(
  (value) => value instanceof Uint8Array && value.length === STRIPE_ID_BYTES,
);
export const chunkBytes = wholeUpTo(LIMITS.chunkBytesMax);
export const noArgs: v.GenericSchema<unknown, []> = v.tuple([]);
