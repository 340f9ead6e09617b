/**
 * What the kernel asks for, by number. Those that no kernel sends us (CUSE, DAX, ioctl, poll, …)
 * are left out: an unknown number is answered by ENOSYS, after which the kernel does not ask again.
 * Source: enum fuse_opcode and fuse_notify_code of include/uapi/linux/fuse.h, protocol 7.45.
 */

export const OPCODES = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  getlk: 31,
  setlk: 32,
  setlkw: 33,
  create: 35,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  fallocate: 43,
  readdirplus: 44,
  rename2: 45,
  lseek: 46,
  copyFileRange: 47,
  syncfs: 50,
  tmpfile: 51,
  copyFileRange64: 53,
} as const;

export type OpcodeName = keyof typeof OPCODES;

/** Numbers above all of {@link OPCODES}. */
export const OPCODE_LIMIT = 64;

/** What we tell the kernel unasked; sent in the place of an error, with unique 0. */
export const NOTICE_CODES = {
  invalidateInode: 2,
  invalidateEntry: 3,
  store: 4,
  delete: 6,
} as const;
