/**
 * What one device holds: chunks, opaque bytes under a 32-byte id, verified on every read. The same
 * interface is served over the network; callers cannot tell local from remote.
 *
 * *Generation*: each put carries the generation of its stripe's record; a delete carries the
 * highest generation it condemns. A store deletes only what is not newer, so a delayed delete never
 * hits a fresh put (rulings 13). Generations are whole numbers below 2^24.
 */
import type { ChunkId, DeviceId } from '../base/index.ts';

export type StoreState = 'active' | 'draining' | 'failed';

export interface StoreUsage {
  /**
   * Bytes the store may use: its hard maximum, or what the device may grow to, unless growth was
   * refused. Exactly `usedBytes` + `freeBytes`, all in whole blocks.
   */
  readonly sizeBytes: number;
  /** Bytes in use or promised, and the allowance for metadata, which moves in steps. */
  readonly usedBytes: number;
  /** Bytes that shards may still take. */
  readonly freeBytes: number;
  readonly chunkCount: number;
  /** Chunks known bad: repair puts them again. */
  readonly badChunkCount: number;
}

export interface ChunkEntry {
  readonly id: ChunkId;
  readonly lengthBytes: number;
  readonly generation: number;
  /** Milliseconds since 1970, to the second. */
  readonly writtenAtMs: number;
  /** False when the store knows that the bytes are bad or in doubt. */
  readonly isGood: boolean;
}

export type ScrubFinding =
  /**
   * The chunk's bytes are bad. It stays listed, not readable, until it is put again or removed, or
   * a scrub finds it good.
   */
  | { readonly kind: 'bad-chunk'; readonly id: ChunkId; readonly reason: string }
  /** A metadata structure of the store had a bad copy, which was rewritten from a good one. */
  | { readonly kind: 'mended'; readonly what: string };

/** The caps hold together: the slowest counts. */
export interface ScrubOptions {
  /** Cap on what is read. */
  readonly rateBytesPerSecond?: number | undefined;
  /** A pass over all that is in use may take so long: it reads no faster than it has to. */
  readonly passMs?: number | undefined;
  /** Reads for at most this share of the time; 0.05 leaves 95 % of the device's speed to others. */
  readonly busyShareMax?: number | undefined;
  /** Begins anew where a pass is under way. */
  readonly startsOver?: boolean | undefined;
  /** Of the bytes that were ahead when it began. */
  readonly onProgress?: ((checkedBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ScrubReport {
  readonly checkedChunks: number;
  readonly checkedBytes: number;
  readonly findings: readonly ScrubFinding[];
}

/** Count and order-free digest of the chunks of one (group, scheme, shard index). */
export interface GroupDigest {
  readonly group: number;
  readonly schemeNumber: number;
  readonly shardIndex: number;
  readonly count: number;
  /** Sum of XXH64 over the stripe ids, modulo 2^64. */
  readonly digest: bigint;
}

interface Cancel {
  readonly signal?: AbortSignal | undefined;
}

export interface GetOptions extends Cancel {
  readonly offset?: number;
  readonly lengthBytes?: number;
  readonly target?: Uint8Array;
}

export interface PutOptions extends Cancel {
  readonly generation: number;
  /** This process has just made the bytes, or checked them against the id: not done once more. */
  readonly isVerified?: boolean;
}

export interface ChunkStore extends AsyncDisposable {
  readonly id: DeviceId;
  readonly state: StoreState;

  /**
   * Stores a chunk durably; resolves after the flush. Storing what is there already is no work: it
   * resolves when that is durable (a higher generation is recorded). A chunk known bad is replaced.
   * Shards leave an allowance free that metadata chunks may take.
   * `chunk` belongs to the store until it settles; aligned memory is written without a copy.
   * The bytes are checked against the id first, unless they are verified.
   * @throws HF_CORRUPT when bytes and id disagree; HF_NO_SPACE before anything is written;
   *   HF_DEVICE_FAILED when the store has stopped.
   */
  put(id: ChunkId, chunk: Uint8Array, options: PutOptions): Promise<void>;

  /**
   * The chunk, or a range of it, verified; `undefined` when the store does not have it.
   * @param options.target page-aligned memory for the answer; else the store allocates. Only the
   *   array returned holds the answer.
   * @throws HF_CORRUPT when what is there is bad or cannot be read (the chunk is marked so); HF_IO
   *   when the device is to blame: many chunks in a row could not be read; HF_DEVICE_FAILED.
   */
  get(id: ChunkId, options?: GetOptions): Promise<Uint8Array | undefined>;

  /**
   * A turn among what the store serves at once, until it is disposed. Who takes one before it asks
   * waits no longer than what it asks for takes: waiting for it is no sign that the store hangs. A
   * store without turns serves all who come.
   * @throws HF_INTERRUPTED.
   */
  turn?(options?: Cancel): Promise<Disposable>;

  /** What is known of the chunk without reading it. */
  stat(id: ChunkId): Promise<ChunkEntry | undefined>;

  /** The same of many chunks, in their order, at the price of one call; see {@link statChunks}. */
  statMany?(
    ids: readonly ChunkId[],
    options?: Cancel,
  ): Promise<readonly (ChunkEntry | undefined)[]>;

  /**
   * Deletes the chunk unless its generation is above `generationMax`; durable when it resolves.
   * @returns whether a chunk was deleted.
   */
  remove(id: ChunkId, options: { generationMax: number } & Cancel): Promise<boolean>;

  /**
   * The caller has got bytes of the chunk that are not what its id names. The store reads it and
   * sees for itself: a chunk that is bad is marked so, a good one is never lost by what others say.
   * A store of another node that stands by it, although other bytes came from there, is not
   * believed: from now on the chunk counts as bad here.
   * @returns whether the chunk is, or counts as, bad now.
   */
  dispute?(id: ChunkId, options?: Cancel): Promise<boolean>;

  /** All chunks, good and bad, of one placement group or of the store; order is not defined. */
  list(options?: { group?: number } & Cancel): AsyncIterable<ChunkEntry>;

  /** Count and digest for each (group, scheme, shard index) that the store holds. */
  digests(): Promise<readonly GroupDigest[]>;

  usage(): Promise<StoreUsage>;

  /**
   * Reads everything and checks it; changes nothing but marks and mended copies. A chunk marked bad
   * whose bytes are good after all loses its mark. A pass that was interrupted goes on there.
   * @throws HF_IO when many chunks in a row cannot be read: the device is to blame.
   */
  scrub(options?: ScrubOptions): Promise<ScrubReport>;

  /** Seals the journal, checkpoints, closes the device. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a store knows of many chunks, in their order: in one call where calls are dear. */
export async function statChunks(
  store: ChunkStore,
  ids: readonly ChunkId[],
  options: Cancel = {},
): Promise<readonly (ChunkEntry | undefined)[]> {
  if (store.statMany) return await store.statMany(ids, options);
  const entries: (ChunkEntry | undefined)[] = [];
  for (const id of ids) entries.push(await store.stat(id));
  return entries;
}
