/** The door of `node`: configuration → running daemon; the core for the simulator. */
export { type CareOptions, startCare } from './care.ts';
export {
  connectCore,
  type ConnectCoreOptions,
  memberGrants,
  type MemberGrantsOptions,
} from './connect-core.ts';
export {
  type Core,
  type CoreOptions,
  type HomeCore,
  type HomeCoreOptions,
  openCore,
  openHomeCore,
} from './core.ts';
export { controlSocketPath } from './data-directory.ts';
export { type KnownStores, readKnownStores } from './known-stores.ts';
export type { MakeTransport } from './network-part.ts';
export type { ConfigChanges } from './node-config.ts';
export {
  joinNode,
  type JoinNodeOptions,
  type NodeOptions,
  openNode,
  type RunningNode,
} from './node.ts';
export type { VolumeSecrets } from './volume-set.ts';
export { LocalMetadata, type LocalMetadataOptions } from './local-metadata.ts';
export type { Metadata, MetadataOptions } from './metadata.ts';
export { RemoteMetadata, type RemoteMetadataOptions } from './remote-metadata.ts';
export { Serving, type ServingOptions } from './serving.ts';
