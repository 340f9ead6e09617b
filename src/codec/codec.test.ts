/**
 * Aim: any k of n shards restore the content, whatever is lost, however long and wherever the
 * arrays lie. Method: the vectors in test/vectors/codec first, then every pattern of loss of small
 * schemes, and the duties of callers.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { samplePieces } from '../../test/vectors/codec/oracle.ts';
import { errorCode, fromHex, parseScheme, type Scheme } from '../base/index.ts';
import { CodecMemory, type ErasureCodec, galoisField, MATRIX_IDS, openCodec } from './index.ts';

const PAGE_BYTES = 65_536;
const SMALLEST_SCRATCH_BYTES = PAGE_BYTES + 32 * 1024;

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

function newArrays(count: number, length: number): Uint8Array[] {
  return range(count).map(() => new Uint8Array(length).fill(0xee));
}

/** Arrays in place, not aligned to anything. */
function arraysIn({ memory }: CodecMemory, count: number, length: number): Uint8Array[] {
  return range(count).map((index) => {
    const array = new Uint8Array(memory.buffer, 5 + index * (length + 3), length);
    return array.fill(0xee);
  });
}

/** With the smallest staging area, so that foreign arrays pass through it in many pieces. */
function narrowMemory(pages: number): CodecMemory {
  const memory = new WebAssembly.Memory({ initial: pages + 2, maximum: pages + 2 });
  const scratchBytes = SMALLEST_SCRATCH_BYTES;
  return CodecMemory.over(memory, { scratchOffset: pages * PAGE_BYTES, scratchBytes });
}

function encoded(codec: ErasureCodec, pieces: readonly Uint8Array[]): Uint8Array[] {
  const shards = newArrays(codec.scheme.n, pieces[0]!.length);
  codec.encode(pieces, shards);
  return shards;
}

function decoded(codec: ErasureCodec, shards: readonly (Uint8Array | undefined)[]): Uint8Array[] {
  const pieces = newArrays(codec.scheme.k, shards.find((shard) => shard)!.length);
  codec.decode(shards, pieces);
  return pieces;
}

/** All ways to choose `count` of the numbers below `total`. */
function* subsets(total: number, count: number, from = 0): Generator<number[]> {
  if (count === 0) yield [];
  for (let first = from; count > 0 && first <= total - count; first++) {
    for (const rest of subsets(total, count - 1, first + 1)) yield [first, ...rest];
  }
}

function without(shards: readonly Uint8Array[], lost: readonly number[]) {
  return shards.map((shard, index) => (lost.includes(index) ? undefined : shard));
}

function areEqual(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((array, index) => Buffer.compare(array, b[index]!) === 0);
}

interface Vector {
  readonly scheme: string;
  readonly matrixId: number;
  readonly pieces: readonly string[];
  readonly shards: readonly string[];
}

describe('published vectors', () => {
  it('agrees with the one in the tests of klauspost/reedsolomon and JavaReedSolomon', () => {
    const published = [
      '0001',
      '0405',
      '0203',
      '0607',
      '0809',
      '0c0d',
      '0a0b',
      '0e0f',
      '5a5b',
      '5e5f',
    ];
    const padded = published.map((text) => {
      const array = new Uint8Array(64);
      array.set(fromHex(text));
      return array;
    });
    const codec = openCodec(parseScheme('rs-5+5'), CodecMemory.create());
    expect(areEqual(encoded(codec, padded.slice(0, 5)), padded)).toBe(true);
  });

  for (const name of ['rs-4+2', 'rs-10+4', 'rs-17+3', 'ida-3of5', 'ida-10of14']) {
    it(`agrees with test/vectors/codec/${name}.json`, () => {
      const file = new URL(`../../test/vectors/codec/${name}.json`, import.meta.url);
      const vector = JSON.parse(readFileSync(file, 'utf8')) as Vector;
      const codec = openCodec(parseScheme(vector.scheme), CodecMemory.create());
      expect(codec.matrixId).toBe(vector.matrixId);
      const shards = encoded(codec, vector.pieces.map(fromHex));
      expect(areEqual(shards, vector.shards.map(fromHex))).toBe(true);
    });
  }
});

