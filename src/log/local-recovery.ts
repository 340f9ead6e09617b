/**
 * From the records that the stores still have to the state of a cell: pure, in any order of
 * records.
 *
 * 1. The newest whole snapshot stands for all entries up to its lsn. These are not looked at: where
 *    they were trimmed, a store that was away may still have some.
 * 2. The fence of the highest epoch decides what is older than it: the chain that ends in it is the
 *    log. Where that fence was trimmed, the snapshot stands for it. A fence that was put in vain
 *    may come back with its store: passed over if a fence that entries follow is not among the
 *    records before it. (Epochs follow the clock, so that it is hardly ever the highest.)
 * 3. Entries of the newest epoch follow as far as the chain goes. What comes after a gap was never
 *    acknowledged, as entries are acknowledged in order, unless a record says that it was.
 * 4. A gap before the newest fence, or in what was acknowledged, is a loss: HF_CORRUPT.
 * 5. What has been found may lack copies where nothing later vouches for it: that fence, entries
 *    after it, the snapshot. They are *doubtful*, and are put again before anything is built on
 *    them.
 * 6. Everything else is void: appends that failed, entries trimmed but not yet gone, old snapshots.
 */
import { HoldfastError } from '../base/index.ts';
import type { CellId, LogHead, Lsn } from './fenced-log.ts';
import { NO_RECORD, type RecordHash, type RecordHeader } from './local-record.ts';
import type { MirrorRef } from './mirror.ts';

/** A record and where it is. */
export interface StoredRecord {
  readonly header: RecordHeader;
  readonly hash: RecordHash;
  readonly ref: MirrorRef;
  /** Of a snapshot: the hashes of its parts. */
  readonly partHashes?: readonly RecordHash[];
}

export interface IndexedSnapshot {
  readonly record: StoredRecord;
  readonly parts: readonly StoredRecord[];
}

/** What is known of a cell without reading a store. */
export interface CellIndex {
  readonly head: LogHead;
  /** The highest that any record names. */
  readonly epochMax: number;
  /** The last record of the chain. */
  readonly tip: RecordHash;
  /** From `head.trimmed + 1` to `head.lsn`. */
  readonly entries: readonly StoredRecord[];
  readonly fences: readonly StoredRecord[];
  readonly snapshot: IndexedSnapshot | undefined;
  /** Records that may lack copies. */
  readonly doubtful: readonly StoredRecord[];
  /** Records without meaning, to be removed after the next seizure. */
  readonly voids: readonly StoredRecord[];
}

export const NEW_CELL: CellIndex = {
  head: { epoch: 0, lsn: 0, trimmed: 0 },
  epochMax: 0,
  tip: NO_RECORD,
  entries: [],
  fences: [],
  snapshot: undefined,
  doubtful: [],
  voids: [],
};

/** @throws HF_CORRUPT when acknowledged entries are lost; says which cell and which entry. */
export function recoverCell(cell: CellId, records: readonly StoredRecord[]): CellIndex {
  const byHash = new Map(records.map((record) => [record.hash, record]));
  const snapshot = newestSnapshot(records);
  const anchor = findAnchor(records, byHash, snapshot?.record);
  const before = chainBefore(cell, { byHash, anchor, snapshot: snapshot?.record });
  const after = chainAfter(records, anchor);
  const chain = [...before, ...after];
  const entries = chain.filter(({ header }) => header.kind === 'entry');
  const lsn = Math.max(anchor.lsn, entries.at(-1)?.header.lsn ?? 0);
  const acknowledged = maxOf(records, ({ header }) => header.acknowledged);
  const epochMax = maxOf(records, ({ header }) => header.epoch);
  if (acknowledged > lsn) throw lost(cell, lsn + 1);
  const entryEpoch = maxOf(records, ({ header }) => (header.kind === 'entry' ? header.epoch : 0));
  if (entryEpoch > anchor.epoch) throw lost(cell, lsn + 1, `the fence of epoch ${entryEpoch}`);
  const vouchedLsn = maxOf(records, snapshotLsnOf);
  const inSnapshot = snapshot ? [...snapshot.parts, snapshot.record] : [];
  const used = new Set([...chain, ...inSnapshot]);
  return {
    head: { epoch: anchor.epoch, lsn, trimmed: snapshot?.record.header.lsn ?? 0 },
    epochMax,
    tip: chain.at(-1)?.hash ?? anchor.hash,
    entries,
    fences: chain.filter(({ header }) => header.kind === 'fence'),
    snapshot,
    doubtful: [
      ...before.slice(-1), // the fence, as nothing but a fence or the snapshot is an anchor
      ...after.filter(({ header }) => header.lsn > acknowledged),
      ...inSnapshot.filter(({ header }) => header.lsn > vouchedLsn),
    ],
    voids: records.filter((record) => !used.has(record)),
  };
}

function maxOf(
  records: readonly StoredRecord[],
  valueOf: (record: StoredRecord) => number,
): number {
  return records.reduce((max, record) => Math.max(max, valueOf(record)), 0);
}

