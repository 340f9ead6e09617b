/**
 * A chunk store in plain memory, for tests of what stands above: the same checks and answers as the
 * extent store, and hooks to fail operations, lose chunks and damage them.
 */
import {
  assert,
  type ChunkId,
  type DeviceId,
  type ErrorCode,
  groupOf,
  HoldfastError,
  throwIfAborted,
  toHex,
  xxh64,
} from '../base/index.ts';
import { checkChunk, isMetadataChunk } from './chunk-format.ts';
import type {
  ChunkEntry,
  ChunkStore,
  GetOptions,
  GroupDigest,
  ScrubFinding,
  ScrubReport,
  StoreState,
  StoreUsage,
} from './chunk-store.ts';
import { allowanceBlocks, BLOCK_BYTES, blocksFor } from './geometry.ts';
import { GroupDigests } from './group-digests.ts';
import { GENERATION_MAX } from './slot.ts';

interface HeldChunk {
  readonly id: ChunkId;
  readonly bytes: Uint8Array;
  checksum: bigint;
  readonly writtenAtMs: number;
  generation: number;
  isGood: boolean;
}

type Operation = 'put' | 'get' | 'remove';

export interface MemoryStoreOptions {
  readonly id: DeviceId;
  /** Without a limit when left out. */
  readonly sizeBytes?: number;
  readonly now?: () => number;
}

export class MemoryChunkStore implements ChunkStore {
  readonly id: DeviceId;
  /** May be set at any time. */
  state: StoreState = 'active';
  /** Names the error that an operation fails with, before it does anything. */
  fault: ((operation: Operation, id: ChunkId) => ErrorCode | undefined) | undefined;
  /** Whole blocks. */
  readonly #sizeBytes: number;
  readonly #now: () => number;
  readonly #held = new Map<string, HeldChunk>();
  #shardBytes = 0;
  #metadataBytes = 0;
  #isClosed = false;

  constructor({ id, sizeBytes = Number.MAX_SAFE_INTEGER, now = () => 0 }: MemoryStoreOptions) {
    this.id = id;
    this.#sizeBytes = sizeBytes - (sizeBytes % BLOCK_BYTES);
    this.#now = now;
  }

  /** Forgets a chunk, as a device does that loses it. @returns whether it was there. */
  lose(id: ChunkId): boolean {
    const held = this.#held.get(toHex(id));
    if (held) this.#drop(held);
    return held !== undefined;
  }

  /** Damages one bit of a chunk; the store finds out when it reads it. */
  flip(id: ChunkId, offset: number): void {
    const held = this.#held.get(toHex(id));
    assert(held, 'the chunk to damage is there');
    held.bytes[offset]! ^= 1;
  }

  /** Damages one bit in a way that the store does not find out, but by comparing with the id. */
  forge(id: ChunkId, offset: number): void {
    this.flip(id, offset);
    const held = this.#held.get(toHex(id))!;
    held.checksum = xxh64(held.bytes);
  }

  async put(
    id: ChunkId,
    chunk: Uint8Array,
    { generation, signal }: { generation: number; signal?: AbortSignal | undefined },
  ): Promise<void> {
    assert(generation >= 0 && generation <= GENERATION_MAX, 'a generation has 24 bits');
    if (chunk.length === 0) throw new HoldfastError('HF_BAD_ARGUMENT', 'a chunk has bytes');
    this.#check('put', id, signal);
    checkChunk(id, chunk);
    const present = this.#held.get(toHex(id));
    if (present?.isGood) {
      present.generation = Math.max(present.generation, generation);
      return;
    }
    const aside = isMetadataChunk(id) ? this.#metadataBytes : this.#allowanceBytes;
    const keptBytes = this.#shardBytes + aside - (present?.bytes.length ?? 0);
    if (keptBytes + chunk.length > this.#sizeBytes) throw new HoldfastError('HF_NO_SPACE');
    if (present) this.#drop(present);
    this.#count(id, chunk.length);
    this.#held.set(toHex(id), {
      id: new Uint8Array(id) as ChunkId,
      bytes: new Uint8Array(chunk),
      checksum: xxh64(chunk),
      writtenAtMs: Math.floor(this.#now() / 1000) * 1000,
      generation: Math.max(generation, present?.generation ?? 0),
      isGood: true,
    });
  }

