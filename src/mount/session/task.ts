/**
 * A request that is being answered, and those that are not answered yet.
 *
 *     begun ──answer───> answered         (session.ts: Session.#answer, #fail)
 *     begun ──give up──> answered         (Tasks.#look: EINTR, or the deadline has passed)
 *
 * 1. Each request is answered once; what the file system says after a task was given up is undone.
 * 2. Giving up aborts the task's signal, and whoever serves it may go on none the less.
 * 3. A caller is told EINTR only when it cannot notice, being killed. A program that merely got a
 *    signal (a timer, a child that ended) does not expect a read or a mkdir to fail; NFS has it the
 *    same way. The kernel tells of any signal; whether it kills only /proc can say.
 * 4. To wait for a lock is ended by any signal, as fcntl(2) says; but the file system is asked to
 *    give up and then answers, for the lock may have been granted at the same time.
 */
import { HoldfastError } from '../../base/index.ts';
import { ERRNO, type Errno } from '../errno.ts';
import type { Caller } from '../file-system.ts';
import type { Request, Slot } from '../protocol/request.ts';

export class Task implements Caller {
  readonly unique: number;
  readonly uid: number;
  readonly gid: number;
  readonly processId: number;
  /** Waits for a lock: see 4; has no deadline. */
  readonly waits: boolean;
  /** Memory of the request, while it is lent to the file system. */
  slot: Slot | undefined;
  isAnswered = false;
  isInterrupted = false;
  deadline = Infinity;
  #abort: AbortController | undefined;

  constructor(request: Request, waits: boolean) {
    this.unique = request.unique;
    this.uid = request.uid;
    this.gid = request.gid;
    this.processId = request.processId;
    this.waits = waits;
  }

  /** Made when it is first asked for: most operations never do. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    return this.#abort.signal;
  }

  abort(reason: HoldfastError): void {
    this.#abort ??= new AbortController();
    this.#abort.abort(reason);
  }
}

export interface Patience {
  /** How long a request may take; Infinity: as long as it likes. */
  readonly deadlineMs: number;
  /** What it is told then. */
  readonly deadlineErrno: Errno;
  /** Whether a thread is being killed. */
  readonly isDying: (processId: number) => boolean;
}

/** What is to be told to the caller of a task that is given up. */
export type Refuse = (task: Task, errno: Errno) => void;

/** The tasks whose answer is a promise. */
export class Tasks {
  readonly #tasks = new Map<number, Task>();
  readonly #patience: Patience;
  readonly #refuse: Refuse;

  constructor(patience: Patience, refuse: Refuse) {
    this.#patience = patience;
    this.#refuse = refuse;
  }

  get count(): number {
    return this.#tasks.size;
  }

  add(task: Task, now: number): void {
    if (!task.waits) task.deadline = now + this.#patience.deadlineMs;
    this.#tasks.set(task.unique, task);
  }

  /** Its promise has settled. */
  remove(task: Task): void {
    this.#tasks.delete(task.unique);
  }

  /** The caller has got a signal. One whose answer is on its way is not found, which is fine. */
  interrupt(unique: number): void {
    const task = this.#tasks.get(unique);
    if (!task) return;
    task.isInterrupted = true;
    if (task.waits) task.abort(new HoldfastError('HF_INTERRUPTED'));
    this.#look(task, -Infinity);
  }

  /**
   * Gives up whoever has to be, by now.
   * @param isDeaf no INTERRUPT can be read: anybody may have got one.
   */
  sweep(now: number, isDeaf = false): void {
    for (const task of this.#tasks.values()) this.#look(task, now, isDeaf);
  }

  #look(task: Task, now: number, isDeaf = false): void {
    if (task.isAnswered) return;
    const mayBeInterrupted = task.isInterrupted || isDeaf;
    if (mayBeInterrupted && this.#patience.isDying(task.processId)) {
      this.#giveUp(task, ERRNO.EINTR, new HoldfastError('HF_INTERRUPTED'));
    } else if (now > task.deadline) {
      this.#giveUp(task, this.#patience.deadlineErrno, new HoldfastError('HF_TIMEOUT'));
    }
  }

  #giveUp(task: Task, errno: Errno, reason: HoldfastError): void {
    this.#refuse(task, errno);
    task.isAnswered = true;
    task.abort(reason);
  }

  /** The mount is gone: nobody waits any more. */
  abandon(): void {
    for (const task of this.#tasks.values()) {
      task.isAnswered = true;
      task.abort(new HoldfastError('HF_CLOSED', 'the mount is gone'));
    }
  }
}
