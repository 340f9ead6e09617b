/**
 * Bits of the protocol. Source: include/uapi/linux/fuse.h, protocol 7.45; open flags and modes are
 * those of Linux on this machine.
 */

/** Bits of INIT by position; from 32 on they travel in `flags2`. */
export const INIT_FLAGS = {
  asyncRead: 0,
  posixLocks: 1,
  atomicTruncate: 3,
  bigWrites: 5,
  dontMask: 6,
  flockLocks: 10,
  readdirplus: 13,
  readdirplusAuto: 14,
  asyncDirectIo: 15,
  writebackCache: 16,
  parallelDirectories: 18,
  posixAcl: 20,
  maxPages: 22,
  cacheSymlinks: 23,
  explicitInvalidation: 25,
  killPrivileges: 28,
  extendedSetxattr: 29,
  extendedInit: 30,
  expireOnly: 35,
} as const;

export type InitFlag = keyof typeof INIT_FLAGS;

/** Which fields of SETATTR count. */
export const SETATTR_VALID = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  accessed: 1 << 4,
  modified: 1 << 5,
  file: 1 << 6,
  accessedNow: 1 << 7,
  modifiedNow: 1 << 8,
  changed: 1 << 10,
  killPrivileges: 1 << 11,
} as const;

/** In the reply to OPEN, CREATE and OPENDIR. */
export const OPENED = {
  direct: 1 << 0,
  keepCache: 1 << 1,
  cacheListing: 1 << 3,
  noFlush: 1 << 5,
  parallelDirectWrites: 1 << 6,
} as const;

/** In OPEN and CREATE. */
export const OPEN_KILL_PRIVILEGES: number = 1 << 0;

export const WRITE_FLAGS = { fromCache: 1 << 0, killPrivileges: 1 << 2 } as const;

export const RELEASE_FLOCK_UNLOCK: number = 1 << 1;

export const SYNC_DATA_ONLY: number = 1 << 0;

export const LOCK_IS_FLOCK: number = 1 << 0;

/** fcntl(2) F_RDLCK, F_WRLCK, F_UNLCK of Linux. */
export const LOCK_TYPES = { shared: 0, exclusive: 1, unlocked: 2 } as const;

/** setxattr(2). */
export const XATTR_MODES = { create: 1, replace: 2 } as const;

/** In SETXATTR of an access control list: the set-group-id bit goes. */
export const SETXATTR_KILL_SET_GROUP_ID: number = 1 << 0;

/** renameat2(2). */
export const RENAME_FLAGS = { noReplace: 1, exchange: 2 } as const;

/** lseek(2). */
export const SEEK_WHENCE = { data: 3, hole: 4 } as const;

/** In NOTIFY_INVAL_ENTRY: look it up again, but keep what is mounted or open below. */
export const EXPIRE_ONLY: number = 1 << 0;
