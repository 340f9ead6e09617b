/**
 * Snapshots of a cell: all its rows, so that the log before them can go. They are taken while the
 * steward works: rows are read page by page as they are by then, and the entries since the start
 * are applied on top of them. Entries are physical, so what is applied twice does no harm.
 *
 * Invariant: a database has an applied row only when its rows are those of a snapshot whose loading
 * was finished, or grew from nothing, plus entries without a gap.
 */
import { HoldfastError, LIMITS } from '../../base/index.ts';
import type { LocalDb, Row } from '../../db/index.ts';
import type { Lsn, Snapshot } from '../../log/index.ts';
import {
  type Applied,
  appliedRow,
  decodeSnapshotPart,
  encodeSnapshotHead,
  encodeSnapshotRows,
  encodeSnapshotTail,
  rowDigest,
} from './entries.ts';
import {
  APPLIED_KEY,
  keyAfter,
  LOCAL_SLOT,
  SNAPSHOT_KEY,
  valueReader,
  valueWriter,
} from './rows.ts';

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
  db: LocalDb,
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

/**
 * Replaces all rows by those of a snapshot.
 *
 * @returns what is applied then, and up to where entries must be applied before anything is read.
 * @throws HF_CORRUPT when the snapshot is not whole.
 */
export async function loadSnapshot(
  db: LocalDb,
  snapshot: Snapshot,
): Promise<{ applied: Applied; consistentFrom: Lsn }> {
  await clearRows(db);
  let applied: Applied | undefined;
  let consistentFrom: Lsn | undefined;
  let rowCount = 0;
  let digest = 0n;
  let snapshotBytes = 0;
  for await (const bytes of snapshot.parts) {
    snapshotBytes += bytes.length;
    const part = decodeSnapshotPart(bytes);
    if (part.kind === 'head') applied = part.applied;
    else if (part.kind === 'rows') {
      rowCount += part.rows.length;
      for (const row of part.rows) digest = BigInt.asUintN(64, digest + rowDigest(row));
      await db.transact({ puts: part.rows, deletes: [] });
    } else if (part.tail.rowCount === rowCount && part.tail.digest === digest) {
      consistentFrom = part.tail.consistentFrom;
    }
  }
  if (applied?.lsn !== snapshot.lsn || consistentFrom === undefined) {
    throw new HoldfastError('HF_CORRUPT', `the snapshot at entry ${snapshot.lsn} is not whole`);
  }
  const known = { atLogBytes: applied.logBytes, snapshotBytes };
  await db.transact({ puts: [appliedRow(applied), knownSnapshotRow(known)], deletes: [] });
  return { applied, consistentFrom };
}

/** What says when the next snapshot is due. */
export interface KnownSnapshot {
  /** Bytes of all entries when it was begun. */
  readonly atLogBytes: number;
  readonly snapshotBytes: number;
}

export const NO_SNAPSHOT: KnownSnapshot = { atLogBytes: 0, snapshotBytes: 0 };

/** Whether the log since the snapshot is worth a new one: its cost stays in proportion. */
export function isSnapshotDue({ logBytes }: Applied, known: KnownSnapshot): boolean {
  const sinceBytes = logBytes - known.atLogBytes;
  return sinceBytes > LIMITS.logBytesBeforeSnapshot && sinceBytes > known.snapshotBytes;
}

export function knownSnapshotRow({ atLogBytes, snapshotBytes }: KnownSnapshot): Row {
  const value = valueWriter(17).u64(atLogBytes).u64(snapshotBytes).finish();
  return { key: SNAPSHOT_KEY, value };
}

export function readKnownSnapshot(db: LocalDb): KnownSnapshot {
  const bytes = db.get(SNAPSHOT_KEY);
  if (!bytes) return NO_SNAPSHOT;
  const reader = valueReader(bytes, 'snapshot row');
  const known = { atLogBytes: reader.u64(), snapshotBytes: reader.u64() };
  reader.end();
  return known;
}
