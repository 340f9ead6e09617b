/**
 * What the steward of a cell remembers of those who use it, besides rows: leases of sessions, what
 * is open, who waits for locks, what is being recalled. One for each cell that a node serves.
 *
 * *Memory*: all of that, bound to one epoch of the cell and its slots. With another epoch, and when
 * slots have moved, it begins anew, because somebody else may have changed things meanwhile:
 * sessions get a whole lease, and until that is over any inode may be open (the reclaim window).
 *
 * Invariants:
 * 1. No session ends before a whole lease has passed, in this memory, since its last sign of life.
 * 2. An inode that a session was told to have open is open here until that session closes it or
 *    ends; in the reclaim window every inode is, while there is a session.
 */
import { errorMessage, LIMITS } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellView } from '../cells/cell.ts';
import type { Executor } from '../cells/executor.ts';
import type { Rows } from '../cells/overlay.ts';
import { forgetAnswers } from '../cells/retry-rows.ts';
import { SLOT_COUNT } from '../cells/rows.ts';
import type { Inode } from '../namespace/namespace.ts';
import type { SessionId, SessionState } from './handles.ts';
import { sweepLeases } from './lease-ops.ts';
import { LockLines } from './lock-lines.ts';
import { sweepLocks } from './lock-ops.ts';
import { Recalls } from './recalls.ts';
import {
  endSession,
  forgetSessions,
  hasSessions,
  liveSessions,
  sessionsThatAreOver,
} from './session-ops.ts';

/** Slots looked through in one operation. */
const SLOTS_PER_SWEEP = 256;

export interface HandleTableOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  /** Runs what the table does by itself: without retry tags. */
  readonly executor: Executor;
  /** Of the cell now. */
  readonly view: () => Pick<CellView, 'epoch' | 'slots'>;
  /** Told of inodes that nobody has open any more: orphans among them are to be released. */
  readonly onClosed?: ((inodes: readonly Inode[]) => Promise<void>) | undefined;
}

interface Memory {
  /** Of the cell: its epoch and slots. */
  readonly era: string;
  readonly generation: string;
  readonly reclaimUntilMs: number;
  /** When sessions were looked for last. */
  lookedAtMs: number;
  /** When the leases of sessions run out. */
  readonly leases: Map<SessionId, number>;
  readonly opens: Map<Inode, Set<SessionId>>;
}

export class HandleTable {
  readonly #options: HandleTableOptions;
  #memory: Memory;
  #memoryCount = 0;
  #lines: LockLines;
  #recalls: Recalls;

  constructor(options: HandleTableOptions) {
    this.#options = options;
    this.#memory = this.#newMemory();
    this.#lines = new LockLines(this.#tools);
    this.#recalls = this.#newRecalls();
  }

  get lines(): LockLines {
    this.#current();
    return this.#lines;
  }

  get recalls(): Recalls {
    this.#current();
    return this.#recalls;
  }

  /**
   * Whether somebody has the inode open, or may have.
   * @param rows of the cell: without sessions nobody can be about to say so.
   */
  isOpen(inode: Inode, rows: Rows): boolean {
    const { opens, reclaimUntilMs } = this.#current();
    if (opens.has(inode)) return true;
    return this.#options.env.clock.monotonic() < reclaimUntilMs && hasSessions(rows);
  }

  state(): SessionState {
    return { leaseMs: LIMITS.sessionLeaseMs, generation: this.#current().generation };
  }

  /** A sign of life. */
  touch(session: SessionId): void {
    const untilMs = this.#options.env.clock.monotonic() + LIMITS.sessionLeaseMs;
    this.#current().leases.set(session, untilMs);
  }

  open(session: SessionId, inodes: Iterable<Inode>): void {
    const { opens } = this.#current();
    for (const inode of inodes) {
      const sessions = opens.get(inode) ?? new Set();
      opens.set(inode, sessions.add(session));
    }
  }

  async close(session: SessionId, inodes: Iterable<Inode>): Promise<void> {
    const { opens } = this.#current();
    const closed: Inode[] = [];
    for (const inode of inodes) {
      const sessions = opens.get(inode);
      if (!sessions?.delete(session) || sessions.size > 0) continue;
      opens.delete(inode);
      closed.push(inode);
    }
    if (closed.length > 0) await this.#options.onClosed?.(closed);
  }

  /** @param isDue asked in the operation: whether it is to end after all. */
  async endSession(session: SessionId, isDue: () => boolean = () => true): Promise<void> {
    const hasEnded = await this.#options.executor.execute(
      (rows) => isDue() && endSession(rows, session),
    );
    if (!hasEnded) return;
    const memory = this.#current();
    memory.leases.delete(session);
    memory.lookedAtMs = -Infinity; // what it leaves is to be swept
    await this.#lines.cancelAll({ session }); // its locks count for nothing now
    const open = [...memory.opens].filter(([, sessions]) => sessions.has(session));
    await this.close(
      session,
      open.map(([inode]) => inode),
    );
  }

