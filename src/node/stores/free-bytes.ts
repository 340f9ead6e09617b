/** How much room stores say they have, of those that say so soon. */
import { type Clock, within } from '../../env/index.ts';
import type { ChunkStore } from '../../store/index.ts';

/** By id. A store that takes longer than `msMax`, or fails, is not among them. */
export async function freeBytesByStore(
  stores: readonly Pick<ChunkStore, 'id' | 'usage'>[],
  { clock, msMax }: { readonly clock: Pick<Clock, 'sleep'>; readonly msMax: number },
): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  // As many calls as there are stores, and none is waited for beyond that time.
  const asked = stores.map(async (store) => {
    const answer = store.usage().catch(() => undefined);
    const usage = await within(clock, answer, msMax);
    if (usage) found.set(store.id, usage.freeBytes);
  });
  await Promise.all(asked);
  return found;
}
