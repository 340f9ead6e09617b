/**
 * Aim: the field and its matrices are the published ones. Method: values from FIPS 197 (for 0x11b)
 * and from the tests of klauspost/reedsolomon, after Backblaze's JavaReedSolomon (for 0x11d); then
 * every product against arithmetic by logarithms.
 */
import { describe, expect, it } from 'vitest';
import { logArithmetic } from '../../test/vectors/codec/oracle.ts';
import { galoisField, identityMatrix, invertMatrix, multiplyMatrices } from './galois.ts';

const field = galoisField(0x11d);

function matrix(...rows: number[][]): Uint8Array[] {
  return rows.map((row) => Uint8Array.from(row));
}

describe('galoisField', () => {
  it('agrees with FIPS 197, 4.2, modulo 0x11b', () => {
    const aes = galoisField(0x11b);
    expect(aes.multiply(0x57, 0x83)).toBe(0xc1);
    expect(aes.multiply(0x57, 0x13)).toBe(0xfe);
    expect(aes.inverse(0x53)).toBe(0xca);
  });

  it('agrees with the values in the tests of klauspost/reedsolomon, modulo 0x11d', () => {
    expect([field.multiply(3, 4), field.multiply(7, 7), field.multiply(23, 45)]).toEqual([
      12, 21, 41,
    ]);
    const factors = [0, 1, 2, 3, 4, 5, 6, 10, 50, 100, 150, 174, 201, 255, 99, 32, 67, 85];
    expect(factors.map((factor) => field.multiply(177, factor))).toEqual([
      0x0, 0xb1, 0x7f, 0xce, 0xfe, 0x4f, 0x81, 0x9e, 0x3, 0x6, 0xe8, 0x75, 0xbd, 0x40, 0x36, 0xa3,
      0x95, 0xcb,
    ]);
  });

  it.each([
    [0x11d, 2],
    [0x11b, 3],
  ])('agrees with logarithms in every product modulo %i', (polynomial, generator) => {
    const tested = galoisField(polynomial);
    const oracle = logArithmetic(polynomial, generator);
    let faults = 0;
    for (let a = 0; a < 256; a++) {
      for (let b = 0; b < 256; b++) {
        const expected = oracle.multiply(a, b);
        if (tested.multiply(a, b) !== expected) faults += 1;
      }
      if (a > 0 && tested.inverse(a) !== oracle.inverse(a)) faults += 1;
    }
    expect(faults).toBe(0);
  });

  it('refuses what makes no field', () => {
    expect(() => galoisField(0x101)).toThrow('irreducible');
    expect(() => galoisField(0x1d)).toThrow('degree 8');
    expect(() => field.inverse(0)).toThrow('inverse');
  });
});

describe('matrices', () => {
  it('multiply as in the tests of klauspost/reedsolomon', () => {
    const product = multiplyMatrices(field, matrix([1, 2], [3, 4]), matrix([5, 6], [7, 8]));
    expect(product).toEqual(matrix([11, 22], [19, 42]));
  });

  it('invert as in the tests of klauspost/reedsolomon', () => {
    const dense = matrix([56, 23, 98], [3, 100, 200], [45, 201, 123]);
    expect(invertMatrix(field, dense)).toEqual(
      matrix([175, 133, 33], [130, 13, 245], [112, 35, 126]),
    );
    const sparse = matrix(
      [1, 0, 0, 0, 0],
      [0, 1, 0, 0, 0],
      [0, 0, 0, 1, 0],
      [0, 0, 0, 0, 1],
      [7, 7, 6, 6, 1],
    );
    expect(invertMatrix(field, sparse)).toEqual(
      matrix(
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [123, 123, 1, 122, 122],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
      ),
    );
  });

  it('have no inverse when a row repeats', () => {
    expect(invertMatrix(field, matrix([1, 2], [1, 2]))).toBeUndefined();
    expect(identityMatrix(2)).toEqual(matrix([1, 0], [0, 1]));
  });
});