  /** Ends sessions whose lease has run out, and removes what ended ones leave. */
  async tick(): Promise<void> {
    const { executor, env } = this.#options;
    if (!this.#isLookDue()) return;
    const live = await executor.execute((rows) => liveSessions(rows));
    for (const { session } of live) {
      if (!this.#current().leases.has(session)) this.touch(session); // its first sign of life here
      if (!this.#isExpired(session)) continue;
      env.log.info('a session is over: no sign of life for a whole lease', { session });
      await this.endSession(session, () => this.#isExpired(session));
    }
    this.lines.dropIdle();
    this.recalls.tidy();
    await this.#sweep();
  }

  /**
   * The log is asked each time: with no session that is known here, and none ended since, only now
   * and then, for those that a slot may have brought.
   */
  #isLookDue(): boolean {
    const memory = this.#current();
    const nowMs = this.#options.env.clock.monotonic();
    if (memory.leases.size === 0 && nowMs - memory.lookedAtMs < LIMITS.sessionLeaseMs) return false;
    memory.lookedAtMs = nowMs;
    return true;
  }

  async run({ signal }: { signal: AbortSignal }): Promise<void> {
    const { clock, log } = this.#options.env;
    for await (const _ of clock.every(LIMITS.handleTickMs, { signal })) {
      try {
        await this.tick();
      } catch (error) {
        // The cell moved on, or cannot be written now: the next tick begins anew.
        log.debug('sessions could not be looked after', { error: errorMessage(error) });
      }
    }
  }

  get #tools(): Pick<HandleTableOptions, 'executor'> & Pick<Env, 'clock'> {
    return { executor: this.#options.executor, clock: this.#options.env.clock };
  }

  #isExpired(session: SessionId): boolean {
    const untilMs = this.#current().leases.get(session);
    return untilMs !== undefined && untilMs <= this.#options.env.clock.monotonic();
  }

  async #sweep(): Promise<void> {
    const { executor } = this.#options;
    const over = await executor.execute((rows) => sessionsThatAreOver(rows));
    if (over.length === 0) return;
    const sessions: ReadonlySet<SessionId> = new Set(over);
    const [from, to] = await executor.execute((rows) => rows.slots ?? [0, SLOT_COUNT]);
    for (let slot = from; slot < to; slot += SLOTS_PER_SWEEP) {
      const page: [number, number] = [slot, Math.min(slot + SLOTS_PER_SWEEP, to)];
      await executor.execute((rows) => {
        sweepLocks(rows, { slots: page, sessions });
        sweepLeases(rows, { slots: page, sessions });
        forgetAnswers(rows, { slots: page, sessions });
      });
    }
    await executor.execute((rows) => forgetSessions(rows, over));
  }

  /** The memory of this epoch. */
  #current(): Memory {
    if (this.#memory.era !== this.#era()) this.#beginAnew();
    return this.#memory;
  }

  #era(): string {
    const { epoch, slots } = this.#options.view();
    return `${epoch}:${slots.from}-${slots.to}`;
  }

  #beginAnew(): void {
    this.#memory = this.#newMemory();
    this.#lines.forget();
    this.#lines = new LockLines(this.#tools);
    this.#recalls = this.#newRecalls();
  }

  #newRecalls(): Recalls {
    const recalls: Recalls = new Recalls({
      ...this.#tools,
      isCurrent: () => this.recalls === recalls,
    });
    return recalls;
  }

  #newMemory(): Memory {
    this.#memoryCount += 1;
    const era = this.#era();
    return {
      era,
      generation: `${era}.${this.#memoryCount}`,
      reclaimUntilMs: this.#options.env.clock.monotonic() + LIMITS.sessionLeaseMs,
      lookedAtMs: -Infinity,
      leases: new Map(),
      opens: new Map(),
    };
  }
}
