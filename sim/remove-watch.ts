/**
 * Rulings 3 and 13, seen from outside: a store lets go of a chunk that is wanted only when another
 * store holds the same one. It stands in front of each store.
 */
import { type ChunkId, chunkIdParts, METADATA_SCHEME_NUMBER, toHex } from '../src/base/index.ts';
import type { ChunkStore } from '../src/store/index.ts';
import type { Site } from './site.ts';

export function watchRemoves(store: ChunkStore, site: Site): Partial<ChunkStore> {
  return {
    async remove(id, options) {
      const reason = await whyNot(id, { store, site, generationMax: options.generationMax });
      if (reason) site.report(`${store.id} is to remove ${toHex(id)}: ${reason}`);
      return await store.remove(id, options);
    },
  };
}

async function whyNot(
  id: ChunkId,
  { store, site, generationMax }: { store: ChunkStore; site: Site; generationMax: number },
): Promise<string | undefined> {
  const { stripe, schemeNumber } = chunkIdParts(id);
  if (schemeNumber === METADATA_SCHEME_NUMBER) return undefined;
  const held = await store.stat(id);
  if (!held?.isGood || held.generation > generationMax) return undefined;
  const { references, stores } = site.others!.all();
  const record = await references?.stripe(stripe);
  if (!record?.isStored || record.generation > generationMax) return undefined;
  for (const other of stores) {
    if (other.id !== store.id && (await other.stat(id))?.isGood) return undefined;
  }
  return 'it is wanted, and nobody else has it';
}
