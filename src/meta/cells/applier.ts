/**
 * Brings what is in the log into a steward's database, behind its back: entries that become durable
 * while a transaction is under way go together in the next one, each row once.
 *
 * Invariants: entries are applied in order, none in part; rows that are not in the database yet are
 * in the overlay above it. A database without room loses nothing: what it did not take waits.
 */
import { assert, errorCode, MiB, Mutex } from '../../base/index.ts';
import type { LocalDb } from '../../db/index.ts';
import type { Env } from '../../env/index.ts';
import { type Applied, appliedRow, NOTHING_APPLIED } from './entries.ts';
import type { Change } from './overlay.ts';

type ChangesByKey = ReadonlyMap<string, Change>;

/** Bytes of entries that wait for their transaction before no more are appended. */
const WAITING_BYTES_MAX = 1 * MiB;

export class Applier {
  readonly #db: LocalDb;
  readonly #log: Env['log'];
  readonly #onApplied: (changes: ChangesByKey) => void;
  /** After the last entry whose changes are in the database. */
  #applied: Applied = NOTHING_APPLIED;
  /** After the last one that a transaction was begun for. */
  #begun: Applied = NOTHING_APPLIED;
  /** After the last one that was added. */
  #added: Applied = NOTHING_APPLIED;
  #waiting = new Map<string, Change>();
  #isFull = false;
  #running: Promise<void> | undefined;
  /** Held while somebody looks at all rows of the database. */
  readonly #transacting = new Mutex();

  /** @param onApplied the changes are in the database. */
  constructor(
    { db, env }: { readonly db: LocalDb; readonly env: Env },
    onApplied: (changes: ChangesByKey) => void,
  ) {
    this.#db = db;
    this.#log = env.log;
    this.#onApplied = onApplied;
  }

  get applied(): Applied {
    return this.#applied;
  }

  /** There is so much to do that no more should come. */
  get isBehind(): boolean {
    return this.#added.logBytes - this.#begun.logBytes > WAITING_BYTES_MAX;
  }

  /** Of the transactions under way, if any are; rejects with what the database failed with. */
  get running(): Promise<void> | undefined {
    return this.#running;
  }

  /** Goes on from here; what waits is dropped. Nothing is under way. */
  reset(applied: Applied): void {
    this.#running = undefined;
    this.#waiting = new Map();
    this.#isFull = false;
    this.#applied = applied;
    this.#begun = applied;
    this.#added = applied;
  }

  /** The next entry is in the log. */
  add(changes: ChangesByKey, applied: Applied): void {
    assert(applied.lsn === this.#added.lsn + 1, 'entries are applied in order');
    for (const [text, change] of changes) this.#waiting.set(text, change);
    this.#added = applied;
    if (this.#running) return;
    this.#running = this.#run();
    this.#running.catch(ignored); // whoever adds looks at it
  }

  /** Runs `work` while the database stands still. */
  async exclusively(work: () => Promise<void>): Promise<void> {
    await this.#transacting.run(work);
  }

  /** After a failure it stays as it is until it is reset. */
  async #run(): Promise<void> {
    while (this.#added.lsn > this.#begun.lsn) {
      await this.#transacting.run(() => this.#transact());
    }
    this.#running = undefined;
  }

  async #transact(): Promise<void> {
    const changes = this.#waiting;
    const applied = this.#added;
    this.#waiting = new Map();
    this.#begun = applied;
    const puts = [appliedRow(applied)];
    const deletes: Uint8Array[] = [];
    for (const { key, value } of changes.values()) {
      if (value) puts.push({ key, value });
      else deletes.push(key);
    }
    try {
      await this.#db.transact({ puts, deletes });
    } catch (error) {
      if (errorCode(error) !== 'HF_NO_SPACE') throw error;
      // The log has them, and the overlay shows them: they go to the database when there is room.
      if (!this.#isFull) this.#log.warn('the database is full', { error });
      this.#isFull = true;
      this.#waiting = new Map([...changes, ...this.#waiting]);
      return;
    }
    this.#isFull = false;
    this.#applied = applied;
    this.#onApplied(changes);
  }
}

/** Failures that somebody else awaits. */
function ignored(): void {}
