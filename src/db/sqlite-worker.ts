/**
 * The thread that writes: one SQLite transaction for each group of ours. Runs as a module of its
 * own, serves several databases, and opens a file when it is told to, so that a failure has a
 * caller to go to.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { assert } from '../base/index.ts';
import { serveRequests } from '../env/index.ts';
import { decodeSteps } from './sqlite-group.ts';
import { openWriter, type SqliteFile, withSqliteErrors } from './sqlite-file.ts';

export interface WriterRequest {
  /** Which database: its path. */
  readonly file: SqliteFile;
  /** Bytes are a group of transactions (sqlite-group.ts). */
  readonly what: 'open' | 'write log back' | 'close' | Uint8Array;
}

class Writer {
  readonly #database: DatabaseSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;

  constructor(file: SqliteFile) {
    this.#database = openWriter(file);
    this.#put = this.#database.prepare('INSERT OR REPLACE INTO kv (k, v) VALUES (?, ?)');
    this.#delete = this.#database.prepare('DELETE FROM kv WHERE k = ?');
  }

  commit(group: Uint8Array): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const { key, stored } of decodeSteps(group)) {
        if (stored) this.#put.run(key, stored);
        else this.#delete.run(key);
      }
      this.#database.exec('COMMIT');
    } catch (error) {
      // SQLite has ended it itself where the file was full.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  writeLogBack(): void {
    this.#database.exec('PRAGMA wal_checkpoint(PASSIVE)');
  }

  close(): void {
    this.#database.close();
  }
}

serveRequests<WriterRequest, void>(() => {
  const writers = new Map<string, Writer>();
  return ({ file, what }) =>
    withSqliteErrors(file.path, () => {
      if (what === 'open') {
        writers.set(file.path, new Writer(file));
        return;
      }
      const writer = writers.get(file.path);
      assert(writer, 'the first request opens the file');
      if (what === 'write log back') writer.writeLogBack();
      else if (what === 'close') {
        writer.close();
        writers.delete(file.path);
      } else writer.commit(what);
    });
});
