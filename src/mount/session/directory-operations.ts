/** Operations on open directories. */
import type { OpenDirectory } from '../file-system.ts';
import type { DirectoryEntry } from '../inode.ts';
import { DirectoryWriter } from '../protocol/directory-writer.ts';
import { OPENED, SYNC_DATA_ONLY } from '../protocol/flags.ts';
import { FSYNC_IN, OPEN_IN, OPEN_OUT, READ_IN, RELEASE_IN } from '../protocol/structs.ts';
import { operation } from './operation.ts';

const opendir = operation<OpenDirectory>({
  struct: OPEN_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.openDirectory(caller, request.inode, request.u32(OPEN_IN.flags)),
  reply(reply, opened) {
    reply.add(OPEN_OUT);
    reply.u64(OPEN_OUT.file, opened.file);
    reply.u32(
      OPEN_OUT.openFlags,
      (opened.cachesListing ? OPENED.cacheListing : 0) | (opened.keepsCache ? OPENED.keepCache : 0),
    );
  },
  undo: ({ file }, { fileSystem, caller, request }) =>
    fileSystem.releaseDirectory(caller, request.inode, file),
});

function listing(withEntries: boolean) {
  return operation<Iterable<DirectoryEntry>>({
    struct: READ_IN,
    perform: ({ fileSystem, caller, request }) =>
      fileSystem.list(caller, request.inode, {
        file: request.u64(READ_IN.file),
        cookie: request.u64(READ_IN.offset),
        withEntries,
      }),
    reply(reply, entries, { request }) {
      const room = { bytes: request.u32(READ_IN.lengthBytes), withEntries };
      const writer = new DirectoryWriter(reply, room);
      for (const entry of entries) if (!writer.add(entry)) break;
    },
  });
}

const releasedir = operation<void>({
  struct: RELEASE_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.releaseDirectory(caller, request.inode, request.u64(RELEASE_IN.file)),
});

const fsyncdir = operation<void>({
  struct: FSYNC_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.syncDirectory(caller, request.inode, {
      file: request.u64(FSYNC_IN.file),
      dataOnly: (request.u32(FSYNC_IN.flags) & SYNC_DATA_ONLY) !== 0,
    }),
});

export const DIRECTORY_OPERATIONS = {
  opendir,
  readdir: listing(false),
  readdirplus: listing(true),
  releasedir,
  fsyncdir,
};
