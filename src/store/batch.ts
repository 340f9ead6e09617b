/**
 * A batch while it is gathered: the records that become durable together, and the small chunks that
 * go to the device before them.
 *
 *   gathering ──begin──▶ staging ──close──▶ closed ──▶ done
 *
 * - *piece*: neighbouring small chunks of a batch, written with one transfer as soon as there are
 *   enough of them, while others still come in. Chunks get their blocks with their piece.
 * - Staging costs memory, so only the batch that is to be written next stages what it is given.
 *
 * Invariants: (1) a chunk has its blocks reserved in `Space`; (2) memory of the caller is read
 * until the batch is done; (3) lent memory goes back when every write has settled.
 */
import { assert, LIMITS } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Extent } from './allocator.ts';
import type { BufferPool } from './buffer-pool.ts';
import { isPageAligned, sliceSources } from './extent-io.ts';
import { BLOCK_BYTES, blocksFor } from './geometry.ts';
import { type ChunkRecord, SLOT_WORDS, SLOTS_MAX, SlotList } from './slot.ts';
import type { Space } from './space.ts';

/** Blocks of a piece: enough for a device at full speed, and soon gathered. */
const PIECE_BLOCKS = 64;
/** Aligned chunks from this size on are written from where they are: below a copy costs less. */
const UNCOPIED_BYTES_MIN = 4 * BLOCK_BYTES;

/** A chunk of at most SMALL_CHUNK_BYTES that the batch writes. */
export interface StagedChunk extends Pick<
  ChunkRecord,
  'id' | 'generation' | 'checksum' | 'writtenAt'
> {
  readonly chunk: Uint8Array;
}

/** A record of a chunk whose bytes are where it says, or bytes to be staged; or only a kind. */
export type Submission =
  | { readonly record: Uint32Array }
  | { readonly staged: StagedChunk }
  | { readonly kind: number };

export class Batch {
  readonly #device: BlockDevice;
  readonly #space: Space;
  readonly #pool: BufferPool;
  readonly #slotsMax: number;
  readonly #done = Promise.withResolvers<void>();
  readonly #records = new SlotList();
  readonly #lent = new DisposableStack();
  readonly #writes: Promise<void>[] = [];
  /** Gathered before staging began. */
  #gathered: StagedChunk[] = [];
  #isStaging = false;
  #kind = 0;
  #slots = 0;
  #stagedBlocks = 0;
  #piece = this.#newPiece();

  /** @param options.slotsMax of the journal. */
  constructor(options: {
    readonly device: BlockDevice;
    readonly space: Space;
    readonly pool: BufferPool;
    readonly slotsMax: number;
  }) {
    this.#device = options.device;
    this.#space = options.space;
    this.#pool = options.pool;
    this.#slotsMax = options.slotsMax;
  }

