/**
 * The directories that this node holds: which it takes, how long it may work in them, and how it
 * gives them back (docs/design/0010).
 *
 * *Sure*: a holder may work for `RIGHT_MS` from when it asked the last question whose answer said
 * that it holds the directory. *Directly*: an operation on a directory that is not held; none is
 * under way while the directory is being taken, or it would be the holder's own obstacle.
 */
import { batchesOf, errorCode, errorMessage, LIMITS } from '../../base/index.ts';
import type { Clock, Log } from '../../env/index.ts';
import type {
  DirectoryLease,
  Handles,
  HeldLease,
  Inode,
  SessionId,
  Tree,
} from '../../meta/index.ts';
import { HeldDirectory, leasesOf } from './held-directory.ts';
import { Heats } from './heats.ts';
import type { HeldFault } from './holder.ts';
import { type Heard, RecallWatch } from './recall-watch.ts';
import { Returns } from './returns.ts';

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
/** Of one that may be given back because others have come for another one. */
const UNUSED_MS = 1000;
/** Directories that make way when there are too many. */
const EVICTED_AT_ONCE = 64;
/** Tries to return a directory; then others take it. */
const RETURNS_MAX = 20;
/** What a lease comes with: numbers are taken elsewhere, and quotas are the cell's. */
export const LEASE_ROOM = { inodeCount: 1, bytesReserved: 0, rowsReserved: 0 } as const;

interface Gate {
  /** Operations that go directly. */
  direct: number;
  taking: Promise<void> | undefined;
  onIdle: (() => void) | undefined;
}

export class Holdings implements AsyncDisposable {
  readonly #options: HoldingsOptions;
  /** In the order of their use; the one used last is the last. */
  readonly #held = new Map<Inode, HeldDirectory>();
  readonly #gates = new Map<Inode, Gate>();
  readonly #heats: Heats;
  readonly #watch: RecallWatch;
  readonly #returns: Returns;
  /** Leases to be returned with the next question that returns some. */
  #leaving: HeldLease[] = [];
  #left: Promise<void> | undefined;
  #answered = Promise.withResolvers<void>();
  #isOver = false;

  constructor(options: HoldingsOptions) {
    this.#options = options;
    this.#heats = new Heats(options.clock);
    this.#watch = new RecallWatch({
      ...options,
      held: () => Array.from(this.all).filter(({ lease, returning }) => lease && !returning),
      onHeard: (asked, heard) => this.#heard(asked, heard),
      onEnd: () => this.#answeredAgain(),
    });
    this.#returns = new Returns({
      ...options,
      leases: () =>
        leasesOf(Array.from(this.all).filter(({ returning }) => returning !== undefined)),
    });
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
        this.#use(held);
        return held;
      }
      if (this.#isOver) return undefined;
      const gate = this.#gates.get(directory);
      if (held) await (held.returning ?? this.#answered.promise);
      else if (gate?.taking) await gate.taking;
      else if (!this.#isWorthIt(directory, weight)) return undefined;
      else await this.#take(directory);
    }
  }

  #use(held: HeldDirectory): void {
    held.usedAtMs = this.#options.clock.monotonic();
    this.#held.delete(held.inode);
    this.#held.set(held.inode, held);
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
    return this.#options.mayHold() && !this.#isOver && this.#heats.add(directory, weight);
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
      this.#heats.refuse(directory);
    } finally {
      gate.taking = undefined;
      gate.onIdle = undefined;
      if (gate.direct === 0) this.#gates.delete(directory);
    }
  }

  async #leased(directory: Inode): Promise<HeldDirectory | undefined> {
    const { clock, handles, tree, session } = this.#options;
    // What it may take is decided by the cell, step by step: nothing can be promised here.
    const hasQuota = (await tree.getQuota(directory)) !== undefined;
    const atMs = clock.monotonic();
    const lease = hasQuota
      ? undefined
      : await handles.leaseDirectory({ session: session(), directory, ...LEASE_ROOM });
    if (!lease) this.#heats.refuse(directory);
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
    this.#watch.arrived();
    if (this.#held.size - this.#returns.count > LIMITS.heldDirectoriesMax) this.#makeWay();
  }

  /** Many at once: they are brought and returned together. */
  #makeWay(): void {
    let left = EVICTED_AT_ONCE;
    for (const held of this.#held.values()) {
      if (held.returning) continue;
      void this.giveBack(held);
      left -= 1;
      if (left === 0) return;
    }
  }

  /** Resolves when there are not too many. */
  async room(): Promise<void> {
    while (this.#held.size > 2 * LIMITS.heldDirectoriesMax) {
      const first = Array.from(this.all).find(({ returning }) => returning !== undefined);
      if (!first) return;
      await first.returning;
    }
  }

  // Giving back.

  /** Resolves when others may have it. Never throws what is no bug. */
  async giveBack(held: HeldDirectory): Promise<void> {
    if (held.isLost) return;
    held.returning ??= this.#giveBack(held);
    await held.returning;
  }

  async #giveBack(held: HeldDirectory): Promise<void> {
    await this.#returns.run(() => this.#returned(held));
  }

  async #returned(held: HeldDirectory): Promise<void> {
    const { clock, log, onReturn, bringAll } = this.#options;
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
    if (held.lease && !held.isLost) await this.#returnLease(held.inode, held.lease);
    this.lose(held);
  }

  /** Together with others that are ready for it. */
  async #returnLease(directory: Inode, { fence }: HeldLease): Promise<void> {
    this.#leaving.push({ directory, fence });
    this.#left ??= this.#returnLeaving();
    await this.#left;
  }

  async #returnLeaving(): Promise<void> {
    await this.#options.clock.turn();
    const leaving = this.#leaving;
    this.#leaving = [];
    this.#left = undefined;
    for (const leases of batchesOf(leaving, LIMITS.listPageMax)) await this.#return(leases);
  }

  async #return(leases: readonly HeldLease[]): Promise<void> {
    const { clock, handles, session } = this.#options;
    for (let tries = 1; tries <= RETURNS_MAX; tries++) {
      try {
        return await handles.returnDirectories(session(), leases);
      } catch (error) {
        const code = errorCode(error);
        if (code === undefined) throw error;
        if (code === 'HF_SESSION_OVER' || this.#isOver) return;
        await clock.sleep(PAUSE_MS);
      }
    }
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
    this.#watch.arrived();
  }

  // Being asked for them.

  #heard(asked: readonly HeldDirectory[], { due, atMs }: Heard): void {
    for (const held of asked) {
      if (!due.has(held.inode)) {
        held.sureFromMs = Math.max(held.sureFromMs, atMs);
        continue;
      }
      this.#heats.refuse(held.inode);
      void this.giveBack(held);
    }
    this.#giveBackUnused(due.size > 0 ? UNUSED_MS : LIMITS.heldIdleMs);
  }

  /** Who comes for one directory mostly comes for its neighbours: then much is returned at once. */
  #giveBackUnused(unusedMs: number): void {
    const sinceMs = this.#options.clock.monotonic() - unusedMs;
    for (const held of this.#held.values()) {
      if (held.usedAtMs >= sinceMs) return;
      void this.giveBack(held);
    }
  }

  #answeredAgain(): void {
    this.#answered.resolve();
    this.#answered = Promise.withResolvers();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#watch.end();
    this.#answered.resolve();
    for (const { returning } of Array.from(this.all)) await returning;
    await this.#returns[Symbol.asyncDispose]();
    this.loseAll();
  }
}
