/**
 * A {@link LocalDb} in memory, for tests and the simulator: it commits in groups as the SQLite
 * engine does, takes its time if asked, runs out of space, and forgets in a crash what was not
 * committed.
 *
 * The rows outlive a handle: {@link MemoryDb.crash} ends one and returns the next process's.
 */
import { assert, compareBytes, HoldfastError, toHex } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import type { Changes, LocalDb, RangeOptions, Row } from './local-db.ts';
import { SortedRows } from './sorted-rows.ts';

/** Read at each commit, so that a simulation may change them as it runs. */
export interface MemoryDbOptions {
  /** Needed where `commitDelayMs` is given. */
  readonly clock?: Clock;
  /** How long the next group commit takes. */
  readonly commitDelayMs?: () => number;
  /** Keys and values together; a transaction that would pass it is HF_NO_SPACE. */
  readonly bytesMax?: number;
}

/** What becomes of a key: its new row, or none. */
interface Change {
  readonly key: Uint8Array;
  readonly row: Row | undefined;
}

interface Waiting {
  readonly changes: readonly Change[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

function copyRow({ key, value }: Row): Row {
  return { key: new Uint8Array(key), value: new Uint8Array(value) };
}

function rowBytes(row: Row | undefined): number {
  return row ? row.key.length + row.value.length : 0;
}

/** One change for each key, copied; a put wins over a delete and over earlier puts. */
function finalChanges({ puts, deletes }: Changes): Change[] {
  const changes = new Map<string, Change>();
  for (const key of deletes) changes.set(toHex(key), { key: new Uint8Array(key), row: undefined });
  for (const row of puts) changes.set(toHex(row.key), { key: row.key, row: copyRow(row) });
  return [...changes.values()];
}

export class MemoryDb implements LocalDb {
  readonly #options: MemoryDbOptions;
  #rows = new SortedRows();
  #bytes = 0;
  #waiting: Waiting[] = [];
  #committing: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: MemoryDbOptions = {}) {
    assert(options.clock || !options.commitDelayMs, 'a delay has a clock');
    this.#options = options;
  }

  /** Ends this handle as a crash would. @returns the next process's, with the options given. */
  crash(options: MemoryDbOptions = this.#options): MemoryDb {
    const next = new MemoryDb(options);
    next.#rows = this.#rows;
    next.#bytes = this.#bytes;
    this.#rows = new SortedRows();
    this.#isClosed = true;
    this.#failWaiting(new HoldfastError('HF_CLOSED', 'the process has crashed'));
    return next;
  }

  #throwIfClosed(): void {
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED', 'the database is closed');
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#throwIfClosed();
    const row = this.#rows.get(key);
    return row && new Uint8Array(row.value);
  }

  range({ from, to, limit = Infinity, isReverse = false }: RangeOptions): Row[] {
    this.#throwIfClosed();
    const found: Row[] = [];
    for (const row of isReverse ? this.#rows.descend(to) : this.#rows.ascend(from)) {
      if (compareBytes(row.key, from) < 0 || compareBytes(row.key, to) >= 0) break;
      if (found.length >= limit) break;
      found.push(copyRow(row));
    }
    return found;
  }

  async transact(changes: Changes): Promise<void> {
    this.#throwIfClosed();
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ changes: finalChanges(changes), resolve, reject });
      this.#committing ??= this.#commitWaiting();
    });
  }

  async #commitWaiting(): Promise<void> {
    await Promise.resolve(); // whoever calls in the same turn joins the group
    while (this.#waiting.length > 0) {
      const groupCount = this.#waiting.length;
      const { clock, commitDelayMs } = this.#options;
      if (clock && commitDelayMs) await clock.sleep(commitDelayMs());
      for (const { changes, resolve } of this.#waiting.slice(0, groupCount)) {
        if (!this.#tryApply(changes)) {
          this.#failWaiting(new HoldfastError('HF_NO_SPACE', 'the database is full'));
          break;
        }
        this.#waiting.shift();
        resolve();
      }
    }
    this.#committing = undefined;
  }

  #tryApply(changes: readonly Change[]): boolean {
    const growth = changes.reduce(
      (sum, { key, row }) => sum + rowBytes(row) - rowBytes(this.#rows.get(key)),
      0,
    );
    const bytesMax = this.#options.bytesMax ?? Infinity;
    if (growth > 0 && this.#bytes + growth > bytesMax) return false;
    this.#bytes += growth;
    for (const { key, row } of changes) {
      if (row) this.#rows.put(row);
      else this.#rows.delete(key);
    }
    return true;
  }

  #failWaiting(error: HoldfastError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#committing) await this.#committing;
    this.#isClosed = true;
  }
}
