/** Locks of files as the kernel asks for them. Source: Linux, fcntl(2) and flock(2). */
import type { Answer, Caller } from './file-system.ts';
import type { FileNumber, InodeNumber } from './inode.ts';

/** `start` ≤ byte < `end`; 2^63 as the end is every byte that may come. */
export interface LockRange {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * `posix`: fcntl(2), of a process or (F_OFD_SETLK, which the kernel does not tell apart) of an open
 * file description. The kernel tells of no end of the latter's locks: who is still among the owners
 * of an open file when that is released was one, for processes have given up theirs by then.
 * `flock`: flock(2), on the whole file. The two kinds never meet.
 */
export interface LockOwner {
  readonly owner: bigint;
  readonly kind: 'posix' | 'flock';
}

export interface LockTest extends LockOwner, LockRange {
  readonly file: FileNumber;
  readonly isExclusive: boolean;
}

export interface LockRequest extends LockOwner, LockRange {
  readonly file: FileNumber;
  readonly mode: 'shared' | 'exclusive' | 'unlocked';
  readonly processId: number;
  /** Answer when it is granted; `signal` is aborted by any signal that the caller gets. */
  readonly waits: boolean;
}

export interface HeldLock extends LockRange {
  readonly isExclusive: boolean;
  /** 0: of another machine. */
  readonly processId: number;
}

/** `denied`: EAGAIN, or with `waits` the wait was given up; `deadlock`: EDEADLK. */
export type LockAnswer = 'granted' | 'denied' | 'deadlock';

/** Locks across mounts. Without it the kernel keeps locks to itself. */
export interface Locks {
  /** Who keeps this one waiting. */
  test(caller: Caller, inode: InodeNumber, request: LockTest): Answer<HeldLock | undefined>;
  lock(caller: Caller, inode: InodeNumber, request: LockRequest): Answer<LockAnswer>;
}