  async get(id: ChunkId, options: GetOptions = {}): Promise<Uint8Array | undefined> {
    this.#check('get', id, options.signal);
    const held = this.#held.get(toHex(id));
    if (!held) return undefined;
    if (xxh64(held.bytes) !== held.checksum) held.isGood = false;
    if (!held.isGood) throw new HoldfastError('HF_CORRUPT', `${toHex(id)} is bad`);
    const { offset = 0, lengthBytes = held.bytes.length - offset } = options;
    if (offset < 0 || lengthBytes < 0 || offset + lengthBytes > held.bytes.length) {
      throw new HoldfastError('HF_BAD_ARGUMENT', 'the range is not inside the chunk');
    }
    return held.bytes.slice(offset, offset + lengthBytes);
  }

  async stat(id: ChunkId): Promise<ChunkEntry | undefined> {
    const held = this.#held.get(toHex(id));
    return held && entryOf(held);
  }

  async remove(
    id: ChunkId,
    { generationMax, signal }: { generationMax: number; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    this.#check('remove', id, signal);
    const held = this.#held.get(toHex(id));
    if (!held || held.generation > generationMax) return false;
    this.#drop(held);
    return true;
  }

  async dispute(id: ChunkId): Promise<boolean> {
    const held = this.#held.get(toHex(id));
    if (!held) return false;
    try {
      checkChunk(id, held.bytes);
    } catch {
      held.isGood = false;
    }
    return !held.isGood;
  }

  async *list(
    options: { group?: number; signal?: AbortSignal | undefined } = {},
  ): AsyncIterable<ChunkEntry> {
    for (const held of this.#held.values()) {
      throwIfAborted(options.signal);
      if (options.group === undefined || groupOf(held.id) === options.group) yield entryOf(held);
    }
  }

  async digests(): Promise<readonly GroupDigest[]> {
    const digests = new GroupDigests();
    for (const { id, isGood } of this.#held.values()) if (isGood) digests.add(id);
    return digests.list();
  }

  async usage(): Promise<StoreUsage> {
    const held = [...this.#held.values()];
    const shardBytes = blocksFor(this.#shardBytes) * BLOCK_BYTES;
    const usedBytes = Math.min(shardBytes + this.#allowanceBytes, this.#sizeBytes);
    return {
      sizeBytes: this.#sizeBytes,
      usedBytes,
      freeBytes: this.#sizeBytes - usedBytes,
      chunkCount: held.length,
      badChunkCount: held.filter(({ isGood }) => !isGood).length,
    };
  }

  async scrub(): Promise<ScrubReport> {
    const findings: ScrubFinding[] = [];
    let checkedBytes = 0;
    for (const held of this.#held.values()) {
      checkedBytes += held.bytes.length;
      const isMarked = !held.isGood;
      held.isGood = xxh64(held.bytes) === held.checksum;
      if (isMarked && held.isGood) await this.dispute(held.id);
      const { id, isGood } = held;
      if (!isGood) findings.push({ kind: 'bad-chunk', id, reason: 'the checksum does not match' });
    }
    return { checkedChunks: this.#held.size, checkedBytes, findings };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
  }

  #check(operation: Operation, id: ChunkId, signal: AbortSignal | undefined): void {
    throwIfAborted(signal);
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED');
    if (this.state === 'failed') throw new HoldfastError('HF_DEVICE_FAILED');
    const code = this.fault?.(operation, id);
    if (code) throw new HoldfastError(code, `${operation} failed as told`);
  }

  get #allowanceBytes(): number {
    const blocks = allowanceBlocks(this.#sizeBytes / BLOCK_BYTES, blocksFor(this.#metadataBytes));
    return blocks * BLOCK_BYTES;
  }

  #count(id: ChunkId, bytes: number): void {
    if (isMetadataChunk(id)) this.#metadataBytes += bytes;
    else this.#shardBytes += bytes;
  }

  #drop({ id, bytes }: HeldChunk): void {
    this.#held.delete(toHex(id));
    this.#count(id, -bytes.length);
  }
}

function entryOf({ id, bytes, generation, writtenAtMs, isGood }: HeldChunk): ChunkEntry {
  return { id, lengthBytes: bytes.length, generation, writtenAtMs, isGood };
}
