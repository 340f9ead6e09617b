/** Operations on open files and their content. */
import { assert } from '../../base/index.ts';
import { ErrnoError } from '../errno.ts';
import type { OpenFile, SeekRequest } from '../file-system.ts';
import type { Entry } from '../inode.ts';
import {
  OPEN_KILL_PRIVILEGES,
  OPENED,
  RELEASE_FLOCK_UNLOCK,
  SEEK_WHENCE,
  SYNC_DATA_ONLY,
  WRITE_FLAGS,
} from '../protocol/flags.ts';
import type { Reply } from '../protocol/reply.ts';
import type { Request } from '../protocol/request.ts';
import {
  COPY_FILE_RANGE_IN,
  COPY_OUT_64,
  CREATE_IN,
  FALLOCATE_IN,
  FLUSH_IN,
  FSYNC_IN,
  LSEEK_IN,
  LSEEK_OUT,
  OPEN_IN,
  OPEN_OUT,
  READ_IN,
  RELEASE_IN,
  SYNCFS_IN,
  WRITE_IN,
  WRITE_OUT,
} from '../protocol/structs.ts';
import { operation, umaskOf, type Work } from './operation.ts';

/** The reply to COPY_FILE_RANGE has 32 bits for it. */
const COPIED_BYTES_MAX = 2 ** 30;

const open = operation<OpenFile>({
  struct: OPEN_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.open(caller, request.inode, {
      flags: request.u32(OPEN_IN.flags),
      killsPrivileges: (request.u32(OPEN_IN.openFlags) & OPEN_KILL_PRIVILEGES) !== 0,
    }),
  reply: putOpenFile,
  undo: (opened, work) => releaseUnseen(opened, work.request.inode, work),
});

const create = operation<Entry & OpenFile>({
  struct: CREATE_IN,
  perform: ({ fileSystem, caller, request, agreement }) =>
    fileSystem.create(caller, request.inode, {
      name: request.name(),
      mode: request.u32(CREATE_IN.mode),
      umask: umaskOf(agreement, request.u32(CREATE_IN.umask)),
      flags: request.u32(CREATE_IN.flags),
    }),
  reply: putCreated,
  undo: (created, work) => releaseUnseen(created, created.inode, work),
});

const tmpfile = operation<Entry & OpenFile>({
  struct: CREATE_IN,
  perform: ({ fileSystem, caller, request, agreement }) =>
    fileSystem.createUnnamed(caller, request.inode, {
      mode: request.u32(CREATE_IN.mode),
      umask: umaskOf(agreement, request.u32(CREATE_IN.umask)),
      flags: request.u32(CREATE_IN.flags),
    }),
  reply: putCreated,
  undo: (created, work) => releaseUnseen(created, created.inode, work),
});

function putCreated(reply: Reply, created: Entry & OpenFile): void {
  reply.entry(created);
  putOpenFile(reply, created);
}

function putOpenFile(reply: Reply, opened: OpenFile): void {
  reply.add(OPEN_OUT);
  reply.u64(OPEN_OUT.file, opened.file);
  reply.u32(
    OPEN_OUT.openFlags,
    (opened.keepsCache ? OPENED.keepCache : 0) |
      (opened.isDirect ? OPENED.direct : 0) |
      (opened.allowsParallelWrites ? OPENED.parallelDirectWrites : 0) |
      (opened.skipsFlush ? OPENED.noFlush : 0),
  );
}

/** The kernel never heard of this open, so it will not end it. */
function releaseUnseen(opened: OpenFile, inode: number, { fileSystem, caller }: Work) {
  return fileSystem.release(caller, inode, { file: opened.file, flockOwner: undefined });
}

const read = operation<Uint8Array | readonly Uint8Array[]>({
  struct: READ_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.read(caller, request.inode, {
      file: request.u64(READ_IN.file),
      offset: request.u64(READ_IN.offset),
      lengthBytes: request.u32(READ_IN.lengthBytes),
    }),
  reply(reply, content, { request }) {
    const parts = content instanceof Uint8Array ? [content] : content;
    const totalBytes = parts.reduce((sum, part) => sum + part.length, 0);
    assert(totalBytes <= request.u32(READ_IN.lengthBytes), 'no more is read than was asked for');
    reply.content(parts, totalBytes);
  },
});

