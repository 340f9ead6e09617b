/**
 * Aim: digests are BLAKE3, whichever engine computes them. Method: the published vectors (input
 * byte i is i mod 251), then both engines against each other on many lengths and kinds of memory.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, toHex } from '../base/index.ts';
import { digest, DIGEST_ENGINE, DIGEST_ENGINES } from './index.ts';

/** From test_vectors.json of the BLAKE3 project: the first 32 bytes of `hash`. */
const VECTORS: readonly (readonly [inputBytes: number, hash: string])[] = [
  [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
  [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
  [1023, '10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11'],
  [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
  [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
  [2048, 'e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a'],
  [2049, '5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030'],
  [31744, '62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47'],
  [102400, 'bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085'],
];

const { native, wasm } = DIGEST_ENGINES;

function patterned(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => index % 251);
}

describe('digest', () => {
  it.each(VECTORS)('matches the published vector of %i bytes', (inputBytes, hash) => {
    const input = patterned(inputBytes);
    expect(toHex(digest(input))).toBe(hash);
    expect(toHex(wasm(input))).toBe(hash);
    if (native) expect(toHex(native(input))).toBe(hash);
  });

  it('names the engine it uses', () => {
    expect(DIGEST_ENGINE).toBe(native ? 'native' : 'wasm');
  });

  it('takes parts as if they were joined', () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 5 });
    fc.assert(
      fc.property(parts, (each) => {
        expect(digest(...each)).toEqual(digest(concatBytes(...each)));
      }),
    );
  });

  it('gives a plain array that is the caller’s own, and leaves the input alone', () => {
    for (const inputBytes of [10, 100_000]) {
      const input = patterned(inputBytes);
      const first = digest(input);
      expect(first.constructor).toBe(Uint8Array);
      digest(new Uint8Array(inputBytes));
      expect(first).toEqual(digest(patterned(inputBytes)));
      expect(input).toEqual(patterned(inputBytes));
    }
  });

  it('reads views of shared memory', () => {
    for (const inputBytes of [100, 70_000]) {
      const shared = new Uint8Array(new SharedArrayBuffer(inputBytes + 7), 7);
      shared.set(patterned(inputBytes));
      expect(digest(shared)).toEqual(digest(patterned(inputBytes)));
    }
  });

  it.runIf(native)('is the same by both engines at every length', () => {
    const input = patterned(300_000);
    const around = (edge: number) => [edge - 1, edge, edge + 1];
    const edges = [4096, 8192, 16384, 65536, 131072, 262144].flatMap(around);
    const small = Array.from({ length: 2200 }, (_, inputBytes) => inputBytes);
    for (const inputBytes of [...small, ...edges, 300_000]) {
      const each = input.subarray(0, inputBytes);
      expect(toHex(wasm(each)), `${inputBytes} bytes`).toBe(toHex(native!(each)));
    }
  });
});
