/** A store with some operations changed, for tests and simulations: all others are the store's. */
import type { ChunkStore } from '../../src/store/index.ts';

export function changedStore(store: ChunkStore, changed: Partial<ChunkStore>): ChunkStore {
  return {
    id: store.id,
    get state() {
      return store.state;
    },
    put: (id, chunk, options) => store.put(id, chunk, options),
    get: (id, options) => store.get(id, options),
    stat: (id) => store.stat(id),
    remove: (id, options) => store.remove(id, options),
    list: (options) => store.list(options),
    digests: () => store.digests(),
    usage: () => store.usage(),
    scrub: (options) => store.scrub(options),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
    ...changed,
  };
}
