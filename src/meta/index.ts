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
export { endLease, grantLease, leaseToRecall } from './handles/lease-ops.ts';
export { leasedDirectory } from './handles/lease-rows.ts';
export { openSession } from './handles/session-ops.ts';
export {
  type DirectoryLease,
  type Handles,
  type HeldLease,
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
  InlineContent,
  Inode,
  InodeRecord,
  InodeType,
  KeptXattrs,
  Namespace,
  Nearness,
  ObjectCommit,
  RecordOptions,
  Reencoding,
  Release,
  Retention,
} from './namespace/namespace.ts';
export { slotOfInode } from './namespace/namespace-rows.ts';
export { ROOT_INODE } from './namespace/namespace.ts';
export { makeRoot } from './namespace/namespace-ops.ts';
export { circumstancesOf, namespaceOf, openNamespace } from './namespace/namespace-cell.ts';
export { type Circumstances, type NamespaceFault, slotNear } from './namespace/inode-ops.ts';
export type {
  AttributeChanges,
  BatchAnswer,
  CommittedContent,
  ContentCommit,
  ContentRange,
  InodeStatus,
  LooseStripes,
  NodeRequest,
  Place,
  Quota,
  QuotaUsage,
  Removal,
  StepResult,
  Tree,
  TreeBatch,
  TreeDirectoryRequest,
  TreeEntry,
  TreeStep,
} from './namespace/tree.ts';
export { EMPTY_DIRECTORY_LINKS, msOf, newPosix, nsOf } from './namespace/posix-part.ts';
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
export { remoteReferences, remoteVolume } from './remote/remote-cells.ts';
export {
  serveReferences,
  type ServeReferencesOptions,
  serveVolumes,
  type ServeVolumesOptions,
} from './remote/serve-cells.ts';
export { mendNames } from './recovery/mend-names.ts';
export { mendReferences, type MendOptions } from './recovery/mend-references.ts';
export {
  type LoadedCell,
  loadFromLog,
  loadWhole,
  RecoveredSpace,
} from './recovery/recovered-space.ts';
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
export { DOOR_NAMES, type VolumeDoors } from './volume-cell/volume-tables.ts';
export {
  checkVolumeName,
  decodeVolume,
  openVolumes,
  type VolumeChange,
  type VolumeRecord,
  type Volumes,
} from './volumes.ts';
