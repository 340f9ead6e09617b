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
  appliedRow,
  changeBytes,
  encodeEntry,
  ENTRY_OVERHEAD_BYTES,
  NOTHING_APPLIED,
} from './entries.ts';
import { type Change, Overlay } from './overlay.ts';
import { catchUp } from './catch-up.ts';
import {
  isSnapshotDue,
  type KnownSnapshot,
  knownSnapshotRow,
  NO_SNAPSHOT,
  readKnownSnapshot,
  snapshotParts,
  type SnapshotSource,
} from './snapshot.ts';

export interface CellParts {
  readonly env: Env;
  readonly cell: CellId;
  /** Log and database stay the caller's: they are not closed here. */
  readonly log: FencedLog;
  readonly db: LocalDb;
}

/** Decides from the rows and writes rows; all or, when it throws, none. It must not wait. */
export type Operation<Result> = (rows: Overlay) => Result;

interface Waiter {
  readonly hasWritten: boolean;
  settle(): void;
  fail(error: unknown): void;
}

/** What goes into one entry; without changes a confirm is enough. */
class Batch {
  readonly changes = new Map<string, Change>();
  readonly waiters: Waiter[] = [];
  bytes = ENTRY_OVERHEAD_BYTES;
}

/**
 * Appends in flight at once: with one, the first of a crowd would travel alone and the rest wait.
 */
const FLIGHTS_MAX = 4;

const NO_CHANGES: ReadonlyMap<string, Change> = new Map();

/** A batch on its way. */
interface Flight {
  /** Its position, once this entry and those before it are in the log. */
  readonly durable: Promise<Applied>;
  /** Resolves when its changes are in the database. */
  readonly applied: Promise<void>;
}

export class Steward implements AsyncDisposable {
  readonly #parts: CellParts;
  readonly #rows: Overlay;
  /** Decided and not sent, oldest first. */
  #queue: Batch[] = [];
  /** Changes in the log that the database had no room for. */
  #backlog: ReadonlyMap<string, Change> = NO_CHANGES;
  #epoch = 0;
  /** After the last entry that was sent. */
  #sent: Applied = NOTHING_APPLIED;
  /** Number of the last entry known to be in the log. */
  #durableLsn = 0;
  /** After the last entry whose changes are in the database. */
  #applied: Applied = NOTHING_APPLIED;
  /** The newest snapshot, or the last attempt at one. */
  #snapshot: KnownSnapshot = NO_SNAPSHOT;
  #isServing = false;
  #isClosed = false;
  #takingOver: Promise<void> | undefined;
  #draining: Promise<void> | undefined;
  #arrival: PromiseWithResolvers<void> | undefined;
  #snapshotting: Promise<void> | undefined;

  private constructor(parts: CellParts) {
    this.#parts = parts;
    this.#rows = new Overlay(parts.db);
  }

  /** Seizes the cell and brings the database up to the log. */
  static async open(parts: CellParts): Promise<Steward> {
    const steward = new Steward(parts);
    await steward.#serve();
    return steward;
  }

