/**
 * What mounts hold of a volume while they run, as the steward of a cell keeps it.
 *
 * *Session*: one run of a mount (or gateway), known to all cells of the volume. *Lease*: the time
 * for which a session lives without a sign of life; kept in the steward's memory, so that a new
 * steward gives everybody a whole one. *Open*: an inode that a session has open; in memory too, so
 * that it is declared again to a new steward, for which there is a *reclaim window*: until it ends
 * every inode may be open. *Lock*: on a byte range (fcntl) or a file (flock), a row. *Directory
 * lease*: the right to change a directory's entries without asking, a row (ruling 20). *Claim*: a
 * session and the fence of its directory lease, by which its batches are known.
 *
 * Times that a client counts begin when it asks, those of a steward when it answers: a client gives
 * up its rights before any steward takes them. That needs clocks of about the same rate, no more.
 * After RFC 8881 (sessions, reclaim, delegations); POSIX.1-2024 fcntl; Linux fcntl(2), flock(2).
 */
import type { Inode } from '../namespace/namespace.ts';

/** 32 hexadecimal digits, random, chosen by its client; the same in all cells, and in RetryTag. */
export type SessionId = string;

export interface SessionState {
  readonly leaseMs: number;
  /**
   * Changes when the steward's memory began anew: what is open is to be declared again, within one
   * lease, and waits for locks are to be asked again.
   */
  readonly generation: string;
}

export interface SessionRecord {
  readonly session: SessionId;
  /** As its client calls itself: a node id. */
  readonly node: string;
  /** By the steward's clock. */
  readonly openedAtMs: number;
}

/**
 * `posix`: of a process, which loses all of a file when it closes any descriptor of it. `ofd`: of
 * an open file description. These two meet each other. `flock`: of an open file description, on the
 * whole file; it meets only its like.
 */
export type LockKind = 'posix' | 'ofd' | 'flock';

/** Who holds locks: a session, and a number that it gives to the process or the description. */
export interface LockOwner {
  readonly session: SessionId;
  readonly owner: bigint;
  readonly inode: Inode;
  readonly kind: LockKind;
}

/** `start` ≤ byte < `end`; an end of LOCK_END is every byte that may come. */
export interface LockRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** Offsets of files go up to 2^63 − 1. */
export const LOCK_END: bigint = 2n ** 63n;

export interface LockRequest extends LockOwner, LockRange {
  readonly isExclusive: boolean;
  /** What F_GETLK tells others. */
  readonly processId: number;
}

export interface LockHolder extends LockRange {
  readonly session: SessionId;
  readonly kind: LockKind;
  readonly isExclusive: boolean;
  readonly processId: number;
}

export type LockAnswer =
  | { readonly state: 'granted' }
  /** It does not wait: EAGAIN. */
  | { readonly state: 'denied'; readonly by: LockHolder }
  /** It has a place in line: {@link Handles.awaitLock}. */
  | { readonly state: 'waiting' };

export type LockOutcome =
  | 'granted'
  /** Not yet; its place is kept for a while. */
  | 'waiting'
  /** EDEADLK. What the owner holds it keeps. */
  | 'deadlock'
  /** {@link Handles.cancelLock} came first: EINTR. */
  | 'cancelled'
  /** It has no place: {@link Handles.lock} is to be asked again. */
  | 'gone';

export interface LeaseClaim {
  readonly session: SessionId;
  readonly fence: number;
}

/** A directory lease as its holder names it, besides its session. */
export interface HeldLease extends Pick<LeaseClaim, 'fence'> {
  readonly directory: Inode;
}

export interface DirectoryLease extends LeaseClaim, HeldLease {
  /** Numbers of the directory's slot that only the holder uses. */
  readonly firstInode: Inode;
  readonly inodeCount: number;
  /** As the holder asked for it. No quota sets it aside: a step may meet HF_QUOTA. */
  readonly bytesReserved: number;
  readonly rowsReserved: number;
}

