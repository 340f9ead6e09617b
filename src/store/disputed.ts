/**
 * Chunks of another node's store that are not what their ids name, though the store stands by them:
 * it is not believed about them any more. They count as bad, until they are gone from it; and it is
 * not given them again. Kept in memory: it takes another read of forged bytes to learn it anew.
 */
import {
  type ChunkId,
  chunkIdParts,
  groupOf,
  STRIPE_ID_BYTES,
  toHex,
  xxh64,
} from '../base/index.ts';
import type { ChunkEntry, GroupDigest } from './chunk-store.ts';

/** Of one store; the oldest is forgotten then. */
const DISPUTED_MAX = 4096;

interface Disputed {
  readonly id: ChunkId;
  /** Whether the store has it still. */
  isThere: boolean;
}

export class DisputedChunks {
  readonly #chunks = new Map<string, Disputed>();

  has(id: ChunkId): boolean {
    return this.#chunks.has(toHex(id));
  }

  add(id: ChunkId): void {
    this.#chunks.set(toHex(id), { id: new Uint8Array(id) as ChunkId, isThere: true });
    const [oldest] = this.#chunks.keys();
    if (this.#chunks.size > DISPUTED_MAX) this.#chunks.delete(oldest!);
  }

  removed(id: ChunkId): void {
    const chunk = this.#chunks.get(toHex(id));
    if (chunk) chunk.isThere = false;
  }

  /** Those that the store may count as good. */
  get heldCount(): number {
    return this.#held().length;
  }

  /** What the store says of a chunk, as far as it is believed. */
  judged(entry: ChunkEntry): ChunkEntry {
    return this.has(entry.id) ? { ...entry, isGood: false } : entry;
  }

  /** Takes out of a store's digests what it must not count. */
  judgedDigests(digests: readonly GroupDigest[]): GroupDigest[] {
    const judged = digests.map((each) => ({ ...each }));
    for (const { id } of this.#held()) {
      const { stripe, schemeNumber, shardIndex } = chunkIdParts(id);
      const of = judged.find(
        (each) =>
          each.group === groupOf(id) &&
          each.schemeNumber === schemeNumber &&
          each.shardIndex === shardIndex,
      );
      if (!of || of.count === 0) continue;
      of.count -= 1;
      of.digest = BigInt.asUintN(64, of.digest - xxh64(stripe.subarray(0, STRIPE_ID_BYTES)));
    }
    return judged.filter(({ count }) => count > 0);
  }

  #held(): Disputed[] {
    return [...this.#chunks.values()].filter(({ isThere }) => isThere);
  }
}
