/**
 * Group commit: takes what has been submitted, writes it as one batch and flushes once.
 *
 *   submitted ──takeBatch──▶ in a batch ──write──▶ written ──flush──▶ durable ──apply──▶ resolved
 *
 * Small chunks of a batch are copied into one staging area and written with one transfer, at the
 * same time as the batch itself; a batch that is whole does therefore not prove that its chunks
 * are, and mount verifies the chunks of the last one. While a flush is under way the next batch
 * collects; there are no timers but the *idle seal*: an empty batch a moment after the last, which
 * confirms it.
 *
 * Invariants: (1) batches are serial: one is written after the flush of its predecessor; (2) a
 * flush covers only writes that completed before it was asked for; large chunks are submitted after
 * their write; (3) two records of one chunk are never in one batch (the store's lock per chunk);
 * (4) the index changes only after the flush; (5) a failed write or flush here stops the store,
 * since a batch that names the chunks may be on the device.
 */
import { assert, type ChunkId, errorCode, LIMITS } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import type { Extent } from './allocator.ts';
import type { BufferPool } from './buffer-pool.ts';
import { BLOCK_BYTES, blocksFor } from './geometry.ts';
import type { Health } from './health.ts';
import type { Inventory } from './inventory.ts';
import { BATCH_KINDS, batchBlocks, encodeBatch, type Journal } from './journal.ts';
import { encodeRecord, SLOT_WORDS, SLOTS_MAX } from './slot.ts';
import type { PlantedFault } from './planted-fault.ts';

const IDLE_SEAL_MS = 50;

/** A chunk that the committer writes: at most SMALL_CHUNK_BYTES, its blocks reserved in `Space`. */
export interface StagedChunk {
  readonly id: ChunkId;
  readonly chunk: Uint8Array;
  readonly generation: number;
  readonly checksum: bigint;
  readonly writtenAt: number;
}

/** A record of a chunk whose bytes are where it says, or bytes to be staged; or only a seal. */
export type Submission =
  | { readonly record: Uint32Array }
  | { readonly staged: StagedChunk }
  | { readonly kind: number };

interface Waiting {
  readonly submission: Submission;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Placement {
  readonly extents: readonly Extent[];
  /** In the staging area. */
  readonly at: number;
}

/** Slots that a submission may need. */
function slotsOf(submission: Submission): number {
  if ('staged' in submission) return SLOTS_MAX;
  return 'record' in submission ? submission.record.length / SLOT_WORDS : 0;
}

/** Blocks in the staging area. */
function blocksOf(submission: Submission): number {
  return 'staged' in submission ? blocksFor(submission.staged.chunk.length) : 0;
}

export class Committer {
  readonly #device: BlockDevice;
  readonly #env: Env;
  readonly #health: Health;
  readonly #inventory: Inventory;
  readonly #journal: Journal;
  readonly #seed: bigint;
  readonly #mountEpoch: number;
  readonly #makeRoom: () => Promise<void>;
  readonly #afterCommit: () => void;
  readonly #plantedFault: PlantedFault | undefined;
  readonly #pool: BufferPool;
  readonly #sealStop = new AbortController();
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #sealing: Promise<void> | undefined;
  #durableSeq: number;
  #isConfirmed = true;

  /**
   * @param options.makeRoom gives journal blocks back (a checkpoint).
   * @param options.afterCommit called when a batch is durable and applied; does not wait.
   */
  constructor(options: {
    readonly device: BlockDevice;
    readonly pool: BufferPool;
    readonly env: Env;
    readonly health: Health;
    readonly inventory: Inventory;
    readonly journal: Journal;
    readonly seed: bigint;
    readonly mountEpoch: number;
    readonly makeRoom: () => Promise<void>;
    readonly afterCommit: () => void;
    readonly plantedFault: PlantedFault | undefined;
  }) {
    this.#device = options.device;
    this.#env = options.env;
    this.#health = options.health;
    this.#inventory = options.inventory;
    this.#journal = options.journal;
    this.#seed = options.seed;
    this.#mountEpoch = options.mountEpoch;
    this.#makeRoom = options.makeRoom;
    this.#afterCommit = options.afterCommit;
    this.#plantedFault = options.plantedFault;
    this.#durableSeq = options.journal.head.seq - 1;
    this.#pool = options.pool;
  }

  /** Resolves when it is durable and in the index. @throws HF_DEVICE_FAILED. */
  async submit(submission: Submission): Promise<void> {
    this.#health.check();
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ submission, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Confirms the last batch; nothing may be submitted any more. */
  async close(): Promise<void> {
    this.#sealStop.abort();
    await this.#sealing;
    await this.#running;
  }

  async #run(): Promise<void> {
    // Those who submit in the same turn share the batch.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      try {
        this.#health.check();
        await this.#commit(batch.map(({ submission }) => submission));
      } catch (error) {
        const failure = this.#health.stop(error);
        // A bug of ours is passed on as what it is.
        for (const { reject } of batch) reject(errorCode(error) ? failure : error);
        continue;
      }
      for (const { resolve } of batch) resolve();
      this.#afterCommit();
    }
    this.#running = undefined;
    if (!this.#isConfirmed) this.#sealing ??= this.#sealWhenIdle();
  }

  #takeBatch(): Waiting[] {
    let slots = 0;
    let stagedBytes = 0;
    let count = 0;
    for (const { submission } of this.#waiting) {
      slots += slotsOf(submission);
      stagedBytes += blocksOf(submission) * BLOCK_BYTES;
      if (slots > this.#journal.batchSlotsMax || stagedBytes > LIMITS.stagedBytesMax) break;
      count += 1;
    }
    assert(count > 0, 'any one submission fits a batch');
    return this.#waiting.splice(0, count);
  }

