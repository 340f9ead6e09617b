/** The door of `volume`: the objects and files of one namespace. */
export type { Content, ContentSource } from './content-source.ts';
export type { FileStatus, FileTree } from './file-tree.ts';
export type { FileRange, OpenFile } from './files/open-file.ts';
export { OpenFiles, type OpenFilesOptions } from './files/open-files.ts';
export {
  InodeTree,
  type InodeTreeOptions,
  type ListedPage,
  type NamedInode,
  type NamePlace,
  type NewInode,
} from './inode-tree.ts';
export type { InodeStatus, InodeType } from '../meta/index.ts';
export type { MountableVolume } from './mountable-volume.ts';
export { OpenInodes, type OpenInodesOptions } from './open-inodes.ts';
export { type FileTreeOptions, openFileTree } from './open-file-tree.ts';
export type {
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
