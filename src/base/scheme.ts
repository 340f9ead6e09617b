/**
 * Schemes: how a stripe becomes shards. Any k of the n shards restore the stripe.
 *
 * - `rs-K+M`: systematic Reed–Solomon, n = K + M; shards below K are the content itself.
 * - `ida-KofN`: Rabin's information dispersal; no shard is a piece of the content.
 * - `copy-N`: N full copies, k = 1.
 * - `near-N`: N full copies, of which the last (index N − 1) stands near the writer: on the node
 *   that stored it, where no other copy does. `cas` is near-4: three remote copies and one local.
 *
 * A scheme has a 16-bit number, part of every chunk id: bit 15 says `ida`, the rest counts the
 * pairs 1 ≤ k ≤ n ≤ 255 in the order n(n−1)/2 + k − 1. `copy-N` is the Reed–Solomon code with
 * k = 1, whose shards are all equal. `near-N` has the number 0x7f80 + N, which no pair reaches.
 */
import { HoldfastError } from './errors.ts';

export type SchemeKind = 'rs' | 'ida' | 'copy';

export interface Scheme {
  readonly kind: SchemeKind;
  /** Shards needed to restore. */
  readonly k: number;
  /** Shards made. */
  readonly n: number;
  /** Only of copies: the last one stands near the writer. */
  readonly isNear?: true;
}

/** Shards of one stripe at the most; GF(2^8) has no more points. */
export const SHARDS_MAX = 255;

/** Chunk ids with this number name records of a node's own log, not shards of a stripe. */
export const METADATA_SCHEME_NUMBER = 0xffff;
/** And with this one parts of snapshots of cells, which lie on stores of several nodes. */
export const METADATA_PART_SCHEME_NUMBER = 0xfffe;
/** Lists of such parts: from them snapshots are found again with nothing but the stores. */
export const METADATA_LIST_SCHEME_NUMBER = 0xfffd;
/** Shards of parts. */
export const METADATA_SHARD_SCHEME_NUMBER = 0xfffc;

/** Whether chunk ids with this number name metadata of any kind. */
export function isMetadataScheme(number: number): boolean {
  return number >= METADATA_SHARD_SCHEME_NUMBER && number <= METADATA_SCHEME_NUMBER;
}

/** Whether they name metadata of the pool, which metadata nodes put and delete on all stores. */
export function isPoolMetadataScheme(number: number): boolean {
  return isMetadataScheme(number) && number !== METADATA_SCHEME_NUMBER;
}

const IDA_BIT = 0x8000;
/** Numbers above this one, up to the bit, are near-2 to near-127. */
const NEAR_BASE = 0x7f80;
const NEAR_MAX = IDA_BIT - NEAR_BASE - 1;

/** @throws HF_BAD_SCHEME with one line that says what a valid scheme looks like. */
export function parseScheme(text: string): Scheme {
  const rs = /^rs-(\d{1,3})\+(\d{1,3})$/.exec(text);
  if (rs) return checkedScheme(text, 'rs', Number(rs[1]), Number(rs[1]) + Number(rs[2]));
  const ida = /^ida-(\d{1,3})of(\d{1,3})$/.exec(text);
  if (ida) return checkedScheme(text, 'ida', Number(ida[1]), Number(ida[2]));
  const copy = /^copy-(\d{1,3})$/.exec(text);
  if (copy) return checkedScheme(text, 'copy', 1, Number(copy[1]));
  const near = text === 'cas' ? ['', '4'] : /^near-(\d{1,3})$/.exec(text);
  if (near) return nearScheme(text, Number(near[1]));
  throw new HoldfastError(
    'HF_BAD_SCHEME',
    `"${text}" is no scheme; write rs-4+2, ida-3of5, copy-3 or near-4`,
  );
}

function nearScheme(text: string, n: number): Scheme {
  if (n >= 2 && n <= NEAR_MAX) return { kind: 'copy', k: 1, n, isNear: true };
  throw new HoldfastError('HF_BAD_SCHEME', `${text}: write near-2 to near-${NEAR_MAX}`);
}

function checkedScheme(text: string, kind: SchemeKind, k: number, n: number): Scheme {
  if (k < 1 || n < 1) throw new HoldfastError('HF_BAD_SCHEME', `${text}: k and n start at 1`);
  if (k > n) throw new HoldfastError('HF_BAD_SCHEME', `${text}: k = ${k} is more than n = ${n}`);
  if (n > SHARDS_MAX) {
    throw new HoldfastError('HF_BAD_SCHEME', `${text}: n = ${n} is more than ${SHARDS_MAX}`);
  }
  if (kind !== 'copy' && k === n) {
    throw new HoldfastError('HF_BAD_SCHEME', `${text}: no shard may be lost; k must be below n`);
  }
  // With k = 1 every Reed–Solomon shard is the content itself.
  return kind === 'rs' && k === 1 ? { kind: 'copy', k, n } : { kind, k, n };
}

export function formatScheme({ kind, k, n, isNear }: Scheme): string {
  if (isNear) return `near-${n}`;
  if (kind === 'rs') return `rs-${k}+${n - k}`;
  return kind === 'ida' ? `ida-${k}of${n}` : `copy-${n}`;
}

export function schemeNumber({ kind, k, n, isNear }: Scheme): number {
  if (isNear) return NEAR_BASE + n;
  return (n * (n - 1)) / 2 + k - 1 + (kind === 'ida' ? IDA_BIT : 0);
}

/** @throws HF_CORRUPT when the number names no scheme. */
export function schemeOfNumber(number: number): Scheme {
  if (number >= NEAR_BASE + 2 && number < IDA_BIT) {
    return { kind: 'copy', k: 1, n: number - NEAR_BASE, isNear: true };
  }
  const pair = number % IDA_BIT;
  const n = Math.floor((1 + Math.sqrt(1 + 8 * pair)) / 2);
  const k = pair - (n * (n - 1)) / 2 + 1;
  if (n > SHARDS_MAX || k < 1 || k > n) {
    throw new HoldfastError('HF_CORRUPT', `${number} is not the number of a scheme`);
  }
  if (number >= IDA_BIT) return { kind: 'ida', k, n };
  return k === 1 ? { kind: 'copy', k, n } : { kind: 'rs', k, n };
}

/** Shards that may be lost. */
export function toleranceOf({ k, n }: Scheme): number {
  return n - k;
}
