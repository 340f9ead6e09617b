/** Operations on locks, for file systems that keep them across mounts. */
import { ErrnoError } from '../errno.ts';
import type { HeldLock, LockAnswer, LockRange, LockRequest } from '../locks.ts';
import { LOCK_IS_FLOCK, LOCK_TYPES } from '../protocol/flags.ts';
import type { Request } from '../protocol/request.ts';
import { LOCK_IN, LOCK_OUT } from '../protocol/structs.ts';
import { operation } from './operation.ts';

const getlk = operation<HeldLock | undefined>({
  struct: LOCK_IN,
  isOffered: ({ locks }) => locks !== undefined,
  perform: ({ fileSystem, caller, request }) =>
    fileSystem.locks!.test(caller, request.inode, {
      ...ownerAndRange(request),
      isExclusive: modeIn(request) === 'exclusive',
    }),
  reply(reply, held) {
    reply.add(LOCK_OUT);
    reply.u32(LOCK_OUT.type, LOCK_TYPES.unlocked);
    if (!held) return;
    reply.u32(LOCK_OUT.type, held.isExclusive ? LOCK_TYPES.exclusive : LOCK_TYPES.shared);
    reply.big64(LOCK_OUT.start, held.start);
    reply.big64(LOCK_OUT.last, held.end - 1n);
    reply.u32(LOCK_OUT.processId, held.processId);
  },
});

function locking(waits: boolean) {
  return operation<LockAnswer>({
    struct: LOCK_IN,
    waits,
    isOffered: ({ locks }) => locks !== undefined,
    perform: ({ fileSystem, caller, request }) =>
      fileSystem.locks!.lock(caller, request.inode, {
        ...ownerAndRange(request),
        mode: modeIn(request),
        processId: request.u32(LOCK_IN.processId),
        waits,
      }),
    reply(_, answer) {
      if (answer === 'deadlock') throw new ErrnoError('EDEADLK', 'it would wait for ever');
      if (answer === 'granted') return;
      throw new ErrnoError(waits ? 'EINTR' : 'EAGAIN', 'somebody else has it');
    },
  });
}

function ownerAndRange(request: Request) {
  const isFlock = (request.u32(LOCK_IN.flags) & LOCK_IS_FLOCK) !== 0;
  const range: LockRange = {
    start: request.big64(LOCK_IN.start),
    end: request.big64(LOCK_IN.last) + 1n,
  };
  const owner = request.big64(LOCK_IN.owner);
  const kind = isFlock ? ('flock' as const) : ('posix' as const);
  return { file: request.u64(LOCK_IN.file), owner, kind, ...range };
}

function modeIn(request: Request): LockRequest['mode'] {
  const type = request.u32(LOCK_IN.type);
  if (type === LOCK_TYPES.shared) return 'shared';
  if (type === LOCK_TYPES.exclusive) return 'exclusive';
  if (type === LOCK_TYPES.unlocked) return 'unlocked';
  throw new ErrnoError('EINVAL', 'this kind of lock is not known');
}

export const LOCK_OPERATIONS = {
  getlk,
  setlk: locking(false),
  setlkw: locking(true),
};
