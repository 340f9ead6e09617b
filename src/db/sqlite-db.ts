/**
 * The SQLite engine: commits in a worker thread, reads here.
 *
 * Invariants:
 * 1. At most one group is on its way to the writer; all transactions called meanwhile are the next.
 * 2. Reads come from a snapshot of SQLite's that moves only when a group is acknowledged. So a
 *    caller that reads without waiting sees one state, and never a part of a commit.
 * 3. The snapshot keeps SQLite from writing its log back to the file. Once the log has grown, the
 *    snapshot is let go, with no group on its way, until the log is written back.
 *
 * Figures: docs/design/0001 (SQLite against LMDB; why a thread).
 */
import { chmodSync, closeSync, openSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { assert, errorMessage, HoldfastError } from '../base/index.ts';
import { siblingModule, WorkerPool } from '../env/index.ts';
import type { Changes, LocalDb, RangeOptions, Row } from './local-db.ts';
import {
  checkedRow,
  openReader,
  PAGE_BYTES,
  type SqliteFile,
  type StoredRow,
  withSqliteErrors,
} from './sqlite-file.ts';
import { encodeGroup } from './sqlite-group.ts';
import type { WriterRequest } from './sqlite-worker.ts';

export interface SqliteDbOptions {
  readonly path: string;
  /** Where commits happen; stays the caller's. */
  readonly thread: SqliteThread;
  /** A commit survives a power cut. Without it, only the end of the process. */
  readonly isDurable?: boolean;
  /** Size of the file; a transaction that would pass it is HF_NO_SPACE. */
  readonly bytesMax?: number;
}

/** Pages that may have changed since the log was written back, before it is again (16 MiB). */
const LOG_PAGES_MAX = 4096;

const OWNER_ONLY = 0o600;

interface Waiting {
  readonly changes: Changes;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Statements {
  readonly get: StatementSync;
  readonly ascend: StatementSync;
  readonly descend: StatementSync;
}

function prepareStatements(reader: DatabaseSync): Statements {
  // A checksum covers key and value, so they come as one array; a row of arrays is the cheapest.
  const row = 'length(k), CAST(k || v AS BLOB)';
  const inRange = `SELECT ${row} FROM kv WHERE k >= ? AND k < ? ORDER BY k`;
  const statements = {
    get: reader.prepare(`SELECT ${row} FROM kv WHERE k = ?`),
    ascend: reader.prepare(`${inRange} LIMIT ?`),
    descend: reader.prepare(`${inRange} DESC LIMIT ?`),
  };
  for (const statement of Object.values(statements)) statement.setReturnArrays(true);
  return statements;
}

/**
 * A thread that writes; any number of databases may share it. Who opens it, closes it after them.
 */
export class SqliteThread implements AsyncDisposable {
  readonly #pool: WorkerPool<WriterRequest, void>;

  constructor() {
    const module = siblingModule(import.meta.url, './sqlite-worker');
    this.#pool = new WorkerPool({ module, workerCount: 1 });
  }

  async call(file: SqliteFile, what: WriterRequest['what']): Promise<void> {
    const group = what instanceof Uint8Array ? [what.buffer as ArrayBuffer] : [];
    await this.#pool.call({ file, what }, group);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }
}

export class SqliteDb implements LocalDb {
  readonly #file: SqliteFile;
  readonly #thread: SqliteThread;
  readonly #reader: DatabaseSync;
  readonly #statements: Statements;
  #waiting: Waiting[] = [];
  #committing: Promise<void> | undefined;
  #changedPages = 0;
  #isClosed = false;

  private constructor(file: SqliteFile, thread: SqliteThread, reader: DatabaseSync) {
    this.#file = file;
    this.#thread = thread;
    this.#reader = reader;
    this.#statements = prepareStatements(reader);
  }

  /**
   * Opens the file, or makes it, readable by its owner only.
   * @throws HF_CORRUPT when the file is no database, HF_NOT_OURS when another program's, HF_IO.
   */
  static async open(options: SqliteDbOptions): Promise<SqliteDb> {
    const { path, thread, isDurable = false, bytesMax } = options;
    makePrivate(path);
    const file: SqliteFile = { path, isDurable, bytesMax };
    await thread.call(file, 'open');
    try {
      return withSqliteErrors(path, () => {
        const db = new SqliteDb(file, thread, openReader(path));
        db.#takeSnapshot();
        return db;
      });
    } catch (error) {
      await thread.call(file, 'close');
      throw error;
    }
  }

  #read<Result>(work: () => Result): Result {
    if (this.#isClosed)
      throw new HoldfastError('HF_CLOSED', `database ${this.#file.path} is closed`);
    return withSqliteErrors(this.#file.path, work);
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const row = this.#read(() => this.#statements.get.get(key));
    return row && checkedRow(row as unknown as StoredRow).value;
  }

  range({ from, to, limit = -1, isReverse = false }: RangeOptions): Row[] {
    const statement = isReverse ? this.#statements.descend : this.#statements.ascend;
    const rows = this.#read(() => statement.all(from, to, limit));
    return (rows as unknown as StoredRow[]).map(checkedRow);
  }

  async transact(changes: Changes): Promise<void> {
    if (this.#isClosed)
      throw new HoldfastError('HF_CLOSED', `database ${this.#file.path} is closed`);
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ changes, resolve, reject });
      this.#committing ??= this.#commitWaiting();
    });
  }

  async #commitWaiting(): Promise<void> {
    await Promise.resolve(); // whoever calls in the same turn joins the group
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0);
      try {
        await this.#commit(group.map(({ changes }) => changes));
        for (const { resolve } of group) resolve();
      } catch (error) {
        for (const { reject } of [...group, ...this.#waiting.splice(0)]) reject(error);
      }
    }
    this.#committing = undefined;
  }

  async #commit(group: readonly Changes[]): Promise<void> {
    if (this.#changedPages > LOG_PAGES_MAX) await this.#writeLogBack();
    const encoded = encodeGroup(group);
    for (const { puts, deletes } of group) this.#changedPages += puts.length + deletes.length;
    this.#changedPages += Math.ceil(encoded.length / PAGE_BYTES);
    await this.#thread.call(this.#file, encoded);
    this.#dropSnapshot();
    this.#takeSnapshot();
  }

  async #writeLogBack(): Promise<void> {
    this.#dropSnapshot();
    try {
      await this.#thread.call(this.#file, 'write log back');
      this.#changedPages = 0;
    } finally {
      this.#takeSnapshot();
    }
  }

  #takeSnapshot(): void {
    assert(!this.#reader.isTransaction, 'the snapshot before was dropped');
    this.#reader.exec('BEGIN; SELECT 1 FROM kv LIMIT 1'); // BEGIN alone waits for the first read
  }

  #dropSnapshot(): void {
    if (this.#reader.isTransaction) this.#reader.exec('COMMIT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#committing) await this.#committing;
    this.#reader.close();
    await this.#thread.call(this.#file, 'close');
  }
}

/** SQLite gives the files beside it the same mode. */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'a', OWNER_ONLY));
    chmodSync(path, OWNER_ONLY);
  } catch (error) {
    throw new HoldfastError('HF_IO', `database ${path}: ${errorMessage(error)}`, { cause: error });
  }
}