describe('every pattern of loss', () => {
  const schemes = ['rs-10+4', 'rs-4+2', 'ida-3of5', 'copy-3', 'rs-2+1'];
  const memory = CodecMemory.create({ pages: 1 });

  it.each(schemes)('is restored: %s', (text) => {
    const codec = openCodec(parseScheme(text), memory);
    const { k, n } = codec.scheme;
    const pieces = samplePieces(k, 64);
    const shards = encoded(codec, pieces);
    let patternCount = 0;
    for (let lostCount = 0; lostCount <= n - k; lostCount++) {
      for (const lost of subsets(n, lostCount)) {
        patternCount += lostCount === n - k ? 1 : 0;
        const left = without(shards, lost);
        expect(areEqual(decoded(codec, left), pieces), `decode without ${lost.join()}`).toBe(true);
        const wanted = new Map(lost.map((index) => [index, new Uint8Array(64)]));
        codec.rebuild(left, wanted);
        const isRebuilt = areEqual(
          [...wanted.values()],
          lost.map((index) => shards[index]!),
        );
        expect(isRebuilt, `rebuild ${lost.join()}`).toBe(true);
      }
    }
    if (text === 'rs-10+4') expect(patternCount).toBe(1001);
  });

  it.each(schemes)('with k − 1 shards is refused: %s', (text) => {
    const codec = openCodec(parseScheme(text), memory);
    const { k, n } = codec.scheme;
    const shards = range(n).map((index) => (index < k - 1 ? new Uint8Array(64) : undefined));
    const attempts = [
      () => codec.decode(shards, newArrays(k, 64)),
      () => codec.rebuild(shards, new Map([[n - 1, new Uint8Array(64)]])),
    ];
    for (const attempt of attempts) {
      expect(attempt).toThrow(expect.objectContaining({ code: 'HF_TOO_FEW_SHARDS' }));
    }
  });

  it('does not take a wanted shard as a source', () => {
    const codec = openCodec(parseScheme('rs-4+2'), memory);
    const shards = encoded(codec, samplePieces(4, 64));
    const expected = shards[1]!.slice();
    shards[1]!.fill(0);
    codec.rebuild(shards, new Map([[1, shards[1]!]]));
    expect(shards[1]).toEqual(expected);
  });
});

describe('lengths and places', () => {
  const lengths = [0, 64, 128, 192, 640, 1024, 1088, 65_536 + 64];
  const schemes = ['rs-10+4', 'rs-3+6', 'ida-3of5', 'copy-3'].map(parseScheme);

  for (const scheme of schemes) {
    it(`do not change the bytes: ${scheme.kind} ${scheme.k} of ${scheme.n}`, () => {
      for (const length of lengths) checkPlaces(scheme, length);
    });
  }

  /** Foreign arrays, arrays in place and a mixture, with small and large staging, give the same. */
  function checkPlaces(scheme: Scheme, length: number): void {
    const { k, n } = scheme;
    const pages = Math.ceil(((n + k) * (length + 3) + 5) / PAGE_BYTES);
    const memories = [CodecMemory.create({ pages }), narrowMemory(pages)];
    const pieces = samplePieces(k, length);
    const expected = encoded(openCodec(scheme, CodecMemory.create()), pieces);
    for (const memory of memories) {
      const codec = openCodec(scheme, memory);
      for (const isLocal of [[true], [false], [true, false], [false, true, true]]) {
        const arrays = arraysIn(memory, n + k, length).map((array, index) =>
          isLocal[index % isLocal.length] ? array : array.slice(),
        );
        const shards = arrays.slice(0, n);
        const own = arrays.slice(n);
        own.forEach((array, index) => array.set(pieces[index]!));
        codec.encode(own, shards);
        expect(areEqual(shards, expected)).toBe(true);
        own.forEach((array) => array.fill(0));
        codec.decode(without(shards, range(n - k)), own);
        expect(areEqual(own, pieces)).toBe(true);
      }
    }
  }

  it.each([true, false])('data shards may be their own pieces (in the memory: %s)', (isLocal) => {
    const memory = CodecMemory.create({ pages: 1 });
    const codec = openCodec(parseScheme('rs-4+2'), memory);
    const pieces = samplePieces(4, 192);
    const expected = encoded(codec, pieces);
    const shards = isLocal ? arraysIn(memory, 6, 192) : newArrays(6, 192);
    pieces.forEach((piece, index) => shards[index]!.set(piece));
    codec.encode(shards.slice(0, 4), shards);
    expect(areEqual(shards, expected)).toBe(true);

    shards[0]!.fill(0);
    shards[2]!.fill(0);
    codec.decode(without(shards, [0, 2]), shards.slice(0, 4));
    expect(areEqual(shards, expected)).toBe(true);
  });

  it('copies may all be one array', () => {
    const codec = openCodec(parseScheme('copy-3'), CodecMemory.create());
    const [content] = samplePieces(1, 128);
    const shared = content!.slice();
    codec.encode([shared], [shared, shared, shared]);
    codec.decode([undefined, shared, undefined], [shared]);
    expect(shared).toEqual(content);
  });
});

