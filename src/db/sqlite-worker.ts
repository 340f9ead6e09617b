/**
 * The thread that writes: one SQLite transaction for each group of ours. Runs as a module of its
 * own and opens the file when it is told to, so that a failure has a caller to go to.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { assert } from '../base/index.ts';
import { serveRequests } from '../env/index.ts';
import { decodeSteps } from './sqlite-group.ts';
import { openWriter, type SqliteFile, withSqliteErrors } from './sqlite-file.ts';

/** Bytes are a group of transactions (sqlite-group.ts). */
export type WriterRequest = 'open' | 'write log back' | 'close' | Uint8Array;

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

serveRequests<WriterRequest, void>((data) => {
  const file = data as SqliteFile;
  let writer: Writer | undefined;
  return (request) =>
    withSqliteErrors(file.path, () => {
      if (request === 'open') {
        writer = new Writer(file);
        return;
      }
      assert(writer, 'the first request opens the file');
      if (request === 'write log back') writer.writeLogBack();
      else if (request === 'close') writer.close();
      else writer.commit(request);
    });
});
