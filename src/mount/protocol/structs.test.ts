/**
 * Aim: every struct lies in memory as the kernel has it. Method: sizes and offsets that a C
 * compiler printed (sizeof, offsetof) for linux/fuse.h 7.38 on x86-64, in the order of the fields.
 */
import { expect, it } from 'vitest';
import * as structs from './structs.ts';

/** Size, then the offset of each field. */
const COMPILED: Readonly<Record<string, readonly number[]>> = {
  IN_HEADER: [40, 0, 4, 8, 16, 24, 28, 32, 36, 38],
  OUT_HEADER: [16, 0, 4, 8],
  FORGET_IN: [8, 0],
  BATCH_FORGET_IN: [8, 0, 4],
  FORGET_ONE: [16, 0, 8],
  INTERRUPT_IN: [8, 0],
  GETATTR_IN: [16, 0, 4, 8],
  SETATTR_IN: [88, 0, 4, 8, 16, 24, 32, 40, 48, 56, 60, 64, 68, 72, 76, 80, 84],
  MKNOD_IN: [16, 0, 4, 8, 12],
  MKDIR_IN: [8, 0, 4],
  RENAME_IN: [8, 0],
  RENAME2_IN: [16, 0, 8, 12],
  LINK_IN: [8, 0],
  OPEN_IN: [8, 0, 4],
  CREATE_IN: [16, 0, 4, 8, 12],
  READ_IN: [40, 0, 8, 16, 20, 24, 32, 36],
  WRITE_IN: [40, 0, 8, 16, 20, 24, 32, 36],
  FLUSH_IN: [24, 0, 8, 12, 16],
  RELEASE_IN: [24, 0, 8, 12, 16],
  FSYNC_IN: [16, 0, 8, 12],
  FALLOCATE_IN: [32, 0, 8, 16, 24, 28],
  LSEEK_IN: [24, 0, 8, 16, 20],
  COPY_FILE_RANGE_IN: [56, 0, 8, 16, 24, 32, 40, 48],
  SYNCFS_IN: [8, 0],
  SETXATTR_IN: [16, 0, 4, 8, 12],
  GETXATTR_IN: [8, 0, 4],
  LOCK_IN: [48, 0, 8, 16, 24, 32, 36, 40, 44],
  ATTRIBUTES: [88, 0, 8, 16, 24, 32, 40, 48, 52, 56, 60, 64, 68, 72, 76, 80, 84],
  OPEN_OUT: [16, 0, 8, 12],
  WRITE_OUT: [8, 0, 4],
  LSEEK_OUT: [8, 0],
  GETXATTR_OUT: [8, 0, 4],
  LOCK_OUT: [24, 0, 8, 16, 20],
  DIRENT: [24, 0, 8, 16, 20],
  INVALIDATE_INODE_OUT: [24, 0, 8, 16],
  INVALIDATE_ENTRY_OUT: [16, 0, 8, 12],
  DELETE_OUT: [24, 0, 8, 16, 20],
  STORE_OUT: [24, 0, 8, 16, 20],
};

const BY_NAME = new Map(Object.entries(structs));

it.each(Object.entries(COMPILED))('%s', (name, [bytes, ...offsets]) => {
  const { bytes: ours, ...fields } = BY_NAME.get(name)!;
  expect(ours).toBe(bytes);
  expect(Object.values(fields)).toEqual(offsets);
});

it('the structs that C nests or ends with spare room', () => {
  expect(structs.ENTRY_OUT.bytes).toBe(40);
  expect(structs.ENTRY_OUT.entryNanoseconds).toBe(32);
  expect(structs.ENTRY_OUT.bytes + structs.ATTRIBUTES.bytes).toBe(128);
  expect(structs.ATTR_OUT.bytes + structs.ATTRIBUTES.bytes).toBe(104);
  expect(structs.INIT_OUT).toMatchObject({
    bytes: 64,
    timeGranularity: 24,
    pagesMax: 28,
    flags2: 32,
  });
  expect(structs.INIT_IN_EXTENDED.flags2).toBe(16);
  expect(structs.STATFS_OUT).toMatchObject({ bytes: 80, blockBytes: 40, fragmentBytes: 48 });
  expect(structs.SETXATTR_IN_SHORT.bytes).toBe(8);
});
