/**
 * Aim: our bytes are those of other implementations, for any scheme. Method: the npm package
 * @subspace/reed-solomon-erasure.wasm; zfec and ISA-L where the machine has them; arithmetic by
 * logarithms for random schemes up to n = 255 (test/vectors/codec/oracle.ts).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cauchyRows,
  logArithmetic,
  multiplyRows,
  type Peer,
  peerEncoder,
  peerVersion,
  samplePieces,
  subspaceEncoder,
} from '../../test/vectors/codec/oracle.ts';
import { parseScheme, type Scheme } from '../base/index.ts';
import { CodecMemory, galoisField, invertMatrix, multiplyMatrices, openCodec } from './index.ts';

const memory = CodecMemory.create();
const oracle = logArithmetic(0x11d, 2);

function encoded(scheme: Scheme, pieces: readonly Uint8Array[]): Uint8Array[] {
  const shards = Array.from({ length: scheme.n }, () => new Uint8Array(pieces[0]!.length));
  openCodec(scheme, memory).encode(pieces, shards);
  return shards;
}

function areEqual(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((array, index) => Buffer.compare(array, b[index]!) === 0);
}

describe('@subspace/reed-solomon-erasure.wasm', () => {
  it.each(['rs-4+2', 'rs-10+4', 'rs-17+3', 'rs-29+51'])(
    'makes the same shards: %s',
    async (text) => {
      const scheme = parseScheme(text);
      const encode = await subspaceEncoder(scheme.k, scheme.n);
      for (const length of [64, 4160]) {
        const pieces = samplePieces(scheme.k, length);
        expect(areEqual(encoded(scheme, pieces), encode(pieces))).toBe(true);
      }
    },
  );
});

/** Whether the peer is there; says loudly when it is not. */
function hasPeer(peer: Peer, packageName: string): boolean {
  const isThere = peerVersion(peer) !== undefined;
  if (!isThere) {
    console.warn(`SKIPPED: no comparison with ${peer}; install ${packageName} to have it`);
  }
  return isThere;
}

describe.skipIf(!hasPeer('isal', 'libisal2'))('ISA-L', () => {
  it.each(['ida-3of5', 'ida-10of14', 'ida-29of80', 'ida-100of156'])(
    'disperses alike: %s',
    (text) => {
      const scheme = parseScheme(text);
      const pieces = samplePieces(scheme.k, 192);
      const shards = peerEncoder('isal', scheme.k, scheme.n)(pieces);
      expect(areEqual(encoded(scheme, pieces), shards)).toBe(true);
    },
  );
});

describe.skipIf(!hasPeer('zfec', 'python3-zfec'))('zfec', () => {
  /** Its points are 0, 1, 2, 4, 8 …: other shards than ours, by the same kernel. */
  function zfecRows(k: number, n: number): Uint8Array[] {
    const field = galoisField(0x11d);
    const powers: Uint8Array[] = [];
    for (let row = 0, point = 0; row < n; row++) {
      const coefficients = new Uint8Array(k);
      for (let column = 0, power = 1; column < k; column++) {
        coefficients[column] = power;
        power = field.multiply(power, point);
      }
      powers.push(coefficients);
      point = row === 0 ? 1 : field.multiply(point, 2);
    }
    return multiplyMatrices(field, powers, invertMatrix(field, powers.slice(0, k))!);
  }

  it.each([
    [4, 6],
    [10, 14],
    [17, 20],
    [29, 80],
  ])('encodes alike with its matrix: %i of %i', (k, n) => {
    const pieces = samplePieces(k, 192);
    const shards = Array.from({ length: n }, () => new Uint8Array(192));
    memory.transform(zfecRows(k, n), pieces, shards);
    expect(areEqual(shards, peerEncoder('zfec', k, n)(pieces))).toBe(true);
  });
});

describe('arithmetic by logarithms', () => {
  const counts = fc.integer({ min: 2, max: 255 }).chain((n) =>
    fc.record({
      n: fc.constant(n),
      k: fc.integer({ min: 1, max: n - 1 }),
      kind: fc.constantFrom('rs' as const, 'ida' as const),
      order: fc.infiniteStream(fc.nat()).map((stream) => [...stream.take(n)]),
      length: fc.constantFrom(64, 128, 192, 1088),
    }),
  );

  /** Shards of which any k restore the pieces by the oracle's field: what encode must give. */
  function expectedShards({ kind, k, n }: Scheme, pieces: readonly Uint8Array[]): Uint8Array[] {
    if (kind === 'ida') return multiplyRows(oracle, cauchyRows(oracle, k, n), pieces);
    return interpolate(k, n, pieces);
  }

  /**
   * Systematic Vandermonde shards without a matrix: the polynomial of degree below k through
   * (j, pieces[j]), taken at i, in Lagrange's form.
   */
  function interpolate(k: number, n: number, pieces: readonly Uint8Array[]): Uint8Array[] {
    const rows = Array.from({ length: n }, (_, x) =>
      Uint8Array.from({ length: k }, (_unused, j) => {
        let weight = 1;
        for (let other = 0; other < k; other++) {
          if (other === j) continue;
          weight = oracle.multiply(weight, oracle.multiply(x ^ other, oracle.inverse(j ^ other)));
        }
        return weight;
      }),
    );
    return multiplyRows(oracle, rows, pieces);
  }

  it('encodes, decodes and rebuilds random schemes alike', () => {
    const property = fc.property(counts, ({ kind, k, n, order, length }) => {
      fc.pre(kind === 'rs' || k + n <= 256);
      const scheme: Scheme = { kind, k, n };
      const pieces = samplePieces(k, length);
      const shards = encoded(scheme, pieces);
      // The oracle is slow, so it answers for the first bytes; the rest follows the same columns.
      const heads = pieces.map((piece) => piece.subarray(0, 4));
      const expected = expectedShards(scheme, heads);
      expect(
        areEqual(
          shards.map((shard) => shard.subarray(0, 4)),
          expected,
        ),
      ).toBe(true);

      const kept = [...order.keys()].toSorted((a, b) => order[a]! - order[b]!).slice(0, k);
      const left = shards.map((shard, index) => (kept.includes(index) ? shard : undefined));
      const restored = pieces.map(() => new Uint8Array(length));
      const codec = openCodec(scheme, memory);
      codec.decode(left, restored);
      expect(areEqual(restored, pieces)).toBe(true);
      const wanted = new Map(
        left.flatMap((shard, index) => (shard ? [] : [[index, new Uint8Array(length)] as const])),
      );
      codec.rebuild(left, wanted);
      for (const [index, shard] of wanted) expect(areEqual([shard], [shards[index]!])).toBe(true);
    });
    fc.assert(property, { numRuns: 30 });
  });
});
