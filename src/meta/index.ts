/** The door of `meta`: what exists in a volume, which stripes are wanted, which volumes exist. */
export { assertNotAhead } from './cells/catch-up.ts';
export type { CellFault } from './cells/cell-faults.ts';
export type {
  AdoptAnswer,
  AdoptRequest,
  CellMessages,
  CellPeers,
  MoveId,
  PrepareRequest,
  RangeRead,
  RowRange,
  SlotRange,
  TransactionState,
  Txid,
} from './cells/cell-peers.ts';
export { Cell, type CellOptions, type CellView } from './cells/cell.ts';
export type { ExecuteOptions, Executor, RetryTag } from './cells/executor.ts';
export type { Change, Overlay, Rows } from './cells/overlay.ts';
export { Replica, type ReplicaOptions } from './cells/replica.ts';
export { HandleTable, type HandleTableOptions } from './handles/handle-table.ts';
export { handlesOf } from './handles/handles-cell.ts';
export {
  type DirectoryLease,
  type Handles,
  type LeaseClaim,
  LOCK_END,
  type LockAnswer,
  type LockHolder,
  type LockKind,
  type LockOutcome,
  type LockOwner,
  type LockRange,
  type LockRequest,
  type SessionId,
  type SessionRecord,
  type SessionState,
} from './handles/handles.ts';
export { type CellPlace, encodeMap, loneCell, mapKey, type SpaceMap } from './hosting/cell-map.ts';
export { CellMaps } from './hosting/cell-maps.ts';
export { decodeNumber, encodeNumber, rowKey, SLOT_COUNT } from './cells/rows.ts';
export type { CellStanding, CellWhere } from './hosting/cell-where.ts';
export { REFERENCES_SPACE, spaceOfVolume, volumeOfSpace } from './hosting/hosted-tables.ts';
export { Hosting, type HostingOptions } from './hosting/hosting.ts';
export { Warden, type WardenOptions, type WardenRun } from './hosting/warden.ts';
export type { MetadataNode } from './hosting/warden-plan.ts';
export {
  type HostedRequest,
  serveHosting,
  type ServeHostingOptions,
} from './hosting/serve-hosting.ts';
export type {
  Dirent,
  Extent,
  ExtentPlace,
  Inode,
  InodeRecord,
  InodeType,
  Namespace,
  Nearness,
  ObjectCommit,
  Reencoding,
  Release,
  Retention,
} from './namespace/namespace.ts';
export { slotOfInode } from './namespace/namespace-rows.ts';
export { ROOT_INODE } from './namespace/namespace.ts';
export { makeRoot } from './namespace/namespace-ops.ts';
export { circumstancesOf, namespaceOf, openNamespace } from './namespace/namespace-cell.ts';
export { type Circumstances, slotNear } from './namespace/inode-ops.ts';
export type {
  AttributeChanges,
  CommittedContent,
  ContentCommit,
  InodeStatus,
  LooseStripes,
  NodeRequest,
  Place,
  Quota,
  QuotaUsage,
  Removal,
  Tree,
  TreeDirectoryRequest,
  TreeEntry,
} from './namespace/tree.ts';
export { treeOf } from './namespace/tree-cell.ts';
export type {
  Condemned,
  Holder,
  PendingReference,
  References,
  Session,
  StripeRecord,
  WantedStripe,
} from './references/references.ts';
export { openReferences, referencesOf } from './references/references-cell.ts';
export { remoteNamespace, remoteReferences, remoteTree } from './remote/remote-cells.ts';
export {
  serveNamespaces,
  type ServeNamespacesOptions,
  serveReferences,
  type ServeReferencesOptions,
  serveTrees,
  type ServeTreesOptions,
} from './remote/serve-cells.ts';
export type { CellParts, Operation } from './cells/steward.ts';
export { uploadsOf } from './uploads/uploads-cell.ts';
export {
  PART_NUMBER_MAX,
  type PartChoice,
  type PartCommit,
  type PartRecord,
  type RawObject,
  type UploadCompletion,
  type UploadId,
  type UploadPlace,
  type UploadRecord,
  type Uploads,
} from './uploads/uploads.ts';
export { releaseOrphans, releaseParts } from './volume-cell/volume-apis.ts';
export { openVolumeCell, type VolumeCell } from './volume-cell/volume-cell.ts';
export {
  checkVolumeName,
  decodeVolume,
  openVolumes,
  type VolumeChange,
  type VolumeRecord,
  type Volumes,
} from './volumes.ts';
