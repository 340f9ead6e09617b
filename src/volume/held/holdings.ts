/**
 * The directories that this node holds: which it takes, how long it may work in them, and how it
 * gives them back (docs/design/0010).
 *
 * *Sure*: a holder may work for `RIGHT_MS` from when it asked the last question whose answer said
 * that it holds the directory. *Directly*: an operation on a directory that is not held; none is
 * under way while the directory is being taken, or it would be the holder's own obstacle.
 */
import { errorCode, errorMessage, LIMITS, remember, unlessBug } from '../../base/index.ts';
import type { Clock, Log } from '../../env/index.ts';
import type {
  DirectoryLease,
  Handles,
  HeldLease,
  Inode,
  SessionId,
  Tree,
} from '../../meta/index.ts';
import { HeldDirectory } from './held-directory.ts';
import type { HeldFault } from './holder.ts';

export interface HoldingsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly handles: Handles;
  readonly tree: Pick<Tree, 'getQuota'>;
  readonly session: () => SessionId;
  /** Whether the session may still be counted on. */
  readonly isSessionSure: () => boolean;
  /** Asks for another session when this one is over. */
  readonly renew: (over: SessionId) => Promise<void>;
  /** `false`: all work goes directly. */
  readonly mayHold: () => boolean;
  /** It is held from now on, by the lease; the status is learnt, and its entries may be. */
  readonly onHeld: (held: HeldDirectory) => Promise<void>;
  /** Brings all that was done in it, and whatever others are to find when they look. */
  readonly onReturn: (held: HeldDirectory) => Promise<void>;
  readonly bringAll: () => Promise<void>;
  /** It is held no more: what was known of it may change. */
  readonly onGone: (held: HeldDirectory) => void;
  readonly fault?: HeldFault | undefined;
}

/** Half a second before anybody takes a lease that is recalled. */
const RIGHT_MS = LIMITS.leaseRecallMs - 500;
const PAUSE_MS = 250;
/** How soon it asks again when it holds more. */
const ASK_AGAIN_MS = 50;
/** Tries to return a directory; then others take it. */
const RETURNS_MAX = 20;
/** Operations of about a second that make a directory worth holding; one that looks weighs less. */
const HEAT_MIN = 2;
const HEAT_MS = 1000;
const HEATS_MAX = 1024;

/** What a lease comes with: numbers are taken elsewhere, and quotas are the cell's. */
export const LEASE_ROOM = { inodeCount: 1, bytesReserved: 0, rowsReserved: 0 } as const;

export const WEIGHT = { look: 0.25, list: 0.5, change: 1 } as const;

interface Heat {
  weight: number;
  sinceMs: number;
  /** Not to be asked for before. */
  againMs: number;
}

interface Gate {
  /** Operations that go directly. */
  direct: number;
  taking: Promise<void> | undefined;
  onIdle: (() => void) | undefined;
}

export class Holdings implements AsyncDisposable {
  readonly #options: HoldingsOptions;
  /** The one used last is not always the last. */
  readonly #held = new Map<Inode, HeldDirectory>();
  readonly #gates = new Map<Inode, Gate>();
  readonly #heats = new Map<Inode, Heat>();
  readonly #end = new AbortController();
  #answered = Promise.withResolvers<void>();
  #arrived: (() => void) | undefined;
  #watching: Promise<void> | undefined;

  constructor(options: HoldingsOptions) {
    this.#options = options;
  }

  get(directory: Inode): HeldDirectory | undefined {
    return this.#held.get(directory);
  }

  get all(): Iterable<HeldDirectory> {
    return this.#held.values();
  }

  leaseOf(directory: Inode): HeldLease | undefined {
    return this.#held.get(directory)?.lease;
  }

  /** Whether it may be worked in, now and until the next `await`. */
  isFit(held: HeldDirectory): boolean {
    if (held.isLost || held.returning || this.#held.get(held.inode) !== held) return false;
    return held.lease === undefined || this.#isSure(held);
  }

  #isSure({ sureFromMs }: HeldDirectory): boolean {
    const { clock, isSessionSure, fault } = this.#options;
    if (fault === 'never-unsure') return true;
    return clock.monotonic() - sureFromMs < RIGHT_MS && isSessionSure();
  }

