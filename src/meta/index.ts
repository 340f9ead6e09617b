/** The door of `meta`: what exists in a volume, which stripes are wanted, which volumes exist. */
export { assertNotAhead } from './cells/catch-up.ts';
export { applyEntry } from './cells/entries.ts';
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
} from './namespace/namespace.ts';
export { ROOT_INODE } from './namespace/namespace.ts';
export { openNamespace } from './namespace/namespace-cell.ts';
export type {
  Condemned,
  Holder,
  PendingReference,
  References,
  Session,
  StripeRecord,
  WantedStripe,
} from './references/references.ts';
export { openReferences } from './references/references-cell.ts';
export { remoteNamespace, remoteReferences } from './remote/remote-cells.ts';
export {
  serveNamespaces,
  type ServeNamespacesOptions,
  serveReferences,
  type ServeReferencesOptions,
} from './remote/serve-cells.ts';
export type { CellParts } from './cells/steward.ts';
export {
  checkVolumeName,
  decodeVolume,
  openVolumes,
  type VolumeChange,
  type VolumeRecord,
  type Volumes,
} from './volumes.ts';