  /**
   * Runs the operation and answers when it is durable.
   *
   * @throws what the operation throws; HF_FENCED when it was dropped, HF_UNKNOWN_OUTCOME when it
   *   may or may not have taken effect; HF_TOO_LARGE when it writes more than an entry holds.
   */
  async execute<Result>(operation: Operation<Result>): Promise<Result> {
    while (!this.#isServing) await this.#serve();
    const scratch = new Overlay(this.#rows);
    const outcome = attempt(() => withinEntry(scratch, operation));
    const changes = 'error' in outcome ? new Map<string, Change>() : scratch.changes;
    const batch = this.#admit(changes);
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

  /** Waits for what has been asked; nothing is asked afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#isServing = false;
    await this.#takingOver?.catch(() => undefined); // its callers are told
    await this.#draining;
    await this.#snapshotting;
  }

  /** Lays the changes over the rows and adds them to the entry that is being gathered. */
  #admit(changes: ReadonlyMap<string, Change>): Batch {
    let bytes = 0;
    for (const change of changes.values()) bytes += changeBytes(change);
    let batch = this.#queue.at(-1);
    if (!batch || batch.bytes + bytes > LIMITS.logEntryBytesMax) {
      batch = new Batch();
      this.#queue.push(batch);
    }
    batch.bytes += bytes;
    for (const [text, change] of changes) {
      this.#rows.set(change);
      batch.changes.set(text, change);
    }
    return batch;
  }

  /** Sends batch after batch until none is left. Never fails: the callers are told. */
  async #drain(): Promise<void> {
    const { clock } = this.#parts.env;
    const flights: Flight[] = [];
    try {
      while (this.#queue.length > 0 || flights.length > 0) {
        if (this.#queue.length > 0 && flights.length < FLIGHTS_MAX) {
          await clock.turn(); // whoever asks in the same turn joins the entry
          const batch = this.#queue.shift();
          if (!batch) continue;
          const flight = this.#launch(batch, flights.at(-1));
          flights.push(flight);
          flight.applied.then(() => void flights.shift(), ignored);
        } else {
          await this.#landingOrArrival(flights);
        }
      }
    } catch (error) {
      this.#isServing = false;
      await Promise.allSettled(flights.map(({ applied }) => applied));
      this.#drop(error);
    }
    this.#draining = undefined;
  }

  /** Waits until the oldest flight is over, or until there is more to send. */
  async #landingOrArrival(flights: readonly Flight[]): Promise<void> {
    const oldest = flights[0];
    assert(oldest, 'something is in flight');
    if (flights.length === FLIGHTS_MAX) return await oldest.applied;
    this.#arrival = Promise.withResolvers();
    await Promise.race([oldest.applied, this.#arrival.promise]);
  }

  /** Appends the batch behind those in flight; its callers hear once all of them are durable. */
  #launch(batch: Batch, previous: Flight | undefined): Flight {
    const sent = this.#send(batch);
    const durable = Promise.all([sent, previous?.durable]).then(([position]) => position);
    durable.then(
      ({ lsn }) => {
        this.#durableLsn = lsn;
        for (const waiter of batch.waiters) waiter.settle();
      },
      (error: unknown) => {
        const dropped = new HoldfastError('HF_FENCED', 'dropped; try again', { cause: error });
        for (const waiter of batch.waiters) waiter.fail(waiter.hasWritten ? error : dropped);
      },
    );
    return { durable, applied: this.#apply(batch, durable, previous?.applied) };
  }

  /** @throws HF_FENCED, HF_UNKNOWN_OUTCOME, or what else kept the log from appending. */
  async #send(batch: Batch): Promise<Applied> {
    const { log, cell } = this.#parts;
    const epoch = this.#epoch;
    if (batch.changes.size === 0) {
      const position = this.#sent;
      if (!(await log.confirm(cell, epoch))) throw new HoldfastError('HF_FENCED');
      return position;
    }
    const bytes = encodeEntry(this.#sent, batch.changes.values());
    assert(bytes.length <= LIMITS.logEntryBytesMax, 'an entry keeps its limit');
    const position = appliedAfter(this.#sent, bytes);
    this.#sent = position; // the next one in flight follows it
    const outcome = await log.append(cell, { epoch, lsn: position.lsn }, bytes);
    if (outcome === 'fenced') throw new HoldfastError('HF_FENCED');
    return position;
  }

  /** In the order of the entries. What cannot be applied is read from the log again. */
  async #apply(
    batch: Batch,
    durable: Promise<Applied>,
    previous: Promise<void> | undefined,
  ): Promise<void> {
    const position = await durable;
    await previous;
    if (batch.changes.size > 0) await this.#transact(batch, position);
    this.#snapshotWhenDue();
  }

  async #transact(batch: Batch, applied: Applied): Promise<void> {
    const changes = new Map([...this.#backlog, ...batch.changes]);
    const puts = [appliedRow(applied)];
    const deletes: Uint8Array[] = [];
    for (const { key, value } of changes.values()) {
      if (value) puts.push({ key, value });
      else deletes.push(key);
    }
    try {
      await this.#parts.db.transact({ puts, deletes });
    } catch (error) {
      if (errorCode(error) !== 'HF_NO_SPACE') throw error;
      // The log has them, and the overlay shows them: they go to the database when there is room.
      if (this.#backlog.size === 0) this.#parts.env.log.warn('the database is full', { error });
      this.#backlog = changes;
      return;
    }
    this.#backlog = NO_CHANGES;
    assert(applied.lsn > this.#applied.lsn, 'entries are applied in order');
    this.#applied = applied;
    this.#rows.forget(changes);
  }

  /** Tells the callers of what was not sent, and forgets what is not in the database. */
  #drop(error: unknown): void {
    const dropped = new HoldfastError('HF_FENCED', 'dropped; try again', { cause: error });
    for (const waiter of this.#queue.flatMap(({ waiters }) => waiters)) waiter.fail(dropped);
    this.#queue = [];
    this.#backlog = NO_CHANGES;
    this.#rows.clear();
    this.#parts.env.log.warn('a steward lost its cell', { cell: this.#parts.cell, error });
  }

  async #serve(): Promise<void> {
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED');
    await this.#draining;
    if (this.#isServing) return;
    this.#takingOver ??= this.#takeOver().finally(() => (this.#takingOver = undefined));
    await this.#takingOver;
  }

  async #takeOver(): Promise<void> {
    await this.#snapshotting; // it sees that nobody serves, and ends
    try {
      const { epoch, lsn } = await this.#parts.log.seize(this.#parts.cell);
      const applied = await catchUp(this.#parts, lsn);
      assert(this.#queue.length === 0, 'nothing is decided before the rows are known');
      this.#epoch = epoch;
      this.#sent = applied;
      this.#durableLsn = applied.lsn;
      this.#applied = applied;
      this.#snapshot = readKnownSnapshot(this.#parts.db);
      this.#isServing = !this.#isClosed;
    } catch (error) {
      if (errorCode(error) !== 'HF_UNKNOWN_OUTCOME') throw error;
      // What waits for this has not been executed.
      const { cause } = error as Error;
      if (errorCode(cause) === 'HF_TOO_FEW_STORES') throw cause;
      throw new HoldfastError('HF_UNAVAILABLE', 'the cell could not be seized', { cause: error });
    }
  }

  #snapshotWhenDue(): void {
    if (this.#snapshotting || !this.#isServing) return;
    if (!isSnapshotDue(this.#applied, this.#snapshot)) return;
    this.#snapshotting = this.#takeSnapshot().finally(() => (this.#snapshotting = undefined));
  }

  /** Never fails: what was not made is tried again when the log has grown as much again. */
  async #takeSnapshot(): Promise<void> {
    const { env, cell, log, db } = this.#parts;
    const epoch = this.#epoch;
    const applied = this.#applied;
    const { lsn, logBytes } = applied;
    const source: SnapshotSource = {
      applied,
      newestLsn: () => {
        if (!this.#isServing || this.#epoch !== epoch) throw new HoldfastError('HF_FENCED');
        return this.#durableLsn;
      },
      pause: () => env.clock.sleep(0),
    };
    let snapshotBytes = 0;
    async function* counted(): AsyncGenerator<Uint8Array> {
      for await (const part of snapshotParts(db, source)) {
        snapshotBytes += part.length;
        yield part;
      }
    }
    this.#snapshot = { ...this.#snapshot, atLogBytes: logBytes };
    try {
      await log.saveSnapshot(cell, { epoch, lsn }, counted());
      this.#snapshot = { atLogBytes: logBytes, snapshotBytes };
      await db.transact({ puts: [knownSnapshotRow(this.#snapshot)], deletes: [] });
      await log.trim(cell, lsn);
    } catch (error) {
      env.log.warn('a snapshot was not made', { cell, error });
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

function withinEntry<Result>(rows: Overlay, operation: Operation<Result>): Result {
  const result = operation(rows);
  let bytes = ENTRY_OVERHEAD_BYTES;
  for (const change of rows.changes.values()) bytes += changeBytes(change);
  if (bytes > LIMITS.logEntryBytesMax) {
    throw new HoldfastError('HF_TOO_LARGE', `one operation writes ${bytes} bytes of rows`);
  }
  return result;
}