  async #commit(submissions: readonly Submission[]): Promise<void> {
    const slotsMax = submissions.reduce((sum, submission) => sum + slotsOf(submission), 0);
    while (!this.#journal.hasRoom(batchBlocks(slotsMax))) await this.#makeRoom();
    const stagedBlocks = submissions.reduce((sum, submission) => sum + blocksOf(submission), 0);
    using staging = this.#pool.lend(Math.max(stagedBlocks, 1));
    const writes: Promise<void>[] = [];
    const records = this.#stage(submissions, staging.bytes, writes);
    const slots = records.reduce((sum, words) => sum + words.length / SLOT_WORDS, 0);
    const blocks = batchBlocks(slots);
    using lent = this.#pool.lend(blocks);
    const { bytes } = lent;
    const { seq, chain } = this.#journal.head;
    const kinds = submissions.map((submission) => ('kind' in submission ? submission.kind : 0));
    const checksum = encodeBatch(
      bytes,
      {
        seq,
        chain,
        durableSeq: this.#durableSeq,
        kind: Math.max(...kinds),
        mountEpoch: this.#mountEpoch,
        seed: this.#seed,
      },
      records,
    );
    writes.push(this.#device.write([bytes], this.#ringOffset(this.#journal.placeOf(blocks))));
    // All settle before the first failure is looked at: the memory is used again.
    for (const result of await Promise.allSettled(writes)) {
      if (result.status === 'rejected') throw result.reason;
    }
    if (this.#plantedFault !== 'commit-not-flushed') await this.#device.flush();
    this.#journal.advance(blocks, checksum);
    this.#durableSeq = seq;
    this.#isConfirmed = records.length === 0;
    for (const words of records) this.#inventory.apply(words);
  }

  /** Gives staged chunks their blocks, starts their writes; the records of all in order. */
  #stage(
    submissions: readonly Submission[],
    staging: Uint8Array,
    writes: Promise<void>[],
  ): Uint32Array[] {
    const staged = submissions.flatMap((submission) =>
      'staged' in submission ? [submission.staged] : [],
    );
    const placements = this.#place(staged);
    staged.forEach(({ chunk }, index) => {
      const { at } = placements[index]!;
      staging.set(chunk, at);
      staging.fill(0, at + chunk.length, at + blocksFor(chunk.length) * BLOCK_BYTES);
    });
    this.#writeStaged(staging, placements, writes);
    let next = 0;
    return submissions.flatMap((submission) => {
      if ('record' in submission) return [submission.record];
      if (!('staged' in submission)) return [];
      const { id, chunk, generation, checksum, writtenAt } = submission.staged;
      const { extents } = placements[next++]!;
      const record = { kind: 'live', extents, verifiedAt: writtenAt } as const;
      const lengthBytes = chunk.length;
      return [encodeRecord({ ...record, id, lengthBytes, generation, checksum, writtenAt })];
    });
  }

  /** One run for all where there is one, else extents for each; they are reserved, so there are. */
  #place(staged: readonly StagedChunk[]): Placement[] {
    const { space } = this.#inventory;
    const sizes = staged.map(({ chunk }) => blocksFor(chunk.length));
    const total = sizes.reduce((sum, blocks) => sum + blocks, 0);
    const run = total > 0 ? space.takeRun(total) : undefined;
    let used = 0;
    return sizes.map((blocks) => {
      const at = used * BLOCK_BYTES;
      const extents = run ? [{ start: run.start + used, blocks }] : space.takeExtents(blocks);
      assert(extents, 'a small chunk fits any free blocks that were reserved for it');
      used += blocks;
      return { extents, at };
    });
  }

  #writeStaged(
    staging: Uint8Array,
    placements: readonly Placement[],
    writes: Promise<void>[],
  ): void {
    // Neighbours on the device that are neighbours in the staging area go in one transfer.
    let open: { start: number; blocks: number; at: number } | undefined;
    const write = (): void => {
      if (!open) return;
      const bytes = staging.subarray(open.at, open.at + open.blocks * BLOCK_BYTES);
      writes.push(this.#device.write([bytes], open.start * BLOCK_BYTES));
    };
    for (const { extents, at } of placements) {
      let from = at;
      for (const { start, blocks } of extents) {
        if (open && open.start + open.blocks === start) {
          open.blocks += blocks;
        } else {
          write();
          open = { start, blocks, at: from };
        }
        from += blocks * BLOCK_BYTES;
      }
    }
    write();
  }

  #ringOffset(block: number): number {
    return (this.#journal.ringStart + block) * BLOCK_BYTES;
  }

  async #sealWhenIdle(): Promise<void> {
    const { signal } = this.#sealStop;
    while (!this.#isConfirmed && !signal.aborted && !this.#health.hasFailed) {
      const { seq } = this.#journal.head;
      // Interrupted by `close`, which makes a checkpoint instead.
      await this.#env.clock.sleep(IDLE_SEAL_MS, { signal }).catch(() => undefined);
      const isIdle = this.#journal.head.seq === seq && !this.#running;
      if (!isIdle || signal.aborted) continue;
      // A failure has stopped the store, and whoever asks next is told.
      await this.submit({ kind: BATCH_KINDS.seal }).catch(() => undefined);
    }
    this.#sealing = undefined;
  }
}
