/**
 * Content ⇄ shards on many stores. A stripe is prepared (sealed, encoded, named) before it is
 * spread, so that its id can be referenced in between (rulings 13 and 25). Rebuilding needs no
 * keys.
 */
import type { DeviceId, Scheme, StripeId } from '../base/index.ts';

/** Memory for the content of one stripe; from {@link StripeStore.lease}. Give it back, always. */
export interface StripeBuffer extends Disposable {
  /** Where the content goes: `contentBytesFor(scheme)` bytes. */
  readonly content: Uint8Array;
}

export interface PreparedStripe extends Disposable {
  readonly stripe: StripeId;
  /** May differ from the scheme asked for: short content becomes copies of the same tolerance. */
  readonly scheme: Scheme;
  readonly schemeNumber: number;
  /** 32 bytes; with it and the stripe's id the content can be read. */
  readonly key: Uint8Array;
  readonly contentBytes: number;
  /** BLAKE3 of the padded content, 32 bytes. */
  readonly contentDigest: Uint8Array;
  readonly chunkBytes: number;
  /** The n chunks, in index order; copies share one array. Valid until disposed. */
  readonly chunks: readonly Uint8Array[];
}

export interface SpreadReport {
  /** Shards durable. Equal to n unless too few stores were alive. */
  readonly durableCount: number;
  readonly isDegraded: boolean;
}

/** What is needed to read a stripe back. */
export interface StripeRef {
  readonly stripe: StripeId;
  readonly schemeNumber: number;
  readonly key: Uint8Array;
  readonly contentBytes: number;
}

export interface ShardPlace {
  readonly shardIndex: number;
  /** Where the layout wants the shard; `undefined` when no device has the position. */
  readonly wantedAt: DeviceId | undefined;
  /** Stores that hold it and do not know it bad. */
  readonly foundAt: readonly DeviceId[];
  /** Stores that hold it and know it bad. */
  readonly badAt: readonly DeviceId[];
}

export interface StripeHealth {
  readonly places: readonly ShardPlace[];
  /** Distinct good shards found, minus k; below 0 the stripe is lost. */
  readonly spareCount: number;
  /**
   * Every shard is found, each on a device that need not stand for another one: one loss takes one
   * shard. Where fewer than n are alive, so many shards as there are devices are apart.
   */
  readonly isWhole: boolean;
}

export interface WantedShards {
  readonly stripe: StripeId;
  readonly schemeNumber: number;
  readonly generation: number;
}

export interface RebuildReport {
  readonly writtenBytes: number;
  readonly health: StripeHealth;
}

interface Cancel {
  readonly signal?: AbortSignal | undefined;
}

export interface PrepareOptions {
  readonly scheme: Scheme;
  readonly secret?: Uint8Array | undefined;
  readonly key?: Uint8Array | undefined;
}

export interface ReadOptions extends Cancel {
  /** Memory for the answer, used when it is large enough; else there is new. */
  readonly target?: Uint8Array | undefined;
}

export interface StripeStore extends AsyncDisposable {
  /** Content bytes of a full stripe of this scheme. */
  contentBytesFor(scheme: Scheme): number;

  /**
   * Waits for one of a bounded number of buffers: the back-pressure of every stream. All buffers
   * together leave a slot for reads and repair, which a writer's own source may be waiting for.
   */
  lease(scheme: Scheme, options?: Cancel): Promise<StripeBuffer>;

  /**
   * Seals, encodes and names the first `contentBytes` (at least 1) of the buffer, which lives on in
   * the prepared stripe and is given back with it.
   * @param options.secret the volume's content secret: the key is derived from it and the content
   *   (convergent); without it the key is random.
   * @param options.key instead of a secret: the key of a stripe that is to be made again.
   */
  prepare(
    buffer: StripeBuffer,
    contentBytes: number,
    options: PrepareOptions,
  ): Promise<PreparedStripe>;

  /** As {@link prepare}, for content below LIMITS.copyContentBytesMax; needs no buffer. */
  prepareShort(content: Uint8Array, options: PrepareOptions): PreparedStripe;

  /**
   * Puts all shards; resolves when all n are durable. A store that does not take its shard is
   * replaced by a spare one (spares.ts); only when fewer than n stores are alive may fewer be
   * durable, at least k + minSpare (ruling 9).
   * @throws HF_TOO_FEW_STORES, HF_NO_SPACE: what was put is collected later.
   */
  spread(
    prepared: PreparedStripe,
    options: { readonly generation: number } & Cancel,
  ): Promise<SpreadReport>;
  /** Resolves when the spreads that are under way, perhaps by an older layout, have ended. */
  spreadsSettled(): Promise<void>;

  /**
   * Content of a stripe, authenticated, from any k good shards. Bad shards met on the way are
   * passed over and marked by their stores. The bytes are the caller's, so that whoever reads holds
   * no slot while he waits for somebody else.
   * @param range bytes of the content; the whole when left out.
   * @throws HF_TOO_FEW_SHARDS, HF_FORGED.
   */
  read(
    ref: StripeRef,
    range?: { readonly offset: number; readonly lengthBytes: number },
    options?: ReadOptions,
  ): Promise<Uint8Array>;

  /** Where the shards of a stripe are, asked of the stores (nothing is read). */
  inspect(stripe: StripeId, schemeNumber: number): Promise<StripeHealth>;

  /**
   * Brings missing and bad shards back to where the layout wants them, checked against the digest
   * list in the chunk headers; then removes surplus good copies elsewhere.
   * @throws HF_TOO_FEW_SHARDS when fewer than k good shards are left.
   */
  rebuild(wanted: WantedShards, options?: Cancel): Promise<RebuildReport>;

  /**
   * Deletes all shards up to a generation on every store alive. @returns whether all could be
   * asked.
   */
  remove(wanted: WantedShards): Promise<boolean>;
}
