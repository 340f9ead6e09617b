/**
 * Aim: one code, one meaning, on every door; checksums as published.
 * Method: the whole table, and XXH64 vectors of the specification's sanity test.
 */
import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { compareBytes, concatBytes, fromHex, roundUp, toHex, utf8 } from './bytes.ts';
import { ERROR_CODES, type ErrorCode } from './error-codes.ts';
import { errorCode, errorMessage, HoldfastError } from './errors.ts';
import { xxh64 } from './xxh64.ts';

describe('the table of codes', () => {
  it.each(Object.entries(ERROR_CODES))('%s is whole', (code, entry) => {
    expect(code).toMatch(/^HF_[A-Z]+(_[A-Z]+)*$/);
    expect(entry.message).toMatch(/^[a-z][^\n]*[^.]$/);
    expect(constants.errno).toHaveProperty(entry.errno);
    expect(entry.httpStatus).toBeGreaterThanOrEqual(400);
    expect(entry.httpStatus).toBeLessThan(600);
    expect(entry.exitCode).toBeGreaterThan(1);
    expect(entry.exitCode).toBeLessThan(256);
  });
});

describe('HoldfastError', () => {
  it('says the general when nothing particular is given', () => {
    const error = new HoldfastError('HF_NO_SPACE');
    expect(error.message).toBe(ERROR_CODES.HF_NO_SPACE.message);
    expect(error.retry).toBe('later');
    expect(error.details).toEqual({});
  });

  it('keeps message, cause and details', () => {
    const cause = new Error('disk');
    const error = new HoldfastError('HF_IO', 'read failed', { cause, details: { offset: 1 } });
    expect([error.message, error.cause, error.details]).toEqual([
      'read failed',
      cause,
      { offset: 1 },
    ]);
  });

  it('is known by its code alone', () => {
    expect(errorCode(new HoldfastError('HF_BUSY'))).toBe('HF_BUSY' satisfies ErrorCode);
    expect(errorCode({ code: 'HF_BUSY' })).toBe('HF_BUSY');
    for (const other of [undefined, null, 'HF_BUSY', new Error('x'), { code: 'ENOENT' }]) {
      expect(errorCode(other)).toBe(undefined);
    }
    expect(errorCode({ code: 'toString' })).toBe(undefined);
    expect(errorMessage(new Error('x'))).toBe('x');
    expect(errorMessage(7)).toBe('7');
  });
});

describe('xxh64', () => {
  it.each([
    ['', 0n, 'ef46db3751d8e999'],
    ['a', 0n, 'd24ec4f1a98c6e5b'],
    ['abc', 0n, '44bc2cf5ad770999'],
    ['Nobody inspects the spammish repetition', 0n, 'fbcea83c8a378bf1'],
  ])('%j has its published checksum', (text, seed, hex) => {
    expect(xxh64(utf8(text), seed).toString(16)).toBe(hex);
  });

  it('depends on the seed and on a view, not on what is around it', () => {
    const around = utf8('xxabcxx');
    expect(xxh64(around.subarray(2, 5))).toBe(xxh64(utf8('abc')));
    expect(xxh64(utf8('abc'), 1n)).not.toBe(xxh64(utf8('abc')));
  });
});

describe('bytes', () => {
  it('compare unsigned, shorter first', () => {
    const sorted = ['', '00', '0000', '01', '7f', '80', 'ff', 'ff00'].map(fromHex);
    for (const [i, a] of sorted.entries()) {
      for (const [j, b] of sorted.entries()) {
        expect(Math.sign(compareBytes(a, b))).toBe(Math.sign(i - j));
      }
    }
  });

  it('are joined, written as text and rounded up', () => {
    expect(toHex(concatBytes(fromHex('01'), fromHex(''), fromHex('0203')))).toBe('010203');
    expect([roundUp(0, 8), roundUp(1, 8), roundUp(8, 8), roundUp(2 ** 52 + 1, 8)]).toEqual([
      0,
      8,
      8,
      2 ** 52 + 8,
    ]);
    for (const text of ['0', 'zz', '0x00']) expect(() => fromHex(text)).toThrow('must hold');
  });
});
