/**
 * Scrub: reads everything that the store holds and checks it, metadata first, then the chunks in
 * the order of the device. Bad chunks are marked, and lose the mark when their bytes turn out to be
 * good; bad copies of metadata are written again from good ones; nothing else changes.
 *
 * - *cursor*: the block that the pass has come to. It is in the superblock, so that a pass that was
 *   interrupted (a signal, the store closed, a power cut) goes on from there.
 *
 * A chunk that cannot be read is bad, unless the device is to blame (health.ts): then the scrub
 * ends.
 */
import { errorCode, errorMessage, GiB, HoldfastError, throwIfAborted } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { checkChunk } from './chunk-format.ts';
import type { Checkpointer } from './checkpoint.ts';
import type { ScrubFinding, ScrubOptions, ScrubReport } from './chunk-store.ts';
import { nextPortion, type PlacedChunk } from './device-order.ts';
import type { ExtentIo } from './extent-io.ts';
import { chunkBlocks } from './footer.ts';
import { BLOCK_BYTES, SMALL_CHUNK_BYTES } from './geometry.ts';
import { type ReadFailures, UNREADABLE_IN_A_ROW_MAX } from './health.ts';
import type { Inventory } from './inventory.ts';
import type { Journal } from './journal.ts';
import { scrubMetadata } from './scrub-metadata.ts';
import type { ChunkRecord } from './slot.ts';

export interface ScrubParts {
  readonly env: Env;
  readonly device: BlockDevice;
  readonly io: ExtentIo;
  readonly inventory: Inventory;
  readonly journal: Journal;
  readonly checkpointer: Checkpointer;
  readonly reads: ReadFailures;
  readonly mark: (record: ChunkRecord, kind: 'bad' | 'live') => Promise<void>;
}

/** Neighbours that are read in one transfer. */
const GROUP_BLOCKS_MAX = 256;
/** How much of a pass may have to be done again. */
const SAVE_EVERY_MS = 60_000;
const SAVE_EVERY_BYTES = GiB;

/** @throws HF_IO when the device is to blame for what cannot be read; HF_INTERRUPTED. */
export async function scrubStore(parts: ScrubParts, options: ScrubOptions): Promise<ScrubReport> {
  throwIfAborted(options.signal);
  const findings = await scrubMetadata(parts);
  // The device gives what it is asked for: whatever was wrong with it is over.
  parts.reads.succeeded();
  const pass = new ScrubPass(parts, options, findings);
  return await pass.run();
}

class ScrubPass {
  readonly #parts: ScrubParts;
  readonly #options: ScrubOptions;
  readonly #findings: ScrubFinding[];
  readonly #pace: Pace;
  #cursor: number;
  #saved: { readonly atMs: number; readonly checkedBytes: number };
  #checkedChunks = 0;
  #checkedBytes = 0;
  #totalBytes = 0;

  constructor(parts: ScrubParts, options: ScrubOptions, findings: ScrubFinding[]) {
    this.#parts = parts;
    this.#options = options;
    this.#findings = findings;
    this.#cursor = options.startsOver ? 0 : parts.checkpointer.superblock.scrubCursor;
    this.#saved = { atMs: parts.env.clock.monotonic(), checkedBytes: 0 };
    const usedBytes = parts.inventory.space.usedBlocks * BLOCK_BYTES;
    this.#pace = new Pace(parts.env, options, usedBytes);
  }

  async run(): Promise<ScrubReport> {
    const { env, inventory, checkpointer } = this.#parts;
    const turn = async (): Promise<void> => await env.clock.turn();
    try {
      for (;;) {
        const { chunks, bytesAhead } = await nextPortion(inventory.index, this.#cursor, { turn });
        if (chunks.length === 0) break;
        this.#totalBytes ||= bytesAhead;
        await this.#scrubChunks(chunks);
      }
    } catch (error) {
      // A store that has stopped keeps the cursor that it saved last.
      await checkpointer.writeSuperblock({ scrubCursor: this.#cursor }).catch(() => undefined);
      throw error;
    }
    await checkpointer.writeSuperblock({ scrubbedAtMs: env.clock.now(), scrubCursor: 0 });
    return {
      checkedChunks: this.#checkedChunks,
      checkedBytes: this.#checkedBytes,
      findings: this.#findings,
    };
  }

  async #scrubChunks(chunks: readonly PlacedChunk[]): Promise<void> {
    const { clock } = this.#parts.env;
    for (let at = 0; at < chunks.length;) {
      throwIfAborted(this.#options.signal);
      const startedAt = clock.monotonic();
      const { count, records } = this.#groupAt(chunks, at);
      await this.#scrubGroup(records);
      at += count;
      this.#cursor = chunks[at - 1]!.start + 1;
      this.#count(records);
      this.#pace.note(this.#checkedBytes, clock.monotonic() - startedAt);
      await this.#saveWhenDue();
      await this.#pace.wait();
    }
  }

  /** The chunk at a place of the list, with small ones that follow it on the device. */
  #groupAt(
    chunks: readonly PlacedChunk[],
    at: number,
  ): { readonly count: number; readonly records: readonly ChunkRecord[] } {
    const records: ChunkRecord[] = [];
    let end = 0;
    let count = 0;
    for (; at + count < chunks.length; count++) {
      const { start } = chunks[at + count]!;
      const record = this.#present(chunks[at + count]!);
      if (!record) continue;
      const isNeighbour = isPlain(record) && (records.length === 0 || start === end);
      if (records.length > 0 && !isNeighbour) break;
      records.push(record);
      end = start + record.extents[0]!.blocks;
      const isFull = end - records[0]!.extents[0]!.start >= GROUP_BLOCKS_MAX;
      if (isFull || !isPlain(record)) return { count: count + 1, records };
    }
    return { count, records };
  }

  async #scrubGroup(records: readonly ChunkRecord[]): Promise<void> {
    if (records.length > 1 && (await this.#areWhole(records))) {
      this.#markVerified(records);
      return;
    }
    for (const { id, extents } of records) {
      await this.#scrubChunk({ id, start: extents[0]!.start });
    }
  }

  async #areWhole(records: readonly ChunkRecord[]): Promise<boolean> {
    const { space } = this.#parts.inventory;
    for (const { extents } of records) space.pin(extents);
    try {
      return await this.#parts.io.areWhole(records);
    } finally {
      for (const { extents } of records) space.unpin(extents);
    }
  }

  /** @returns `undefined` when it was removed meanwhile, or put again elsewhere. */
  #present({ id, start }: PlacedChunk): ChunkRecord | undefined {
    const record = this.#parts.inventory.index.find(id);
    return record?.extents[0]!.start === start ? record : undefined;
  }

