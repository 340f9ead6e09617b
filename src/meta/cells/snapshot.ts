/**
 * Snapshots of a cell: all its rows, so that the log before them can go. They are taken while the
 * steward works: rows are read page by page as they are by then, and the entries since the start
 * are applied on top of them. Entries are physical, so what is applied twice does no harm. A
 * snapshot is *extended* by the entries that follow it, which is cheaper than a new one.
 *
 * Invariant: a database has an applied row only when its rows are those of a snapshot whose loading
 * was finished, or grew from nothing, plus entries without a gap.
 */
import { ByteReader, ByteWriter, HoldfastError, LIMITS } from '../../base/index.ts';
import type { LocalDb, Row } from '../../db/index.ts';
import type { LogEntry, Lsn, Snapshot } from '../../log/index.ts';
import { type ApplyOptions, entryChanges } from './apply.ts';
import {
  type Applied,
  appliedRow,
  decodeSnapshotPart,
  digestOfRows,
  encodeSnapshotEntries,
  encodeSnapshotHead,
  encodeSnapshotRows,
  encodeSnapshotTail,
  rowDigest,
  type SnapshotTail,
  type StoredApplied,
} from './entries.ts';
import { APPLIED_KEY, keyAfter, LOCAL_SLOT, SNAPSHOT_KEY } from './rows.ts';

const PAGE_ROWS = 500;
const ALL_KEYS_TO: Uint8Array = new Uint8Array([0xff, 0xff, 0xff]);
const CELL_KEYS_TO: Uint8Array = new Uint8Array([LOCAL_SLOT >> 8, LOCAL_SLOT & 0xff]);

export interface SnapshotSource {
  /** What is applied when the reading begins. */
  readonly applied: Applied;
  /**
   * The last entry of which a row may have been seen by now.
   * @throws when the rows are no longer the steward's, which ends the snapshot.
   */
  newestLsn(): Lsn;
  /** Lets others work; awaited between pages. */
  pause(): Promise<void>;
}

/** The parts of a snapshot of the rows, about LIMITS.logEntryBytesMax each. */
export async function* snapshotParts(
  db: Pick<LocalDb, 'range'>,
  source: SnapshotSource,
): AsyncGenerator<Uint8Array> {
  yield encodeSnapshotHead(source.applied);
  let rowCount = 0;
  let digest = 0n;
  let part: Row[] = [];
  let partBytes = 0;
  for (let from: Uint8Array = new Uint8Array(); ;) {
    const page = db.range({ from, to: CELL_KEYS_TO, limit: PAGE_ROWS });
    for (const row of page) {
      rowCount += 1;
      digest = BigInt.asUintN(64, digest + rowDigest(row));
      part.push(row);
      partBytes += row.key.length + row.value.length + 8;
      if (partBytes < LIMITS.logEntryBytesMax) continue;
      yield encodeSnapshotRows(part);
      part = [];
      partBytes = 0;
    }
    const last = page.at(-1);
    if (!last) break;
    from = keyAfter(last.key);
    await source.pause();
    source.newestLsn();
  }
  if (part.length > 0) yield encodeSnapshotRows(part);
  yield encodeSnapshotTail({ consistentFrom: source.newestLsn(), rowCount, digest });
}

/** Empties the database; the applied row goes first. */
export async function clearRows(db: LocalDb): Promise<void> {
  await db.transact({ puts: [], deletes: [APPLIED_KEY] });
  for (;;) {
    const page = db.range({ from: new Uint8Array(), to: ALL_KEYS_TO, limit: PAGE_ROWS });
    if (page.length === 0) return;
    await db.transact({ puts: [], deletes: page.map(({ key }) => key) });
  }
}

/** The digest of the rows as they are; pauses between pages. */
export async function digestOfDatabase(db: LocalDb, pause: () => Promise<void>): Promise<bigint> {
  let digest = 0n;
  for (let from: Uint8Array = new Uint8Array(); ;) {
    const page = db.range({ from, to: CELL_KEYS_TO, limit: PAGE_ROWS });
    const last = page.at(-1);
    if (!last) return digest;
    digest = BigInt.asUintN(64, digest + digestOfRows(page));
    from = keyAfter(last.key);
    await pause();
  }
}

/** Entries as parts that extend a snapshot. */
export async function* extensionParts(
  entries: AsyncIterable<LogEntry>,
): AsyncGenerator<Uint8Array> {
  let part: Uint8Array[] = [];
  let partBytes = 0;
  for await (const { bytes } of entries) {
    if (part.length > 0 && partBytes + bytes.length > LIMITS.logEntryBytesMax) {
      yield encodeSnapshotEntries(part);
      part = [];
      partBytes = 0;
    }
    part.push(bytes);
    partBytes += bytes.length + 4;
  }
  if (part.length > 0) yield encodeSnapshotEntries(part);
}

/**
 * Replaces all rows by those of a snapshot.
 *
 * @returns what is applied then, and up to where entries must be applied before anything is read.
 * @throws HF_CORRUPT when the snapshot is not whole.
 */
