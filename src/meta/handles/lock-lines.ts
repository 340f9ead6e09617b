/**
 * Who waits for locks: one *line* for each inode, in the memory of a steward. Granted is what is in
 * the rows; a line only says who is tried next, and in which order.
 *
 *   place ─→ idle ─ wait ─→ waiting ─ settle ─→ granted | deadlock | failed
 *            │  ←─ nobody asks ─┘
 *            └─ dropIdle ─→ gone                     cancel, forget ─→ gone
 *
 * Invariants:
 * 1. Lines change only here and between awaits, each settled by one call at a time; an operation
 *    decides from rows and line, and what it decided happens to the line when it is durable.
 * 2. Granted is only what somebody is asking for at that moment.
 * 3. A waiter is *held* by owners of locks in its way, and *behind* earlier waiters in its way. A
 *    circle of held `posix` owners is a deadlock. A circle with a waiter that is only behind is our
 *    own making: that one passes.
 */
import { HoldfastError, KeyedLock, LIMITS, UnderWay, utf8 } from '../../base/index.ts';
import { type Clock, within } from '../../env/index.ts';
import type { Executor } from '../cells/executor.ts';
import type { Overlay } from '../cells/overlay.ts';
import type { Inode } from '../namespace/namespace.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import type { LockOutcome, LockOwner, LockRequest, SessionId } from './handles.ts';
import { conflictsOf, hasRoom, isConflict, isSameOwner, locksOf, setLock } from './lock-ops.ts';
import { isLive } from './session-ops.ts';

interface Waiter {
  readonly request: LockRequest;
  /** Those who ask for it now. */
  readonly calls: Set<PromiseWithResolvers<LockOutcome>>;
  idleSinceMs: number;
  /** Owners, as {@link ownerText}. */
  heldBy: readonly string[];
  behind: readonly string[];
  mayPass: boolean;
}

type Decision =
  | { readonly state: 'granted' }
  | { readonly state: 'blocked'; readonly heldBy: string[]; readonly behind: string[] }
  | { readonly state: 'failed'; readonly error: HoldfastError };

export class LockLines {
  readonly #parts: { readonly clock: Clock; readonly executor: Executor };
  readonly #lines = new Map<Inode, Waiter[]>();
  readonly #settling = new KeyedLock();
  /** Lines for which a call of settle is going to look at all that is so now. */
  readonly #isDue = new Set<Inode>();
  readonly #underWay = new UnderWay();
  #count = 0;

  constructor(parts: { readonly clock: Clock; readonly executor: Executor }) {
    this.#parts = parts;
  }

  /** Whether the request has to stand behind somebody. */
  mustQueue(request: LockRequest): boolean {
    return this.#lines.get(request.inode)?.some((w) => isConflict(w.request, request)) ?? false;
  }

  /** Takes a place at the end of the line, or keeps the one that it has. @throws HF_UNAVAILABLE. */
  place(request: LockRequest): void {
    const line = this.#lines.get(request.inode) ?? [];
    const idleSinceMs = this.#parts.clock.monotonic();
    const present = line.find((waiter) => isSameRequest(waiter.request, request));
    if (present) {
      present.idleSinceMs = idleSinceMs;
      return;
    }
    if (this.#count === LIMITS.lockWaitersMax) {
      throw new HoldfastError('HF_UNAVAILABLE', `${this.#count} requests wait for locks`);
    }
    const calls: Waiter['calls'] = new Set();
    const waiter = { request, calls, idleSinceMs, heldBy: [], behind: [], mayPass: false };
    this.#lines.set(request.inode, [...line, waiter]);
    this.#count += 1;
  }

  /** Stands in its place until it is granted or refused, or `waitMs` are over. */
  async wait(request: LockRequest, waitMs: number): Promise<LockOutcome> {
    const waiter = this.#lines.get(request.inode)?.find((w) => isSameRequest(w.request, request));
    if (!waiter) return 'gone';
    const call = Promise.withResolvers<LockOutcome>();
    waiter.calls.add(call);
    this.settleSoon(request.inode);
    const { clock } = this.#parts;
    const outcome = await within(clock, call.promise, waitMs);
    if (outcome) return outcome;
    // What is being decided now may be in its favour: then somebody has to hear of it.
    using _held = await this.#settling.acquire(utf8(`${request.inode}`));
    if (!this.#isInLine(waiter)) return await call.promise;
    waiter.calls.delete(call);
    waiter.idleSinceMs = clock.monotonic();
    return 'waiting';
  }

  /** Something has changed about the locks of an inode: whose turn is it? */
  settleSoon(inode: Inode): void {
    if (this.#isDue.has(inode) || !this.#lines.has(inode)) return;
    this.#isDue.add(inode);
    void this.#underWay.run(async () => {
      using _held = await this.#settling.acquire(utf8(`${inode}`));
      this.#isDue.delete(inode);
      await this.#settle(inode);
    });
  }