/** Errors of all methods with a session: HF_SESSION_OVER, also when it was never opened here. */
export interface Handles {
  /** Begins a session, or goes on with it: a client may ask again. */
  openSession(request: {
    readonly session: SessionId;
    readonly node: string;
  }): Promise<SessionState>;
  /** A sign of life, answered after a barrier: the lease runs on from when this was asked. */
  renewSession(session: SessionId): Promise<SessionState>;
  /** Ends it, with all its locks, opens and leases. Answers also when it is over already. */
  closeSession(session: SessionId): Promise<void>;
  /** All that are not over. */
  sessions(): Promise<readonly SessionRecord[]>;

  /**
   * Says that the session has these inodes open, each counted once; to declare them again is the
   * same. At most LIMITS.listPageMax.
   * @returns those that are gone.
   */
  open(session: SessionId, inodes: readonly Inode[]): Promise<readonly Inode[]>;
  /**
   * The session has them open no more. Not to be asked before `open` has answered, nor the other
   * way round: they are no changes, and may be asked twice.
   */
  close(session: SessionId, inodes: readonly Inode[]): Promise<void>;

  /**
   * Sets a lock: of an fcntl lock the range, in place of what the owner had there; of flock all of
   * it, given up before it waits. Asked again it is granted again.
   *
   * Who waits stands in line: whoever asks later does not pass those it would keep waiting, unless
   * standing behind them would make a circle. A circle of `posix` owners that wait for what the
   * others hold, within this cell, is a deadlock of the one that closes it.
   *
   * @throws HF_TOO_LARGE when an inode has too many locks, HF_UNAVAILABLE when too many wait.
   */
  lock(request: LockRequest & { readonly waits: boolean }): Promise<LockAnswer>;
  /**
   * Waits in line, at most `waitMs` and LIMITS.handleWaitMsMax. Only who is asking is granted, so
   * after an answer that was lost `gone` comes, and `lock` then says that it was.
   */
  awaitLock(request: LockRequest, waitMs: number): Promise<LockOutcome>;
  /** Gives up a range, of flock all. */
  unlock(request: LockOwner & LockRange): Promise<void>;
  /** Gives up all locks of the owner on the inode, and its place in lines: close(2). */
  unlockAll(owner: LockOwner): Promise<void>;
  /** Who keeps this request waiting; the fields of a holder say of what kind it is. */
  testLock(request: LockRequest): Promise<LockHolder | undefined>;
  /** Leaves the line. Who waits in it hears `cancelled`, or that it was granted before. */
  cancelLock(request: LockRequest): Promise<void>;

  /**
   * Asked by its holder it is the same lease again. Somebody else's is recalled by it.
   *
   * @param request.inodeCount how many inode numbers to set aside, at least 1, at most 65,536.
   * @returns `undefined` when somebody else holds it, or was just asked to give it back.
   * @throws HF_NOT_FOUND, HF_NOT_DIRECTORY.
   */
  leaseDirectory(request: {
    readonly session: SessionId;
    readonly directory: Inode;
    readonly inodeCount: number;
    readonly bytesReserved: number;
    readonly rowsReserved: number;
  }): Promise<DirectoryLease | undefined>;
  /**
   * All batches that go by them are in. Answers also for those that had been taken. At most
   * LIMITS.listPageMax.
   */
  returnDirectories(session: SessionId, leases: readonly HeldLease[]): Promise<void>;
  /**
   * Which of its leases a session is to return, or has lost; answers when there is one in a cell,
   * else after `waitMs` (at most LIMITS.handleWaitMsMax). A holder asks all the time, about all
   * that it holds, at most LIMITS.listPageMax; about what it is returning while that takes long, so
   * that it has more time.
   */
  awaitRecalls(
    session: SessionId,
    leases: readonly HeldLease[],
    waitMs: number,
  ): Promise<readonly Inode[]>;
  /**
   * Asks for a directory; answers when nobody holds a lease on it. A holder that does not return it
   * within LIMITS.leaseRecallMs loses it: what it brings later is refused by its fence. Who asks
   * about it meanwhile has that time again, but not more than LIMITS.leaseReturnMsMax in all.
   * @throws HF_LEASED when that takes long: to be asked again.
   */
  recallDirectory(directory: Inode): Promise<void>;
}