const write = operation<void>({
  struct: WRITE_IN,
  perform({ fileSystem, caller, request }) {
    const flags = request.u32(WRITE_IN.writeFlags);
    return fileSystem.write(caller, request.inode, {
      file: request.u64(WRITE_IN.file),
      offset: request.u64(WRITE_IN.offset),
      data: request.data(request.u32(WRITE_IN.lengthBytes)),
      isFromCache: (flags & WRITE_FLAGS.fromCache) !== 0,
      killsPrivileges: (flags & WRITE_FLAGS.killPrivileges) !== 0,
    });
  },
  reply(reply, _, { request }) {
    reply.add(WRITE_OUT);
    reply.u32(WRITE_OUT.lengthBytes, request.u32(WRITE_IN.lengthBytes));
  },
});

const flush = operation<void>({
  struct: FLUSH_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.flush(caller, request.inode, {
      file: request.u64(FLUSH_IN.file),
      owner: request.big64(FLUSH_IN.lockOwner),
    }),
});

const release = operation<void>({
  struct: RELEASE_IN,
  perform({ fileSystem, caller, request }) {
    const unlocks = (request.u32(RELEASE_IN.releaseFlags) & RELEASE_FLOCK_UNLOCK) !== 0;
    return fileSystem.release(caller, request.inode, {
      file: request.u64(RELEASE_IN.file),
      flockOwner: unlocks ? request.big64(RELEASE_IN.lockOwner) : undefined,
    });
  },
});

const fsync = operation<void>({
  struct: FSYNC_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.sync(caller, request.inode, {
      file: request.u64(FSYNC_IN.file),
      dataOnly: (request.u32(FSYNC_IN.flags) & SYNC_DATA_ONLY) !== 0,
    }),
});

const syncfs = operation<void>({
  struct: SYNCFS_IN,
  isOffered: (fileSystem) => fileSystem.syncAll !== undefined,
  perform: ({ fileSystem, caller }) => fileSystem.syncAll?.(caller),
});

const fallocate = operation<void>({
  struct: FALLOCATE_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.allocate(caller, request.inode, {
      file: request.u64(FALLOCATE_IN.file),
      offset: request.u64(FALLOCATE_IN.offset),
      lengthBytes: request.u64(FALLOCATE_IN.lengthBytes),
      flags: request.u32(FALLOCATE_IN.mode),
    }),
});

const lseek = operation<number | undefined>({
  struct: LSEEK_IN,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.seek(caller, request.inode, {
      file: request.u64(LSEEK_IN.file),
      offset: request.u64(LSEEK_IN.offset),
      finds: seekTarget(request),
    }),
  reply(reply, offset) {
    if (offset === undefined) throw new ErrnoError('ENXIO', 'there is none before the end');
    reply.add(LSEEK_OUT);
    reply.u64(LSEEK_OUT.offset, offset);
  },
});

/** The kernel does all other ways to seek by itself. */
function seekTarget(request: Request): SeekRequest['finds'] {
  const whence = request.u32(LSEEK_IN.whence);
  if (whence === SEEK_WHENCE.data) return 'data';
  if (whence === SEEK_WHENCE.hole) return 'hole';
  throw new ErrnoError('EINVAL', 'this way to seek is not known');
}

function copy({ fileSystem, caller, request }: Work, bytesMax: number) {
  const lengthBytes = Number(request.big64(COPY_FILE_RANGE_IN.lengthBytes));
  return fileSystem.copy!(caller, request.inode, {
    file: request.u64(COPY_FILE_RANGE_IN.file),
    offset: request.u64(COPY_FILE_RANGE_IN.offset),
    target: request.u64(COPY_FILE_RANGE_IN.targetInode),
    targetFile: request.u64(COPY_FILE_RANGE_IN.targetFile),
    targetOffset: request.u64(COPY_FILE_RANGE_IN.targetOffset),
    lengthBytes: Math.min(lengthBytes, bytesMax),
  });
}

const copyFileRange = operation<number>({
  struct: COPY_FILE_RANGE_IN,
  isOffered: (fileSystem) => fileSystem.copy !== undefined,
  perform: (work) => copy(work, COPIED_BYTES_MAX),
  reply(reply, copiedBytes) {
    reply.add(WRITE_OUT);
    reply.u32(WRITE_OUT.lengthBytes, copiedBytes);
  },
});

const copyFileRange64 = operation<number>({
  struct: COPY_FILE_RANGE_IN,
  isOffered: (fileSystem) => fileSystem.copy !== undefined,
  perform: (work) => copy(work, Number.MAX_SAFE_INTEGER),
  reply(reply, copiedBytes) {
    reply.add(COPY_OUT_64);
    reply.u64(COPY_OUT_64.lengthBytes, copiedBytes);
  },
});

export const FILE_OPERATIONS = {
  open,
  create,
  tmpfile,
  read,
  write,
  flush,
  release,
  fsync,
  syncfs,
  fallocate,
  lseek,
  copyFileRange,
  copyFileRange64,
};