describe('openCodec', () => {
  it('opens a scheme once for each memory', () => {
    const memory = CodecMemory.create();
    const scheme = parseScheme('rs-4+2');
    expect(openCodec(scheme, memory)).toBe(openCodec(parseScheme('rs-4+2'), memory));
    expect(openCodec(scheme, CodecMemory.create())).not.toBe(openCodec(scheme, memory));
  });

  it('knows the matrix of each kind', () => {
    const memory = CodecMemory.create();
    const ids = ['rs-4+2', 'ida-3of5', 'copy-3'].map(
      (text) => openCodec(parseScheme(text), memory).matrixId,
    );
    expect(ids).toEqual([MATRIX_IDS.vandermonde, MATRIX_IDS.cauchy, MATRIX_IDS.copy]);
  });

  it.each<Scheme>([
    { kind: 'ida', k: 128, n: 129 },
    { kind: 'rs', k: 0, n: 3 },
    { kind: 'rs', k: 4, n: 3 },
    { kind: 'rs', k: 4, n: 256 },
    { kind: 'copy', k: 2, n: 3 },
    { kind: 'rs', k: Number.NaN, n: 3 },
  ])('refuses what GF(2^8) cannot do: $kind $k of $n', (scheme) => {
    const memory = CodecMemory.create();
    let code: unknown;
    try {
      openCodec(scheme, memory);
    } catch (error) {
      code = errorCode(error);
    }
    expect(code).toBe('HF_BAD_SCHEME');
  });

  it('takes the widest dispersal that there is', () => {
    const codec = openCodec({ kind: 'ida', k: 127, n: 129 }, CodecMemory.create());
    const pieces = samplePieces(127, 64);
    const shards = encoded(codec, pieces);
    expect(areEqual(decoded(codec, without(shards, [0, 77])), pieces)).toBe(true);
  });
});

describe('duties of callers', () => {
  const memory = CodecMemory.create({ pages: 1 });
  const codec = openCodec(parseScheme('rs-2+1'), memory);

  it('are stated', () => {
    const [a, b, c] = newArrays(3, 128) as [Uint8Array, Uint8Array, Uint8Array];
    expect(() => codec.encode([a], [a, b, c])).toThrow('k pieces');
    expect(() => codec.encode([a, b], [a, b])).toThrow('n shards');
    expect(() => codec.encode([a, b.subarray(64)], [a, b, c])).toThrow('one length');
    expect(() => codec.encode([a, b], [a, b, c.subarray(64)])).toThrow('one length');
    const odd = newArrays(3, 32);
    expect(() => codec.encode(odd.slice(0, 2), odd)).toThrow('multiples of 64');
    expect(() => codec.rebuild([a, b, undefined], new Map([[3, c]]))).toThrow('a shard of the');
    expect(() => codec.decode([a, b], [a, b])).toThrow('n entries');
  });

  it('forbid arrays that overlap', () => {
    const bytes = new Uint8Array(512);
    const [a, b, c] = [0, 64, 128].map((at) => bytes.subarray(at, at + 64));
    expect(() => codec.encode([a!, b!], [a!, b!, b!])).toThrow('overlaps no source');
    expect(() => codec.encode([a!, b!], [b!, a!, c!])).toThrow('overlaps no source');
    const inC = bytes.subarray(160, 224);
    const [p, q] = samplePieces(2, 64);
    expect(() => codec.encode([p!, q!], [a!, inC, c!])).toThrow('targets do not overlap');
  });

  it('forbid arrays in the scratch region', () => {
    const inScratch = new Uint8Array(memory.memory.buffer, PAGE_BYTES, 64);
    const [a, b] = samplePieces(2, 64);
    expect(() => codec.encode([a!, b!], [a!, b!, inScratch])).toThrow('scratch region');
  });

  it('forbid a scratch region that does not fit, and another field', () => {
    const small = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const scratchBytes = SMALLEST_SCRATCH_BYTES;
    expect(() => CodecMemory.over(small, { scratchOffset: 0, scratchBytes })).toThrow('lies in');
    expect(() => CodecMemory.over(small, { scratchOffset: 0, scratchBytes: 65_536 })).toThrow(
      'room for staging',
    );
    const other = CodecMemory.create({ field: galoisField(0x11b) });
    expect(() => openCodec(parseScheme('rs-2+1'), other)).toThrow('field of shards');
  });
});
