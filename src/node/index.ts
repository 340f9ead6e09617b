/** The door of `node`: configuration → running daemon; the core for the simulator. */
export { type CareOptions, startCare } from './care.ts';
export {
  connectCore,
  type ConnectCoreOptions,
  memberGrants,
  type MemberGrantsOptions,
} from './peers/connect-core.ts';
export {
  type Core,
  type CoreOptions,
  type HomeCore,
  type HomeCoreOptions,
  openCore,
  openHomeCore,
} from './core.ts';
export { controlSocketPath } from './data-directory.ts';
export { type KnownStores, readKnownStores } from './stores/known-stores.ts';
export type { MakeTransport } from './peers/network-part.ts';
export type { ConfigChanges } from './node-config.ts';
export {
  joinNode,
  type JoinNodeOptions,
  type NodeOptions,
  openNode,
  type RunningNode,
} from './node.ts';
export type { VolumeSecrets } from './volumes/volume-set.ts';
export { LocalMetadata, type LocalMetadataOptions } from './metadata/local-metadata.ts';
export type { Metadata, MetadataOptions } from './metadata/metadata.ts';
export { RemoteMetadata, type RemoteMetadataOptions } from './metadata/remote-metadata.ts';
export { findEtcd } from './ring/etcd-process.ts';
export type { RingNodeView } from './ring/ring-candidates.ts';
export { RingKeeper, type RingKeeperOptions } from './ring/ring-keeper.ts';
export { RingPart, type RingPartOptions } from './ring/ring-part.ts';
export { Serving, type ServingOptions } from './peers/serving.ts';
export { Quorum } from './metadata/quorum.ts';
export { StoreMirror } from './metadata/store-mirror.ts';