  /**
   * The directory, fit for work; `undefined`: it is not held, and worked in directly. It is taken
   * when there has been much to do in it.
   */
  async find(directory: Inode, weight: number): Promise<HeldDirectory | undefined> {
    for (;;) {
      const held = this.#held.get(directory);
      if (held && this.isFit(held)) {
        held.usedAtMs = this.#options.clock.monotonic();
        return held;
      }
      if (this.#end.signal.aborted) return undefined;
      const gate = this.#gates.get(directory);
      if (held) await (held.returning ?? this.#answered.promise);
      else if (gate?.taking) await gate.taking;
      else if (!this.#isWorthIt(directory, weight)) return undefined;
      else await this.#take(directory);
    }
  }

  /** While it is under way none of these directories is taken. */
  async directly<Result>(
    directories: readonly Inode[],
    work: () => Promise<Result>,
  ): Promise<Result> {
    for (const directory of directories) {
      const gate = this.#gates.get(directory);
      if (gate) gate.direct += 1;
      else this.#gates.set(directory, { direct: 1, taking: undefined, onIdle: undefined });
    }
    try {
      return await work();
    } finally {
      for (const directory of directories) this.#leave(directory);
    }
  }

  #leave(directory: Inode): void {
    const gate = this.#gates.get(directory);
    if (!gate) return;
    gate.direct -= 1;
    if (gate.direct > 0) return;
    gate.onIdle?.();
    if (!gate.taking) this.#gates.delete(directory);
  }

  // Taking.

  #isWorthIt(directory: Inode, weight: number): boolean {
    const { clock, mayHold } = this.#options;
    if (!mayHold() || this.#end.signal.aborted) return false;
    const nowMs = clock.monotonic();
    const heat = this.#heats.get(directory) ?? { weight: 0, sinceMs: nowMs, againMs: -Infinity };
    remember(this.#heats, directory, heat, HEATS_MAX);
    if (nowMs - heat.sinceMs > HEAT_MS) Object.assign(heat, { weight: 0, sinceMs: nowMs });
    heat.weight += weight;
    return heat.weight >= HEAT_MIN && nowMs >= heat.againMs;
  }

  async #take(directory: Inode): Promise<void> {
    const gate = this.#gates.get(directory) ?? { direct: 0, taking: undefined, onIdle: undefined };
    this.#gates.set(directory, gate);
    gate.taking = this.#taken(directory, gate);
    await gate.taking;
  }

  async #taken(directory: Inode, gate: Gate): Promise<void> {
    const { log } = this.#options;
    try {
      if (gate.direct > 0) {
        const idle = Promise.withResolvers<void>();
        gate.onIdle = idle.resolve;
        await idle.promise;
      }
      const held = await this.#leased(directory);
      if (held) await this.#begin(held);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      log.debug('a directory is not held', { reason: errorMessage(error) });
      this.#refuse(directory);
    } finally {
      gate.taking = undefined;
      gate.onIdle = undefined;
      if (gate.direct === 0) this.#gates.delete(directory);
    }
  }

  /** Not to be taken for a while. */
  #refuse(directory: Inode): void {
    const againMs = this.#options.clock.monotonic() + LIMITS.leaseAgainMs;
    remember(this.#heats, directory, { weight: 0, sinceMs: -Infinity, againMs }, HEATS_MAX);
  }

  async #leased(directory: Inode): Promise<HeldDirectory | undefined> {
    const { clock, handles, tree, session } = this.#options;
    // What it may take is decided by the cell, step by step: nothing can be promised here.
    const hasQuota = (await tree.getQuota(directory)) !== undefined;
    const atMs = clock.monotonic();
    const lease = hasQuota
      ? undefined
      : await handles.leaseDirectory({ session: session(), directory, ...LEASE_ROOM });
    if (!lease) this.#refuse(directory);
    return lease && new HeldDirectory({ inode: directory, lease, atMs });
  }

