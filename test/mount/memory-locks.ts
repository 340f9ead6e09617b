/** Locks in memory: one list for each inode, and who waits, in the order of asking. */
import type {
  Caller,
  HeldLock,
  LockAnswer,
  LockOwner,
  LockRange,
  LockRequest,
  Locks,
  LockTest,
} from '../../src/mount/index.ts';

interface Held extends HeldLock, LockOwner {}

interface Waiting {
  readonly request: LockRequest;
  readonly grant: () => void;
}

export class MemoryLocks implements Locks {
  readonly #held = new Map<number, Held[]>();
  readonly #waiting = new Map<number, Waiting[]>();

  test(_: Caller, inode: number, request: LockTest): HeldLock | undefined {
    return this.#inTheWay(inode, request);
  }

  lock(caller: Caller, inode: number, request: LockRequest): LockAnswer | Promise<LockAnswer> {
    const isExclusive = request.mode === 'exclusive';
    if (request.mode === 'unlocked') this.#giveUp(inode, request);
    else if (!this.#inTheWay(inode, { ...request, isExclusive })) this.#take(inode, request);
    else return request.waits ? this.#wait(caller, inode, request) : 'denied';
    return 'granted';
  }

  /** All locks of an owner. */
  release(inode: number, owner: LockOwner): void {
    if (this.#held.has(inode)) this.#giveUp(inode, { ...owner, start: 0n, end: 2n ** 63n });
  }

  #inTheWay(inode: number, wanted: LockTest): Held | undefined {
    return this.#held
      .get(inode)
      ?.find(
        (held) =>
          held.kind === wanted.kind &&
          held.owner !== wanted.owner &&
          overlaps(held, wanted) &&
          (held.isExclusive || wanted.isExclusive),
      );
  }

  #take(inode: number, request: LockRequest): void {
    const { owner, kind, start, end, processId } = request;
    const isExclusive = request.mode === 'exclusive';
    const others = this.#without(inode, request);
    this.#held.set(inode, [...others, { owner, kind, start, end, processId, isExclusive }]);
  }

  #giveUp(inode: number, given: LockOwner & LockRange): void {
    const rest = this.#without(inode, given);
    if (rest.length > 0) this.#held.set(inode, rest);
    else this.#held.delete(inode);
    this.#wakeAll(inode);
  }

  /** What is left when the owner has nothing in this range. */
  #without(inode: number, range: LockOwner & LockRange): Held[] {
    const held = this.#held.get(inode) ?? [];
    return held.flatMap((lock) => {
      if (lock.kind !== range.kind || lock.owner !== range.owner) return [lock];
      const before = { ...lock, end: min(lock.end, range.start) };
      const after = { ...lock, start: max(lock.start, range.end) };
      return [before, after].filter(({ start, end }) => start < end);
    });
  }

  async #wait({ signal }: Caller, inode: number, request: LockRequest): Promise<LockAnswer> {
    const { promise, resolve } = Promise.withResolvers<LockAnswer>();
    const waiting = { request, grant: () => resolve('granted') };
    signal.addEventListener('abort', () => resolve('denied'));
    this.#waiting.set(inode, [...(this.#waiting.get(inode) ?? []), waiting]);
    const answer = await promise;
    const others = this.#waiting.get(inode)?.filter((other) => other !== waiting) ?? [];
    this.#waiting.set(inode, others);
    return answer;
  }

  #wakeAll(inode: number): void {
    for (const { request, grant } of this.#waiting.get(inode) ?? []) {
      const isExclusive = request.mode === 'exclusive';
      if (this.#inTheWay(inode, { ...request, isExclusive })) continue;
      this.#take(inode, request);
      grant();
    }
  }
}

function overlaps(a: LockRange, b: LockRange): boolean {
  return a.start < b.end && b.start < a.end;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
