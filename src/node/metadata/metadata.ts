/**
 * The *metadata* of the cluster as one node has it: the registry, the reference slots, the
 * namespaces. While a cluster is small one node carries them, the *home* (local-metadata.ts), and
 * the others ask it (remote-metadata.ts). Later a ring and cells on many nodes carry them
 * (ring-metadata.ts), and the home is whoever repairs, collects and deletes at the moment. What
 * stands on this seam cannot tell which it has, nor when it changes (moving-metadata.ts).
 */
import type { DeviceId, NodeId, VolumeId } from '../../base/index.ts';
import type { Cluster } from '../../cluster/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry } from '../../log/index.ts';
import type {
  Handles,
  Namespace,
  References,
  Tree,
  Uploads,
  VolumeDoors,
} from '../../meta/index.ts';
import type { Repair, RepairOptions } from '../../repair/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import type { StaleNames } from '../../volume/index.ts';
import type { Peers } from '../core.ts';
import type { Rights } from '../peers/rights.ts';
import type { LocalDevice } from './core-log.ts';
import type { ObservedRegistry } from './observed-registry.ts';

/** What repair works on besides metadata. */
export type RepairParts = Pick<RepairOptions, 'stripes' | 'stores' | 'onWhole' | 'isBusy'>;

export interface Metadata extends AsyncDisposable {
  /** Whether this node is the home now: it repairs, collects and deletes (rulings 3, 13). */
  readonly isHome: boolean;
  /** What this node answers others from; `undefined` while it has nothing to answer. */
  readonly served: ServedMetadata | undefined;
  /**
   * Resolves when `isHome` or `served` may have changed, and at the latest when `signal` is
   * aborted. Without it they never change.
   */
  changed?(signal: AbortSignal): Promise<void>;
  readonly registry: Registry;
  readonly references: References;
  /** Its devices are changed by rules of this node; see membership.ts. */
  readonly cluster: Cluster;
  /** Of a volume that the registry knows; closed with the metadata. */
  openNamespace(volume: VolumeId): Promise<Namespace>;
  /** The tree of files of a volume that the registry knows; closed with the metadata. */
  openTree(volume: VolumeId): Promise<Tree>;
  /**
   * What mounts hold of the volume; closed with the metadata. A move of the metadata begins a new
   * generation of every session: rows (sessions, locks, leases) are as they were, and what stewards
   * had in memory is declared again (`SessionState`).
   */
  openHandles(volume: VolumeId): Promise<Handles>;
  openUploads(volume: VolumeId): Promise<Uploads>;
  /**
   * The names of a volume as some node has them, for reads alone, when nobody can be asked for the
   * newest; nothing where one node has all of them.
   */
  openStale?(volume: VolumeId): StaleNames | undefined;
  /** The stores of other nodes, when the metadata needs them itself. */
  readonly peers?: Peers | undefined;
  /** Stores of this node that have no room for the metadata which they are to carry. */
  fullStores?(): ReadonlySet<DeviceId>;
  /** Cells that this node carries a part of, where they move. */
  cellCount?(): number;
  /** Has another node be home, where it moves. @returns whether this one is it no more. */
  resign?(): Promise<boolean>;
  /** From now on what fails is not tried again: the node is about to close it. */
  close?(): void;
  /** The home's repair, here or there. */
  openRepair(parts: RepairParts): Repair;
}

/** Metadata that other nodes may ask of this one. */
export interface ServedMetadata {
  readonly registry: ObservedRegistry;
  readonly references: References;
  /** `undefined` when this node does not know the volume. */
  volumeOf(volume: string): VolumeDoors | undefined;
  /** As in `ClusterOptions`. */
  readonly tolerance: number;
  /** Whether only the home may answer: its log is the only one. */
  readonly isHomes: boolean;
  /** Whether it is on its way elsewhere: who asks is told to ask again (HF_MOVED). */
  readonly isMoving?: (() => boolean) | undefined;
  /** What others may ask, when that is known already; else it is found out. */
  readonly rights?: Rights | undefined;
  /** Keeps up with what is made, until `signal` is aborted. */
  follow?(options: { readonly signal: AbortSignal }): Promise<void>;
}

type ChangingMetadata = Pick<Metadata, 'changed'>;

/**
 * Runs `loop` whenever `isWanted`, and ends it when it is not any more. Resolves when `signal` is
 * aborted and the loop has ended.
 */
export async function whileWanted(
  metadata: ChangingMetadata,
  { isWanted, signal }: { readonly isWanted: () => boolean; readonly signal: AbortSignal },
  loop: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  if (!metadata.changed) return isWanted() ? await loop(signal) : undefined;
  while (!signal.aborted) {
    const over = new AbortController();
    const was = isWanted();
    const running = was ? loop(AbortSignal.any([signal, over.signal])) : undefined;
    while (!signal.aborted && isWanted() === was) await metadata.changed(signal);
    over.abort();
    await running;
  }
}

/** What a node knows of itself when it opens its metadata. */
export interface MetadataOptions {
  readonly env: Env;
  readonly nodeId: NodeId;
  /** The stores of this node that are alive, as of the call. */
  readonly stores: () => readonly ChunkStore[];
  /** The devices of this node, dead ones included; they are stated when metadata opens. */
  readonly devices: readonly LocalDevice[];
  /** What a user calls a store. */
  readonly nameOf?: ((id: DeviceId) => string | undefined) | undefined;
  /** Losses that content and metadata must survive, where there are stores enough. */
  readonly tolerance: number;
}
