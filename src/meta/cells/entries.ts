/**
 * Entries of a cell's log and parts of its snapshots: docs/formats/rows.md. An entry is physical, a
 * list of rows written and deleted: the steward decided, whoever reads the log only applies, so two
 * copies of a cell cannot drift apart with the versions of their code.
 *
 * *Chain hash*: XXH64 of an entry's bytes. An entry carries the chain hash of the one before it,
 * and the database keeps that of the last applied entry: rows and log are known to belong together.
 *
 * *Digest*: the sum, modulo 2^64, of the digests of a copy's rows. Whoever applies keeps its own
 * sum, and an entry carries the steward's before it: rows that went wrong are found out.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import {
  assert,
  ByteReader,
  ByteWriter,
  errorMessage,
  HoldfastError,
  KiB,
  xxh64,
} from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import { type LogEntry, type Lsn, storedEntryBytes } from '../../log/index.ts';
import type { Change } from './overlay.ts';
import { APPLIED_KEY, copyOf } from './rows.ts';

/** Of entries and applied rows; the first version had no digests. */
const VERSION = 2;
const PART_VERSION = 1;
/** Of an entry whose changes are deflated. */
const DEFLATED_VERSION = 3;
/**
 * Changes of fewer bytes would gain little, and more hold up the thread: 64 KiB take about 1 ms.
 */
const DEFLATED_BYTES_MIN = 2 * KiB;
const DEFLATED_BYTES_MAX = 64 * KiB;

/** Bytes of an entry besides its rows. */
export const ENTRY_OVERHEAD_BYTES = 64;

/** How far the rows of a database have come. */
export interface Applied {
  readonly lsn: Lsn;
  readonly chainHash: bigint;
  /** Bytes of all entries since the cell began. */
  readonly logBytes: number;
  /** Of the rows that are there; LOCAL_SLOT has no part in it. */
  readonly digest: bigint;
}

/** As it was written down; without a digest by the first version. */
export type StoredApplied = Omit<Applied, 'digest'> & { readonly digest: bigint | undefined };

/** Before the first entry. */
export const NOTHING_APPLIED: Applied = { lsn: 0, chainHash: 0n, logBytes: 0, digest: 0n };

/** Bytes that a change takes in an entry. */
export function changeBytes({ key, value }: Change): number {
  return 9 + key.length + (value?.length ?? 0);
}

export function encodeApplied({ lsn, chainHash, logBytes, digest }: Applied): Uint8Array {
  const writer = new ByteWriter(40).u8(VERSION).u64(lsn).bigU64(chainHash);
  return writer.u64(logBytes).bigU64(digest).finish();
}

/** @throws HF_CORRUPT. */
export function decodeApplied(bytes: Uint8Array): StoredApplied {
  const { reader, version } = openReader(bytes, 'applied row', VERSION);
  const applied = {
    lsn: reader.u64(),
    chainHash: reader.bigU64(),
    logBytes: reader.u64(),
    digest: version === 1 ? undefined : reader.bigU64(),
  };
  reader.end();
  return applied;
}

/** The entry that follows `previous`. */
export function encodeEntry(previous: Applied, changes: Iterable<Change>): Uint8Array {
  const body = new ByteWriter(4096);
  for (const { key, value } of changes) {
    body.u8(value ? 1 : 2).bytes(key);
    if (value) body.bytes(value);
  }
  const plain = body.u8(0).finish();
  const isDeflated = plain.length >= DEFLATED_BYTES_MIN && plain.length <= DEFLATED_BYTES_MAX;
  return new ByteWriter(ENTRY_OVERHEAD_BYTES + plain.length)
    .u8(isDeflated ? DEFLATED_VERSION : VERSION)
    .u64(previous.lsn + 1)
    .bigU64(previous.chainHash)
    .u64(previous.logBytes)
    .bigU64(previous.digest)
    .raw(isDeflated ? deflateRawSync(plain, { level: 1 }) : plain)
    .finish();
}

export interface DecodedEntry {
  /** What the entry follows. */
  readonly previous: StoredApplied;
  readonly changes: readonly Change[];
}

/** @throws HF_CORRUPT. */
export function decodeEntry(entry: Pick<LogEntry, 'lsn' | 'bytes'>): DecodedEntry {
  const what = `log entry ${entry.lsn}`;
  const { reader, version } = openReader(entry.bytes, what, DEFLATED_VERSION);
  const lsn = reader.u64();
  if (lsn !== entry.lsn) throw reader.corrupt(`it says that it is entry ${lsn}`);
  const previous = {
    lsn: lsn - 1,
    chainHash: reader.bigU64(),
    logBytes: reader.u64(),
    digest: version === 1 ? undefined : reader.bigU64(),
  };
  if (version !== DEFLATED_VERSION) return { previous, changes: changesIn(reader) };
  return { previous, changes: changesIn(new ByteReader(inflated(reader), what)) };
}

function changesIn(reader: ByteReader): Change[] {
  const changes: Change[] = [];
  for (let kind = reader.u8(); kind !== 0; kind = reader.u8()) {
    if (kind > 2) throw reader.corrupt(`there is no change of kind ${kind}`);
    const key = copyOf(reader.bytes());
    changes.push({ key, value: kind === 1 ? copyOf(reader.bytes()) : undefined });
  }
  reader.end();
  return changes;
}

