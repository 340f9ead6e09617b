/**
 * Group commit: takes what has been submitted, writes it as one batch and flushes once.
 *
 *   submitted ──add──▶ in a batch ──close──▶ written ──flush──▶ durable ──apply──▶ resolved
 *
 * Small chunks go to free blocks in pieces while their batch is gathered (batch.ts), the last of
 * them at the same time as the batch itself; a batch that is whole does therefore not prove that
 * its chunks are, and mount verifies the chunks of the last one. While a flush is under way the
 * next batch collects; there are no timers but the *idle seal*: an empty batch a moment after the
 * last, which confirms it.
 *
 * Invariants: (1) batches are serial: the records of one are written after the flush of its
 * predecessor; (2) a flush covers only writes that completed before it was asked for; large chunks
 * are submitted after their write; (3) two records of one chunk are never in one batch (the store's
 * lock per chunk); (4) the index changes only after the flush; (5) a failed write or flush here
 * stops the store, since a batch that names the chunks may be on the device.
 */
import { assert, errorCode } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { Batch, type Submission } from './batch.ts';
import type { BufferPool } from './buffer-pool.ts';
import { BLOCK_BYTES } from './geometry.ts';
import type { Health } from './health.ts';
import type { Inventory } from './inventory.ts';
import { BATCH_KINDS, batchBlocks, encodeBatch, type Journal } from './journal.ts';
import type { PlantedFault } from './planted-fault.ts';
import { SLOT_WORDS } from './slot.ts';

const IDLE_SEAL_MS = 50;

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
  /** The first is staging what it is given, the last is the one that is given more. */
  readonly #batches: Batch[] = [];
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
    let batch = this.#batches.at(-1);
    if (!batch?.add(submission)) {
      batch = this.#openBatch();
      const isTaken = batch.add(submission);
      assert(isTaken, 'any one submission fits a batch');
    }
    this.#running ??= this.#run();
    await batch.done;
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
    for (let batch = this.#nextBatch(); batch; batch = this.#nextBatch()) {
      try {
        this.#health.check();
        await this.#commit(batch);
      } catch (error) {
        const failure = this.#health.stop(error);
        // A bug of ours is passed on as what it is.
        batch.fail(errorCode(error) ? failure : error);
        continue;
      }
      batch.succeed();
      this.#afterCommit();
    }
    this.#running = undefined;
    if (!this.#isConfirmed) this.#sealing ??= this.#sealWhenIdle();
  }

  #openBatch(): Batch {
    const batch = new Batch({
      device: this.#device,
      space: this.#inventory.space,
      pool: this.#pool,
      slotsMax: this.#journal.batchSlotsMax,
    });
    this.#batches.push(batch);
    if (this.#batches.length === 1) batch.begin();
    return batch;
  }

  #nextBatch(): Batch | undefined {
    const batch = this.#batches.shift();
    this.#batches[0]?.begin();
    return batch;
  }

  async #commit(batch: Batch): Promise<void> {
    const words = batch.close();
    const blocks = batchBlocks(words.length / SLOT_WORDS);
    while (!this.#journal.hasRoom(blocks)) await this.#makeRoom();
    using lent = this.#pool.lend(blocks);
    const { bytes } = lent;
    const { seq, chain } = this.#journal.head;
    const head = { seq, chain, durableSeq: this.#durableSeq, mountEpoch: this.#mountEpoch };
    const checksum = encodeBatch(bytes, { ...head, kind: batch.kind, seed: this.#seed }, words);
    const place = this.#ringOffset(this.#journal.placeOf(blocks));
    // All settle before the first failure is looked at: the memory is used again.
    const results = await Promise.allSettled([this.#device.write([bytes], place), batch.written()]);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    if (this.#plantedFault !== 'commit-not-flushed') await this.#device.flush();
    this.#journal.advance(blocks, checksum);
    this.#durableSeq = seq;
    this.#isConfirmed = words.length === 0;
    this.#inventory.apply(words);
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
