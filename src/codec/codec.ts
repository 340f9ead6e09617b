/**
 * The erasure codec: a scheme's matrix over a codec memory. Encoding multiplies by the matrix; to
 * restore, the rows of the k shards that are there are inverted, and what is wanted follows.
 */
import { assert, formatScheme, HoldfastError, type Scheme } from '../base/index.ts';
import { BoundedCache } from './bounded-cache.ts';
import { type CodecMemory, SHARD_POLYNOMIAL } from './codec-memory.ts';
import type { ErasureCodec } from './erasure-codec.ts';
import { invertMatrix, type Matrix, multiplyMatrices } from './galois.ts';
import { schemeMatrix } from './matrix.ts';

/** Inverses kept for each scheme: at 10+4 100 bytes each, at the most 64 KiB. */
const INVERSES_MAX = 64;

/**
 * The codec of a scheme; a second call for the same scheme and memory returns the same one.
 * @throws HF_BAD_SCHEME when GF(2^8) cannot do it: `ida` needs k + n ≤ 256.
 */
export function openCodec(scheme: Scheme, memory: CodecMemory): ErasureCodec {
  return memory.codecs.getOrMake(formatScheme(scheme), () => new MatrixCodec(scheme, memory));
}

class MatrixCodec implements ErasureCodec {
  readonly scheme: Scheme;
  readonly matrixId: number;
  readonly #rows: Matrix;
  readonly #memory: CodecMemory;
  readonly #inverses = new BoundedCache<string, Matrix>(INVERSES_MAX);

  constructor(scheme: Scheme, memory: CodecMemory) {
    assert(memory.field.polynomial === SHARD_POLYNOMIAL, 'the memory is for the field of shards');
    const { matrixId, rows } = schemeMatrix(memory.field, scheme);
    this.scheme = scheme;
    this.matrixId = matrixId;
    this.#rows = rows;
    this.#memory = memory;
  }

  encode(pieces: readonly Uint8Array[], shards: readonly Uint8Array[]): void {
    assert(pieces.length === this.scheme.k, 'there are k pieces');
    assert(shards.length === this.scheme.n, 'there are n shards');
    this.#memory.transform(this.#rows, pieces, shards);
  }

  decode(shards: readonly (Uint8Array | undefined)[], pieces: readonly Uint8Array[]): void {
    assert(pieces.length === this.scheme.k, 'there are k pieces');
    const { inverse, sources } = this.#choose(shards);
    this.#memory.transform(inverse, sources, pieces);
  }

  rebuild(
    shards: readonly (Uint8Array | undefined)[],
    wanted: ReadonlyMap<number, Uint8Array>,
  ): void {
    const others = shards.map((shard, index) => (wanted.has(index) ? undefined : shard));
    const { inverse, sources } = this.#choose(others);
    const rows = [...wanted.keys()].map((index) => {
      const row = this.#rows[index];
      assert(row, 'what is wanted is a shard of the scheme');
      return row;
    });
    const combined = multiplyMatrices(this.#memory.field, rows, inverse);
    this.#memory.transform(combined, sources, [...wanted.values()]);
  }

  /** The first k shards that are there, and the matrix that makes the pieces of them. */
  #choose(shards: readonly (Uint8Array | undefined)[]): {
    inverse: Matrix;
    sources: Uint8Array[];
  } {
    const { k, n } = this.scheme;
    assert(shards.length === n, 'there are n entries');
    const present = [...shards.entries()].filter((entry): entry is [number, Uint8Array] =>
      Boolean(entry[1]),
    );
    if (present.length < k) {
      const message = `${present.length} shards are left; ${formatScheme(this.scheme)} needs ${k}`;
      throw new HoldfastError('HF_TOO_FEW_SHARDS', message);
    }
    const chosen = present.slice(0, k);
    const inverse = this.#inverses.getOrMake(chosen.map(([index]) => index).join(), () => {
      const rows = chosen.map(([index]) => this.#rows[index]!);
      const inverted = invertMatrix(this.#memory.field, rows);
      assert(inverted, 'any k rows are independent');
      return inverted;
    });
    return { inverse, sources: chosen.map(([, shard]) => shard) };
  }
}
