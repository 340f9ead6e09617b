/**
 * Entries of a cell's log and parts of its snapshots: docs/formats/rows.md. An entry is physical, a
 * list of rows written and deleted: the steward decided, whoever reads the log only applies, so two
 * copies of a cell cannot drift apart with the versions of their code.
 *
 * *Chain hash*: XXH64 of an entry's bytes. An entry carries the chain hash of the one before it,
 * and the database keeps that of the last applied entry: rows and log are known to belong together.
 */
import { assert, ByteReader, ByteWriter, HoldfastError, xxh64 } from '../../base/index.ts';
import type { Changes, Row } from '../../db/index.ts';
import { type LogEntry, type Lsn, storedEntryBytes } from '../../log/index.ts';
import type { Change } from './overlay.ts';
import { APPLIED_KEY, copyOf } from './rows.ts';

const VERSION = 1;

/** Bytes of an entry besides its rows. */
export const ENTRY_OVERHEAD_BYTES = 64;

/** How far the rows of a database have come. */
export interface Applied {
  readonly lsn: Lsn;
  readonly chainHash: bigint;
  /** Bytes of all entries since the cell began. */
  readonly logBytes: number;
}

/** Before the first entry. */
export const NOTHING_APPLIED: Applied = { lsn: 0, chainHash: 0n, logBytes: 0 };

/** Bytes that a change takes in an entry. */
export function changeBytes({ key, value }: Change): number {
  return 9 + key.length + (value?.length ?? 0);
}

export function encodeApplied({ lsn, chainHash, logBytes }: Applied): Uint8Array {
  return new ByteWriter(32).u8(VERSION).u64(lsn).bigU64(chainHash).u64(logBytes).finish();
}

/** @throws HF_CORRUPT. */
export function decodeApplied(bytes: Uint8Array): Applied {
  const reader = openReader(bytes, 'applied row');
  const applied = { lsn: reader.u64(), chainHash: reader.bigU64(), logBytes: reader.u64() };
  reader.end();
  return applied;
}

/** The entry that follows `previous`. */
export function encodeEntry(previous: Applied, changes: Iterable<Change>): Uint8Array {
  const writer = new ByteWriter(4096)
    .u8(VERSION)
    .u64(previous.lsn + 1)
    .bigU64(previous.chainHash)
    .u64(previous.logBytes);
  for (const { key, value } of changes) {
    writer.u8(value ? 1 : 2).bytes(key);
    if (value) writer.bytes(value);
  }
  return writer.u8(0).finish();
}

export interface DecodedEntry {
  /** What the entry follows. */
  readonly previous: Applied;
  /** What is applied after it. */
  readonly applied: Applied;
  readonly puts: readonly Row[];
  readonly deletes: readonly Uint8Array[];
}

/** @throws HF_CORRUPT. */
export function decodeEntry(entry: LogEntry): DecodedEntry {
  const reader = openReader(entry.bytes, `log entry ${entry.lsn}`);
  const lsn = reader.u64();
  if (lsn !== entry.lsn) throw reader.corrupt(`it says that it is entry ${lsn}`);
  const previous = { lsn: lsn - 1, chainHash: reader.bigU64(), logBytes: reader.u64() };
  const puts: Row[] = [];
  const deletes: Uint8Array[] = [];
  for (let kind = reader.u8(); kind !== 0; kind = reader.u8()) {
    if (kind === 1) puts.push({ key: copyOf(reader.bytes()), value: copyOf(reader.bytes()) });
    else if (kind === 2) deletes.push(copyOf(reader.bytes()));
    else throw reader.corrupt(`there is no change of kind ${kind}`);
  }
  reader.end();
  return { previous, applied: appliedAfter(previous, entry.bytes), puts, deletes };
}

/** What is applied once the entry with these bytes is. */
export function appliedAfter(previous: Applied, bytes: Uint8Array): Applied {
  return {
    lsn: previous.lsn + 1,
    chainHash: xxh64(bytes),
    logBytes: previous.logBytes + storedEntryBytes(bytes.length),
  };
}

/**
 * What an entry does to the rows, the applied row included: one transaction of the database.
 * Pure (ruling 18). @throws HF_CORRUPT.
 */
export function applyEntry(entry: LogEntry): Changes {
  const { puts, deletes, applied } = decodeEntry(entry);
  return { puts: [...puts, appliedRow(applied)], deletes };
}

export function appliedRow(applied: Applied): Row {
  return { key: APPLIED_KEY, value: encodeApplied(applied) };
}

/** First in a snapshot: what its oldest row may be as old as. */
export function encodeSnapshotHead(applied: Applied): Uint8Array {
  return new ByteWriter(64).u8(VERSION).u8(1).raw(encodeApplied(applied)).finish();
}

export function encodeSnapshotRows(rows: readonly Row[]): Uint8Array {
  assert(rows.length > 0, 'a part of a snapshot holds rows');
  const writer = new ByteWriter(4096).u8(VERSION).u8(2).u32(rows.length);
  for (const { key, value } of rows) writer.bytes(key).bytes(value);
  return writer.finish();
}

/** What a loader needs to know that a snapshot is whole. */
export interface SnapshotTail {
  /** The rows are consistent once entries up to here have been applied on top of them. */
  readonly consistentFrom: Lsn;
  readonly rowCount: number;
  /** Sum over the rows of {@link rowDigest}, modulo 2^64. */
  readonly digest: bigint;
}

export function encodeSnapshotTail({ consistentFrom, rowCount, digest }: SnapshotTail): Uint8Array {
  const writer = new ByteWriter(64).u8(VERSION).u8(3);
  return writer.u64(consistentFrom).u64(rowCount).bigU64(digest).finish();
}

export type SnapshotPart =
  | { readonly kind: 'head'; readonly applied: Applied }
  | { readonly kind: 'rows'; readonly rows: readonly Row[] }
  | { readonly kind: 'tail'; readonly tail: SnapshotTail };

/** @throws HF_CORRUPT. */
export function decodeSnapshotPart(bytes: Uint8Array): SnapshotPart {
  const reader = openReader(bytes, 'part of a snapshot');
  const kind = reader.u8();
  if (kind === 1) return { kind: 'head', applied: decodeApplied(reader.raw(reader.left)) };
  if (kind === 2) {
    const rows: Row[] = [];
    for (let count = reader.u32(); count > 0; count -= 1) {
      rows.push({ key: copyOf(reader.bytes()), value: copyOf(reader.bytes()) });
    }
    reader.end();
    return { kind: 'rows', rows };
  }
  if (kind !== 3) throw reader.corrupt(`there is no part of kind ${kind}`);
  const consistentFrom = reader.u64();
  const tail = { consistentFrom, rowCount: reader.u64(), digest: reader.bigU64() };
  reader.end();
  return { kind: 'tail', tail };
}

/** XXH64 of a row, key and value told apart. */
export function rowDigest({ key, value }: Row): bigint {
  return xxh64(value, xxh64(key));
}

function openReader(bytes: Uint8Array, what: string): ByteReader {
  const reader = new ByteReader(bytes, what);
  const version = reader.u8();
  if (version !== VERSION) {
    throw new HoldfastError('HF_CORRUPT', `${what}: version ${version} is not known`);
  }
  return reader;
}
