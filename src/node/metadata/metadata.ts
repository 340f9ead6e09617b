/**
 * The *metadata* of the cluster as one node has it: the registry, the reference slots, the
 * namespaces. One node carries them, the *home* (local-metadata.ts); the others ask it
 * (remote-metadata.ts). What stands on this seam cannot tell which it has.
 */
import type { DeviceId, NodeId, VolumeId } from '../../base/index.ts';
import type { Cluster } from '../../cluster/index.ts';
import type { Env } from '../../env/index.ts';
import type { Registry } from '../../log/index.ts';
import type { Namespace, References } from '../../meta/index.ts';
import type { Repair, RepairOptions } from '../../repair/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import type { LocalDevice } from './core-log.ts';

/** What repair works on besides metadata. */
export type RepairParts = Pick<RepairOptions, 'stripes' | 'stores' | 'onWhole' | 'isBusy'>;

export interface Metadata extends AsyncDisposable {
  /** Whether this node carries it: then it repairs, collects and deletes (rulings 3, 13). */
  readonly isHome: boolean;
  readonly registry: Registry;
  readonly references: References;
  /** Its devices are changed by rules of this node; see membership.ts. */
  readonly cluster: Cluster;
  /** Of a volume that the registry knows; closed with the metadata. */
  openNamespace(volume: VolumeId): Promise<Namespace>;
  /** Stores of this node that have no room for the metadata which they are to carry. */
  fullStores?(): ReadonlySet<DeviceId>;
  /** The home's repair, here or there. */
  openRepair(parts: RepairParts): Repair;
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
