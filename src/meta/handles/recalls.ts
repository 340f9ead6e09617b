/**
 * Directory leases that others wait for, in the memory of a steward. A *recall* is known to the
 * holder when it asks; it ends when the holder returns the lease or, when it is silent or takes too
 * long, when the lease is taken. After a take-over whoever waits begins another one.
 */
import { errorCode, HoldfastError, LIMITS } from '../../base/index.ts';
import { type Clock, within } from '../../env/index.ts';
import type { Executor } from '../cells/executor.ts';
import type { Overlay } from '../cells/overlay.ts';
import type { Inode } from '../namespace/namespace.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import type { DirectoryLease, HeldLease, SessionId } from './handles.ts';
import { endLease, leaseToRecall } from './lease-ops.ts';
import { isLeaseOf } from './lease-rows.ts';
import { checkSession } from './session-ops.ts';

interface Recall {
  readonly lease: DirectoryLease;
  readonly returned: PromiseWithResolvers<void>;
  /** When it began, or its holder was heard of last: it is bringing what it did. */
  heardAtMs: number;
  /** Of all who asked for the directory meanwhile. */
  readonly over: Promise<void>;
}

export interface RecallsParts {
  readonly clock: Clock;
  readonly executor: Executor;
  /** Whether these are the recalls that holders are told of: others take nothing any more. */
  readonly isCurrent: () => boolean;
}

export class Recalls {
  readonly #parts: RecallsParts;
  readonly #recalls = new Map<Inode, Recall>();
  /** Until when a directory is not leased again, because others want it too. */
  readonly #wantedUntilMs = new Map<Inode, number>();
  /** Of holders that wait for a recall, by directory. */
  readonly #listeners = new Map<Inode, Set<() => void>>();

  constructor(parts: RecallsParts) {
    this.#parts = parts;
  }

  /** Asks the holder, and waits for nothing. */
  begin(directory: Inode): void {
    void this.recall(directory).catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error; // else whoever needs it asks again
    });
  }

  /** Resolves when nobody holds the directory. */
  async recall(directory: Inode): Promise<void> {
    const lease = await this.#parts.executor.execute((rows) => leaseToRecall(rows, directory), {
      slot: slotOfInode(directory),
    });
    if (!lease) return;
    const present = this.#recalls.get(directory);
    if (present?.lease.fence === lease.fence) return await present.over;
    const heardAtMs = this.#parts.clock.monotonic();
    const begun = { lease, returned: Promise.withResolvers<void>(), heardAtMs };
    const recall: Recall = Object.assign(begun, { over: this.#runOut(begun) });
    this.#recalls.set(directory, recall);
    for (const wake of this.#listeners.get(directory) ?? []) wake();
    try {
      await recall.over;
    } finally {
      if (this.#recalls.get(directory) === recall) this.#recalls.delete(directory);
    }
  }

  /** The holder has returned it. */
  returned({ directory, fence }: Pick<DirectoryLease, 'directory' | 'fence'>): void {
    const recall = this.#recalls.get(directory);
    if (recall?.lease.fence === fence) recall.returned.resolve();
  }

  isWanted(directory: Inode): boolean {
    return (this.#wantedUntilMs.get(directory) ?? 0) > this.#parts.clock.monotonic();
  }

  /**
   * Directories that the holder is to return, or has no more; waits until there is one. Who asks
   * about one that is recalled already has more time for it.
   * @throws HF_SESSION_OVER.
   */
  async awaitDue(
    session: SessionId,
    leases: readonly HeldLease[],
    waitMs: number,
  ): Promise<readonly Inode[]> {
    const { clock, executor } = this.#parts;
    const held = await executor.execute((rows) => {
      checkSession(rows, session);
      const left = leases.filter(({ directory, fence }) =>
        isLeaseOf(rows, directory, { session, fence }),
      );
      return new Set(left);
    });
    for (const { directory, fence } of held) {
      const recall = this.#recalls.get(directory);
      if (recall?.lease.fence === fence) recall.heardAtMs = clock.monotonic();
    }
    const due = (): readonly Inode[] =>
      leases
        .filter((lease) => !held.has(lease) || this.#recalls.has(lease.directory))
        .map(({ directory }) => directory);
    if (due().length > 0) return due();
    const arrival = Promise.withResolvers<void>();
    for (const { directory } of leases) this.#listen(directory, arrival.resolve);
    try {
      await within(clock, arrival.promise, waitMs);
    } finally {
      for (const { directory } of leases) this.#unlisten(directory, arrival.resolve);
    }
    return due();
  }

  #listen(directory: Inode, wake: () => void): void {
    const listeners = this.#listeners.get(directory) ?? new Set();
    this.#listeners.set(directory, listeners.add(wake));
  }

  #unlisten(directory: Inode, wake: () => void): void {
    const listeners = this.#listeners.get(directory);
    listeners?.delete(wake);
    if (listeners?.size === 0) this.#listeners.delete(directory);
  }

  /** Lets go of what is long past. */
  tidy(): void {
    const nowMs = this.#parts.clock.monotonic();
    for (const [directory, untilMs] of this.#wantedUntilMs) {
      if (untilMs <= nowMs) this.#wantedUntilMs.delete(directory);
    }
  }

  async #runOut(recall: Omit<Recall, 'over'>): Promise<void> {
    const { lease } = recall;
    const { directory } = lease;
    const { executor, isCurrent } = this.#parts;
    this.#want(directory, LIMITS.leaseRecallMs + LIMITS.leaseAgainMs);
    await this.#awaitReturn(recall);
    this.#want(directory, LIMITS.leaseAgainMs);
    const take = (rows: Overlay): void => {
      // The holder may have asked since, and was told of nothing: it has its whole time again.
      if (!isCurrent()) throw new HoldfastError('HF_LEASED', 'its recall has begun anew');
      endLease(rows, directory, lease);
    };
    await executor.execute(take, { slot: slotOfInode(directory) });
  }

  #want(directory: Inode, ms: number): void {
    const untilMs = this.#parts.clock.monotonic() + ms;
    this.#wantedUntilMs.set(directory, Math.max(untilMs, this.#wantedUntilMs.get(directory) ?? 0));
  }

  /** Or until the holder has been silent for too long, or takes too long. */
  async #awaitReturn(recall: Omit<Recall, 'over'>): Promise<void> {
    const { clock } = this.#parts;
    const isReturned = recall.returned.promise.then(() => true);
    const lastMs = clock.monotonic() + LIMITS.leaseReturnMsMax;
    for (;;) {
      const untilMs = Math.min(lastMs, recall.heardAtMs + LIMITS.leaseRecallMs);
      const leftMs = untilMs - clock.monotonic();
      if (leftMs <= 0 || (await within(clock, isReturned, leftMs))) return;
    }
  }
}