  /** Settles with {@link succeed} or {@link fail}. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  get kind(): number {
    return this.#kind;
  }

  /** @returns false when there is no room for it. */
  add(submission: Submission): boolean {
    const staged = 'staged' in submission ? submission.staged : undefined;
    const slots = 'record' in submission ? submission.record.length / SLOT_WORDS : 0;
    const blocks = staged ? blocksFor(staged.chunk.length) : 0;
    this.#slots += staged ? SLOTS_MAX : slots;
    this.#stagedBlocks += blocks;
    const isFull =
      this.#slots > this.#slotsMax || this.#stagedBlocks * BLOCK_BYTES > LIMITS.stagedBytesMax;
    if (isFull) return false;
    if ('kind' in submission) this.#kind = Math.max(this.#kind, submission.kind);
    else if ('record' in submission) this.#records.add(submission.record);
    else if (this.#isStaging) this.#stage(submission.staged);
    else this.#gathered.push(submission.staged);
    return true;
  }

  /** It is the next to be written: stages what it has, and what comes. */
  begin(): void {
    this.#isStaging = true;
    for (const staged of this.#gathered) this.#stage(staged);
    this.#gathered = [];
  }

  /** The slots of all records; nothing may be added any more. */
  close(): Uint32Array {
    assert(this.#isStaging, 'a batch stages before it is closed');
    this.#writePiece();
    return this.#records.words;
  }

  /** Waits until every write has settled. @throws what the first that failed did. */
  async written(): Promise<void> {
    for (const result of await Promise.allSettled(this.#writes)) {
      if (result.status === 'rejected') throw result.reason;
    }
  }

  succeed(): void {
    this.#lent.dispose();
    this.#done.resolve();
  }

  /** Memory goes back when nothing is written from it any more. */
  fail(error: unknown): void {
    void Promise.allSettled(this.#writes).then(() => this.#lent.dispose());
    this.#done.reject(error);
  }

  #stage(staged: StagedChunk): void {
    if (!this.#piece.hasRoom(staged.chunk)) this.#writePiece();
    this.#piece.add(staged);
  }

  #newPiece(): Piece {
    return new Piece(() => this.#lent.use(this.#pool.lend(PIECE_BLOCKS)).bytes);
  }

  #writePiece(): void {
    const { chunks, sources } = this.#piece.close();
    this.#piece = this.#newPiece();
    if (chunks.length > 0) this.#place(chunks, sources);
  }

  /** One run for all where there is one, else for halves, at last extents; they are reserved. */
  #place(chunks: readonly StagedChunk[], sources: readonly Uint8Array[]): void {
    const total = blocksOf(chunks);
    const run = this.#space.takeRun(total);
    if (run) {
      let { start } = run;
      for (const staged of chunks) {
        const blocks = blocksFor(staged.chunk.length);
        this.#record(staged, [{ start, blocks }]);
        start += blocks;
      }
      this.#write(sources, run.start);
    } else if (chunks.length > 1) {
      const halves = [chunks.slice(0, chunks.length >> 1), chunks.slice(chunks.length >> 1)];
      let from = 0;
      for (const half of halves) {
        const bytes = blocksOf(half) * BLOCK_BYTES;
        this.#place(half, sliceSources(sources, from, bytes));
        from += bytes;
      }
    } else {
      this.#scatter(chunks[0]!, sources);
    }
  }

  #scatter(staged: StagedChunk, sources: readonly Uint8Array[]): void {
    const extents = this.#space.takeExtents(blocksFor(staged.chunk.length));
    assert(extents, 'a small chunk fits any free blocks that were reserved for it');
    this.#record(staged, extents);
    let from = 0;
    for (const { start, blocks } of extents) {
      this.#write(sliceSources(sources, from, blocks * BLOCK_BYTES), start);
      from += blocks * BLOCK_BYTES;
    }
  }

  #record(staged: StagedChunk, extents: readonly Extent[]): void {
    const { id, chunk, generation, checksum, writtenAt } = staged;
    const lengthBytes = chunk.length;
    const times = { writtenAt, verifiedAt: writtenAt };
    const kind = 'live';
    this.#records.write({ id, kind, lengthBytes, generation, extents, checksum, ...times });
  }

  #write(sources: readonly Uint8Array[], start: number): void {
    const written = this.#device.write(sources, start * BLOCK_BYTES);
    // Whoever waits for all of them is told; nobody may be waiting yet.
    written.catch(() => undefined);
    this.#writes.push(written);
  }
}

function blocksOf(chunks: readonly StagedChunk[]): number {
  return chunks.reduce((sum, { chunk }) => sum + blocksFor(chunk.length), 0);
}

/** Chunks that are written with one transfer, as whole blocks one behind the other. */
class Piece {
  readonly #lend: () => Uint8Array;
  /** For what is copied. */
  #memory: Uint8Array | undefined;
  readonly #chunks: StagedChunk[] = [];
  readonly #sources: Uint8Array[] = [];
  #blocks = 0;
  /** What was copied and is no source yet. */
  #copiedFrom = 0;
  #copiedTo = 0;

  /** @param lend memory of PIECE_BLOCKS. */
  constructor(lend: () => Uint8Array) {
    this.#lend = lend;
  }

  hasRoom(chunk: Uint8Array): boolean {
    return this.#blocks + blocksFor(chunk.length) <= PIECE_BLOCKS;
  }

  add(staged: StagedChunk): void {
    const { chunk } = staged;
    const blocks = blocksFor(chunk.length);
    this.#chunks.push(staged);
    this.#blocks += blocks;
    if (isUsable(chunk)) {
      this.#endCopied();
      this.#sources.push(chunk);
      return;
    }
    this.#memory ??= this.#lend();
    const at = this.#copiedTo;
    this.#copiedTo += blocks * BLOCK_BYTES;
    this.#memory.set(chunk, at);
    this.#memory.fill(0, at + chunk.length, this.#copiedTo);
  }

  close(): { readonly chunks: readonly StagedChunk[]; readonly sources: readonly Uint8Array[] } {
    this.#endCopied();
    return { chunks: this.#chunks, sources: this.#sources };
  }

  #endCopied(): void {
    if (this.#copiedFrom === this.#copiedTo) return;
    this.#sources.push(this.#memory!.subarray(this.#copiedFrom, this.#copiedTo));
    this.#copiedFrom = this.#copiedTo;
  }
}

/** Whether a transfer may read the chunk where it is, and that costs less than a copy. */
function isUsable(chunk: Uint8Array): boolean {
  const isWhole = chunk.length >= UNCOPIED_BYTES_MIN && chunk.length % BLOCK_BYTES === 0;
  return isWhole && isPageAligned(chunk);
}
