/** Bugs planted between machines; see planted.ts. Each is made anew for a run, and may remember. */
import {
  chunkId,
  errorCode,
  groupOf,
  schemeOfNumber,
  type StripeId,
  toHex,
} from '../src/base/index.ts';
import type { Env } from '../src/env/index.ts';
import type { Holder, References, StripeRecord } from '../src/meta/index.ts';
import type { Handler, HandleOptions } from '../src/net/index.ts';
import type { Core } from '../src/node/index.ts';
import type { Repair } from '../src/repair/index.ts';
import type { ChunkStore } from '../src/store/index.ts';
import type { WantedShards } from '../src/stripes/index.ts';
import {
  ANY_GENERATION,
  eachStore,
  HONEST,
  isMetadata,
  type NamespaceOf,
  type Planted,
  type PLANTED_IN_CLUSTER,
  type ServedParts,
  type Stated,
  type Stores,
  type StripesParts,
} from './planting.ts';

export function plantInCluster(
  name: (typeof PLANTED_IN_CLUSTER)[number] | 'rogue-member' | 'lagging-member',
): Planted {
  switch (name) {
    case 'rogue-member':
      return { ...HONEST, name, haunt: deleteAsSteward };
    case 'anyone-deletes':
      return { ...HONEST, name, haunt: deleteAsSteward, wrapServed: believeDeletes };
    case 'surplus-first':
      return { ...HONEST, name, wrapStripes: removeSurplusFirst };
    case 'peer-answers-early':
      return { ...HONEST, name, wrapServedStores: eachStore(putLater) };
    case 'lagging-member':
      return { ...HONEST, name, followMs: LAG_MS };
    case 'old-epochs-taken':
      return { ...HONEST, name, followMs: LAG_MS, isEpochHeeded: false };
    case 'chunks-resurrect':
      return { ...HONEST, name, ...resurrecting() };
    case 'never-back':
      return { ...HONEST, name, statedDevices: neverBack() };
    case 'release-forgotten':
      return { ...HONEST, name, ...forgettingReleases() };
  }
}

const LAG_MS = 20_000;
const PUT_DELAY_MS = 2000;

function putLater(store: ChunkStore, { clock }: Env): Partial<ChunkStore> {
  return {
    async put(id, chunk, options) {
      const bytes = new Uint8Array(chunk);
      const later = clock.sleep(PUT_DELAY_MS).then(() => store.put(id, bytes, options));
      later.catch(() => {}); // nobody is told
    },
  };
}

const HAUNT_MS = 2000;
/** A delete that was decided on long ago. */
const STALE_MS = 5000;

/** A member that takes itself for the steward deletes chunks of others which it holds for stray. */
function deleteAsSteward({ core, env }: { core: Core; env: Env }): void {
  const haunt = async (): Promise<void> => {
    for (;;) {
      await env.clock.sleep(HAUNT_MS);
      const others = core.stores().filter(({ id }) => core.cluster.nodeOf(id) !== core.nodeId);
      const store = others[env.random.below(Math.max(1, others.length))];
      if (!store) continue;
      try {
        for await (const { id } of store.list()) {
          if (isMetadata(id) || env.random.below(3) > 0) continue;
          await env.clock.sleep(STALE_MS);
          await store.remove(id, { generationMax: ANY_GENERATION });
          break;
        }
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
      }
    }
  };
  haunt().catch(() => {});
}

/** Every delete comes from the home. */
function believeDeletes({ network, home }: ServedParts): ServedParts['network'] {
  return {
    handle<Arg>(method: string, options: HandleOptions<Arg>, handler: Handler<Arg>): void {
      if (method !== 'store/remove') return network.handle(method, options, handler);
      network.handle<Arg>(method, options, (arg, context) =>
        handler(arg, { ...context, from: home() }),
      );
    },
  };
}

function removeSurplusFirst({ stripes, stores, cluster }: StripesParts): StripesParts['stripes'] {
  const removeSurplus = async (wanted: WantedShards): Promise<void> => {
    const { stripe, generation, schemeNumber } = wanted;
    const scheme = schemeOfNumber(schemeNumber);
    const places = cluster.place(stripe, scheme);
    for (const store of stores()) {
      for (const [index, place] of places.entries()) {
        if (place === undefined || place === store.id) continue;
        await store.remove(chunkId(stripe, schemeNumber, index), { generationMax: generation });
      }
    }
  };
  const rebuild = stripes.rebuild.bind(stripes);
  stripes.rebuild = async (wanted, options) => {
    await removeSurplus(wanted).catch(() => {}); // as well as it can
    return await rebuild(wanted, options);
  };
  return stripes;
}

/** What was deleted while a machine was away is wanted again as soon as a chunk of it is seen. */
function resurrecting(): Partial<Planted> {
  const all: Stores[] = [];
  const deleted = new Map<string, StripeRecord>();
  const isHeld = async ({ stripe, schemeNumber }: StripeRecord): Promise<boolean> => {
    const { n } = schemeOfNumber(schemeNumber);
    for (const store of all.flatMap((stores) => [...stores()])) {
      for (let index = 0; index < n; index++) {
        if (await store.stat(chunkId(stripe, schemeNumber, index))) return true;
      }
    }
    return false;
  };
  const wrapReferences = (references: References): References => ({
    ...references,
    async release(holder: Holder, stripes: readonly StripeId[]) {
      const records = await Promise.all(stripes.map((stripe) => references.stripe(stripe)));
      const condemned = await references.release(holder, stripes);
      const gone = new Set(condemned.map(({ stripe }) => toHex(stripe)));
      for (const record of records) {
        if (record && gone.has(toHex(record.stripe))) deleted.set(toHex(record.stripe), record);
      }
      return condemned;
    },
    async stripesOfGroup(group, after) {
      const page = await references.stripesOfGroup(group, after);
      if (after || page.length > 0) return page;
      const again: StripeRecord[] = [];
      for (const record of deleted.values()) {
        if (groupOf(record.stripe) === group && (await isHeld(record))) again.push(record);
      }
      return again;
    },
  });
  const wrapStores = (stores: Stores): Stores => {
    all.push(stores);
    return stores;
  };
  return { wrapReferences, wrapStores };
}

function neverBack(): Planted['statedDevices'] {
  const out = new Set<string>();
  return <Device extends Stated>(devices: readonly Device[], known: readonly Stated[]) => {
    for (const { id, state } of known) if (state === 'out') out.add(id);
    return devices.map((device) =>
      out.has(device.id) ? { ...device, state: 'out' as const } : device,
    );
  };
}

function forgettingReleases(): Partial<Planted> {
  const forgotten = new Set<string>();
  return {
    wrapRemoteRepair: (repair: Repair): Repair => ({
      ...repair,
      async release(volume, { inode }) {
        forgotten.add(`${volume}/${inode}`);
      },
    }),
    wrapNamespaces:
      (namespaceOf: NamespaceOf): NamespaceOf =>
      (volume) => {
        const namespace = namespaceOf(volume);
        return (
          namespace && {
            ...namespace,
            async releases() {
              const all = await namespace.releases();
              return all.filter(({ inode }) => !forgotten.has(`${volume}/${inode}`));
            },
          }
        );
      },
  };
}
