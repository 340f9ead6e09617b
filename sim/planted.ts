/**
 * Bugs planted on purpose: each must be found, or the simulator proves nothing. They are lies told
 * at an interface, so that what ships needs no switches; those of one store are the store's own.
 */
import {
  chunkIdParts,
  type DeviceId,
  METADATA_SCHEME_NUMBER,
  type NodeId,
  toHex,
} from '../src/base/index.ts';
import type { Env } from '../src/env/index.ts';
import type { Holder, Namespace, PendingReference, References } from '../src/meta/index.ts';
import type { Core } from '../src/node/index.ts';
import { openRepair, type Repair } from '../src/repair/index.ts';
import type { Network } from '../src/net/index.ts';
import { plantInCluster } from './planted-in-cluster.ts';
import type { TopologyDevice } from '../src/placement/index.ts';
import type { StripeStore } from '../src/stripes/index.ts';
import type { ChunkStore, OpenOptions } from '../src/store/index.ts';

export const PLANTED_NAMES = [
  /** A stripe counts as stored while it is pending or condemned: a put hits old chunks. */
  'known-too-early',
  /** A delayed delete hits what was put again since: generations are ignored. */
  'generations-ignored',
  /** The collector drops a reference without refusing the inode: its manifest commits. */
  'stray-not-refused',
  /** A put is answered before its shards are durable. */
  'early-answer',
  /** A commit of a store is answered without a flush. */
  'journal-not-flushed',
  /** Metadata is kept once. */
  'one-copy-mirror',
  /** Repair says that all is whole, and puts nothing. */
  'repair-idle',
] as const;

/** Those between machines. */
export const PLANTED_IN_CLUSTER = [
  /** Stores take deletes from every member, and one takes itself for the steward. */
  'anyone-deletes',
  /** A copy in the wrong place goes before the right place has one. */
  'surplus-first',
  /** Stores of other nodes answer a put before it is durable. */
  'peer-answers-early',
  /** Stores take puts of layouts that have been outlived. */
  'old-epochs-taken',
  /** What a machine that was away still holds of a deleted object counts as wanted. */
  'chunks-resurrect',
  /** A node that was written off stays so when it is back. */
  'never-back',
  /** Releases that another node asks for are forgotten. */
  'release-forgotten',
] as const;

export type PlantedName = (typeof PLANTED_NAMES)[number] | (typeof PLANTED_IN_CLUSTER)[number];

/** What is no bug, or none of ours, and must be borne. */
export type Borne = 'none' | 'impatient-collector' | 'rogue-member' | 'lagging-member';

export type Stores = () => readonly ChunkStore[];

/** Between the node and its parts. */
export interface Planted {
  readonly name: PlantedName | Borne;
  readonly storeFault: OpenOptions['plantedFault'];
  readonly wrapStores: (stores: Stores, env: Env) => Stores;
  readonly wrapReferences: ((references: References) => References) | undefined;
  readonly repairOf: (parts: RepairParts) => Repair;
  // Between machines.
  /** Where a node registers what it serves. */
  readonly wrapServed: (parts: ServedParts) => Pick<Network, 'handle'>;
  /** The stores that a node other than the home serves. */
  readonly wrapServedStores: (stores: Stores, env: Env) => Stores;
  /** Whether stores refuse puts of layouts that they know to be outlived (ruling 11). */
  readonly isEpochHeeded: boolean;
  /** How often nodes other than the home look for a new epoch; as they do when left out. */
  readonly followMs: number | undefined;
  /** What a node says of its devices, given what the topology has. */
  readonly statedDevices: <Device extends Stated>(
    devices: readonly Device[],
    known: readonly Stated[],
  ) => Device[];
  readonly wrapNamespaces: (namespaceOf: NamespaceOf) => NamespaceOf;
  readonly wrapStripes: (parts: StripesParts) => StripeStore;
  /** Does what a node other than the home should not. */
  readonly haunt: (parts: Pick<RepairParts, 'core' | 'env'>) => void;
  readonly wrapRemoteRepair: (repair: Repair) => Repair;
}

export interface StripesParts {
  readonly stripes: StripeStore;
  readonly stores: Stores;
  readonly cluster: Core['cluster'];
}

export type NamespaceOf = (volume: string) => Namespace | undefined;
export type Stated = Pick<TopologyDevice, 'id' | 'state'>;

export interface RepairParts {
  readonly core: Core;
  readonly env: Env;
  readonly stores: Stores;
  readonly isHome: boolean;
}

export interface ServedParts {
  readonly network: Pick<Network, 'handle'>;
  readonly home: () => NodeId;
}

export const HONEST: Planted = {
  name: 'none',
  storeFault: undefined,
  wrapStores: (stores) => stores,
  wrapReferences: undefined,
  repairOf: ({ core }) => core.repair,
  wrapServed: ({ network }) => network,
  wrapServedStores: (stores) => stores,
  isEpochHeeded: true,
  followMs: undefined,
  statedDevices: (devices) => [...devices],
  wrapNamespaces: (namespaceOf) => namespaceOf,
  wrapStripes: ({ stripes }) => stripes,
  haunt: () => {},
  wrapRemoteRepair: (repair) => repair,
};

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
    default:
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
  const parts = { env, cluster, references, stripes, stores };
  return openRepair({ ...parts, volumes: () => volumes.ids(), namespaceOf });
}

function idleRepair({ core: { repair } }: RepairParts): Repair {
  return {
    ...repair,
    repair: async () => ({ repaired: 0, incomplete: 0, skipped: 0, lost: 0, writtenBytes: 0 }),
  };
}

/** Wraps stores one by one; a store is wrapped once. */
export function eachStore(
  wrap: (store: ChunkStore, env: Env) => Partial<ChunkStore>,
): Planted['wrapStores'] {
  const wrapped = new WeakMap<ChunkStore, ChunkStore>();
  return (stores, env) => () =>
    stores().map((store) => {
      const known = wrapped.get(store) ?? delegate(store, wrap(store, env));
      wrapped.set(store, known);
      return known;
    });
}

function delegate(store: ChunkStore, changed: Partial<ChunkStore>): ChunkStore {
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

export const ANY_GENERATION = 2 ** 24 - 1;
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

export function answerEarly(store: ChunkStore): Partial<ChunkStore> {
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

export function isMetadata(id: Parameters<ChunkStore['put']>[0]): boolean {
  return chunkIdParts(id).schemeNumber === METADATA_SCHEME_NUMBER;
}
