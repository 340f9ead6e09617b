/**
 * Reads chunks, verified, and keeps book of those that turn out to be bad.
 *
 * Invariants: (1) the extents of a chunk stay as they are while it is read; (2) a mark is made only
 * on what was read: not when other bytes have taken its place meanwhile.
 */
import {
  type ChunkId,
  errorCode,
  errorMessage,
  HoldfastError,
  type KeyedLock,
  toHex,
} from '../base/index.ts';
import type { Log } from '../env/index.ts';
import { checkChunk } from './chunk-format.ts';
import type { ChunkEntry, GetOptions } from './chunk-store.ts';
import type { Committer } from './committer.ts';
import type { ExtentIo } from './extent-io.ts';
import type { ReadFailures } from './health.ts';
import type { Inventory } from './inventory.ts';
import { type ChunkRecord, encodeRecord } from './slot.ts';

export class ChunkReader {
  readonly #deviceName: string;
  readonly #log: Log;
  readonly #io: ExtentIo;
  readonly #inventory: Inventory;
  readonly #committer: Committer;
  readonly #locks: KeyedLock;
  readonly #failures: ReadFailures;

  constructor(parts: {
    readonly deviceName: string;
    readonly log: Log;
    readonly io: ExtentIo;
    readonly inventory: Inventory;
    readonly committer: Committer;
    /** One put, remove or mark of a chunk at a time. */
    readonly locks: KeyedLock;
    readonly failures: ReadFailures;
  }) {
    this.#deviceName = parts.deviceName;
    this.#log = parts.log;
    this.#io = parts.io;
    this.#inventory = parts.inventory;
    this.#committer = parts.committer;
    this.#locks = parts.locks;
    this.#failures = parts.failures;
  }

  /** @throws HF_CORRUPT, and the chunk is marked bad; HF_BAD_ARGUMENT; HF_IO. */
  async read(record: ChunkRecord, options: GetOptions): Promise<Uint8Array> {
    const { id } = record;
    if (record.kind === 'bad') throw badChunk(id, 'it is known to be bad');
    const { offset = 0, lengthBytes = record.lengthBytes - offset } = options;
    if (offset < 0 || lengthBytes < 0 || offset + lengthBytes > record.lengthBytes) {
      throw new HoldfastError('HF_BAD_ARGUMENT', 'the range is not inside the chunk');
    }
    const { space } = this.#inventory;
    space.pin(record.extents);
    let reason: unknown;
    try {
      const bytes = await this.#io.read(record, { offset, lengthBytes }, options.target);
      this.#failures.succeeded();
      return bytes;
    } catch (error) {
      if (!this.#failures.isChunkBad(id, error)) throw error;
      reason = error;
    } finally {
      space.unpin(record.extents);
    }
    await this.mark(record, 'bad');
    throw badChunk(id, errorMessage(reason), reason);
  }

  /** Reads the chunk and compares it with its id. @returns whether it is bad: then it is marked. */
  async dispute(record: ChunkRecord, { signal }: Pick<GetOptions, 'signal'>): Promise<boolean> {
    try {
      checkChunk(record.id, await this.read(record, { signal }));
      return false;
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT') throw error;
      await this.mark(record, 'bad');
      return true;
    }
  }

  /** Marks a chunk as known bad, or as good, unless other bytes have taken its place meanwhile. */
  async mark(record: ChunkRecord, kind: 'bad' | 'live'): Promise<void> {
    using _lock = await this.#locks.acquire(record.id);
    const present = this.#inventory.index.find(record.id);
    if (present?.kind !== record.kind || present.checksum !== record.checksum) return;
    if (present.extents[0]!.start !== record.extents[0]!.start) return;
    await this.#committer.submit({ record: encodeRecord({ ...present, kind }) });
    const what = kind === 'bad' ? 'a chunk is bad' : 'a chunk that was bad is good';
    this.#log.warn(what, { device: this.#deviceName, chunk: toHex(record.id) });
  }
}

/** What the store says of a chunk without reading it. */
export function entryOf(record: ChunkRecord): ChunkEntry {
  return {
    id: record.id,
    lengthBytes: record.lengthBytes,
    generation: record.generation,
    writtenAtMs: record.writtenAt * 1000,
    isGood: record.kind === 'live',
  };
}

function badChunk(id: ChunkId, reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_CORRUPT', `${toHex(id)}: ${reason}`, { cause });
}