/** What is left of the reader's input, as it was. @throws HF_CORRUPT. */
function inflated(reader: ByteReader): Uint8Array {
  try {
    const options = { maxOutputLength: DEFLATED_BYTES_MAX };
    return inflateRawSync(reader.raw(reader.left), options);
  } catch (cause) {
    throw reader.corrupt(`its changes cannot be inflated (${errorMessage(cause)})`);
  }
}

/** What is applied once the entry with these bytes is, which has changed the digest by `delta`. */
export function appliedAfter(previous: Applied, bytes: Uint8Array, delta: bigint): Applied {
  return {
    lsn: previous.lsn + 1,
    chainHash: chainHashOf(bytes),
    logBytes: previous.logBytes + storedEntryBytes(bytes.length),
    digest: BigInt.asUintN(64, previous.digest + delta),
  };
}

export function chainHashOf(entryBytes: Uint8Array): bigint {
  return xxh64(entryBytes);
}

export function appliedRow(applied: Applied): Row {
  return { key: APPLIED_KEY, value: encodeApplied(applied) };
}

/** First in a snapshot: what its oldest row may be as old as. */
export function encodeSnapshotHead(applied: Applied): Uint8Array {
  return new ByteWriter(64).u8(PART_VERSION).u8(1).raw(encodeApplied(applied)).finish();
}

export function encodeSnapshotRows(rows: readonly Row[]): Uint8Array {
  assert(rows.length > 0, 'a part of a snapshot holds rows');
  const writer = new ByteWriter(4096).u8(PART_VERSION).u8(2).u32(rows.length);
  for (const { key, value } of rows) writer.bytes(key).bytes(value);
  return writer.finish();
}

/** What a loader needs to know that a snapshot is whole. */
export interface SnapshotTail {
  /** The rows are consistent once entries up to here have been applied on top of them. */
  readonly consistentFrom: Lsn;
  readonly rowCount: number;
  readonly digest: bigint;
}

export function encodeSnapshotTail({ consistentFrom, rowCount, digest }: SnapshotTail): Uint8Array {
  const writer = new ByteWriter(64).u8(PART_VERSION).u8(3);
  return writer.u64(consistentFrom).u64(rowCount).bigU64(digest).finish();
}

/** Entries that extend a snapshot, the oldest first. */
export function encodeSnapshotEntries(entries: readonly Uint8Array[]): Uint8Array {
  assert(entries.length > 0, 'a part of a snapshot holds entries');
  const writer = new ByteWriter(4096).u8(PART_VERSION).u8(4).u32(entries.length);
  for (const bytes of entries) writer.bytes(bytes);
  return writer.finish();
}

export type SnapshotPart =
  | { readonly kind: 'head'; readonly applied: StoredApplied }
  | { readonly kind: 'rows'; readonly rows: readonly Row[] }
  | { readonly kind: 'tail'; readonly tail: SnapshotTail }
  | { readonly kind: 'entries'; readonly entries: readonly Uint8Array[] };

/** @throws HF_CORRUPT. */
export function decodeSnapshotPart(bytes: Uint8Array): SnapshotPart {
  const { reader } = openReader(bytes, 'part of a snapshot', PART_VERSION);
  const kind = reader.u8();
  if (kind === 1) return { kind: 'head', applied: decodeApplied(reader.raw(reader.left)) };
  const part = decodeBody(reader, kind);
  reader.end();
  return part;
}

function decodeBody(reader: ByteReader, kind: number): SnapshotPart {
  if (kind === 2) {
    const rows: Row[] = [];
    for (let count = reader.u32(); count > 0; count -= 1) {
      rows.push({ key: copyOf(reader.bytes()), value: copyOf(reader.bytes()) });
    }
    return { kind: 'rows', rows };
  }
  if (kind === 3) {
    const consistentFrom = reader.u64();
    const tail = { consistentFrom, rowCount: reader.u64(), digest: reader.bigU64() };
    return { kind: 'tail', tail };
  }
  if (kind !== 4) throw reader.corrupt(`there is no part of kind ${kind}`);
  const entries: Uint8Array[] = [];
  for (let count = reader.u32(); count > 0; count -= 1) entries.push(copyOf(reader.bytes()));
  return { kind: 'entries', entries };
}

/** XXH64 of a row, key and value told apart. */
export function rowDigest({ key, value }: Row): bigint {
  return xxh64(value, xxh64(key));
}

/** The digest of all these rows. */
export function digestOfRows(rows: Iterable<Row>): bigint {
  let digest = 0n;
  for (const row of rows) digest += rowDigest(row);
  return BigInt.asUintN(64, digest);
}

/** By how much the digest changes. @param old the row's value before the change. */
export function digestDelta({ key, value }: Change, old: Uint8Array | undefined): bigint {
  if (!value && !old) return 0n;
  const seed = xxh64(key);
  return (value ? xxh64(value, seed) : 0n) - (old ? xxh64(old, seed) : 0n);
}

function openReader(
  bytes: Uint8Array,
  what: string,
  newest: number,
): { reader: ByteReader; version: number } {
  const reader = new ByteReader(bytes, what);
  const version = reader.u8();
  if (version < 1 || version > newest) {
    throw new HoldfastError('HF_CORRUPT', `${what}: version ${version} is not known`);
  }
  return { reader, version };
}
