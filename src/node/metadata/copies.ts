/**
 * What copies of metadata on stores have in common, be they records of a node's own log
 * (store-mirror.ts) or parts of snapshots in the pool (pool-parts.ts): where they go, and how they
 * are found.
 */
import {
  asBuffer,
  type ChunkId,
  chunkIdParts,
  errorCode,
  METADATA_GROUP,
  METADATA_SCHEME_NUMBER,
  unlessBug,
  xxh64,
} from '../../base/index.ts';
import type { ChunkEntry, ChunkStore } from '../../store/index.ts';

/** Metadata is never put again after a delete, so one generation does. */
export const COPY_GENERATION = 1;

/** Stores in the order in which this chunk prefers them. */
export function rendezvous(stores: readonly ChunkStore[], id: ChunkId): ChunkStore[] {
  const weigh = (store: ChunkStore): bigint =>
    xxh64(asBuffer(id), BigInt(`0x${store.id.slice(0, 16)}`));
  return stores
    .map((store) => ({ store, weight: weigh(store) }))
    .toSorted((a, b) => (a.weight < b.weight ? -1 : 1))
    .map(({ store }) => store);
}

/**
 * The same, but each place once before any place a second time: places are disks, or nodes.
 * @param placeOf `undefined` counts as one place.
 */
export function spreadOver(
  stores: readonly ChunkStore[],
  placeOf: (store: ChunkStore) => string | undefined,
): ChunkStore[] {
  const counts = new Map<string, number>();
  const ranked = stores.map((store) => {
    const place = placeOf(store) ?? '';
    const rank = counts.get(place) ?? 0;
    counts.set(place, rank + 1);
    return { store, rank };
  });
  return ranked.toSorted((a, b) => a.rank - b.rank).map(({ store }) => store);
}

/** The first good copy, in the order of the stores. */
export async function firstCopy(
  stores: readonly ChunkStore[],
  id: ChunkId,
): Promise<Uint8Array | undefined> {
  for (const store of stores) {
    try {
      const bytes = await store.get(id);
      if (bytes) return bytes;
    } catch (error) {
      if (errorCode(error) === undefined) throw error; // a bad or failed copy: ask the next
    }
  }
  return undefined;
}

/** Metadata of some kinds on a store, bad copies too. */
export async function* copiesOn(
  store: ChunkStore,
  isWanted: (schemeNumber: number) => boolean,
): AsyncGenerator<ChunkEntry> {
  for await (const entry of store.list({ group: METADATA_GROUP })) {
    if (isWanted(chunkIdParts(entry.id).schemeNumber)) yield entry;
  }
}

/** Records of the log of one node. */
export function isRecordScheme(schemeNumber: number): boolean {
  return schemeNumber === METADATA_SCHEME_NUMBER;
}

/** A copy on a store that is going goes with it. */
export async function removeQuietly(store: ChunkStore, id: ChunkId): Promise<void> {
  await store.remove(id, { generationMax: COPY_GENERATION }).catch(unlessBug);
}
