/** Operations on attributes, extended attributes and the file system as a whole. */
import { ErrnoError } from '../errno.ts';
import type { AttributeChanges, NewTime } from '../file-system.ts';
import type { KnownAttributes, Statistics } from '../inode.ts';
import { SETATTR_VALID, SETXATTR_KILL_SET_GROUP_ID, XATTR_MODES } from '../protocol/flags.ts';
import type { Reply } from '../protocol/reply.ts';
import type { Request } from '../protocol/request.ts';
import {
  GETATTR_IN,
  GETXATTR_IN,
  GETXATTR_OUT,
  NOTHING,
  SETATTR_IN,
  SETXATTR_IN,
  SETXATTR_IN_SHORT,
  STATFS_OUT,
} from '../protocol/structs.ts';
import { operation, type Work } from './operation.ts';

const getattr = operation<KnownAttributes>({
  struct: GETATTR_IN,
  perform: ({ fileSystem, caller, request }) => fileSystem.getAttributes(caller, request.inode),
  reply: (reply, known) => reply.attributes(known),
});

const setattr = operation<KnownAttributes>({
  struct: SETATTR_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.setAttributes(caller, request.inode, changesIn(request)),
  reply: (reply, known) => reply.attributes(known),
});

function changesIn(request: Request): AttributeChanges {
  const valid = request.u32(SETATTR_IN.valid);
  const has = (bit: number) => (valid & bit) !== 0;
  const accessed = newTime(request, 'accessed', valid);
  const modified = newTime(request, 'modified', valid);
  return {
    killsPrivileges: has(SETATTR_VALID.killPrivileges),
    ...(has(SETATTR_VALID.mode) && { mode: request.u32(SETATTR_IN.mode) }),
    ...(has(SETATTR_VALID.uid) && { uid: request.u32(SETATTR_IN.uid) }),
    ...(has(SETATTR_VALID.gid) && { gid: request.u32(SETATTR_IN.gid) }),
    ...(has(SETATTR_VALID.size) && { sizeBytes: request.u64(SETATTR_IN.sizeBytes) }),
    ...(has(SETATTR_VALID.file) && { file: request.u64(SETATTR_IN.file) }),
    ...(has(SETATTR_VALID.changed) && { changed: timeIn(request, 'changed') }),
    ...(accessed !== undefined && { accessed }),
    ...(modified !== undefined && { modified }),
  };
}

function newTime(
  request: Request,
  which: 'accessed' | 'modified',
  valid: number,
): NewTime | undefined {
  if ((valid & SETATTR_VALID[`${which}Now`]) !== 0) return 'now';
  return (valid & SETATTR_VALID[which]) === 0 ? undefined : timeIn(request, which);
}

function timeIn(request: Request, which: 'accessed' | 'modified' | 'changed') {
  return {
    seconds: request.i64(SETATTR_IN[`${which}Seconds`]),
    nanoseconds: request.u32(SETATTR_IN[`${which}Nanoseconds`]),
  };
}

const getxattr = operation<Uint8Array>({
  struct: GETXATTR_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.getXattr(caller, request.inode, request.text()),
  reply: (reply, value, { request }) => putSized(reply, [value], request),
});

const listxattr = operation<readonly Uint8Array[]>({
  struct: GETXATTR_IN,
  perform: ({ fileSystem, caller, request }) => fileSystem.listXattrs(caller, request.inode),
  reply(reply, names, { request }) {
    const end = new Uint8Array(1);
    putSized(
      reply,
      names.flatMap((name) => [name, end]),
      request,
    );
  },
});

/** Who offers no room at all asks how much is needed. */
function putSized(reply: Reply, parts: readonly Uint8Array[], request: Request): void {
  const room = request.u32(GETXATTR_IN.lengthBytes);
  const needed = parts.reduce((sum, part) => sum + part.length, 0);
  if (room === 0) {
    reply.add(GETXATTR_OUT);
    reply.u32(GETXATTR_OUT.lengthBytes, needed);
  } else if (needed > room) {
    throw new ErrnoError('ERANGE', 'the caller has too little room for it');
  } else {
    for (const part of parts) reply.bytes(part);
  }
}

const setxattr = operation<void>({
  struct: SETXATTR_IN_SHORT,
  perform(work) {
    const { fileSystem, caller, request } = work;
    const struct = setxattrStruct(work);
    request.expect(struct);
    const flags = struct === SETXATTR_IN ? request.u32(SETXATTR_IN.setxattrFlags) : 0;
    const name = request.text();
    return fileSystem.setXattr(caller, request.inode, {
      name,
      value: request.data(request.u32(SETXATTR_IN.lengthBytes)),
      mode: xattrMode(request.u32(SETXATTR_IN.flags)),
      killsSetGroupId: (flags & SETXATTR_KILL_SET_GROUP_ID) !== 0,
    });
  },
});

function setxattrStruct({ agreement }: Work) {
  return agreement.flags.has('extendedSetxattr') ? SETXATTR_IN : SETXATTR_IN_SHORT;
}

function xattrMode(flags: number): 'create' | 'replace' | undefined {
  if (flags === XATTR_MODES.create) return 'create';
  return flags === XATTR_MODES.replace ? 'replace' : undefined;
}

const removexattr = operation<void>({
  struct: NOTHING,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.removeXattr(caller, request.inode, request.text()),
});

const statfs = operation<Statistics>({
  struct: NOTHING,
  perform: ({ fileSystem, caller, request }) => fileSystem.statistics(caller, request.inode),
  reply(reply, statistics) {
    reply.add(STATFS_OUT);
    reply.u64(STATFS_OUT.blockCount, statistics.blockCount);
    reply.u64(STATFS_OUT.freeBlockCount, statistics.freeBlockCount);
    reply.u64(STATFS_OUT.availableBlockCount, statistics.availableBlockCount);
    reply.u64(STATFS_OUT.inodeCount, statistics.inodeCount);
    reply.u64(STATFS_OUT.freeInodeCount, statistics.freeInodeCount);
    reply.u32(STATFS_OUT.blockBytes, statistics.blockBytes);
    reply.u32(STATFS_OUT.fragmentBytes, statistics.blockBytes);
    reply.u32(STATFS_OUT.nameBytesMax, statistics.nameBytesMax);
  },
});

export const ATTRIBUTE_OPERATIONS = {
  getattr,
  setattr,
  getxattr,
  setxattr,
  listxattr,
  removexattr,
  statfs,
};
