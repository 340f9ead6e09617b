/** Operations that look up, make, move and remove names. */
import { constants } from 'node:fs';
import { ErrnoError } from '../errno.ts';
import type { Rename } from '../file-system.ts';
import type { Entry, NoEntry } from '../inode.ts';
import { RENAME_FLAGS } from '../protocol/flags.ts';
import type { Request } from '../protocol/request.ts';
import {
  LINK_IN,
  MKDIR_IN,
  MKNOD_IN,
  NOTHING,
  RENAME2_IN,
  RENAME_IN,
} from '../protocol/structs.ts';
import { operation, umaskOf } from './operation.ts';

const lookup = operation<Entry | NoEntry>({
  struct: NOTHING,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.lookup(caller, request.inode, request.name()),
  reply(reply, entry) {
    if (entry.inode === undefined && entry.entryMs === 0) {
      throw new ErrnoError('ENOENT', 'nothing has this name');
    }
    reply.entry(entry);
  },
});

const mknod = operation<Entry>({
  struct: MKNOD_IN,
  perform: ({ fileSystem, caller, request, agreement }) =>
    fileSystem.makeNode(caller, request.inode, {
      name: request.name(),
      mode: request.u32(MKNOD_IN.mode),
      umask: umaskOf(agreement, request.u32(MKNOD_IN.umask)),
      deviceNumber: request.u32(MKNOD_IN.deviceNumber),
    }),
  reply: (reply, entry) => reply.entry(entry),
});

const mkdir = operation<Entry>({
  struct: MKDIR_IN,
  perform: ({ fileSystem, caller, request, agreement }) =>
    fileSystem.makeDirectory(caller, request.inode, {
      name: request.name(),
      mode: request.u32(MKDIR_IN.mode) | constants.S_IFDIR,
      umask: umaskOf(agreement, request.u32(MKDIR_IN.umask)),
    }),
  reply: (reply, entry) => reply.entry(entry),
});

const symlink = operation<Entry>({
  struct: NOTHING,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.makeSymlink(caller, request.inode, { name: request.name(), target: request.text() }),
  reply: (reply, entry) => reply.entry(entry),
});

const readlink = operation<Uint8Array>({
  struct: NOTHING,
  perform: ({ fileSystem, caller, request }) => fileSystem.readSymlink(caller, request.inode),
  reply: (reply, target) => reply.bytes(target),
});

const link = operation<Entry>({
  struct: LINK_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.link(caller, request.u64(LINK_IN.inode), {
      parent: request.inode,
      name: request.name(),
    }),
  reply: (reply, entry) => reply.entry(entry),
});

const unlink = operation<void>({
  struct: NOTHING,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.unlink(caller, request.inode, request.name()),
});

const rmdir = operation<void>({
  struct: NOTHING,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.removeDirectory(caller, request.inode, request.name()),
});

const rename = operation<void>({
  struct: RENAME_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.rename(caller, request.inode, {
      newParent: request.u64(RENAME_IN.newParent),
      name: request.name(),
      newName: request.name(),
      flag: undefined,
    }),
});

const rename2 = operation<void>({
  struct: RENAME2_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.rename(caller, request.inode, {
      newParent: request.u64(RENAME2_IN.newParent),
      name: request.name(),
      newName: request.name(),
      flag: renameFlag(request),
    }),
});

function renameFlag(request: Request): Rename['flag'] {
  switch (request.u32(RENAME2_IN.flags)) {
    case 0:
      return undefined;
    case RENAME_FLAGS.noReplace:
      return 'noReplace';
    case RENAME_FLAGS.exchange:
      return 'exchange';
    default:
      throw new ErrnoError('EINVAL', 'this way to rename is not known');
  }
}

export const NAME_OPERATIONS = {
  lookup,
  mknod,
  mkdir,
  symlink,
  readlink,
  link,
  unlink,
  rmdir,
  rename,
  rename2,
};
