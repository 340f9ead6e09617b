/**
 * Count and order-free digest of the good chunks of each (placement group, scheme, shard index),
 * kept up to date with the index, so that two stores compare what they hold without listing it.
 * Chunks known bad are left out: to its peers the store is missing them.
 */
import { asBuffer, type ChunkId, groupOf, STRIPE_ID_BYTES, xxh64 } from '../base/index.ts';
import type { GroupDigest } from './chunk-store.ts';

interface Entry {
  count: number;
  digest: bigint;
}

/** Group, scheme and index in one number below 2^44. */
function keyOf(id: ChunkId): number {
  return groupOf(id) * 2 ** 32 + asBuffer(id).readUInt32BE(STRIPE_ID_BYTES);
}

export class GroupDigests {
  readonly #entries = new Map<number, Entry>();

  add(id: ChunkId): void {
    const key = keyOf(id);
    let entry = this.#entries.get(key);
    if (!entry) this.#entries.set(key, (entry = { count: 0, digest: 0n }));
    entry.count += 1;
    entry.digest = BigInt.asUintN(64, entry.digest + xxh64(id.subarray(0, STRIPE_ID_BYTES)));
  }

  remove(id: ChunkId): void {
    const key = keyOf(id);
    const entry = this.#entries.get(key)!;
    entry.count -= 1;
    entry.digest = BigInt.asUintN(64, entry.digest - xxh64(id.subarray(0, STRIPE_ID_BYTES)));
    if (entry.count === 0) this.#entries.delete(key);
  }

  list(): GroupDigest[] {
    return Array.from(this.#entries, ([key, { count, digest }]) => {
      const low = key % 2 ** 32;
      return {
        group: Math.floor(key / 2 ** 32),
        schemeNumber: Math.floor(low / 0x10000),
        shardIndex: low % 0x10000,
        count,
        digest,
      };
    });
  }
}
