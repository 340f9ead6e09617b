/** The door of `meta`: what exists in a volume, which stripes are wanted, which volumes exist. */
export { assertNotAhead } from './catch-up.ts';
export { applyEntry } from './entries.ts';
export type {
  Dirent,
  Extent,
  ExtentPlace,
  Inode,
  InodeRecord,
  InodeType,
  Namespace,
  ObjectCommit,
  Reencoding,
  Release,
  Retention,
} from './namespace.ts';
export { ROOT_INODE } from './namespace.ts';
export { openNamespace } from './namespace-cell.ts';
export type {
  Condemned,
  Holder,
  PendingReference,
  References,
  Session,
  StripeRecord,
  WantedStripe,
} from './references.ts';
export { openReferences } from './references-cell.ts';
export { remoteNamespace, remoteReferences } from './remote-cells.ts';
export {
  serveNamespaces,
  type ServeNamespacesOptions,
  serveReferences,
  type ServeReferencesOptions,
} from './serve-cells.ts';
export type { CellParts } from './steward.ts';
export {
  checkVolumeName,
  decodeVolume,
  openVolumes,
  type VolumeChange,
  type VolumeRecord,
  type Volumes,
} from './volumes.ts';