export async function loadSnapshot(
  db: LocalDb,
  snapshot: Snapshot,
  options: Pick<ApplyOptions, 'onWrongSteward'> = {},
): Promise<{ applied: Applied; consistentFrom: Lsn }> {
  await clearRows(db);
  const loading = new Loading(db, snapshot.lsn, options);
  for await (const bytes of snapshot.parts) await loading.take(bytes);
  return await loading.finish();
}

/** A snapshot on its way into an empty database. */
class Loading {
  readonly #db: LocalDb;
  readonly #lsn: Lsn;
  readonly #options: Pick<ApplyOptions, 'onWrongSteward'>;
  #head: StoredApplied | undefined;
  #rowCount = 0;
  #digest = 0n;
  #snapshotBytes = 0;
  #extensionBytes = 0;
  #consistentFrom = 0;
  /** Once all rows are there. */
  #applied: Applied | undefined;

  constructor(db: LocalDb, lsn: Lsn, options: Pick<ApplyOptions, 'onWrongSteward'>) {
    this.#db = db;
    this.#lsn = lsn;
    this.#options = options;
  }

  async take(bytes: Uint8Array): Promise<void> {
    const part = decodeSnapshotPart(bytes);
    if (part.kind === 'entries') {
      this.#extensionBytes += bytes.length;
      for (const entry of part.entries) await this.#apply(entry);
      return;
    }
    this.#snapshotBytes += bytes.length;
    if (part.kind === 'head') this.#head = part.applied;
    else if (part.kind === 'tail') this.#endRows(part.tail);
    else {
      this.#rowCount += part.rows.length;
      this.#digest = BigInt.asUintN(64, this.#digest + digestOfRows(part.rows));
      await this.#db.transact({ puts: part.rows, deletes: [] });
    }
  }

  #endRows(tail: SnapshotTail): void {
    if (!this.#head || tail.rowCount !== this.#rowCount || tail.digest !== this.#digest) {
      throw this.#notWhole();
    }
    this.#applied = { ...this.#head, digest: this.#digest };
    this.#consistentFrom = tail.consistentFrom;
  }

  /** What is applied is written down at the end only, when all parts were there. */
  async #apply(bytes: Uint8Array): Promise<void> {
    if (!this.#applied) throw this.#notWhole();
    const entry = { lsn: this.#applied.lsn + 1, bytes };
    const options = { ...this.#options, consistentFrom: this.#consistentFrom };
    const { changes, applied } = entryChanges(this.#db, this.#applied, entry, options);
    await this.#db.transact(changes);
    this.#applied = applied;
  }

  async finish(): Promise<{ applied: Applied; consistentFrom: Lsn }> {
    const applied = this.#applied;
    if (applied?.lsn !== this.#lsn) throw this.#notWhole();
    const known = {
      lsn: this.#lsn,
      atLogBytes: applied.logBytes,
      snapshotBytes: this.#snapshotBytes,
      extensionBytes: this.#extensionBytes,
    };
    const puts = [appliedRow(applied), knownSnapshotRow(known)];
    await this.#db.transact({ puts, deletes: [] });
    return { applied, consistentFrom: this.#consistentFrom };
  }

  #notWhole(): HoldfastError {
    return new HoldfastError('HF_CORRUPT', `the snapshot at entry ${this.#lsn} is not whole`);
  }
}

/** What says when the next snapshot is due, and what it may extend. */
export interface KnownSnapshot {
  /** 0 when there is none, or it is not known which. */
  readonly lsn: Lsn;
  /** Bytes of all entries up to it, extensions included. */
  readonly atLogBytes: number;
  readonly snapshotBytes: number;
  readonly extensionBytes: number;
}

export const NO_SNAPSHOT: KnownSnapshot = {
  lsn: 0,
  atLogBytes: 0,
  snapshotBytes: 0,
  extensionBytes: 0,
};

const KNOWN_VERSION = 2;

export function knownSnapshotRow(known: KnownSnapshot): Row {
  const writer = new ByteWriter(33).u8(KNOWN_VERSION).u64(known.atLogBytes);
  const value = writer.u64(known.snapshotBytes).u64(known.lsn).u64(known.extensionBytes).finish();
  return { key: SNAPSHOT_KEY, value };
}

/** A row of the first version does not say which snapshot it is: as good as none. */
export function readKnownSnapshot(db: LocalDb): KnownSnapshot {
  const bytes = db.get(SNAPSHOT_KEY);
  if (!bytes) return NO_SNAPSHOT;
  const reader = new ByteReader(bytes, 'snapshot row');
  const version = reader.u8();
  if (version > KNOWN_VERSION) throw reader.corrupt(`version ${version} is not known`);
  const sizes = { atLogBytes: reader.u64(), snapshotBytes: reader.u64() };
  if (version === 1) return { ...sizes, lsn: 0, extensionBytes: 0 };
  const known = { ...sizes, lsn: reader.u64(), extensionBytes: reader.u64() };
  reader.end();
  return known;
}
