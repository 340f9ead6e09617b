/**
 * Arithmetic in GF(2^8), the field of 256 elements: addition is XOR, multiplication is that of
 * polynomials over GF(2) modulo an irreducible one of degree 8, written as its bits (0x11d is
 * x^8 + x^4 + x^3 + x^2 + 1). A field is a value, since other programs use other polynomials.
 *
 * A *matrix* is an array of rows of equal length. Matrices here are small (at most 255 rows) and
 * are worked out byte by byte; content goes through the kernel.
 */
import { assert } from '../base/index.ts';

export type Matrix = readonly Uint8Array[];

export interface GaloisField {
  readonly polynomial: number;
  multiply(a: number, b: number): number;
  /** @throws AssertionError for 0, which has none. */
  inverse(a: number): number;
  /** Row a, column b holds a × b: 256 rows. Not to be written. */
  readonly products: Matrix;
}

/** @throws AssertionError when the polynomial is not irreducible, so that it makes no field. */
export function galoisField(polynomial: number): GaloisField {
  assert(polynomial >> 8 === 1, 'the polynomial has degree 8');
  const products = productTable(polynomial);
  const inverses = products.map((row) => row.indexOf(1));
  assert(!inverses.includes(-1, 1), 'the polynomial is irreducible');
  return {
    polynomial,
    products,
    multiply: (a, b) => products[a]![b]!,
    inverse(a) {
      assert(a > 0 && a < 256, 'only the elements 1 to 255 have an inverse');
      return inverses[a]!;
    },
  };
}

/** Each row follows from the row of half its number: (2h + bit) × b = 2(h × b) + bit × b. */
function productTable(polynomial: number): Uint8Array[] {
  const rows = [new Uint8Array(256)];
  for (let a = 1; a < 256; a++) {
    const half = rows[a >> 1]!;
    const row = new Uint8Array(256);
    for (let b = 0; b < 256; b++) {
      const doubled = half[b]! << 1;
      const reduced = doubled > 255 ? doubled ^ polynomial : doubled;
      row[b] = a & 1 ? reduced ^ b : reduced;
    }
    rows.push(row);
  }
  return rows;
}

/** left × right, a new matrix. */
export function multiplyMatrices(field: GaloisField, left: Matrix, right: Matrix): Uint8Array[] {
  const columnCount = right[0]?.length ?? 0;
  return left.map((factors) => {
    assert(factors.length === right.length, 'columns on the left are rows on the right');
    const result = new Uint8Array(columnCount);
    for (const [index, factor] of factors.entries()) {
      addMultiple(field, { target: result, row: right[index]!, factor });
    }
    return result;
  });
}

export function identityMatrix(size: number): Uint8Array[] {
  return Array.from({ length: size }, (_, index) => {
    const row = new Uint8Array(size);
    row[index] = 1;
    return row;
  });
}

/** The inverse of a square matrix by elimination, a new matrix; `undefined` when it has none. */
export function invertMatrix(field: GaloisField, matrix: Matrix): Uint8Array[] | undefined {
  const size = matrix.length;
  assert(
    matrix.every((row) => row.length === size),
    'the matrix is square',
  );
  const left = matrix.map((row) => row.slice());
  const right = identityMatrix(size);
  for (let column = 0; column < size; column++) {
    const pivot = left.findIndex((row, index) => index >= column && row[column] !== 0);
    if (pivot < 0) return undefined;
    const inverse = field.inverse(left[pivot]![column]!);
    for (const side of [left, right]) {
      [side[column], side[pivot]] = [side[pivot]!, side[column]!];
      side[column] = side[column]!.map((value) => field.multiply(inverse, value));
    }
    for (let index = 0; index < size; index++) {
      if (index === column) continue;
      const factor = left[index]![column]!;
      for (const side of [left, right]) {
        addMultiple(field, { target: side[index]!, row: side[column]!, factor });
      }
    }
  }
  return right;
}

/** target += factor × row. */
function addMultiple(
  field: GaloisField,
  { target, row, factor }: { target: Uint8Array; row: Uint8Array; factor: number },
): void {
  if (factor === 0) return;
  const products = field.products[factor]!;
  for (let i = 0; i < target.length; i++) target[i] = target[i]! ^ products[row[i]!]!;
}
