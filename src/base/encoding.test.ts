/**
 * Aim: what is written is read back, keys sort as their numbers, cut input is HF_CORRUPT.
 * Method: bytes known from the definition, then round trips over random values.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBytes, toHex } from './bytes.ts';
import { ByteReader, ByteWriter } from './encoding.ts';
import { errorCode } from './errors.ts';

const wholeNumber = fc.oneof(
  fc.maxSafeNat(),
  fc.constantFrom(0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return errorCode(error);
  }
  return undefined;
}

describe('the bytes', () => {
  it.each([
    [(w: ByteWriter) => w.u8(0xab), 'ab'],
    [(w: ByteWriter) => w.u16(0x0102), '0201'],
    [(w: ByteWriter) => w.u16be(0x0102), '0102'],
    [(w: ByteWriter) => w.u32(0x01020304), '04030201'],
    [(w: ByteWriter) => w.u32be(0x01020304), '01020304'],
    [(w: ByteWriter) => w.u64(2 ** 40 + 1), '0100000000010000'],
    [(w: ByteWriter) => w.u64be(2 ** 40 + 1), '0000010000000001'],
    [(w: ByteWriter) => w.bigU64(0xef46db3751d8e999n), '99e9d85137db46ef'],
    [(w: ByteWriter) => w.bigU64be(0xef46db3751d8e999n), 'ef46db3751d8e999'],
    [(w: ByteWriter) => w.text('é'), '02000000c3a9'],
  ])('are as the definition says (%#)', (write, hex) => {
    expect(toHex(write(new ByteWriter(1)).finish())).toBe(hex);
  });
});

describe('round trips', () => {
  it('reads back what was written, field by field', () => {
    const record = fc.record({
      u8: fc.integer({ min: 0, max: 0xff }),
      u16: fc.integer({ min: 0, max: 0xffff }),
      u32: fc.integer({ min: 0, max: 0xffff_ffff }),
      u64: wholeNumber,
      big: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      bytes: fc.uint8Array({ maxLength: 600 }),
      text: fc.string({ unit: 'binary' }),
    });
    fc.assert(
      fc.property(record, (r) => {
        const writer = new ByteWriter(1).u8(r.u8).u16(r.u16).u16be(r.u16).u32(r.u32).u32be(r.u32);
        writer.u64(r.u64).u64be(r.u64).bigU64(r.big).bigU64be(r.big).bytes(r.bytes).text(r.text);
        const bytes = writer.raw(r.bytes).finish();
        expect(writer.length).toBe(bytes.length);
        const reader = new ByteReader(bytes, 'record');
        expect([reader.u8(), reader.u16(), reader.u16be()]).toEqual([r.u8, r.u16, r.u16]);
        expect([reader.u32(), reader.u32be()]).toEqual([r.u32, r.u32]);
        expect([reader.u64(), reader.u64be()]).toEqual([r.u64, r.u64]);
        expect([reader.bigU64(), reader.bigU64be()]).toEqual([r.big, r.big]);
        expect(new Uint8Array(reader.bytes())).toEqual(r.bytes);
        expect(reader.text()).toBe(r.text);
        expect(reader.left).toBe(r.bytes.length);
        expect(new Uint8Array(reader.raw(r.bytes.length))).toEqual(r.bytes);
        reader.end();
      }),
    );
  });

  it('orders big-endian numbers as their bytes', () => {
    fc.assert(
      fc.property(wholeNumber, wholeNumber, (a, b) => {
        const bytes = (n: number) => new ByteWriter().u64be(n).finish();
        expect(Math.sign(compareBytes(bytes(a), bytes(b)))).toBe(Math.sign(a - b));
      }),
    );
  });
});

describe('what is not right', () => {
  it('is HF_CORRUPT wherever the input is cut', () => {
    const bytes = new ByteWriter().u16(1).u64(2).bytes(new Uint8Array(5)).finish();
    for (let length = 0; length < bytes.length; length++) {
      const cut = () => {
        const reader = new ByteReader(bytes.subarray(0, length), 'record');
        reader.u16();
        reader.u64();
        reader.bytes();
      };
      expect(codeOf(cut), `cut at ${length}`).toBe('HF_CORRUPT');
    }
  });

  it('is HF_CORRUPT when bytes are left over, and names what was read', () => {
    const reader = new ByteReader(new Uint8Array(3), 'inode row');
    reader.u8();
    expect(() => reader.end()).toThrow('inode row: 2 bytes too many');
  });

  it('is HF_CORRUPT when a number is too large to be exact', () => {
    const bytes = new Uint8Array(8).fill(0xff);
    expect(codeOf(() => new ByteReader(bytes, 'x').u64())).toBe('HF_CORRUPT');
    expect(codeOf(() => new ByteReader(bytes, 'x').u64be())).toBe('HF_CORRUPT');
  });

  it('is our own bug when the number to write is no whole number', () => {
    for (const value of [-1, 0.5, 2 ** 53, Number.NaN]) {
      expect(() => new ByteWriter().u64(value)).toThrow('must hold');
      expect(() => new ByteWriter().u64be(value)).toThrow('must hold');
    }
  });
});

it('hands out a copy that later writing does not change', () => {
  const writer = new ByteWriter(8).u32(1);
  const first = writer.finish();
  writer.u32(2);
  expect(toHex(first)).toBe('01000000');
  expect(toHex(writer.finish())).toBe('0100000002000000');
});
