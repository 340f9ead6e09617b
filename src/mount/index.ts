/** The door of `mount`: a file system served to the Linux kernel (FUSE), from TypeScript alone. */
export type {
  Allocation,
  Answer,
  AttributeChanges,
  Caller,
  CopyRequest,
  FileSystem,
  ListRequest,
  NewFile,
  NewNode,
  NewTime,
  NewXattr,
  OpenDirectory,
  OpenFile,
  OpenRequest,
  ReadRequest,
  Release,
  Rename,
  SeekRequest,
  WriteRequest,
} from './file-system.ts';
export type {
  Attributes,
  DirectoryEntry,
  Entry,
  FileNumber,
  InodeNumber,
  KnownAttributes,
  NoEntry,
  Statistics,
  Timestamp,
} from './inode.ts';
export type { Kernel } from './kernel.ts';
export type {
  HeldLock,
  LockAnswer,
  LockOwner,
  LockRange,
  LockRequest,
  Locks,
  LockTest,
} from './locks.ts';
export { ROOT_INODE_NUMBER } from './inode.ts';
export type { MountOptions } from './mounting/mount-options.ts';
export { ourMountOver, placeOf } from './mounting/mount-info.ts';
export type { FileSystemModule, OpenedFileSystem } from './mounting/mount-order.ts';
export { type MountUser, usersOf } from './mounting/mount-users.ts';
export {
  type Mount,
  openMount,
  type OpenMountOptions,
  type UnmountOptions,
} from './mounting/open-mount.ts';
export { type PumpedMountOptions, openPumpedMount } from './pump/open-pumped-mount.ts';
export { VolumeFileSystem } from './volume/volume-file-system.ts';
export { cleanStaleMounts } from './mounting/stale-mounts.ts';
export { type ServeBehaviour, serveMount, type ServeOptions, type Serving } from './serve-mount.ts';

// For those who play the kernel, in tests.
export { OPCODES, type OpcodeName } from './protocol/opcodes.ts';
export { IN_HEADER, INIT_IN_EXTENDED, OUT_HEADER } from './protocol/structs.ts';
export type { FuseDevice } from './session/device.ts';
export { Session, type SessionParts } from './session/session.ts';
