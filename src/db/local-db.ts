/**
 * An ordered map of byte keys to byte values in one file of this machine.
 *
 * Reads are synchronous: they come from the page cache in microseconds, and a steward that reads
 * without waiting executes its operations without interleaving. Commits happen in a worker thread,
 * because a slow disk would stall the event loop (docs/design/0001). A transaction is visible to
 * reads when its promise has resolved, never in part.
 */

export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface RangeOptions {
  /** First key, inclusive. */
  readonly from: Uint8Array;
  /** End, exclusive. */
  readonly to: Uint8Array;
  readonly limit?: number;
  readonly isReverse?: boolean;
}

export interface Changes {
  readonly puts: readonly Row[];
  readonly deletes: readonly Uint8Array[];
}

export interface LocalDb extends AsyncDisposable {
  /** The value, owned by the caller. @throws HF_CORRUPT when its checksum is wrong. */
  get(key: Uint8Array): Uint8Array | undefined;
  /** Rows in key order (descending when reversed). @throws HF_CORRUPT. */
  range(options: RangeOptions): Row[];
  /**
   * Applies deletes, then puts, atomically. Survives a crash of the process; survives a power cut
   * when `isDurable` was asked at open. Transactions take effect in the order of the calls.
   * @throws HF_NO_SPACE, HF_IO; nothing of it took effect then, and those called before this was
   *   known fail with it: a caller that does not wait never leaves a gap.
   */
  transact(changes: Changes): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
