/**
 * The one seam of agreement. A cell is a state machine; its log orders what the cell's steward
 * decided, and a fence (the *cell epoch*) keeps older stewards from appending. Engines: `memory`,
 * `local` (this machine), `etcd` (several nodes). Every engine passes test/suites/fenced-log.ts.
 *
 * Contract:
 * 1. `append` resolving with `ok` ⇒ the entry is durable, and so are all entries before it.
 * 2. After `seize` has returned, no append of an older epoch ever becomes visible.
 * 3. Entries are gap-free in lsn order; `prevHash` links are checked on reading.
 * 4. HF_UNKNOWN_OUTCOME ⇒ the caller stops using the epoch, seizes again and reads.
 * 5. `confirm` is linearizable.
 * 6. A snapshot vouches for the entries up to its lsn: they may be trimmed, no others. A cell is
 *    rebuilt from its newest snapshot and the entries after it, and from nothing else.
 */
import { HoldfastError, LIMITS, roundUp } from '../base/index.ts';

/** Names a cell: short text, [a-z0-9-]. */
export type CellId = string;

/** Position in a cell's log; the first entry has 1. */
export type Lsn = number;

export interface LogEntry {
  readonly lsn: Lsn;
  readonly epoch: number;
  readonly bytes: Uint8Array;
}

export interface LogHead {
  /** 0 before the first seize. */
  readonly epoch: number;
  /** The last entry; 0 when there is none. */
  readonly lsn: Lsn;
  /** Entries up to here are gone; a snapshot vouches for them. */
  readonly trimmed: Lsn;
}

/** Bytes of one part of a snapshot; a sealed part still fits a chunk. */
export const SNAPSHOT_PART_BYTES_MAX = LIMITS.chunkBytesMax - LIMITS.blockBytes;

/** The state of a cell after entry `lsn`; what the parts say is the caller's affair. */
export interface Snapshot {
  readonly lsn: Lsn;
  /**
   * In the order in which they were saved. @throws HF_CORRUPT when one cannot be read; HF_NOT_FOUND
   * when it went because a newer snapshot was saved meanwhile: load that one.
   */
  readonly parts: AsyncIterable<Uint8Array>;
}

export interface SaveSnapshotOptions {
  /**
   * The parts only add to the newest snapshot, which is the one at this entry: the new one has its
   * parts and then these. @throws HF_NOT_FOUND when the newest is another one.
   */
  readonly extends?: Lsn | undefined;
}

/** The parts of the newest snapshot, if it is the one at `lsn`. @throws HF_NOT_FOUND. */
export function extendedParts<Part>(
  newest: { readonly lsn: Lsn; readonly parts: readonly Part[] } | undefined,
  lsn: Lsn,
): readonly Part[] {
  if (newest?.lsn === lsn) return newest.parts;
  throw new HoldfastError('HF_NOT_FOUND', `the newest snapshot is not the one at entry ${lsn}`);
}

/** What is put around an entry: its header and seal. */
const ENTRY_FRAME_BYTES = 256;

/** What an entry takes of a store: whole blocks, which small entries hardly fill. */
export function storedEntryBytes(entryBytes: number): number {
  return roundUp(entryBytes + ENTRY_FRAME_BYTES, LIMITS.blockBytes);
}

export interface FencedLog extends AsyncDisposable {
  /**
   * Bytes of an entry that holds the work of many, where one more would not pay: with longer ones
   * the engine gets slower, or larger. One that must may have LIMITS.logEntryBytesMax.
   */
  readonly entryBytesTarget: number;
  head(cell: CellId): Promise<LogHead>;
  /**
   * Raises the epoch; older epochs can never append again.
   * @returns the new epoch and the last entry, which is final.
   * @throws HF_UNKNOWN_OUTCOME when the epoch may or may not have risen: seize again; HF_FENCED
   *   when the log is sealed (generations.ts): nobody will ever append again.
   */
  seize(cell: CellId): Promise<{ epoch: number; lsn: Lsn }>;
  /**
   * Appends the entry that must become number `lsn`. Appends of one epoch may be pipelined; each is
   * acknowledged only when all lower ones are.
   * @param bytes at most LIMITS.logEntryBytesMax.
   * @returns `fenced` when the epoch may no longer append: nothing was appended.
   * @throws HF_UNKNOWN_OUTCOME when it may or may not have been appended, or when the entry before
   *   it is not there; the epoch is of no more use.
   */
  append(
    cell: CellId,
    position: { epoch: number; lsn: Lsn },
    bytes: Uint8Array,
  ): Promise<'ok' | 'fenced'>;
  /** Read barrier: is this epoch still the newest? No epoch is of a log that is sealed. */
  confirm(cell: CellId, epoch: number): Promise<boolean>;
  /** Entries from `from` to the head as of the call. @throws HF_NOT_FOUND when trimmed. */
  read(cell: CellId, from: Lsn): AsyncIterable<LogEntry>;
  /**
   * Lets go of entries up to `upTo`, but of none for which the newest snapshot does not vouch.
   * @throws HF_FENCED when the log is sealed.
   */
  trim(cell: CellId, upTo: Lsn): Promise<void>;
  /**
   * Makes the state after the acknowledged entry `position.lsn` durable, whole or not at all; older
   * snapshots go. One that is not newer than the newest changes nothing.
   * @param parts each at most SNAPSHOT_PART_BYTES_MAX; read once.
   * @throws HF_FENCED when the epoch may no longer append; HF_NOT_FOUND, see SaveSnapshotOptions.
   */
  saveSnapshot(
    cell: CellId,
    position: { epoch: number; lsn: Lsn },
    parts: AsyncIterable<Uint8Array>,
    options?: SaveSnapshotOptions,
  ): Promise<void>;
  /** The newest snapshot; it stays readable until a newer one is saved. */
  loadSnapshot(cell: CellId): Promise<Snapshot | undefined>;
}

/** A log of which one cell is the registry ({@link LogRegistry}), and is sealed with it. */
export interface SealableLog extends FencedLog {
  /**
   * Changes no cell but that one from now on. Resolves when nothing is under way any more. Another
   * process that opens the log has to be told again: the registry says that it is sealed.
   */
  stopAllBut(cell: CellId): Promise<void>;
}

export interface Versioned {
  readonly key: string;
  /** Rises with each change of any key. */
  readonly version: number;
  readonly value: Uint8Array;
}

/** Small, linearizable records: topology, layout, volumes, cell membership, snapshots. */
export interface Registry extends AsyncDisposable {
  get(key: string): Promise<Versioned | undefined>;
  list(prefix: string): Promise<readonly Versioned[]>;
  /**
   * Sets the key if its version is `expected` (0: the key must not exist); `undefined` deletes.
   * @returns the new version, or `undefined` when the version was another.
   * @throws HF_UNKNOWN_OUTCOME when it may or may not have been set: read the key.
   */
  compareAndSet(
    key: string,
    expected: number,
    value: Uint8Array | undefined,
  ): Promise<number | undefined>;
}
