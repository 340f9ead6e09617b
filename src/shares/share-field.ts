/**
 * The fields of share files: GF(2^8), GF(2^16), GF(2^32), whose elements are *units* of 1, 2 or 4
 * bytes, most significant byte first. Small matrices over them as arrays of numbers; content goes
 * through {@link IdaCoder}.
 *
 * Source of the polynomials: gnetraid's Math::FastGF2 (0x11b, 0x1002b, 0x10000008d).
 */
import { assert } from '../base/index.ts';
import { type GaloisField, galoisField } from '../codec/index.ts';

export type UnitWidth = 1 | 2 | 4;

/** Rows of equal length. */
export type Rows = readonly (readonly number[])[];

export interface ShareField {
  readonly width: UnitWidth;
  /** How many elements there are: 256^width. */
  readonly order: number;
  /** For the kernel; of width 1 only. */
  readonly byteField: GaloisField | undefined;
  multiply(a: number, b: number): number;
  /** Of any element but 0. */
  inverse(a: number): number;
}

/** What is left of each polynomial without its leading term. */
const REDUCTIONS: Readonly<Record<UnitWidth, number>> = { 1: 0x1b, 2: 0x2b, 4: 0x8d };

export function shareField(width: UnitWidth): ShareField {
  const bits = width * 8;
  const order = 2 ** bits;
  if (width === 1) {
    const byteField = galoisField(0x100 | REDUCTIONS[1]);
    return {
      width,
      order,
      byteField,
      multiply: (a, b) => byteField.multiply(a, b),
      inverse: (a) => byteField.inverse(a),
    };
  }
  const multiply = multiplier(bits, REDUCTIONS[width]);
  return { width, order, byteField: undefined, multiply, inverse: inverter(bits, multiply) };
}

/** Shift and add: slow, and the same for every width. */
function multiplier(bits: number, reduction: number): (a: number, b: number) => number {
  const top = 2 ** (bits - 1);
  const mask = 2 ** bits - 1;
  return (a, b) => {
    let product = 0;
    let shifted = a;
    for (let rest = b; rest !== 0; rest >>>= 1) {
      if (rest & 1) product ^= shifted;
      const doubled = shifted << 1;
      shifted = ((shifted & top) !== 0 ? doubled ^ reduction : doubled) & mask;
    }
    return product >>> 0;
  };
}

/** a^(2^bits − 2), which is a^2 × a^4 × … × a^(2^(bits−1)). */
function inverter(bits: number, multiply: (a: number, b: number) => number): (a: number) => number {
  return (a) => {
    assert(a !== 0, 'zero has no inverse');
    let inverse = 1;
    let square = a;
    for (let bit = 1; bit < bits; bit++) {
      square = multiply(square, square);
      inverse = multiply(inverse, square);
    }
    return inverse;
  };
}

/** Row × column by column: coefficients × values. */
export function dotProduct(
  field: ShareField,
  coefficients: readonly number[],
  values: readonly number[],
): number {
  let sum = 0;
  for (const [index, factor] of coefficients.entries()) {
    sum ^= field.multiply(factor, values[index]!);
  }
  return sum >>> 0;
}

/** left × right. */
export function multiplyRows(field: ShareField, left: Rows, right: Rows): number[][] {
  const columns = (right[0] ?? []).map((_, column) => right.map((row) => row[column]!));
  return left.map((row) => columns.map((column) => dotProduct(field, row, column)));
}

/**
 * The first rows that are independent of those before them, as indexes; as many as the rows have
 * columns, or fewer when there are no more.
 */
export function independentRows(field: ShareField, rows: Rows): number[] {
  const chosen: number[] = [];
  const basis: { readonly pivot: number; readonly row: readonly number[] }[] = [];
  for (const [index, original] of rows.entries()) {
    if (chosen.length === original.length) break;
    let row = original.slice();
    for (const { pivot, row: known } of basis) row = eliminated(field, { row, by: known, pivot });
    const pivot = row.findIndex((value) => value !== 0);
    if (pivot < 0) continue;
    const inverse = field.inverse(row[pivot]!);
    basis.push({ pivot, row: row.map((value) => field.multiply(inverse, value)) });
    chosen.push(index);
  }
  return chosen;
}

/** The inverse of a square matrix of independent rows; `undefined` when they are not. */
export function invertRows(field: ShareField, rows: Rows): number[][] | undefined {
  const size = rows.length;
  const work = rows.map((row, index) => {
    assert(row.length === size, 'the matrix is square');
    return [...row, ...row.map((_, column) => (column === index ? 1 : 0))];
  });
  for (let column = 0; column < size; column++) {
    const pivot = work.findIndex((row, index) => index >= column && row[column] !== 0);
    if (pivot < 0) return undefined;
    const inverse = field.inverse(work[pivot]![column]!);
    const row = work[pivot]!.map((value) => field.multiply(inverse, value));
    work[pivot] = work[column]!;
    work[column] = row;
    for (const [index, other] of work.entries()) {
      if (index !== column) work[index] = eliminated(field, { row: other, by: row, pivot: column });
    }
  }
  return work.map((row) => row.slice(size));
}

/** row − row[pivot] × by, where by[pivot] is 1. */
function eliminated(
  field: ShareField,
  { row, by, pivot }: { row: number[]; by: readonly number[]; pivot: number },
): number[] {
  const factor = row[pivot]!;
  if (factor === 0) return row;
  return row.map((value, column) => (value ^ field.multiply(factor, by[column]!)) >>> 0);
}
