/**
 * The one seam of agreement. A cell is a state machine; its log orders what the cell's steward
 * decided, and a fence (the *cell epoch*) keeps older stewards from appending. Engines: `memory`,
 * `local` (this machine), later `etcd`. Every engine passes test/suites/fenced-log.ts.
 *
 * Contract:
 * 1. `append` resolving with `ok` ⇒ the entry is durable, and so are all entries before it.
 * 2. After `seize` has returned, no append of an older epoch ever becomes visible.
 * 3. Entries are gap-free in lsn order; `prevHash` links are checked on reading.
 * 4. HF_UNKNOWN_OUTCOME ⇒ the caller stops using the epoch, seizes again and reads.
 * 5. `confirm` is linearizable.
 */

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

export interface FencedLog extends AsyncDisposable {
  head(cell: CellId): Promise<LogHead>;
  /** Raises the epoch; older epochs can never append again. */
  seize(cell: CellId): Promise<{ epoch: number; lsn: Lsn }>;
  /**
   * Appends the entry that must become number `lsn`. Appends of one epoch may be pipelined; each is
   * acknowledged only when all lower ones are.
   * @returns `fenced` when the epoch is no longer the newest: nothing was appended.
   * @throws HF_UNKNOWN_OUTCOME when it may or may not have been appended.
   */
  append(
    cell: CellId,
    position: { epoch: number; lsn: Lsn },
    bytes: Uint8Array,
  ): Promise<'ok' | 'fenced'>;
  /** Read barrier: is this epoch still the newest? */
  confirm(cell: CellId, epoch: number): Promise<boolean>;
  /** Entries from `from` to the head as of the call. @throws HF_NOT_FOUND when they were trimmed. */
  read(cell: CellId, from: Lsn): AsyncIterable<LogEntry>;
  /** Lets go of entries up to `upTo`, for which a durable snapshot vouches. */
  trim(cell: CellId, upTo: Lsn): Promise<void>;
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
   */
  compareAndSet(
    key: string,
    expected: number,
    value: Uint8Array | undefined,
  ): Promise<number | undefined>;
}
