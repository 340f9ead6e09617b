/**
 * The matrix of a scheme: n rows of k coefficients, shard i = row i × pieces. Any k of the rows are
 * independent, so any k shards restore the pieces: pieces = (the chosen rows)⁻¹ × chosen shards.
 *
 * - `rs`: Vandermonde rows r^0 … r^(k−1) times the inverse of the top k rows, which makes these the
 *   identity. As Backblaze's JavaReedSolomon and klauspost/reedsolomon do.
 * - `ida`: Cauchy rows 1 / (x_i ⊕ y_j); Rabin, "Efficient dispersal of information", 1989. Equal to
 *   the lower n rows of ISA-L's `gf_gen_cauchy1_matrix` with n + k rows.
 * - `copy`: every row is 1.
 */
import { assert, formatScheme, HoldfastError, type Scheme, SHARDS_MAX } from '../base/index.ts';
import { MATRIX_IDS } from './erasure-codec.ts';
import { type GaloisField, invertMatrix, type Matrix, multiplyMatrices } from './galois.ts';

export interface SchemeMatrix {
  readonly matrixId: number;
  readonly rows: Matrix;
}

/** @throws HF_BAD_SCHEME when GF(2^8) has no such matrix. */
export function schemeMatrix(field: GaloisField, scheme: Scheme): SchemeMatrix {
  const { kind, k, n } = scheme;
  if (!(k >= 1 && k <= n && n <= SHARDS_MAX)) {
    throw badScheme(scheme, `1 ≤ k ≤ n ≤ ${SHARDS_MAX} must hold`);
  }
  switch (kind) {
    case 'rs':
      return { matrixId: MATRIX_IDS.vandermonde, rows: vandermondeMatrix(field, { k, n }) };
    case 'ida':
      if (k + n > 256) throw badScheme(scheme, `k + n = ${k + n} is more than 256`);
      return { matrixId: MATRIX_IDS.cauchy, rows: cauchyMatrix(field, { k, n }) };
    case 'copy':
      if (k !== 1) throw badScheme(scheme, 'a copy is restored from one');
      return { matrixId: MATRIX_IDS.copy, rows: Array.from({ length: n }, () => Uint8Array.of(1)) };
  }
}

function badScheme(scheme: Scheme, reason: string): HoldfastError {
  return new HoldfastError('HF_BAD_SCHEME', `${formatScheme(scheme)}: ${reason}`);
}

interface Shape {
  readonly k: number;
  readonly n: number;
}

function vandermondeMatrix(field: GaloisField, { k, n }: Shape): Uint8Array[] {
  const powers = Array.from({ length: n }, (_, row) => {
    const coefficients = new Uint8Array(k);
    for (let column = 0, power = 1; column < k; column++, power = field.multiply(power, row)) {
      coefficients[column] = power;
    }
    return coefficients;
  });
  const top = invertMatrix(field, powers.slice(0, k));
  assert(top, 'distinct points make a Vandermonde matrix invertible');
  return multiplyMatrices(field, powers, top);
}

/** x_i = k + i and y_j = j are distinct as long as k + n ≤ 256. */
function cauchyMatrix(field: GaloisField, { k, n }: Shape): Uint8Array[] {
  return Array.from({ length: n }, (_, i) =>
    Uint8Array.from({ length: k }, (_unused, j) => field.inverse((k + i) ^ j)),
  );
}