  async #scrubChunk(placed: PlacedChunk): Promise<void> {
    const { io, inventory, reads, mark } = this.#parts;
    this.#cursor = placed.start;
    const record = this.#present(placed);
    if (!record) return;
    const { id, extents, lengthBytes, kind } = record;
    inventory.space.pin(extents);
    try {
      const bytes = await io.read(record, { offset: 0, lengthBytes }, undefined);
      // It may have been put wrong: then its checksum says nothing.
      if (kind === 'bad') checkChunk(id, bytes);
    } catch (error) {
      const code = errorCode(error);
      if (code !== 'HF_IO' && code !== 'HF_CORRUPT') throw error;
      // A chunk that was bad before says nothing new about the device.
      if (kind === 'live' && !reads.isChunkBad(id, error)) throw this.#deviceFault(error);
      if (kind === 'live') await mark(record, 'bad');
      this.#findings.push({ kind: 'bad-chunk', id, reason: errorMessage(error) });
      return;
    } finally {
      inventory.space.unpin(extents);
    }
    if (kind === 'bad') await mark(record, 'live');
    this.#markVerified([record]);
  }

  #markVerified(records: readonly ChunkRecord[]): void {
    const { env, inventory, reads } = this.#parts;
    reads.succeeded();
    const seconds = Math.floor(env.clock.now() / 1000);
    for (const { id } of records) inventory.index.setVerified(id, seconds);
  }

  #deviceFault(error: unknown): HoldfastError {
    const { device } = this.#parts;
    const what = `${UNREADABLE_IN_A_ROW_MAX} chunks in a row could not be read`;
    const message = `${device.name}: ${what}: ${errorMessage(error)}`;
    return new HoldfastError('HF_IO', message, { cause: error });
  }

  #count(records: readonly ChunkRecord[]): void {
    for (const { lengthBytes } of records) {
      this.#checkedChunks += 1;
      this.#checkedBytes += chunkBlocks(lengthBytes) * BLOCK_BYTES;
      this.#options.onProgress?.(this.#checkedBytes, this.#totalBytes);
    }
  }

  async #saveWhenDue(): Promise<void> {
    const atMs = this.#parts.env.clock.monotonic();
    const bytes = this.#checkedBytes - this.#saved.checkedBytes;
    if (atMs - this.#saved.atMs < SAVE_EVERY_MS && bytes < SAVE_EVERY_BYTES) return;
    await this.#parts.checkpointer.writeSuperblock({ scrubCursor: this.#cursor });
    this.#saved = { atMs, checkedBytes: this.#checkedBytes };
  }
}

/** Whether a chunk can be checked together with its neighbours. */
function isPlain({ kind, lengthBytes, extents }: ChunkRecord): boolean {
  return kind === 'live' && lengthBytes <= SMALL_CHUNK_BYTES && extents.length === 1;
}

/** Waits as long as the caps ask for; a signal ends the wait. */
class Pace {
  readonly #env: Env;
  readonly #bytesPerMs: number;
  readonly #busyShareMax: number;
  readonly #signal: AbortSignal | undefined;
  readonly #startedAt: number;
  #bytes = 0;
  #busyMs = 0;

  constructor(env: Env, options: ScrubOptions, usedBytes: number) {
    const { rateBytesPerSecond = Infinity, passMs, busyShareMax = 1, signal } = options;
    this.#env = env;
    this.#bytesPerMs = Math.min(rateBytesPerSecond / 1000, passMs ? usedBytes / passMs : Infinity);
    this.#busyShareMax = busyShareMax;
    this.#signal = signal;
    this.#startedAt = env.clock.monotonic();
  }

  /** @param bytes read so far; @param busyMs that the last of them took. */
  note(bytes: number, busyMs: number): void {
    this.#bytes = bytes;
    this.#busyMs += busyMs;
  }

  async wait(): Promise<void> {
    const dueMs = Math.max(this.#bytes / this.#bytesPerMs, this.#busyMs / this.#busyShareMax);
    const aheadMs = Math.ceil(dueMs - (this.#env.clock.monotonic() - this.#startedAt));
    if (aheadMs > 0) await this.#env.clock.sleep(aheadMs, { signal: this.#signal });
  }
}
