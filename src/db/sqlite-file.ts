/**
 * What both ends of the SQLite engine agree on: the file, its one table, and how SQLite's errors
 * are ours.
 *
 *     kv(k, v): v = value ‖ XXH64 over key ‖ value (u64 LE)
 */
import { DatabaseSync } from 'node:sqlite';
import {
  asBuffer,
  errorMessage,
  type ErrorCode,
  HoldfastError,
  toHex,
  xxh64,
} from '../base/index.ts';
import type { Row } from './local-db.ts';

export interface SqliteFile {
  readonly path: string;
  /** A commit survives a power cut, at the price of a flush. */
  readonly isDurable: boolean;
  /** Size of the file without its write-ahead log; whole pages. */
  readonly bytesMax: number | undefined;
}

export const CHECKSUM_BYTES = 8;
export const PAGE_BYTES = 4096;

/** "HFDB" in SQLite's header says that the file is ours. */
const APPLICATION_ID = 0x48464442;
const FORMAT_VERSION = 1;
/** Reader and writer wait for each other only while one of them opens or closes the file. */
const LOCK_WAIT_MS = 5000;
const CACHE_KIB = 16 * 1024;

/** Result codes of SQLite with a code of ours; all others are HF_IO. sqlite.org/rescode.html */
const ERROR_CODE_OF: Readonly<Record<number, ErrorCode>> = {
  5: 'HF_BUSY', // SQLITE_BUSY
  11: 'HF_CORRUPT', // SQLITE_CORRUPT
  13: 'HF_NO_SPACE', // SQLITE_FULL
  26: 'HF_CORRUPT', // SQLITE_NOTADB
};

/** Runs `work`; what SQLite throws is thrown as an error of ours. */
export function withSqliteErrors<Result>(path: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    const { errcode } = error as { errcode?: unknown };
    if (typeof errcode !== 'number') throw error;
    const code = ERROR_CODE_OF[errcode & 0xff] ?? 'HF_IO'; // the upper bits say more than we need
    throw new HoldfastError(code, `database ${path}: ${errorMessage(error)}`, { cause: error });
  }
}

/**
 * The writer's connection; makes the table in a file that has none.
 * @throws HF_NOT_OURS, HF_CORRUPT.
 */
export function openWriter({ path, isDurable, bytesMax }: SqliteFile): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: LOCK_WAIT_MS });
  try {
    const { count } = database.prepare('SELECT count(*) AS count FROM sqlite_schema').get() ?? {};
    if (count !== 0) checkFormat(database, path);
    // The reader holds on to the log; SqliteDb says when the log may be written back.
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA wal_autocheckpoint = 0;
      PRAGMA synchronous = ${isDurable ? 'FULL' : 'NORMAL'};
      PRAGMA cache_size = -${CACHE_KIB};
    `);
    if (count === 0) {
      database.exec(`
        BEGIN;
        PRAGMA application_id = ${APPLICATION_ID};
        PRAGMA user_version = ${FORMAT_VERSION};
        CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;
        COMMIT;
      `);
    }
    if (bytesMax !== undefined) {
      database.exec(`PRAGMA max_page_count = ${Math.floor(bytesMax / PAGE_BYTES)}`);
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function checkFormat(database: DatabaseSync, path: string): void {
  const applicationId = database.prepare('PRAGMA application_id').get()?.['application_id'];
  const version = database.prepare('PRAGMA user_version').get()?.['user_version'];
  if (applicationId !== APPLICATION_ID || version !== FORMAT_VERSION) {
    const message = `${path} is a database, but not one of Holdfast's (format ${FORMAT_VERSION})`;
    throw new HoldfastError('HF_NOT_OURS', message);
  }
}

export function openReader(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { readOnly: true, timeout: LOCK_WAIT_MS });
  database.exec(`PRAGMA cache_size = -${CACHE_KIB}`);
  return database;
}

/** Fills in the checksum. @param row key ‖ value ‖ eight bytes of room. */
export function writeChecksum(row: Uint8Array): void {
  const end = row.length - CHECKSUM_BYTES;
  asBuffer(row).writeBigUInt64LE(xxh64(row.subarray(0, end)), end);
}

/** How a reader asks for a row: the length of its key, and key ‖ value ‖ checksum. */
export type StoredRow = readonly [keyBytes: number, bytes: Uint8Array];

/** The row as it was put. @throws HF_CORRUPT when key, value, checksum disagree. */
export function checkedRow([keyBytes, bytes]: StoredRow): Row {
  const end = bytes.length - CHECKSUM_BYTES;
  const key = bytes.subarray(0, keyBytes);
  const isRight =
    end >= keyBytes && xxh64(bytes.subarray(0, end)) === asBuffer(bytes).readBigUInt64LE(end);
  if (!isRight) {
    const message = `a row of the database does not match its checksum (key ${toHex(key)})`;
    throw new HoldfastError('HF_CORRUPT', message);
  }
  return { key, value: bytes.subarray(keyBytes, end) };
}
