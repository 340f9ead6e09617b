/**
 * Where bugs can be planted: the seams between a node and its parts, and between nodes. They are
 * lies told at an interface, so that what ships needs no switches; those of one store are its own.
 */
import { chunkIdParts, METADATA_SCHEME_NUMBER, type NodeId } from '../src/base/index.ts';
import type { Env } from '../src/env/index.ts';
import type { Namespace, References } from '../src/meta/index.ts';
import type { Network } from '../src/net/index.ts';
import type { Core } from '../src/node/index.ts';
import type { TopologyDevice } from '../src/placement/index.ts';
import type { Repair } from '../src/repair/index.ts';
import type { ChunkStore, OpenOptions } from '../src/store/index.ts';
import type { StripeStore } from '../src/stripes/index.ts';
import { changedStore } from '../test/suites/changed-store.ts';

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
export const BORNE = [
  /** Sessions count as over while they are not: see {@link plant}. */
  'impatient-collector',
  /** A member takes itself for the steward, and deletes. */
  'rogue-member',
  /** Members hear late of a new layout. */
  'lagging-member',
] as const;

export type Stores = () => readonly ChunkStore[];

/** Between the node and its parts. */
export interface Planted {
  readonly name: PlantedName | (typeof BORNE)[number] | 'none';
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

/** Wraps stores one by one; a store is wrapped once. */
export function eachStore(
  wrap: (store: ChunkStore, env: Env) => Partial<ChunkStore>,
): Planted['wrapStores'] {
  const wrapped = new WeakMap<ChunkStore, ChunkStore>();
  return (stores, env) => () =>
    stores().map((store) => {
      const known = wrapped.get(store) ?? changedStore(store, wrap(store, env));
      wrapped.set(store, known);
      return known;
    });
}

export const ANY_GENERATION = 2 ** 24 - 1;
export function isMetadata(id: Parameters<ChunkStore['put']>[0]): boolean {
  return chunkIdParts(id).schemeNumber === METADATA_SCHEME_NUMBER;
}
