/**
 * Every struct of the protocol that we read or write. Requests begin with IN_HEADER, replies with
 * OUT_HEADER; names follow a request's struct, each ended by a NUL.
 * Source: include/uapi/linux/fuse.h, protocol 7.31 to 7.45 (field order, widths, padding).
 */
import { struct } from './struct.ts';

export const IN_HEADER = struct({
  length: 'u32',
  opcode: 'u32',
  unique: 'u64',
  inode: 'u64',
  uid: 'u32',
  gid: 'u32',
  processId: 'u32',
  extensionLength: 'u16',
  padding: 'u16',
});

export const OUT_HEADER = struct({ length: 'u32', error: 'u32', unique: 'u64' });

// Requests.

export const NOTHING = struct({});

export const INIT_IN = struct({
  major: 'u32',
  minor: 'u32',
  readaheadBytesMax: 'u32',
  flags: 'u32',
});

/** What a kernel that has `extendedInit` appends. */
export const INIT_IN_EXTENDED = struct({
  major: 'u32',
  minor: 'u32',
  readaheadBytesMax: 'u32',
  flags: 'u32',
  flags2: 'u32',
});

export const FORGET_IN = struct({ lookupCount: 'u64' });
export const BATCH_FORGET_IN = struct({ count: 'u32', padding: 'u32' });
export const FORGET_ONE = struct({ inode: 'u64', lookupCount: 'u64' });
export const INTERRUPT_IN = struct({ unique: 'u64' });

export const GETATTR_IN = struct({ flags: 'u32', padding: 'u32', file: 'u64' });

export const SETATTR_IN = struct({
  valid: 'u32',
  padding: 'u32',
  file: 'u64',
  sizeBytes: 'u64',
  lockOwner: 'u64',
  accessedSeconds: 'u64',
  modifiedSeconds: 'u64',
  changedSeconds: 'u64',
  accessedNanoseconds: 'u32',
  modifiedNanoseconds: 'u32',
  changedNanoseconds: 'u32',
  mode: 'u32',
  unused4: 'u32',
  uid: 'u32',
  gid: 'u32',
  unused5: 'u32',
});

export const MKNOD_IN = struct({
  mode: 'u32',
  deviceNumber: 'u32',
  umask: 'u32',
  padding: 'u32',
});
export const MKDIR_IN = struct({ mode: 'u32', umask: 'u32' });
export const RENAME_IN = struct({ newParent: 'u64' });
export const RENAME2_IN = struct({ newParent: 'u64', flags: 'u32', padding: 'u32' });
export const LINK_IN = struct({ inode: 'u64' });

export const OPEN_IN = struct({ flags: 'u32', openFlags: 'u32' });
/** TMPFILE has the same. */
export const CREATE_IN = struct({ flags: 'u32', mode: 'u32', umask: 'u32', openFlags: 'u32' });

export const READ_IN = struct({
  file: 'u64',
  offset: 'u64',
  lengthBytes: 'u32',
  readFlags: 'u32',
  lockOwner: 'u64',
  flags: 'u32',
  padding: 'u32',
});
export const WRITE_IN = struct({
  file: 'u64',
  offset: 'u64',
  lengthBytes: 'u32',
  writeFlags: 'u32',
  lockOwner: 'u64',
  flags: 'u32',
  padding: 'u32',
});
export const FLUSH_IN = struct({ file: 'u64', unused: 'u32', padding: 'u32', lockOwner: 'u64' });
export const RELEASE_IN = struct({
  file: 'u64',
  flags: 'u32',
  releaseFlags: 'u32',
  lockOwner: 'u64',
});
export const FSYNC_IN = struct({ file: 'u64', flags: 'u32', padding: 'u32' });
export const FALLOCATE_IN = struct({
  file: 'u64',
  offset: 'u64',
  lengthBytes: 'u64',
  mode: 'u32',
  padding: 'u32',
});
export const LSEEK_IN = struct({ file: 'u64', offset: 'u64', whence: 'u32', padding: 'u32' });
export const COPY_FILE_RANGE_IN = struct({
  file: 'u64',
  offset: 'u64',
  targetInode: 'u64',
  targetFile: 'u64',
  targetOffset: 'u64',
  lengthBytes: 'u64',
  flags: 'u64',
});
export const SYNCFS_IN = struct({ padding: 'u64' });

