/**
 * A store of another node, as a {@link ChunkStore}: callers cannot tell it from a local one. Every
 * operation ends: with an answer, with HF_UNAVAILABLE when none came in time, or with HF_BUSY when
 * the other node serves too many already.
 *
 * What is checked here, and what is not: the network's frames have checksums, so bytes change only
 * by the will of the other node. A metadata chunk is compared with its id. Of a whole shard the
 * header is, so that it is known to be of the right stripe; the shard itself and ranges are not,
 * as `stripes` opens the seal of what it decodes, or compares digests before it rebuilds.
 *
 * Memory of a put stays in use until its bytes have left this node, also when it fails or is
 * cancelled (see StoreLink.settle).
 */
import {
  asBuffer,
  bytesEqual,
  type ChunkId,
  chunkIdParts,
  type DeviceId,
  type ErrorCode,
  errorCode,
  errorMessage,
  groupOf,
  HoldfastError,
  KeyedLock,
  LIMITS,
  type NodeId,
  throwIfAborted,
  toHex,
} from '../base/index.ts';
import { checkChunk, decodeChunkHeader, isMetadataChunk, stripeIdOf } from './chunk-format.ts';
import type {
  ChunkEntry,
  ChunkStore,
  GetOptions,
  GroupDigest,
  PutOptions,
  ScrubFinding,
  ScrubOptions,
  ScrubReport,
  StoreState,
  StoreUsage,
} from './chunk-store.ts';
import { DisputedChunks } from './disputed.ts';
import { Operations } from './operations.ts';
import { PeerTurns } from './peer-turns.ts';
import { parsed, StoreLink, type StoreLinkOptions } from './store-link.ts';
import { badAnswer, readChunk } from './store-streams.ts';
import * as wire from './store-wire.ts';
import { whileBusy } from './while-busy.ts';

export interface RemoteStoreOptions extends StoreLinkOptions {
  /** The topology epoch that this node goes by; puts carry it (ruling 11). */
  readonly epoch: () => number;
  /** Shared by all stores of the node. */
  readonly turns?: PeerTurns;
}

/** An answer about usage is good for so long, unless this node changes something. */
const USAGE_MS = 1000;
/** A scrub tells of its progress more often than this. */
const SCRUB_SILENCE_MS = 30_000;
const DIGESTS_MAX = 2 ** 20;

export class RemoteChunkStore implements ChunkStore {
  readonly id: DeviceId;
  readonly node: NodeId;
  readonly #options: RemoteStoreOptions;
  readonly #link: StoreLink;
  readonly #operations: Operations;
  readonly #turns: PeerTurns;
  /** Puts and removes of one chunk keep their order, though they travel on two connections. */
  readonly #locks = new KeyedLock();
  readonly #disputed = new DisputedChunks();
  #usage: { readonly answer: Promise<StoreUsage>; readonly untilMs: number } | undefined;

  constructor(options: RemoteStoreOptions) {
    this.id = options.id;
    this.node = options.node;
    this.#options = options;
    this.#turns = options.turns ?? new PeerTurns();
    this.#link = new StoreLink(options, () => (this.#usage = undefined));
    this.#operations = new Operations(`the connection to store ${options.id}`);
  }

  /** As of the last answer. */
  get state(): StoreState {
    return this.#link.state;
  }