  async #begin(held: HeldDirectory): Promise<void> {
    this.add(held);
    try {
      await this.#options.onHeld(held);
    } catch (error) {
      await this.giveBack(held);
      throw error;
    }
  }

  /** Of one that is leased, or that was made here and will be. */
  add(held: HeldDirectory): void {
    this.#held.set(held.inode, held);
    this.#arrived?.();
    this.#watching ??= this.#watch();
    if (this.#held.size <= LIMITS.heldDirectoriesMax) return;
    const used = Array.from(this.#held.values()).filter(({ returning }) => !returning);
    const oldest = used.toSorted((a, b) => a.usedAtMs - b.usedAtMs);
    const over = used.length - LIMITS.heldDirectoriesMax;
    for (const each of oldest.slice(0, Math.max(0, over))) void this.giveBack(each);
  }

  /** Resolves when there are not too many. */
  async room(): Promise<void> {
    while (this.#held.size > 2 * LIMITS.heldDirectoriesMax) {
      const first = Array.from(this.#held.values()).find((held) => held.returning !== undefined);
      if (!first) return;
      await first.returning;
    }
  }

  // Giving back.

  /** Resolves when others may have it. Never throws what is no bug. */
  async giveBack(held: HeldDirectory): Promise<void> {
    if (held.isLost) return;
    held.returning ??= this.#returned(held);
    await held.returning;
  }

  async #returned(held: HeldDirectory): Promise<void> {
    const { clock, log, handles, onReturn, bringAll } = this.#options;
    const rememberedMs = held.rememberedUntilMs - clock.monotonic();
    if (rememberedMs > 0) await clock.sleep(rememberedMs);
    try {
      await onReturn(held);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      log.warn('what was done in a directory may be lost', { reason: errorMessage(error) });
    }
    this.#close(held);
    await bringAll(); // what was noted meanwhile
    const { lease } = held;
    for (let tries = 1; lease && tries <= RETURNS_MAX && !held.isLost; tries++) {
      try {
        await handles.returnDirectory(held.inode, lease);
        break;
      } catch (error) {
        const code = errorCode(error);
        if (code === undefined) throw error;
        if (code === 'HF_SESSION_OVER' || this.#end.signal.aborted) break;
        await clock.sleep(PAUSE_MS);
      }
    }
    this.lose(held);
  }

  /** Nothing goes by the lease any more. */
  #close(held: HeldDirectory): void {
    if (held.isClosed) return;
    held.isClosed = true;
    this.#options.onGone(held);
  }

  /** It is held no more. */
  lose(held: HeldDirectory): void {
    if (held.isLost) return;
    held.isLost = true;
    if (this.#held.get(held.inode) === held) this.#held.delete(held.inode);
    this.#close(held);
  }

  loseAll(): void {
    for (const held of this.#held.values()) this.lose(held);
  }

  /** The lease that came with the batch that made it. */
  settle(directory: Inode, lease: DirectoryLease | undefined, atMs: number): void {
    const held = this.#held.get(directory);
    if (!held) return;
    if (!lease) {
      this.lose(held);
      return;
    }
    held.lease = lease;
    held.sureFromMs = atMs;
    this.#arrived?.();
  }

  // Being asked for them.

  async #watch(): Promise<void> {
    const { clock, handles, session, renew, log } = this.#options;
    const { signal } = this.#end;
    while (!signal.aborted) {
      const asked = Array.from(this.#held.values()).filter(
        ({ lease, returning }) => lease && !returning,
      );
      if (asked.length === 0) {
        const arrival = Promise.withResolvers<void>();
        this.#arrived = arrival.resolve;
        await arrival.promise;
        continue;
      }
      const atMs = clock.monotonic();
      const leases = asked.flatMap(({ lease }) => lease ?? []);
      const asking = session();
      const arrival = Promise.withResolvers<void>();
      this.#arrived = arrival.resolve;
      try {
        const answer = handles.awaitRecalls(asking, leases, LIMITS.handleWaitMsMax);
        const heard = answer.then((due) => this.#heard(asked, { due, atMs }));
        // One that is new is asked about soon, or who wants it would wait for this answer.
        const next = arrival.promise.then(() => clock.sleep(ASK_AGAIN_MS));
        await Promise.race([heard, next]);
        heard.catch(() => undefined);
      } catch (error) {
        const code = errorCode(error);
        if (code === undefined) throw error;
        log.debug('nobody says whether directories are held', { reason: errorMessage(error) });
        if (code === 'HF_SESSION_OVER') await renew(asking).catch(unlessBug);
        await clock.sleep(PAUSE_MS);
      }
      this.#answered.resolve();
      this.#answered = Promise.withResolvers();
    }
  }

  #heard(
    asked: readonly HeldDirectory[],
    { due, atMs }: { readonly due: readonly Inode[]; readonly atMs: number },
  ): void {
    const nowMs = this.#options.clock.monotonic();
    for (const held of asked) {
      const isDue = due.includes(held.inode);
      if (!isDue) held.sureFromMs = Math.max(held.sureFromMs, atMs);
      if (isDue) this.#refuse(held.inode);
      const isIdle = nowMs - held.usedAtMs > LIMITS.heldIdleMs;
      if (isDue || isIdle) void this.giveBack(held);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    this.#arrived?.();
    await this.#watching;
    this.#answered.resolve();
    for (const held of this.#held.values()) await held.returning;
    this.loseAll();
  }
}
