/**
 * n shards from k pieces and back. Reed–Solomon and information dispersal share one kernel: both
 * multiply by a matrix over GF(2^8), and so does every reconstruction.
 */
import type { Scheme } from '../base/index.ts';

/** Which matrix made the shards; part of every chunk header, so that others can be added. */
export const MATRIX_IDS = {
  /** Vandermonde made systematic, GF(2^8) modulo 0x11d: the Backblaze and klauspost default. */
  vandermonde: 1,
  /**
   * Cauchy 1 / (x_i ⊕ y_j) with x_i = k + i and y_j = j for i < n and j < k, modulo 0x11d: every
   * shard is mixed. The k + n points must be distinct, so k + n ≤ 256.
   */
  cauchy: 2,
  /** All shards are the content. */
  copy: 3,
} as const;

export interface ErasureCodec {
  readonly scheme: Scheme;
  readonly matrixId: number;

  /**
   * Makes all n shards of one stripe.
   *
   * @param pieces k arrays of equal length (bytes, a multiple of 64): the content cut in order.
   *   Read, never written.
   * @param shards n arrays of that length, overwritten. With `rs`, shards[i] for i < k may be the
   *   same array as pieces[i]. Arrays over the codec's memory are not copied.
   */
  encode(pieces: readonly Uint8Array[], shards: readonly Uint8Array[]): void;

  /**
   * Restores pieces (the content) from any k shards.
   *
   * @param shards n entries in index order; `undefined` = missing. Read, never written.
   * @param pieces k arrays, overwritten with the content; with `rs` a present data shard may be the
   *   same array as its piece.
   * @throws HF_TOO_FEW_SHARDS when fewer than k are present.
   * Content is not verified here: callers check digests or open the seal.
   */
  decode(shards: readonly (Uint8Array | undefined)[], pieces: readonly Uint8Array[]): void;

  /**
   * Makes the wanted shards again from any k others.
   * @param wanted index → array to overwrite.
   * @throws HF_TOO_FEW_SHARDS when fewer than k are present.
   */
  rebuild(
    shards: readonly (Uint8Array | undefined)[],
    wanted: ReadonlyMap<number, Uint8Array>,
  ): void;
}
