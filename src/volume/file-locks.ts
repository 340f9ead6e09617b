/**
 * Locks on files of a volume, across nodes, in the session that all its mounts on this node share.
 * Who holds a lock is decided by the cell of the inode (`meta/handles`); here is remembered what
 * owners of this node may hold, so that whoever holds nothing gives nothing up, at no cost.
 *
 * Invariant: what an owner holds in the session is among its ranges here, or is being asked for.
 * What is over with the session is held by nobody; {@link FileLocks.age} tells of it.
 */
import { errorCode, LIMITS } from '../base/index.ts';
import {
  type Handles,
  LOCK_END,
  type LockHolder,
  type LockKind,
  type LockOwner,
  type LockRange,
  type LockRequest,
} from '../meta/index.ts';
import type { OpenInodes } from './open-inodes.ts';

export interface FileLocksOptions {
  readonly handles: Pick<
    Handles,
    'lock' | 'awaitLock' | 'unlock' | 'unlockAll' | 'testLock' | 'cancelLock' | 'renewSession'
  >;
  readonly opens: Pick<OpenInodes, 'inSession' | 'watch' | 'isSure'>;
}

/** `owner`: a number that no other process or open file of this node has. */
export type FileLockOwner = Omit<LockOwner, 'session'>;
export type FileLockRange = FileLockOwner & LockRange;
export type FileLockRequest = Omit<LockRequest, 'session'>;

export interface FileLockHolder extends LockRange {
  readonly kind: LockKind;
  readonly isExclusive: boolean;
  /** `undefined`: on another node, or of a mount that is over. */
  readonly processId: number | undefined;
}

/** `denied`: somebody else has it, or the wait for it was given up. */
export type FileLockAnswer = 'granted' | 'denied' | 'deadlock';

interface Asked {
  readonly ending: AbortController;
  readonly settled: Promise<void>;
}

interface Owned {
  /** What it may hold: apart from each other, of either mode. */
  ranges: readonly LockRange[];
  readonly asked: Set<Asked>;
}

export class FileLocks {
  readonly #handles: FileLocksOptions['handles'];
  readonly #opens: FileLocksOptions['opens'];
  #owned = new Map<string, Owned>();
  #age = 0;
  #mountCount = 0;

  constructor({ handles, opens }: FileLocksOptions) {
    this.#handles = handles;
    this.#opens = opens;
    opens.watch({ sessionOver: () => this.#loseAll() });
  }

  /** Rises when all locks of this node were lost. */
  get age(): number {
    return this.#age;
  }

  #loseAll(): void {
    this.#age += 1;
    this.#owned = new Map();
  }

  /** Whether what is held may be counted on; else {@link makeSure} finds out. */
  get isSure(): boolean {
    return this.#opens.isSure;
  }

  /** Then {@link age} tells whether locks were lost. @throws when nobody can tell. */
  async makeSure(): Promise<void> {
    await this.#opens.inSession(async (session) => await this.#handles.renewSession(session));
  }

  /** One more mount uses the volume, until this is disposed. */
  join(): Disposable {
    this.#mountCount += 1;
    return { [Symbol.dispose]: () => void (this.#mountCount -= 1) };
  }

  /** Whether several mounts of this node use the volume. */
  get isShared(): boolean {
    return this.#mountCount > 1;
  }

  /** Whether the owner may hold something of the inode. */
  holds(owner: FileLockOwner): boolean {
    return this.#owned.has(textOf(owner));
  }

  /**
   * As `Handles.lock`; waits as long as it takes.
   * @param wanted.signal gives up the wait; what had been granted by then is granted.
   */
  async lock(
    request: FileLockRequest,
    wanted: { readonly waits: boolean; readonly signal: AbortSignal },
  ): Promise<FileLockAnswer> {
    const ending = new AbortController();
    const signal = AbortSignal.any([wanted.signal, ending.signal]);
    const { promise: settled, resolve } = Promise.withResolvers<void>();
    const asked: Asked = { ending, settled };
    const owned = this.#ownedBy(request);
    owned.asked.add(asked);
    try {
      const answer = await (wanted.waits ? this.#wait(request, signal) : this.#try(request));
      if (answer === 'granted') this.#add(request);
      return answer;
    } catch (error) {
      this.#add(request); // it may have been granted
      throw error;
    } finally {
      owned.asked.delete(asked);
      this.#forgetIdle(request);
      resolve();
    }
  }

  async #try(request: FileLockRequest): Promise<FileLockAnswer> {
    const { state } = await this.#opens.inSession(
      async (session) => await this.#handles.lock({ ...request, session, waits: false }),
    );
    return state === 'granted' ? 'granted' : 'denied';
  }

  /** A new steward, or another session, knows of no place in line: then it is asked anew. */
  async #wait(request: FileLockRequest, signal: AbortSignal): Promise<FileLockAnswer> {
    while (!signal.aborted) {
      const { state } = await this.#opens.inSession(
        async (session) => await this.#handles.lock({ ...request, session, waits: true }),
      );
      if (state === 'granted') return 'granted';
      let outcome = await this.#stand(request, signal);
      while (outcome === 'waiting' && !signal.aborted) outcome = await this.#stand(request, signal);
      if (outcome === 'granted' || outcome === 'deadlock') return outcome;
    }
    await this.#leave(request);
    return 'denied';
  }