  async turn({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<Disposable> {
    return await this.#turns.take(this.id, signal);
  }

  async put(id: ChunkId, chunk: Uint8Array, options: PutOptions): Promise<void> {
    if (chunk.length === 0) throw new HoldfastError('HF_BAD_ARGUMENT', 'a chunk has bytes');
    if (chunk.length > LIMITS.chunkBytesMax) throw new HoldfastError('HF_TOO_LARGE');
    using _operation = this.#begin(options.signal);
    this.#checkUndisputed(id, 'HF_IO');
    using _lock = await this.#locks.acquire(id);
    this.#usage = undefined;
    const { generation, signal } = options;
    const arg = { device: this.id, id, generation, epoch: this.#options.epoch() };
    try {
      const isSmall = chunk.length <= LIMITS.inlineChunkBytesMax;
      if (isSmall) await this.#link.call('put', { ...arg, bytes: chunk }, wire.ANSWER, signal);
      else await this.#putStream(arg, chunk, signal);
    } catch (error) {
      // The bytes are right: then that node is wrong, and another may do better.
      if (!options.isVerified || errorCode(error) !== 'HF_CORRUPT') throw error;
      throw new HoldfastError('HF_IO', errorMessage(error), { cause: error });
    }
  }

  async get(id: ChunkId, options: GetOptions = {}): Promise<Uint8Array | undefined> {
    using _operation = this.#begin(options.signal);
    checkRange(options.offset, options.lengthBytes);
    this.#checkUndisputed(id, 'HF_CORRUPT');
    return await twice(options.signal, () => this.#get(id, options));
  }

  async #get(id: ChunkId, options: GetOptions): Promise<Uint8Array | undefined> {
    const { offset, lengthBytes, target, signal } = options;
    const arg = { device: this.id, id, offset, lengthBytes };
    let expectedBytes = lengthBytes ?? target?.length ?? 0;
    let bytes: Uint8Array | undefined;
    if (expectedBytes <= LIMITS.inlineChunkBytesMax) {
      const answer = await this.#link.call('get', arg, wire.GET_ANSWER, signal);
      bytes = answer.bytes && placedIn(target, answer.bytes);
      if (!bytes && answer.lengthBytes === undefined) return undefined;
      expectedBytes = answer.lengthBytes ?? 0;
    }
    bytes ??= await this.#getStream(arg, expectedBytes, options);
    if (!bytes) return undefined;
    if (lengthBytes !== undefined && bytes.length !== lengthBytes) {
      throw badAnswer(`${bytes.length} bytes for a range of ${lengthBytes}`);
    }
    if (offset === undefined && lengthBytes === undefined) checkWhole(id, bytes);
    return bytes;
  }

  async stat(id: ChunkId): Promise<ChunkEntry | undefined> {
    using _operation = this.#begin();
    const arg = { device: this.id, id };
    const { entry } = await twice(undefined, () => this.#link.call('stat', arg, wire.STAT_ANSWER));
    return entry && this.#disputed.judged({ id: new Uint8Array(id) as ChunkId, ...entry });
  }

  async statMany(
    ids: readonly ChunkId[],
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<readonly (ChunkEntry | undefined)[]> {
    using _operation = this.#begin(signal);
    const arg = { device: this.id, ids };
    const { entries } = await twice(signal, () =>
      this.#link.call('statMany', arg, wire.STAT_MANY_ANSWER, signal),
    );
    if (entries.length !== ids.length) throw badAnswer('another number of chunks than asked for');
    return entries.map((entry, index) =>
      entry === null
        ? undefined
        : this.#disputed.judged({ id: new Uint8Array(ids[index]!) as ChunkId, ...entry }),
    );
  }

  async remove(
    id: ChunkId,
    { generationMax, signal }: { generationMax: number; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    using _operation = this.#begin(signal);
    using _lock = await this.#locks.acquire(id);
    this.#usage = undefined;
    const arg = { device: this.id, id, generationMax };
    const { isRemoved } = await this.#link.call('remove', arg, wire.REMOVE_ANSWER, signal);
    if (isRemoved) this.#disputed.removed(id);
    return isRemoved;
  }

  async dispute(
    id: ChunkId,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<boolean> {
    using _operation = this.#begin(signal);
    this.#usage = undefined;
    const arg = { device: this.id, id };
    try {
      const answer = await this.#link.call('dispute', arg, wire.DISPUTE_ANSWER, signal);
      if (answer.isBad || !answer.isThere) return answer.isBad;
    } catch (error) {
      const code = errorCode(error);
      // Nothing was heard: it may own up another time.
      if (!code || code === 'HF_UNAVAILABLE' || code === 'HF_INTERRUPTED') throw error;
    }
    this.#disputed.add(id);
    return true;
  }

  /**
   * A consumer takes at least ten thousand entries in LIMITS.callDeadlineMsMax, or gets
   * HF_UNAVAILABLE.
   */
  async *list(
    options: { group?: number; signal?: AbortSignal | undefined } = {},
  ): AsyncIterable<ChunkEntry> {
    using _operation = this.#begin(options.signal);
    const { group, signal } = options;
    const arg = { device: this.id, group };
    for await (const entries of this.#link.batches('list', {
      arg,
      readItem: wire.readEntry,
      signal,
    })) {
      for (const entry of entries) {
        if (group === undefined || groupOf(entry.id) === group) yield this.#disputed.judged(entry);
      }
    }
  }

  async digests(): Promise<readonly GroupDigest[]> {
    using _operation = this.#begin();
    const found: GroupDigest[] = [];
    const request = { arg: { device: this.id }, readItem: wire.readDigest };
    for await (const digests of this.#link.batches('digests', request)) {
      found.push(...digests);
      if (found.length > DIGESTS_MAX) throw badAnswer('more digests than can be');
    }
    return this.#disputed.judgedDigests(found);
  }

  async usage(): Promise<StoreUsage> {
    using _operation = this.#begin();
    const nowMs = this.#options.clock.monotonic();
    if (this.#usage && nowMs < this.#usage.untilMs) return await this.#usage.answer;
    const { clock } = this.#options;
    const asked = whileBusy(clock, { ms: LIMITS.remoteCallMs }, () =>
      this.#link.call('usage', { device: this.id }, wire.USAGE_ANSWER),
    );
    const answer = asked.then(({ usage }) => {
      const badChunkCount = usage.badChunkCount + this.#disputed.heldCount;
      return { ...usage, badChunkCount };
    });
    answer.catch(() => (this.#usage = undefined));
    this.#usage = { answer, untilMs: nowMs + USAGE_MS };
    return await answer;
  }

  async scrub(options: ScrubOptions = {}): Promise<ScrubReport> {
    const { signal, onProgress, ...caps } = options;
    using _operation = this.#begin(signal);
    this.#usage = undefined;
    const findings: ScrubFinding[] = [];
    let reply: unknown;
    const batches = this.#link.batches('scrub', {
      arg: { device: this.id, ...caps },
      readItem: wire.readNews,
      signal,
      silenceMs: SCRUB_SILENCE_MS,
      onReply: (answer) => (reply = answer),
    });
    for await (const batch of batches) {
      for (const news of batch) {
        if (news.kind === 'progress') onProgress?.(news.checkedBytes, news.totalBytes);
        else findings.push(news);
      }
    }
    const { checkedChunks, checkedBytes } = parsed(wire.SCRUB_ANSWER, reply);
    return { checkedChunks, checkedBytes, findings };
  }

  /** Waits for what is under way; the store itself stays open where it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#operations.close();
  }

  #checkUndisputed(id: ChunkId, code: ErrorCode): void {
    if (!this.#disputed.has(id)) return;
    throw new HoldfastError(code, `store ${this.id} stands by other bytes of ${toHex(id)}`);
  }

  #begin(signal?: AbortSignal): Disposable {
    throwIfAborted(signal);
    return this.#operations.begin();
  }

  async #putStream(
    arg: Readonly<Record<string, unknown>>,
    chunk: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const bytes = chunk.length;
    const request = { arg: { ...arg, lengthBytes: bytes }, bytes, signal };
    let hasStarted = false;
    try {
      await this.#link.exchange('putStream', request, async ({ stream, reply }) => {
        hasStarted = true;
        stream.resume(); // the store has nothing to say
        stream.end(asBuffer(chunk));
        this.#link.heard(wire.ANSWER, await reply);
      });
    } catch (error) {
      if (hasStarted) await this.#link.settle();
      throw this.#link.translated(error, signal);
    }
  }

  async #getStream(
    arg: Readonly<Record<string, unknown>>,
    expectedBytes: number,
    { target, signal }: GetOptions,
  ): Promise<Uint8Array | undefined> {
    const place = (lengthBytes: number): Uint8Array => {
      if (lengthBytes > LIMITS.chunkBytesMax) throw badAnswer(`${lengthBytes} bytes`);
      return roomIn(target, lengthBytes);
    };
    try {
      const request = { arg, bytes: expectedBytes, signal };
      return await this.#link.exchange('getStream', request, async ({ stream, reply }) => {
        stream.end();
        const [read, answered] = await Promise.allSettled([readChunk(stream, place), reply]);
        // When both fail the reply says why.
        if (answered.status === 'rejected') throw answered.reason;
        if (read.status === 'rejected') throw read.reason;
        const { isThere } = this.#link.heard(wire.GET_STREAM_ANSWER, answered.value);
        if (isThere !== (read.value !== undefined)) throw badAnswer('there, and not there');
        return read.value;
      });
    } catch (error) {
      throw this.#link.translated(error, signal);
    }
  }
}

/**
 * Asks once more when the connection broke, on the other one or a new one. Only for what changes
 * nothing: of a put or a delete it is not known whether it was done. Silence is answer enough.
 */
async function twice<Result>(
  signal: AbortSignal | undefined,
  read: () => Promise<Result>,
): Promise<Result> {
  try {
    return await read();
  } catch (error) {
    const isSilence = errorCode((error as Error).cause) === 'HF_TIMEOUT';
    if (errorCode(error) !== 'HF_UNAVAILABLE' || isSilence || signal?.aborted) throw error;
    return await read();
  }
}

function checkRange(offset = 0, lengthBytes = 0): void {
  if (offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= LIMITS.chunkBytesMax) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', 'the range is not inside the chunk');
}

/** Where an answer goes: into the caller's memory when it fits there. */
function roomIn(target: Uint8Array | undefined, lengthBytes: number): Uint8Array {
  const fits = target !== undefined && target.length >= lengthBytes;
  return fits ? target.subarray(0, lengthBytes) : new Uint8Array(lengthBytes);
}

function placedIn(target: Uint8Array | undefined, bytes: Uint8Array): Uint8Array {
  const room = roomIn(target, bytes.length);
  room.set(bytes);
  return room;
}

/** @throws HF_CORRUPT when the other node gave other bytes than asked for. */
function checkWhole(id: ChunkId, bytes: Uint8Array): void {
  if (isMetadataChunk(id)) return checkChunk(id, bytes);
  const { stripe, schemeNumber } = chunkIdParts(id);
  const header = decodeChunkHeader(bytes);
  const isOfStripe =
    header.schemeNumber === schemeNumber &&
    header.headerBytes + header.shardBytes === bytes.length &&
    bytesEqual(stripeIdOf(header), stripe);
  if (!isOfStripe) throw new HoldfastError('HF_CORRUPT', `${toHex(id)}: this is another chunk`);
}
