/**
 * Where the engine `local` keeps its entries durable: as metadata chunks on n − k + 1 stores, in
 * the stores' own group commit (ruling 10), so that losing the data directory loses nothing. `node`
 * makes it from the stores; the log seals before it hands bytes over.
 */

/** One stored record, found again without any other knowledge. */
export interface MirrorRecord {
  /** `log` entries and `snapshot` parts of one stream are told apart by their own headers. */
  readonly bytes: Uint8Array;
}

export interface MirrorRef {
  /** Name of the record, 32 bytes; made from its bytes. */
  readonly id: Uint8Array;
}

/** Where an engine that has its log elsewhere keeps what is too large for that. */
export interface PartStore extends Pick<Mirror, 'get' | 'remove'> {
  /**
   * As {@link Mirror.put}.
   * @param kind `list`: the record of a snapshot, which is to be found again without any other
   *   knowledge, as {@link MirrorRecord}.
   */
  put(bytes: Uint8Array, kind?: 'part' | 'list'): Promise<MirrorRef>;
}

export interface Mirror {
  /**
   * Stores the bytes (≤ LIMITS.chunkBytesMax) on as many stores as the tolerance asks for; durable
   * when it resolves. @throws HF_TOO_FEW_STORES when there are fewer copies than the record needs
   * to be found however the stores come and go; some may have been made. HF_NO_SPACE.
   */
  put(bytes: Uint8Array): Promise<MirrorRef>;
  /** Any good copy. */
  get(ref: MirrorRef): Promise<Uint8Array | undefined>;
  /** Removes all copies that can be reached; the others go when their store comes back. */
  remove(refs: readonly MirrorRef[]): Promise<void>;
  /** Every record on every store, each once; records whose every copy is bad are left out. */
  list(): AsyncIterable<MirrorRef & MirrorRecord>;
}
