/** The door of `volume`: the objects and files of one namespace. */
export type { Content, ContentSource } from './content-source.ts';
export type { FileStatus, FileTree } from './file-tree.ts';
export type { FileRange, OpenFile } from './files/open-file.ts';
export {
  type FileLockAnswer,
  type FileLockHolder,
  type FileLockOwner,
  type FileLockRange,
  type FileLockRequest,
  FileLocks,
  type FileLocksOptions,
} from './file-locks.ts';
export { OpenFiles, type OpenFilesOptions } from './files/open-files.ts';
export {
  InodeTree,
  type InodeTreeOptions,
  type ListedPage,
  type NamedInode,
  type NamePlace,
  type NewInode,
} from './inode-tree.ts';
export type { InodeStatus, InodeType, Removal } from '../meta/index.ts';
export { type MountableOptions, type MountableVolume, openMountable } from './mountable-volume.ts';
export { type Held, HeldTree, type HeldTreeOptions } from './held/held-tree.ts';
export type { HeldFault } from './held/holder.ts';
export { OpenInodes, type OpenInodesOptions } from './open-inodes.ts';
export { type FileTreeOptions, openFileTree } from './open-file-tree.ts';
export type {
  ListedFile,
  ListPage,
  MendReport,
  ObjectContent,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  PutReport,
  ReencodeReport,
  RunOptions,
  StripePlaces,
} from './object-store.ts';
export { openObjects, type ObjectsOptions } from './objects.ts';
export { ensureFits } from './put-object.ts';
export { parseKey } from './keys.ts';
export { type StaleNames, StaleReads } from './stale-reads.ts';
