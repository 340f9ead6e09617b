/**
 * What is known of an archive besides its files, in one SQLite file of the data directory:
 *
 *     S/<scheme>/<store>  the id of the store that was there
 *     F/<scheme>/<path>   a file: its digest, and the digest of each of its shares
 *     M/<scheme>          a move under way
 *
 * Nothing in it is needed to restore a file. With it, a share is checked without any other, a store
 * is told from another with the same name, and a move that was interrupted is finished.
 * Layout: docs/formats/archive-catalogue.md.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { fromUtf8, HoldfastError, utf8 } from '../base/index.ts';
import { type LocalDb, SqliteDb, SqliteThread } from '../db/index.ts';

export const CATALOGUE_FILE = 'archive.db';

export interface ShareRecord {
  readonly size: number;
  /** SHA-256 of the whole share file, hexadecimal. */
  readonly digest: string;
}

export interface FileRecord {
  readonly size: number;
  /** SHA-256 of the file, hexadecimal. */
  readonly digest: string;
  /** Of the replica that was split: while it stays, the file need not be read to know it. */
  readonly mtimeNs: string;
  readonly quorum: number;
  readonly width: number;
  readonly isSealed: boolean;
  /** Of plain shares: the points of their matrix, so that they can be made again. */
  readonly points?: readonly number[];
  /** By share number; empty while they are being made. */
  readonly shares: readonly ShareRecord[];
  /** Whether `commit` removed the last replica: the shares are the file. */
  readonly isCommitted: boolean;
  /** The master store within which a drive was mounted that had the replica. */
  readonly mountedIn?: string;
}

export interface MoveRecord {
  readonly from: string;
  readonly to: string;
}

/** Rows that are read at once. */
const PAGE_ROWS = 256;

export class Catalogue implements AsyncDisposable {
  readonly #db: LocalDb;
  /** What is closed with it, after the database. */
  readonly #thread: AsyncDisposable | undefined;

  /** Over any database; it is closed with the catalogue. */
  constructor(db: LocalDb, thread?: AsyncDisposable) {
    this.#db = db;
    this.#thread = thread;
  }

  /** Commits survive a loss of power. */
  static async open(dataPath: string): Promise<Catalogue> {
    await fs.mkdir(dataPath, { recursive: true, mode: 0o700 });
    const thread = new SqliteThread();
    try {
      const file = path.join(dataPath, CATALOGUE_FILE);
      return new Catalogue(await SqliteDb.open({ path: file, thread, isDurable: true }), thread);
    } catch (error) {
      await thread[Symbol.asyncDispose]();
      throw error;
    }
  }

  storeId(scheme: string, store: string): string | undefined {
    return this.#get<{ id: string }>(keyOf('S', scheme, store))?.id;
  }

  async putStoreId(scheme: string, store: string, id: string): Promise<void> {
    await this.#put(keyOf('S', scheme, store), { id });
  }

  /** Stores of a scheme that were there once. */
  storeNames(scheme: string): string[] {
    const from = keyOf('S', scheme, '');
    const rows = this.#db.range({ from, to: Buffer.concat([from, Buffer.of(0xff)]) });
    return rows.map(({ key }) => fromUtf8(key.subarray(from.length)));
  }

  async removeStore(scheme: string, store: string): Promise<void> {
    await this.#db.transact({ puts: [], deletes: [keyOf('S', scheme, store)] });
  }

  file(scheme: string, name: string): FileRecord | undefined {
    return this.#get<FileRecord>(keyOf('F', scheme, name));
  }

  async putFile(scheme: string, name: string, record: FileRecord): Promise<void> {
    await this.#put(keyOf('F', scheme, name), record);
  }

  async removeFile(scheme: string, name: string): Promise<void> {
    await this.#db.transact({ puts: [], deletes: [keyOf('F', scheme, name)] });
  }

  /** Files whose path is `name` or lies below it, in the order of their bytes. */
  *files(scheme: string, name: string): Generator<[name: string, record: FileRecord]> {
    const start = keyOf('F', scheme, '');
    let from = keyOf('F', scheme, name);
    const to = Buffer.concat([from, Buffer.of(0xff)]);
    for (;;) {
      const rows = this.#db.range({ from, to, limit: PAGE_ROWS });
      for (const { key, value } of rows) {
        const found = fromUtf8(key.subarray(start.length));
        const isIn = name === '' || found === name || found.startsWith(`${name}/`);
        if (isIn) yield [found, decode<FileRecord>(value)];
      }
      if (rows.length < PAGE_ROWS) return;
      from = Buffer.concat([rows.at(-1)!.key, Buffer.of(0)]);
    }
  }

  move(scheme: string): MoveRecord | undefined {
    return this.#get<MoveRecord>(keyOf('M', scheme));
  }

  async beginMove(scheme: string, move: MoveRecord): Promise<void> {
    await this.#put(keyOf('M', scheme), move);
  }

  /** The files of the catalogue move with it, and the move is over, at once. */
  async endMove(scheme: string, { from, to }: MoveRecord): Promise<void> {
    const moved = [...this.files(scheme, from)];
    await this.#db.transact({
      deletes: [keyOf('M', scheme), ...moved.map(([name]) => keyOf('F', scheme, name))],
      puts: moved.map(([name, record]) => ({
        key: keyOf('F', scheme, to + name.slice(from.length)),
        value: encode(record),
      })),
    });
  }

  #get<Value>(key: Uint8Array): Value | undefined {
    const bytes = this.#db.get(key);
    return bytes && decode<Value>(bytes);
  }

  async #put(key: Uint8Array, value: unknown): Promise<void> {
    await this.#db.transact({ puts: [{ key, value: encode(value) }], deletes: [] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#db[Symbol.asyncDispose]();
    await this.#thread?.[Symbol.asyncDispose]();
  }
}

function keyOf(...parts: readonly string[]): Uint8Array {
  return utf8(parts.join('/'));
}

function encode(value: unknown): Uint8Array {
  return utf8(JSON.stringify(value));
}

function decode<Value>(bytes: Uint8Array): Value {
  try {
    return JSON.parse(fromUtf8(bytes)) as Value;
  } catch (cause) {
    throw new HoldfastError('HF_CORRUPT', 'a row of the catalogue cannot be read', { cause });
  }
}
