/**
 * One cell's steward: executes operations one after the other, synchronously, and answers when the
 * log has them. Generic over what an operation does with the rows.
 *
 *   operation ─ execute ─→ open batch ─ append ─→ log ─→ answer
 *                                                  └─ transact ─→ database
 *
 * Invariants:
 * 1. An operation reads the rows as left by all operations before it, durable or not.
 * 2. It is answered, also with an error or with what it only read, when an append or a confirm that
 *    began after it has succeeded: then no other steward had taken over when it was executed.
 * 3. A few appends in flight, in order; whatever comes meanwhile forms the next entry (group
 *    commit). The database is a cache of the log, so answers do not wait for it.
 * 4. After anything but `ok`, all that was decided and not appended is dropped, and its callers are
 *    told. The next operation seizes the cell and reads the log first. So two stewards that are
 *    both asked take the cell from each other: whoever opens them asks one at a time.
 */
import { assert, errorCode, HoldfastError, LIMITS } from '../../base/index.ts';
import type { LocalDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import type { CellId, FencedLog } from '../../log/index.ts';
import {
  type Applied,
  appliedAfter,
  changeBytes,
  encodeEntry,
  ENTRY_OVERHEAD_BYTES,
  NOTHING_APPLIED,
} from './entries.ts';
import { type Change, Overlay, type Rows, Scratch } from './overlay.ts';
import { Applier } from './applier.ts';
import { Batch } from './batch.ts';
import { catchUpToEnd } from './catch-up.ts';
import type { CellFault } from './cell-faults.ts';
import { asUnavailable } from './machinery.ts';
import { RowCache } from './row-cache.ts';
import { digestOfDatabase } from './snapshot.ts';
import { type Position, Snapshotter } from './snapshotter.ts';

export interface CellParts {
  readonly env: Env;
  readonly cell: CellId;
  /** Log and database stay the caller's: they are not closed here. */
  readonly log: FencedLog;
  readonly db: LocalDb;
}

/** What a steward does for whoever stands around it. */
export interface StewardHooks {
  /** The rows are those of the log, and nothing has been executed on them yet. */
  onServing?(rows: Rows, epoch: number): void;
  /** Changes have been decided; what is told by them is kept in line here. */
  onDecided?(changes: ReadonlyMap<string, Change>): void;
  /** What was decided and not durable is dropped; nobody serves until the next `onServing`. */
  onDropped?(): void;
  /** Does not serve any more, and will not again. */
  onLost?(): void;
  /** Once another has taken over, it does not seize again. */
  readonly staysLost?: boolean | undefined;
  readonly fault?: CellFault | undefined;
}

/** Decides from the rows and writes rows; all or, when it throws, none. It must not wait. */
export type Operation<Result> = (rows: Overlay) => Result;

/**
 * Appends in flight at once: with one, the first of a crowd would travel alone and the rest wait.
 */
const FLIGHTS_MAX = 4;

/** A batch on its way. */
interface Flight {
  /** Resolves when this entry and those before it are in the log. */
  readonly durable: Promise<void>;
}

export class Steward implements AsyncDisposable {
  readonly #parts: CellParts;
  readonly #hooks: StewardHooks;
  readonly #rows: Overlay;
  readonly #cache: RowCache;
  readonly #applier: Applier;
  readonly #snapshotter: Snapshotter;
  /** Decided and not sent, oldest first. */
  #queue: Batch[] = [];
  #epoch = 0;
  /** After the last entry that was sent. */
  #sent: Applied = NOTHING_APPLIED;
  /** Number of the last entry known to be in the log. */
  #durableLsn = 0;
  #isServing = false;
  /** Why it will not serve again. */
  #end: 'HF_CLOSED' | 'HF_NOT_STEWARD' | undefined;
  #takingOver: Promise<void> | undefined;
  #draining: Promise<void> | undefined;
  #arrival: PromiseWithResolvers<void> | undefined;

  private constructor(parts: CellParts, hooks: StewardHooks) {
    this.#parts = parts;
    this.#hooks = hooks;
    this.#cache = new RowCache(parts.db);
    this.#rows = new Overlay(this.#cache);
    this.#applier = new Applier(parts, (changes) => this.#onApplied(changes));
    this.#snapshotter = new Snapshotter(parts, () => (this.#isServing ? this.position : undefined));
  }

  /** Seizes the cell and brings the database up to the log. */
  static async open(parts: CellParts): Promise<Steward> {
    const steward = Steward.idle(parts, {});
    await steward.serve();
    return steward;
  }

  /** One that seizes when it is asked first. */
  static idle(parts: CellParts, hooks: StewardHooks): Steward {
    return new Steward(parts, hooks);
  }

  /**
   * Runs the operation and answers when it is durable.
   *
   * @throws what the operation throws; HF_FENCED when it was dropped, HF_UNKNOWN_OUTCOME when it
   *   may or may not have taken effect; HF_TOO_LARGE when it writes more than an entry holds; what
   *   `asUnavailable` leaves of what keeps the cell from being seized.
   */
  async execute<Result>(operation: Operation<Result>): Promise<Result> {
    return await this.executeOn((rows) => new Scratch(rows), operation);
  }

  /**
   * The same, on a scratch of the caller's kind; its changes are the steward's. What is thrown and
   * has no code of ours is no answer: it is passed on at once, and nothing was executed.
   */
  async executeOn<Result, Kind extends Scratch>(
    scratchOver: (rows: Rows) => Kind,
    operation: (rows: Kind) => Result,
  ): Promise<Result> {
    while (!this.#isServing) await asUnavailable(this.serve());
    const scratch = scratchOver(this.#rows);
    const outcome = attempt(() => withinEntry(scratch, () => operation(scratch)));
    const changes = 'error' in outcome ? new Map<string, Change>() : scratch.changes;
    const batch = this.#admit(changes, scratch);
    const answer = new Promise<Result>((resolve, reject) => {
      batch.waiters.push({
        hasWritten: changes.size > 0,
        settle: () => ('error' in outcome ? reject(outcome.error) : resolve(outcome.result)),
        fail: reject,
      });
    });
    this.#draining ??= this.#drain();
    this.#arrival?.resolve();
    return await answer;
  }

  /** Looks at the rows as they are decided by now; answers without a barrier. */
  async peek<Result>(look: (rows: Rows) => Result): Promise<Result> {
    while (!this.#isServing) await asUnavailable(this.serve());
    return look(this.#rows);
  }

  /** Begins a snapshot now: the rows have come from where they are soon no more. */
  takeSnapshot(): void {
    this.#snapshotter.take();
  }

  get isServing(): boolean {
    return this.#isServing;
  }

  get position(): Position {
    return { epoch: this.#epoch, applied: this.#applier.applied, durableLsn: this.#durableLsn };
  }

  /** Waits for what has been asked; nothing is asked afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('HF_CLOSED');
  }

  /** @param why what is answered to who asks afterwards. */
  async stop(why: 'HF_CLOSED' | 'HF_NOT_STEWARD'): Promise<void> {
    this.#end ??= why;
    this.#isServing = false;
    await this.#takingOver?.catch(() => undefined); // its callers are told
    await this.#draining;
    await this.#snapshotter.stop();
    this.#hooks.onDropped?.();
    this.#hooks.onLost?.();
  }

  /** Sums up the rows of the database. @throws HF_CORRUPT when the running digest is another. */
  async verify(): Promise<void> {
    const { env, db, cell } = this.#parts;
    await this.#applier.exclusively(async () => {
      const { digest } = this.#applier.applied;
      if ((await digestOfDatabase(db, () => env.clock.turn())) === digest) return;
      throw new HoldfastError('HF_CORRUPT', `cell ${cell}: the rows do not fit their digest`);
    });
  }

  /** Lays the changes over the rows and adds them to the entry that is being gathered. */
  #admit(changes: ReadonlyMap<string, Change>, { seen }: Scratch): Batch {
    let batch = this.#queue.at(-1);
    if (!batch?.hasRoom(changes, this.#parts.log.entryBytesTarget)) {
      batch = new Batch();
      this.#queue.push(batch);
    }
    for (const [text, change] of changes) {
      if (!batch.changes.has(text)) {
        batch.olds.set(text, seen.has(text) ? seen.get(text) : this.#rows.get(change.key, text));
      }
      this.#rows.set(change, text);
      batch.add(text, change);
    }
    if (changes.size > 0) this.#hooks.onDecided?.(changes);
    return batch;
  }

  /** Sends batch after batch until none is left. Never fails: the callers are told. */
  async #drain(): Promise<void> {
    const { clock } = this.#parts.env;
    const flights: Flight[] = [];
    try {
      while (this.#queue.length > 0 || flights.length > 0 || this.#applier.running) {
        const maySend = flights.length < FLIGHTS_MAX && !this.#applier.isBehind;
        if (this.#queue.length > 0 && maySend) {
          await clock.turn(); // whoever asks in the same turn joins the entry
          const batch = this.#queue.shift();
          if (!batch) continue;
          const flight = this.#launch(batch, flights.at(-1));
          flights.push(flight);
          flight.durable.then(() => void flights.shift(), ignored);
        } else {
          await this.#somethingNew(flights, maySend);
        }
      }
    } catch (error) {
      this.#isServing = false;
      if (this.#hooks.staysLost) this.#end ??= 'HF_NOT_STEWARD';
      await Promise.allSettled(flights.map(({ durable }) => durable));
      await this.#applier.running?.catch(ignored);
      this.#drop(error);
    }
    this.#draining = undefined;
  }

  /** Waits until the oldest flight is over, the database is done, or there is more to send. */
  async #somethingNew(flights: readonly Flight[], maySend: boolean): Promise<void> {
    const awaited = [flights[0]?.durable, this.#applier.running];
    if (maySend) {
      this.#arrival = Promise.withResolvers();
      awaited.push(this.#arrival.promise);
    }
    await Promise.race(awaited.filter((one) => one !== undefined));
  }

  /** Appends the batch behind those in flight; its callers hear once all of them are durable. */
  #launch(batch: Batch, previous: Flight | undefined): Flight {
    const sent = this.#send(batch);
    const durable = Promise.all([sent, previous?.durable]).then(([position]) => {
      this.#durableLsn = position.lsn;
      if (batch.changes.size > 0) this.#applier.add(batch.changes, position);
      for (const waiter of batch.waiters) waiter.settle();
    });
    durable.catch((error: unknown) => {
      const dropped = new HoldfastError('HF_FENCED', 'dropped; try again', { cause: error });
      const isAcknowledged =
        this.#hooks.fault === 'ack-on-unknown' && errorCode(error) === 'HF_UNKNOWN_OUTCOME';
      for (const waiter of batch.waiters) {
        if (isAcknowledged) waiter.settle();
        else waiter.fail(waiter.hasWritten ? error : dropped);
      }
    });
    return { durable };
  }

  /** @throws HF_FENCED, HF_UNKNOWN_OUTCOME, or what else kept the log from appending. */
  async #send(batch: Batch): Promise<Applied> {
    const { log, cell } = this.#parts;
    const epoch = this.#epoch;
    if (batch.changes.size === 0) {
      const position = this.#sent;
      if (this.#hooks.fault === 'read-without-barrier') return position;
      if (!(await log.confirm(cell, epoch))) throw new HoldfastError('HF_FENCED');
      return position;
    }
    const bytes = encodeEntry(this.#sent, batch.changes.values());
    assert(bytes.length <= LIMITS.logEntryBytesMax, 'an entry keeps its limit');
    const position = appliedAfter(this.#sent, bytes, batch.digestDelta());
    this.#sent = position; // the next one in flight follows it
    const outcome = await log.append(cell, { epoch, lsn: position.lsn }, bytes);
    if (outcome === 'fenced') throw new HoldfastError('HF_FENCED');
    return position;
  }

  #onApplied(changes: ReadonlyMap<string, Change>): void {
    this.#cache.written(changes);
    this.#rows.forget(changes);
    this.#snapshotter.takeWhenDue();
  }

  /** Tells the callers of what was not sent, and forgets what is not in the database. */
  #drop(error: unknown): void {
    const dropped = new HoldfastError('HF_FENCED', 'dropped; try again', { cause: error });
    for (const waiter of this.#queue.flatMap(({ waiters }) => waiters)) waiter.fail(dropped);
    this.#queue = [];
    this.#rows.clear();
    this.#cache.clear();
    this.#applier.reset(this.#applier.applied);
    this.#hooks.onDropped?.();
    this.#parts.env.log.warn('a steward lost its cell', { cell: this.#parts.cell, error });
    if (this.#end) this.#hooks.onLost?.();
  }

  /** Seizes the cell, unless it serves already. @throws HF_CLOSED, HF_NOT_STEWARD. */
  async serve(): Promise<void> {
    if (this.#end) throw new HoldfastError(this.#end);
    await this.#draining;
    if (this.#isServing) return;
    if (this.#end) throw new HoldfastError(this.#end);
    this.#takingOver ??= this.#takeOver().finally(() => (this.#takingOver = undefined));
    await this.#takingOver;
  }

  async #takeOver(): Promise<void> {
    await this.#snapshotter.stop();
    try {
      const end = await this.#parts.log.seize(this.#parts.cell);
      const isDigestUnchecked = this.#hooks.fault === 'no-digest';
      const applied = await catchUpToEnd({ ...this.#parts, isDigestUnchecked }, end);
      assert(this.#queue.length === 0, 'nothing is decided before the rows are known');
      this.#epoch = end.epoch;
      this.#sent = applied;
      this.#durableLsn = applied.lsn;
      this.#cache.clear();
      this.#applier.reset(applied);
      if (this.#end) return;
      this.#isServing = true;
      this.#snapshotter.begin();
      this.#hooks.onServing?.(this.#rows, end.epoch);
    } catch (error) {
      if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
      // What waits for this has not been executed.
      const { cause } = error as Error;
      if (errorCode(cause) === 'HF_TOO_FEW_STORES') throw cause;
      throw new HoldfastError('HF_UNAVAILABLE', 'the cell could not be seized', { cause: error });
    }
  }
}

/** Failures that somebody else awaits. */
function ignored(): void {}

function attempt<Result>(work: () => Result): { result: Result } | { error: unknown } {
  try {
    return { result: work() };
  } catch (error) {
    if (errorCode(error) === undefined) throw error; // a bug, and no answer
    return { error };
  }
}

function withinEntry<Result>(rows: Overlay, operation: () => Result): Result {
  const result = operation();
  let bytes = ENTRY_OVERHEAD_BYTES;
  for (const change of rows.changes.values()) bytes += changeBytes(change);
  if (bytes > LIMITS.logEntryBytesMax) {
    throw new HoldfastError('HF_TOO_LARGE', `one operation writes ${bytes} bytes of rows`);
  }
  return result;
}
