/**
 * Aim: values come back as they were, here and in a library of others; hostile bytes cost nothing.
 * Method: encodings from the MessagePack specification; random values; counts that lie; every way
 * to cut a message.
 */
import { decode as decodeOfOthers, encode as encodeOfOthers } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode, LIMITS } from '../base/index.ts';
import { MessageCodec } from './message.ts';

const codec = new MessageCodec();

function codeOf(work: () => unknown): unknown {
  try {
    work();
    return 'nothing';
  } catch (error) {
    return errorCode(error) ?? error;
  }
}

it.each([
  ['c0', null],
  ['c3', true],
  ['ff', -1],
  ['ccff', 255],
  ['cd0100', 256],
  ['cf001fffffffffffff', Number.MAX_SAFE_INTEGER],
  ['d3ffe0000000000001', Number.MIN_SAFE_INTEGER],
  ['d080', -128],
  ['d1ff7f', -129],
  ['d2ffff7fff', -32_769],
  ['cb3ff8000000000000', 1.5],
  ['a3616263', 'abc'],
  ['92' + '01' + '02', [1, 2]],
  ['81' + 'a161' + '90', { a: [] }],
  ['c402beef', Buffer.from('beef', 'hex')],
])('%s is what the specification says', (hex, value) => {
  expect(Buffer.from(codec.encode(value)).toString('hex')).toBe(hex);
  expect(codec.decode(Buffer.from(hex, 'hex'))).toEqual(value);
});

it('values come back', () => {
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.maxSafeInteger(),
      fc.integer({ min: -70_000, max: 70_000 }),
      fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
      fc.double({ noNaN: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
      fc.string({ unit: 'grapheme', maxLength: 300 }),
      fc.array(tie('value'), { maxLength: 20 }),
      fc.dictionary(
        fc.string({ minLength: 1 }).filter((key) => key !== '__proto__'),
        tie('value'),
        { noNullPrototype: true },
      ),
    ),
  }));
  fc.assert(
    fc.property(value, (original) => {
      const bytes = codec.encode(original);
      expect(codec.decode(bytes)).toEqual(original);
      expect(decodeOfOthers(bytes)).toEqual(original);
      expect(codec.decode(encodeOfOthers(original))).toEqual(original);
    }),
    { numRuns: 200 },
  );
});

describe('hostile bytes', () => {
  it.each([
    ['nothing', ''],
    ['a list of four thousand million', 'ddffffffff'],
    ['lists in lists that each claim the most', 'dcffff'.repeat(1000)],
    ['a map without values', '82a161'],
    ['text beyond the end', 'dbffffffff00'],
    ['two values', '0101'],
    ['an extension', 'd40001'],
    ['an unused tag', 'c1'],
    ['a count that is cut', 'dd00'],
    ['a deep nest', '91'.repeat(40) + 'c0'],
    ['a map whose key is a list', '819001'],
    ['the name of the prototype', '81a95f5f70726f746f5f5f90'],
  ])('%s', (_name, hex) => {
    expect(codeOf(() => codec.decode(Buffer.from(hex, 'hex')))).toBe('HF_CORRUPT');
  });

  it('random bytes are a value or HF_CORRUPT', () => {
    const property = fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      expect(['nothing', 'HF_CORRUPT']).toContain(codeOf(() => codec.decode(bytes)));
    });
    fc.assert(property, { numRuns: 2000 });
  });

  it('a message cut anywhere is refused', () => {
    const whole = codec.encode({ list: [1, 'two', { three: new Uint8Array(300) }], pi: 3.14159 });
    for (let end = 0; end < whole.length; end++) {
      expect(codeOf(() => codec.decode(whole.subarray(0, end)))).toBe('HF_CORRUPT');
    }
  });
});

it('what is too large, or has no encoding, is refused by the sender', () => {
  const large = new Uint8Array(LIMITS.messageBytesMax);
  expect(codeOf(() => codec.encode(large))).toBe('HF_TOO_LARGE');
  const circle: unknown[] = [];
  circle.push(circle);
  expect(codeOf(() => codec.encode(circle))).toBe('HF_BAD_ARGUMENT');
  for (const value of [() => 1, 1n, new Map(), new Date(0), Symbol('x')]) {
    expect(codeOf(() => codec.encode([value]))).toBe('HF_BAD_ARGUMENT');
  }
  // It still works afterwards.
  expect(codec.decode(codec.encode([1]))).toEqual([1]);
});
