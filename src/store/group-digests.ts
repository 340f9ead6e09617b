/**
 * Count and order-free digest of the good chunks of each (placement group, scheme, shard index),
 * kept up to date with the index, so that two stores compare what they hold without listing it.
 * Chunks known bad are left out: to its peers the store is missing them.
 *
 * A *column* is all groups of one scheme and shard index: a store has few of them, each dense.
 */
import {
  assert,
  type ChunkId,
  GROUP_COUNT,
  groupOf,
  STRIPE_ID_BYTES,
  xxh64,
} from '../base/index.ts';
import type { GroupDigest } from './chunk-store.ts';

interface Column {
  readonly schemeNumber: number;
  readonly shardIndex: number;
  /** By group. */
  readonly counts: Uint32Array;
  /** By group: the sum of the XXH64 of the stripe ids, modulo 2^64. */
  readonly digests: BigUint64Array;
}

export class GroupDigests {
  /** By the bytes of the chunk id that name it, as a signed number. */
  readonly #columns = new Map<number, Column>();

  add(id: ChunkId): void {
    const { counts, digests } = this.#columnOf(id);
    const group = groupOf(id);
    counts[group]! += 1;
    digests[group]! += xxh64(id.subarray(0, STRIPE_ID_BYTES));
  }

  remove(id: ChunkId): void {
    const { counts, digests } = this.#columnOf(id);
    const group = groupOf(id);
    assert(counts[group]! > 0, 'what is taken away was added');
    counts[group]! -= 1;
    digests[group]! -= xxh64(id.subarray(0, STRIPE_ID_BYTES));
  }

  list(): GroupDigest[] {
    const entries: GroupDigest[] = [];
    for (const { schemeNumber, shardIndex, counts, digests } of this.#columns.values()) {
      for (const [group, count] of counts.entries()) {
        if (count === 0) continue;
        entries.push({ group, schemeNumber, shardIndex, count, digest: digests[group]! });
      }
    }
    return entries;
  }

  #columnOf(id: ChunkId): Column {
    const [a, b, c, d] = [id[28]!, id[29]!, id[30]!, id[31]!];
    const key = (a << 24) | (b << 16) | (c << 8) | d;
    let column = this.#columns.get(key);
    if (!column) {
      column = {
        schemeNumber: a * 256 + b,
        shardIndex: c * 256 + d,
        counts: new Uint32Array(GROUP_COUNT),
        digests: new BigUint64Array(GROUP_COUNT),
      };
      this.#columns.set(key, column);
    }
    return column;
  }
}