/** With `extendedSetxattr`; without it only the first half is sent. */
export const SETXATTR_IN = struct({
  lengthBytes: 'u32',
  flags: 'u32',
  setxattrFlags: 'u32',
  padding: 'u32',
});
export const SETXATTR_IN_SHORT = struct({ lengthBytes: 'u32', flags: 'u32' });
export const GETXATTR_IN = struct({ lengthBytes: 'u32', padding: 'u32' });

/** A lock's last byte is `last`, included. */
export const LOCK_IN = struct({
  file: 'u64',
  owner: 'u64',
  start: 'u64',
  last: 'u64',
  type: 'u32',
  processId: 'u32',
  flags: 'u32',
  padding: 'u32',
});

// Replies.

export const INIT_OUT = struct({
  major: 'u32',
  minor: 'u32',
  readaheadBytesMax: 'u32',
  flags: 'u32',
  backgroundMax: 'u16',
  congestionThreshold: 'u16',
  writeBytesMax: 'u32',
  timeGranularity: 'u32',
  pagesMax: 'u16',
  mapAlignment: 'u16',
  flags2: 'u32',
  stackDepthMax: 'u32',
  requestTimeout: 'u16',
  unused0: 'u16',
  unused1: 'u32',
  unused2: 'u32',
  unused3: 'u32',
  unused4: 'u32',
  unused5: 'u32',
});

export const ATTRIBUTES = struct({
  inode: 'u64',
  sizeBytes: 'u64',
  blockCount: 'u64',
  accessedSeconds: 'u64',
  modifiedSeconds: 'u64',
  changedSeconds: 'u64',
  accessedNanoseconds: 'u32',
  modifiedNanoseconds: 'u32',
  changedNanoseconds: 'u32',
  mode: 'u32',
  linkCount: 'u32',
  uid: 'u32',
  gid: 'u32',
  deviceNumber: 'u32',
  blockBytes: 'u32',
  flags: 'u32',
});

/** Before ATTRIBUTES in replies that carry an entry. */
export const ENTRY_OUT = struct({
  inode: 'u64',
  generation: 'u64',
  entrySeconds: 'u64',
  attributesSeconds: 'u64',
  entryNanoseconds: 'u32',
  attributesNanoseconds: 'u32',
});

/** Before ATTRIBUTES in the replies to GETATTR and SETATTR. */
export const ATTR_OUT = struct({
  attributesSeconds: 'u64',
  attributesNanoseconds: 'u32',
  padding: 'u32',
});

export const OPEN_OUT = struct({ file: 'u64', openFlags: 'u32', backingId: 'u32' });
export const WRITE_OUT = struct({ lengthBytes: 'u32', padding: 'u32' });
export const COPY_OUT_64 = struct({ lengthBytes: 'u64' });
export const LSEEK_OUT = struct({ offset: 'u64' });
export const GETXATTR_OUT = struct({ lengthBytes: 'u32', padding: 'u32' });
export const LOCK_OUT = struct({ start: 'u64', last: 'u64', type: 'u32', processId: 'u32' });

export const STATFS_OUT = struct({
  blockCount: 'u64',
  freeBlockCount: 'u64',
  availableBlockCount: 'u64',
  inodeCount: 'u64',
  freeInodeCount: 'u64',
  blockBytes: 'u32',
  nameBytesMax: 'u32',
  fragmentBytes: 'u32',
  padding: 'u32',
  spare0: 'u32',
  spare1: 'u32',
  spare2: 'u32',
  spare3: 'u32',
  spare4: 'u32',
  spare5: 'u32',
});

/** The name follows; the next one begins at a multiple of 8. READDIRPLUS puts an entry before. */
export const DIRENT = struct({ inode: 'u64', cookie: 'u64', nameBytes: 'u32', type: 'u32' });

// Notices.

export const INVALIDATE_INODE_OUT = struct({ inode: 'u64', offset: 'u64', lengthBytes: 'u64' });
export const INVALIDATE_ENTRY_OUT = struct({ parent: 'u64', nameBytes: 'u32', flags: 'u32' });
export const DELETE_OUT = struct({
  parent: 'u64',
  inode: 'u64',
  nameBytes: 'u32',
  padding: 'u32',
});
export const STORE_OUT = struct({
  inode: 'u64',
  offset: 'u64',
  lengthBytes: 'u32',
  padding: 'u32',
});
