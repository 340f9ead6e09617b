/**
 * The operations of a cell as they travel between nodes. A *method table* has one row for each
 * operation of an interface: the shapes of its arguments and its answer, and whether it changes
 * anything. A client and a server follow from the table (remote-cells.ts, serve-cells.ts).
 */
import * as v from 'valibot';
import { HoldfastError, LIMITS, STRIPE_ID_BYTES, type StripeId } from '../../base/index.ts';
import type { Inode } from '../namespace/namespace.ts';

export interface CellMethod<Args, Result> {
  readonly isChange: boolean;
  readonly args: v.GenericSchema<unknown, Args>;
  readonly result: v.GenericSchema<unknown, Result>;
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
): CellMethod<Args, Result> {
  return { isChange: false, args, result };
}

export function changes<Args, Result>(
  args: v.GenericSchema<unknown, Args>,
  result: v.GenericSchema<unknown, Result>,
): CellMethod<Args, Result> {
  return { isChange: true, args, result };
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
export const nothing = v.tuple([]);
