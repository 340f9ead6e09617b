/**
 * Sizes of one stripe, from content to chunks:
 *
 *     content → padded (4 KiB) → sealed (+16 bytes per 64 KiB segment) → k pieces, zero-filled to
 *     equal length, a multiple of 64 → n shards → n chunks (header ‖ shard)
 *
 * All of it follows from the scheme and the content's length, so readers need no further record.
 */
import { assert, chunkId, LIMITS, roundUp, schemeNumber, type Scheme } from '../base/index.ts';
import type { ChunkId, StripeId } from '../base/index.ts';
import { paddedBytes, sealedBytes } from '../crypto/index.ts';
import { chunkHeaderBytes } from '../store/index.ts';

/** Shards are cut to this, so that kernels need no tails. */
const SHARD_ALIGN_BYTES = 64;

export interface StripeShape {
  readonly scheme: Scheme;
  readonly contentBytes: number;
  readonly paddedBytes: number;
  readonly sealedBytes: number;
  readonly headerBytes: number;
  readonly shardBytes: number;
  readonly chunkBytes: number;
}

export function stripeShape(scheme: Scheme, contentBytes: number): StripeShape {
  assert(contentBytes > 0, 'a stripe has content');
  const sealed = sealedBytes(contentBytes);
  const headerBytes = chunkHeaderBytes(scheme);
  const shardBytes = roundUp(Math.ceil(sealed / scheme.k), SHARD_ALIGN_BYTES);
  return {
    scheme,
    contentBytes,
    paddedBytes: paddedBytes(contentBytes),
    sealedBytes: sealed,
    headerBytes,
    shardBytes,
    chunkBytes: headerBytes + shardBytes,
  };
}

/** Content of a full stripe: whole segments, bounded by all shards together. */
export function contentBytesFor({ k, n }: Scheme): number {
  const byShards = Math.floor((LIMITS.stripeShardBytesMax * k) / n);
  const segments = Math.floor(Math.min(LIMITS.stripeBytesMax, byShards) / LIMITS.segmentBytes);
  return Math.max(1, segments) * LIMITS.segmentBytes;
}

/**
 * Short content becomes copies that survive as many losses as the scheme: fewer seeks, no decode.
 */
export function schemeForShort(scheme: Scheme): Scheme {
  if (scheme.kind === 'copy') return scheme;
  return { kind: 'copy', k: 1, n: scheme.n - scheme.k + 1 };
}

/** Whether content of this length is stored as copies. */
export function isShort(contentBytes: number): boolean {
  return contentBytes < LIMITS.copyContentBytesMax;
}

/** The ids of a stripe's chunks, in index order. */
export function chunkIds(stripe: StripeId, scheme: Scheme): ChunkId[] {
  const number = schemeNumber(scheme);
  return Array.from({ length: scheme.n }, (_, index) => chunkId(stripe, number, index));
}