  /** Takes a request out of its line, unless it was granted first. */
  async cancel(request: LockRequest): Promise<void> {
    using _held = await this.#settling.acquire(utf8(`${request.inode}`));
    const waiter = this.#lines.get(request.inode)?.find((w) => isSameRequest(w.request, request));
    if (waiter) this.#leave(waiter, 'cancelled');
    this.settleSoon(request.inode);
  }

  /** Takes all requests of an owner, or of a session, out of their lines. */
  async cancelAll(of: LockOwner | { readonly session: SessionId }): Promise<void> {
    const inodes = 'inode' in of ? [of.inode] : [...this.#lines.keys()];
    for (const inode of inodes) {
      using _held = await this.#settling.acquire(utf8(`${inode}`));
      for (const waiter of this.#lines.get(inode) ?? []) {
        const { request } = waiter;
        const isMeant = 'inode' in of ? isSameOwner(request, of) : request.session === of.session;
        if (isMeant) this.#leave(waiter, 'cancelled');
      }
      this.settleSoon(inode);
    }
  }

  /** Gives up the places of those who did not ask again. */
  dropIdle(): void {
    const sinceMs = this.#parts.clock.monotonic() - LIMITS.lockPlaceMs;
    for (const [inode, line] of this.#lines) {
      for (const waiter of line) {
        if (waiter.calls.size > 0 || waiter.idleSinceMs > sinceMs) continue;
        this.#leave(waiter, 'cancelled');
        this.settleSoon(inode);
      }
    }
  }

  /** Another steward may have been here meanwhile: all are to ask again. */
  forget(): void {
    const error = new HoldfastError('HF_FENCED', 'dropped; try again');
    for (const line of this.#lines.values()) {
      for (const waiter of line) this.#leave(waiter, error);
    }
  }

  get waiterCount(): number {
    return this.#count;
  }

  /** Resolves when what is under way has ended. */
  async settled(): Promise<void> {
    while (this.#isDue.size > 0) await this.#underWay.settled();
    await this.#underWay.settled();
  }

  #leave(waiter: Waiter, outcome: LockOutcome | Error): void {
    const { inode } = waiter.request;
    const line = this.#lines.get(inode)?.filter((other) => other !== waiter) ?? [];
    if (line.length > 0) this.#lines.set(inode, line);
    else this.#lines.delete(inode);
    this.#count -= 1;
    for (const call of waiter.calls) {
      if (typeof outcome === 'string') call.resolve(outcome);
      else call.reject(outcome);
    }
  }

  /** Never fails: those who wait are told. */
  async #settle(inode: Inode): Promise<void> {
    let decisions: ReadonlyMap<Waiter, Decision>;
    try {
      decisions = await this.#parts.executor.execute(
        (rows) => decide(rows, this.#lines.get(inode) ?? []),
        { slot: slotOfInode(inode) },
      );
    } catch (error) {
      for (const waiter of this.#lines.get(inode) ?? []) this.#leave(waiter, error as Error);
      return;
    }
    for (const [waiter, decision] of decisions) {
      if (!this.#isInLine(waiter)) continue; // forgotten meanwhile
      if (decision.state === 'granted') this.#leave(waiter, 'granted');
      else if (decision.state === 'failed') this.#leave(waiter, decision.error);
      else ({ heldBy: waiter.heldBy, behind: waiter.behind } = decision);
    }
    await this.#breakDeadlocks(inode);
    this.#passCircles();
  }

  /** The newest that waits in a circle of what is held is the one that closed it. */
  async #breakDeadlocks(inode: Inode): Promise<void> {
    let isFresh = false;
    for (const waiter of (this.#lines.get(inode) ?? []).toReversed()) {
      if (waiter.calls.size === 0 || !this.#isInCircle(waiter, heldByPosix)) continue;
      // What other lines remember may have been given up a moment ago.
      isFresh ||= await this.#refresh();
      if (!isFresh) return; // whoever waits on asks again, and it is looked at again
      if (!this.#isInLine(waiter) || !this.#isInCircle(waiter, heldByPosix)) continue;
      this.#leave(waiter, 'deadlock');
      this.settleSoon(inode);
    }
  }

  /** Looks up who holds what all the `posix` waiters wait for. */
  async #refresh(): Promise<boolean> {
    const waiters = [...this.#lines.values()].flat().filter(({ request }) => isPosix(request));
    try {
      const held = await this.#parts.executor.execute((rows) =>
        waiters.map(({ request }) => conflictsOf(rows, request).map(ownerText)),
      );
      for (const [index, waiter] of waiters.entries()) waiter.heldBy = held[index] ?? [];
      return true;
    } catch {
      return false;
    }
  }

  #passCircles(): void {
    const waiters = [...this.#lines.values()].flat();
    const waiting = new Set(waiters.map(({ request }) => ownerText(request)));
    // Without anybody who waits for a waiting owner's lock there is no circle.
    if (!waiters.some(({ heldBy }) => heldBy.some((owner) => waiting.has(owner)))) return;
    for (const waiter of waiters) {
      if (waiter.mayPass || waiter.heldBy.length > 0 || waiter.behind.length === 0) continue;
      if (!this.#isInCircle(waiter, ({ heldBy, behind }) => [...heldBy, ...behind])) continue;
      waiter.mayPass = true;
      this.settleSoon(waiter.request.inode);
    }
  }

  #isInLine(waiter: Waiter): boolean {
    return this.#lines.get(waiter.request.inode)?.includes(waiter) ?? false;
  }

  /** @param edges the owners that a waiter waits for. */
  #isInCircle(start: Waiter, edges: (waiter: Waiter) => readonly string[]): boolean {
    const byOwner = Map.groupBy([...this.#lines.values()].flat(), (w) => ownerText(w.request));
    const target = ownerText(start.request);
    const seen = new Set<string>();
    const next = [...edges(start)];
    for (let owner = next.pop(); owner !== undefined; owner = next.pop()) {
      if (owner === target) return true;
      if (seen.has(owner)) continue;
      seen.add(owner);
      for (const waiter of byOwner.get(owner) ?? []) next.push(...edges(waiter));
    }
    return false;
  }
}

/** Goes along the line, first come first served. */
function decide(rows: Overlay, line: readonly Waiter[]): ReadonlyMap<Waiter, Decision> {
  const decisions = new Map<Waiter, Decision>();
  const ahead: Waiter[] = [];
  for (const waiter of line) {
    const { request } = waiter;
    const earlier = ahead.filter((other) => isConflict(other.request, request));
    const decision = decideOne(rows, waiter, earlier);
    if (decision.state === 'blocked') ahead.push(waiter);
    decisions.set(waiter, decision);
  }
  return decisions;
}

function decideOne(rows: Overlay, waiter: Waiter, earlier: readonly Waiter[]): Decision {
  const { request, calls, mayPass } = waiter;
  if (!isLive(rows, request.session)) return failed('HF_SESSION_OVER');
  const locks = locksOf(rows, request.inode);
  const inTheWay = conflictsOf(rows, request, locks);
  const isFree = inTheWay.length === 0 && (earlier.length === 0 || mayPass);
  if (!isFree || calls.size === 0) {
    const behind = earlier.map((other) => ownerText(other.request));
    return { state: 'blocked', heldBy: inTheWay.map(ownerText), behind };
  }
  if (!hasRoom(locks)) return failed('HF_TOO_LARGE');
  setLock(rows, request, locks);
  return { state: 'granted' };
}

function failed(code: 'HF_SESSION_OVER' | 'HF_TOO_LARGE'): Decision {
  return { state: 'failed', error: new HoldfastError(code) };
}

function ownerText({ kind, session, owner }: LockOwner): string {
  return `${kind} ${session} ${owner}`;
}

function heldByPosix({ request, heldBy }: Waiter): readonly string[] {
  return isPosix(request) ? heldBy : [];
}

function isPosix({ kind }: LockOwner): boolean {
  return kind === 'posix';
}

function isSameRequest(a: LockRequest, b: LockRequest): boolean {
  const isSame = a.start === b.start && a.end === b.end && a.isExclusive === b.isExclusive;
  return isSame && isSameOwner(a, b);
}