  /** In line, for a while. */
  async #stand(request: FileLockRequest, signal: AbortSignal) {
    const leave = (): void => void this.#leave(request);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await this.#opens.inSession(
        async (session) =>
          await this.#handles.awaitLock({ ...request, session }, LIMITS.handleWaitMsMax),
      );
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** A place that cannot be given up now is gone a little later, for nobody asks about it. */
  async #leave(request: FileLockRequest): Promise<void> {
    try {
      await this.#opens.inSession(
        async (session) => await this.#handles.cancelLock({ ...request, session }),
      );
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
    }
  }

  async unlock(range: FileLockRange): Promise<void> {
    const owned = this.#owned.get(textOf(range));
    if (!owned) return;
    const given = wholeIfFlock(range);
    const before = owned.ranges;
    owned.ranges = without(before, given);
    try {
      await this.#opens.inSession(
        async (session) => await this.#handles.unlock({ ...range, session }),
      );
    } catch (error) {
      for (const each of before) this.#add({ ...range, ...each });
      throw error;
    }
    this.#forgetIdle(range);
  }

  /** Also what the owner is waiting for. */
  async unlockAll(owner: FileLockOwner): Promise<void> {
    const owned = this.#owned.get(textOf(owner));
    if (!owned) return;
    for (const { ending } of owned.asked) ending.abort();
    while (owned.asked.size > 0) await Promise.all(Array.from(owned.asked, (each) => each.settled));
    const before = owned.ranges;
    owned.ranges = [];
    try {
      if (before.length > 0) {
        await this.#opens.inSession(
          async (session) => await this.#handles.unlockAll({ ...owner, session }),
        );
      }
    } catch (error) {
      for (const each of before) this.#add({ ...owner, ...each });
      throw error;
    }
    this.#forgetIdle(owner);
  }

  /** Who keeps the request waiting. */
  async test(request: FileLockRequest): Promise<FileLockHolder | undefined> {
    let own = '';
    const holder = await this.#opens.inSession<LockHolder | undefined>(async (session) => {
      own = session;
      return await this.#handles.testLock({ ...request, session });
    });
    if (!holder) return undefined;
    const { start, end, kind, isExclusive, processId, session } = holder;
    return { start, end, kind, isExclusive, processId: session === own ? processId : undefined };
  }

  #ownedBy(owner: FileLockOwner): Owned {
    const text = textOf(owner);
    const found = this.#owned.get(text) ?? { ranges: [], asked: new Set() };
    this.#owned.set(text, found);
    return found;
  }

  #add(range: FileLockRange): void {
    const owned = this.#ownedBy(range);
    owned.ranges = including(owned.ranges, wholeIfFlock(range));
  }

  #forgetIdle(owner: FileLockOwner): void {
    const text = textOf(owner);
    const owned = this.#owned.get(text);
    if (owned?.ranges.length === 0 && owned.asked.size === 0) this.#owned.delete(text);
  }
}

function textOf({ inode, kind, owner }: FileLockOwner): string {
  return `${kind} ${inode} ${owner}`;
}

/** As the cell has it. */
function wholeIfFlock({ kind, start, end }: FileLockRange): LockRange {
  return kind === 'flock' ? { start: 0n, end: LOCK_END } : { start, end };
}

/** What is left of ranges that are apart. */
function without(ranges: readonly LockRange[], gone: LockRange): LockRange[] {
  return ranges.flatMap(({ start, end }) =>
    [
      { start, end: end < gone.start ? end : gone.start },
      { start: start > gone.end ? start : gone.end, end },
    ].filter((left) => left.start < left.end),
  );
}

/** One more; those that touch become one. */
function including(ranges: readonly LockRange[], added: LockRange): LockRange[] {
  let { start, end } = added;
  const apart = ranges.filter((range) => {
    if (range.end < start || range.start > end) return true;
    if (range.start < start) ({ start } = range);
    if (range.end > end) ({ end } = range);
    return false;
  });
  return [...apart, { start, end }];
}