function snapshotLsnOf({ header }: StoredRecord): Lsn {
  return header.snapshotLsn;
}

function lost(cell: CellId, lsn: Lsn, what = `entry ${lsn}`): HoldfastError {
  const message = `log of cell ${cell}: ${what} is missing or unreadable on every store`;
  return new HoldfastError('HF_CORRUPT', message, { details: { cell, lsn } });
}

/** The newest of which all parts are there. */
export function newestSnapshot(records: readonly StoredRecord[]): IndexedSnapshot | undefined {
  const byHash = new Map(records.map((record) => [record.hash, record]));
  let newest: IndexedSnapshot | undefined;
  for (const record of records) {
    if (record.header.kind !== 'snapshot' || !record.partHashes) continue;
    if (newest && newest.record.header.lsn >= record.header.lsn) continue;
    const parts = record.partHashes.map((hash) => byHash.get(hash));
    if (parts.every((part) => part !== undefined)) newest = { record, parts };
  }
  return newest;
}

/** The record from which the chain is followed, back and on. */
interface Anchor {
  readonly epoch: number;
  readonly lsn: Lsn;
  readonly hash: RecordHash;
}

function findAnchor(
  records: readonly StoredRecord[],
  byHash: ReadonlyMap<RecordHash, StoredRecord>,
  snapshot: StoredRecord | undefined,
): Anchor {
  const base: Anchor = snapshot
    ? { epoch: snapshot.header.epoch, lsn: snapshot.header.lsn, hash: snapshot.header.link }
    : { epoch: 0, lsn: 0, hash: NO_RECORD };
  const fences = records
    .filter(({ header }) => header.kind === 'fence' && header.lsn >= base.lsn)
    .filter(({ header }) => header.epoch >= base.epoch)
    .sort((a, b) => b.header.epoch - a.header.epoch);
  const followed = new Set(
    records.filter(({ header }) => header.kind === 'entry').map(({ header }) => header.link),
  );
  const inForce = fences.map(({ hash }) => hash).filter((hash) => followed.has(hash));
  const acknowledged = maxOf(records, ({ header }) => header.acknowledged);
  const anchors = fences
    .filter(({ hash }) => hasBefore(inForce, { hash, base: base.hash, byHash }))
    .map((fence) => ({ ...fence.header, hash: fence.hash }));
  const reaches = (anchor: Anchor) => anchor.lsn + chainAfter(records, anchor).length;
  const newest = fences[0] && { ...fences[0].header, hash: fences[0].hash };
  return anchors.find((anchor) => reaches(anchor) >= acknowledged) ?? anchors[0] ?? newest ?? base;
}

/** Whether the chain back from `hash` to the base has all of `wanted`, or a gap where they were. */
function hasBefore(
  wanted: readonly RecordHash[],
  chain: {
    readonly hash: RecordHash;
    readonly base: RecordHash;
    readonly byHash: ReadonlyMap<RecordHash, StoredRecord>;
  },
): boolean {
  const missing = new Set(wanted);
  let { hash } = chain;
  while (hash !== chain.base) {
    missing.delete(hash);
    const record = chain.byHash.get(hash);
    if (!record) return true;
    hash = record.header.link;
  }
  return missing.size === 0;
}

/** The chain between the snapshot, or nothing, and the anchor, oldest first. */
function chainBefore(
  cell: CellId,
  known: {
    readonly byHash: ReadonlyMap<RecordHash, StoredRecord>;
    readonly anchor: Anchor;
    readonly snapshot: StoredRecord | undefined;
  },
): StoredRecord[] {
  const { byHash, anchor, snapshot } = known;
  const base = snapshot?.header ?? { lsn: 0, link: NO_RECORD };
  const chain: StoredRecord[] = [];
  let { lsn, hash } = anchor;
  while (hash !== base.link) {
    const record = byHash.get(hash);
    if (!record && lsn === base.lsn) break; // a fence just after the base: nothing is lost with it
    if (!record || record.header.lsn !== lsn) throw lost(cell, lsn);
    if (record.header.kind === 'entry') {
      if (lsn === base.lsn) throw lost(cell, lsn); // the snapshot stands for another entry
      lsn -= 1;
    }
    chain.push(record);
    hash = record.header.link;
  }
  if (lsn !== base.lsn) throw lost(cell, lsn);
  return chain.reverse();
}

/** The entries of the anchor's epoch that follow it. */
function chainAfter(records: readonly StoredRecord[], anchor: Anchor): StoredRecord[] {
  const byLink = new Map<RecordHash, StoredRecord>();
  for (const record of records) {
    const { kind, epoch, link } = record.header;
    if (kind === 'entry' && epoch === anchor.epoch) byLink.set(link, record);
  }
  const chain: StoredRecord[] = [];
  for (let next = byLink.get(anchor.hash); next; next = byLink.get(next.hash)) {
    chain.push(next);
  }
  return chain;
}
