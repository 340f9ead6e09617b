/** Bugs planted on purpose: each must be found, or the simulator proves nothing. */
import { type DeviceId, toHex } from '../src/base/index.ts';
import type { Env } from '../src/env/index.ts';
import type { Holder, Namespace, PendingReference, References } from '../src/meta/index.ts';
import { openRepair, type Repair } from '../src/repair/index.ts';
import type { ChunkStore } from '../src/store/index.ts';
import { plantInCluster } from './planted-in-cluster.ts';
import {
  ANY_GENERATION,
  eachStore,
  HONEST,
  isMetadata,
  type Planted,
  type RepairParts,
  type Stores,
} from './planting.ts';

/**
 * @param name 'impatient-collector' is no bug: sessions count as over while they are not, as
 *   between nodes that lose sight of each other. It costs puts, and must cost nothing else.
 */
export function plant(name: Planted['name']): Planted {
  switch (name) {
    case 'none':
    case 'journal-not-flushed': {
      const storeFault = name === 'none' ? undefined : 'commit-not-flushed';
      return { ...HONEST, name, storeFault };
    }
    case 'known-too-early':
      return { ...HONEST, name, wrapReferences: knownTooEarly, wrapStores: eachStore(deleteLate) };
    case 'generations-ignored':
      return { ...HONEST, name, wrapStores: eachStore(ignoreGenerations) };
    case 'impatient-collector':
      return { ...HONEST, name, wrapReferences: everybodyStrays };
    case 'stray-not-refused':
      return { ...HONEST, name, wrapReferences: everybodyStrays, repairOf: unrefusingRepair };
    case 'early-answer':
      return { ...HONEST, name, wrapStores: eachStore(answerEarly) };
    case 'one-copy-mirror':
      return { ...HONEST, name, wrapStores: (stores, env) => keepMetadataOnce(stores, env) };
    case 'repair-idle':
      return { ...HONEST, name, repairOf: idleRepair };
    case 'anyone-deletes':
    case 'surplus-first':
    case 'peer-answers-early':
    case 'old-epochs-taken':
    case 'chunks-resurrect':
    case 'never-back':
    case 'release-forgotten':
    case 'rogue-member':
    case 'lagging-member':
      return plantInCluster(name);
  }
}

function knownTooEarly(references: References): References {
  const condemned = new Set<string>();
  return {
    ...references,
    async add(request) {
      const known = await Promise.all(
        request.stripes.map(({ stripe }) => references.stripe(stripe)),
      );
      const answers = await references.add(request);
      return answers.map((answer, i) => {
        const isCondemned = condemned.has(toHex(request.stripes[i]!.stripe));
        return { ...answer, isStored: known[i] !== undefined || isCondemned };
      });
    },
    async release(holder, stripes) {
      const released = await references.release(holder, stripes);
      for (const { stripe } of released) condemned.add(toHex(stripe));
      return released;
    },
    async forget(items) {
      await references.forget(items);
      for (const { stripe } of items) condemned.delete(toHex(stripe));
    },
  };
}

/** References that are pending count as left behind, their writers' sessions as over. */
function everybodyStrays(references: References): References {
  const pending = new Map<string, PendingReference>();
  const keyOf = (holder: Holder, stripe: Uint8Array): string =>
    `${holder.volume}/${holder.inode}/${toHex(stripe)}`;
  const drop = (holder: Holder, stripes: readonly Uint8Array[]): void => {
    for (const stripe of stripes) pending.delete(keyOf(holder, stripe));
  };
  return {
    ...references,
    async add(request) {
      const { holder, session } = request;
      const answers = await references.add(request);
      for (const { stripe } of request.stripes) {
        pending.set(keyOf(holder, stripe), { stripe, holder, session });
      }
      return answers;
    },
    async confirm(holder, stripes) {
      await references.confirm(holder, stripes);
      drop(holder, stripes);
    },
    async release(holder, stripes) {
      const condemned = await references.release(holder, stripes);
      drop(holder, stripes);
      return condemned;
    },
    strays: async () => [...(await references.strays()), ...pending.values()],
  };
}

function unrefusingRepair({ core, env, stores, isHome }: RepairParts): Repair {
  if (!isHome) return core.repair;
  const namespaceOf = (volume: string): Namespace | undefined => {
    const namespace = core.volumes.namespaceOf(volume);
    if (!namespace) return undefined;
    return {
      ...namespace,
      refuse: async (inode) => ((await namespace.record(inode)) ? 'committed' : 'refused'),
    };
  };
  const { cluster, references, stripes, volumes } = core;
  const [treeOf, uploadsOf] = [() => undefined, () => undefined];
  const parts = { env, cluster, references, stripes, stores, treeOf, uploadsOf };
  return openRepair({ ...parts, volumes: () => volumes.ids(), namespaceOf });
}

function idleRepair({ core: { repair } }: RepairParts): Repair {
  return {
    ...repair,
    repair: async () => ({ repaired: 0, incomplete: 0, skipped: 0, lost: 0, writtenBytes: 0 }),
  };
}

const DELETE_DELAY_MS = 50;

/** No lie: a delete takes its time. */
function deleteLate(store: ChunkStore, { clock }: Env): Partial<ChunkStore> {
  return {
    async remove(id, options) {
      if (!isMetadata(id)) await clock.sleep(DELETE_DELAY_MS);
      return await store.remove(id, options);
    },
  };
}

function ignoreGenerations(store: ChunkStore, { clock }: Env): Partial<ChunkStore> {
  return {
    async remove(id, options) {
      if (isMetadata(id)) return await store.remove(id, options);
      await clock.sleep(DELETE_DELAY_MS);
      return await store.remove(id, { ...options, generationMax: ANY_GENERATION });
    },
  };
}

function answerEarly(store: ChunkStore): Partial<ChunkStore> {
  return {
    async put(id, chunk, options) {
      if (isMetadata(id)) return await store.put(id, chunk, options);
      store.put(id, new Uint8Array(chunk), options).catch(() => {}); // nobody is told
    },
  };
}

/** Every record of the log goes to the first store that is asked; the others only say yes. */
function keepMetadataOnce(stores: Stores, env: Env): Stores {
  const homes = new Map<string, DeviceId>();
  return eachStore((store) => ({
    async put(id, chunk, options) {
      if (isMetadata(id)) {
        const home = homes.get(toHex(id)) ?? store.id;
        homes.set(toHex(id), home);
        if (home !== store.id) return;
      }
      await store.put(id, chunk, options);
    },
  }))(stores, env);
}
