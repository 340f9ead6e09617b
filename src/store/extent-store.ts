/**
 * The extent store "HFS1": chunks on one device. It puts the parts together; each has its own file
 * with its invariants: journal, committer, checkpoint, mount, space, index-table, extent-io.
 *
 *   put    check ▸ lock the id ▸ reserve ▸ (large: write) ▸ commit ▸ index
 *   get    index ▸ pin ▸ read ▸ verify ▸ unpin
 *   remove lock the id ▸ commit ▸ index ▸ blocks given back
 *
 * Invariants: (1) nothing is written before there is room for it and for what it entails; (2) one
 * put, remove or mark of a chunk at a time; (3) bytes leave the store only after they were
 * verified.
 */
import {
  assert,
  type ChunkId,
  type ClusterId,
  type DeviceId,
  HoldfastError,
  KeyedLock,
  throwIfAborted,
} from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { BufferPool } from './buffer-pool.ts';
import { ChunkReader, entryOf } from './chunk-reader.ts';
import { ChunkWriter } from './chunk-writer.ts';
import { Checkpointer } from './checkpoint.ts';
import { checkChunk } from './chunk-format.ts';
import type {
  ChunkEntry,
  ChunkStore,
  GetOptions,
  GroupDigest,
  PutOptions,
  ScrubOptions,
  ScrubReport,
  StoreState,
  StoreUsage,
} from './chunk-store.ts';
import { Committer } from './committer.ts';
import { ExtentIo } from './extent-io.ts';
import { BLOCK_BYTES } from './geometry.ts';
import { Health, ReadFailures } from './health.ts';
import { BATCH_KINDS, Journal } from './journal.ts';
import { type MountedStore, mountStore } from './mount.ts';
import { Operations } from './operations.ts';
import type { PlantedFault } from './planted-fault.ts';
import { checkLimits, type Pressure, PressureGauge, pressureOf } from './pressure.ts';
import { Quarantine } from './quarantine.ts';
import { scrubStore } from './scrub.ts';
import { type ChunkRecord, encodeRecord, GENERATION_MAX, type RecordKind } from './slot.ts';
import { describeStore, type StoreDescription } from './store-description.ts';
import { seedOf, type StoreLimits, type Superblock } from './superblock.ts';

export interface OpenOptions {
  readonly env: Env;
  /** Belongs to the store from now on; it is closed with it, also when opening fails. */
  readonly device: BlockDevice;
  /** Refuses a store of another cluster. */
  readonly clusterId?: ClusterId | undefined;
  /** Memory that the tables of the index may take; no limit when left out. */
  readonly indexBytesMax?: number | undefined;
  /**
   * Told of changes, after they have happened; until then the pressure is `normal`. It does not
   * wait, and does not call the store.
   */
  readonly onPressure?: ((pressure: Pressure) => void) | undefined;
  /** For tests. */
  readonly plantedFault?: PlantedFault | undefined;
}

/** @throws HF_NOT_OURS, HF_CORRUPT, HF_UNSUPPORTED, HF_NO_MEMORY, HF_IO, HF_DEVICE_FAILED. */
export async function openStore(options: OpenOptions): Promise<ExtentStore> {
  return await ExtentStore.open(options);
}

export class ExtentStore implements ChunkStore {
  readonly id: DeviceId;
  readonly #device: BlockDevice;
  readonly #env: Env;
  readonly #health: Health;
  readonly #mounted: MountedStore;
  readonly #journal: Journal;
  readonly #checkpointer: Checkpointer;
  readonly #committer: Committer;
  readonly #io: ExtentIo;
  readonly #reader: ChunkReader;
  readonly #writer: ChunkWriter;
  readonly #locks = new KeyedLock();
  readonly #operations: Operations;
  readonly #quarantine: Quarantine;
  readonly #reads = new ReadFailures();
  /** Aborted when the store is closed: ends a scrub. */
  readonly #closing = new AbortController();
  readonly #gauge: PressureGauge;
  #damage: readonly string[];

  private constructor(
    options: OpenOptions,
    mounted: MountedStore,
    { pool, io }: { readonly pool: BufferPool; readonly io: ExtentIo },
  ) {
    const { device, env, plantedFault } = options;
    const { superblock, inventory } = mounted;
    this.id = superblock.id;
    this.#device = device;
    this.#env = env;
    this.#mounted = mounted;
    this.#damage = mounted.damage;
    this.#gauge = new PressureGauge(options.onPressure ?? (() => {}));
    this.#io = io;
    this.#health = new Health(device.name, env.log);
    this.#quarantine = new Quarantine({
      device,
      log: env.log,
      giveBack: (extent) => inventory.space.allocator.release(extent),
    });
    this.#operations = new Operations(device.name);
    this.#journal = new Journal({
      ringStart: superblock.journalStart,
      ringBlocks: superblock.journalBlocks,
      head: mounted.head,
      usedBlocks: mounted.journalUsedBlocks,
    });
    const shared = {
      env,
      device,
      health: this.#health,
      inventory,
      journal: this.#journal,
      plantedFault,
    };
    const { badExtents } = this.#quarantine;
    this.#checkpointer = new Checkpointer({ ...shared, ...mounted, badExtents });
    this.#committer = new Committer({
      ...shared,
      pool,
      seed: seedOf(superblock.id),
      mountEpoch: superblock.mountEpoch + 1,
      makeRoom: async () => await this.#checkpointer.start(),
      afterCommit: () => this.#checkpointWhenDue(),
    });
    const { space } = inventory;
    space.onDoubtful = (extents) => this.#quarantine.take(extents);
    const committer = this.#committer;
    this.#writer = new ChunkWriter({ env, device, io, committer, space, id: this.id });
    this.#reader = new ChunkReader({
      deviceName: device.name,
      log: env.log,
      io,
      inventory,
      committer,
      locks: this.#locks,
      failures: this.#reads,
    });
  }

  /** @param prepare may complete what was mounted, before anything is written (salvage.ts). */
  static async open(
    options: OpenOptions,
    prepare: (mounted: MountedStore) => Promise<MountedStore> = async (mounted) => mounted,
  ): Promise<ExtentStore> {
    const { device, env, plantedFault, indexBytesMax } = options;
    try {
      const pool = new BufferPool(device);
      const io = new ExtentIo(device, pool);
      const found = await mountStore({ device, io, plantedFault, indexBytesMax });
      const { clusterId } = found.superblock;
      if (options.clusterId && clusterId !== options.clusterId) {
        const message = `${device.name} holds a store of another cluster, ${clusterId}`;
        throw new HoldfastError('HF_NOT_OURS', message, { details: { clusterId } });
      }
      const mounted = await prepare(found);
      for (const finding of mounted.damage) {
        env.log.error('a store is damaged', { device: device.name, finding });
      }
      const store = new ExtentStore(options, mounted, { pool, io });
      await store.#begin();
      return store;
    } catch (error) {
      await device[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The first writes after the mount: from now on its state is this process's. */
  async #begin(): Promise<void> {
    const { superblock, pairs, damage, doubtful } = this.#mounted;
    const isWhole = damage.length === 0;
    await this.#checkpointer.writeSuperblock({
      mountEpoch: superblock.mountEpoch + 1,
      isClean: false,
      damagedAtMs: isWhole ? superblock.damagedAtMs : this.#env.clock.now(),
    });
    await pairs.mend();
    // After a gap old batches lie ahead in the ring; the new mark puts them behind.
    if (!isWhole) await this.#checkpointer.start();
    await Promise.all([
      this.#committer.submit({ kind: BATCH_KINDS.mount }),
      ...doubtful.map((record) => this.#committer.submit({ record })),
    ]);
    this.#tellPressure();
  }

  get state(): StoreState {
    return this.#health.hasFailed ? 'failed' : this.#checkpointer.superblock.state;
  }

  async put(
    id: ChunkId,
    chunk: Uint8Array,
    { generation, isVerified = false, signal }: PutOptions,
  ): Promise<void> {
    assert(generation >= 0 && generation <= GENERATION_MAX, 'a generation has 24 bits');
    throwIfAborted(signal);
    if (chunk.length === 0) throw new HoldfastError('HF_BAD_ARGUMENT', 'a chunk has bytes');
    using _ = this.#operations.begin();
    this.#health.check();
    if (!isVerified) checkChunk(id, chunk);
    using _lock = await this.#locks.acquire(id);
    throwIfAborted(signal);
    const present = this.#inventory.index.find(id);
    if (present?.kind === 'live') {
      if (present.generation >= generation) return;
      await this.#commit({ ...present, generation });
      return;
    }
    try {
      await this.#writer.write(id, chunk, Math.max(generation, present?.generation ?? 0));
    } finally {
      this.#tellPressure();
    }
  }

  async get(id: ChunkId, options: GetOptions = {}): Promise<Uint8Array | undefined> {
    throwIfAborted(options.signal);
    using _ = this.#operations.begin();
    this.#health.check();
    const record = this.#inventory.index.find(id);
    if (!record) return undefined;
    return await this.#reader.read(record, options);
  }

  async stat(id: ChunkId): Promise<ChunkEntry | undefined> {
    using _ = this.#operations.begin();
    const record = this.#inventory.index.find(id);
    return record && entryOf(record);
  }

  /** Where the chunk begins; `undefined` when the store does not have it. */
  async locate(id: ChunkId): Promise<number | undefined> {
    using _ = this.#operations.begin();
    return this.#inventory.index.find(id)?.extents[0]?.start;
  }

  async remove(
    id: ChunkId,
    { generationMax, signal }: { generationMax: number; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    throwIfAborted(signal);
    using _ = this.#operations.begin();
    this.#health.check();
    using _lock = await this.#locks.acquire(id);
    const record = this.#inventory.index.find(id);
    if (!record || record.generation > generationMax) return false;
    await this.#commit({ ...record, kind: 'removed', lengthBytes: 0, extents: [], checksum: 0n });
    this.#tellPressure();
    return true;
  }

  async dispute(id: ChunkId, options: Pick<GetOptions, 'signal'> = {}): Promise<boolean> {
    using _ = this.#operations.begin();
    this.#health.check();
    const record = this.#inventory.index.find(id);
    return record !== undefined && (await this.#reader.dispute(record, options));
  }

  async *list({
    group,
    signal,
  }: { group?: number; signal?: AbortSignal | undefined } = {}): AsyncIterable<ChunkEntry> {
    for (const records of this.#inventory.recordsOf(group)) {
      throwIfAborted(signal);
      this.#operations.check();
      for (const record of records) yield entryOf(record);
    }
  }

  async digests(): Promise<readonly GroupDigest[]> {
    using _ = this.#operations.begin();
    return await this.#inventory.digests(() => this.#env.clock.turn());
  }

  async usage(): Promise<StoreUsage> {
    return this.#usage();
  }

  async describe(): Promise<StoreDescription> {
    return describeStore({
      superblock: this.#checkpointer.superblock,
      device: this.#device,
      usage: this.#usage(),
      journal: this.#journal,
      damage: this.#damage,
    });
  }

  /**
   * Says, durably, whether the store is to be emptied. It serves all the same: others see to it
   * that nothing new is placed on it.
   * @throws HF_DEVICE_FAILED.
   */
  async setState(state: 'active' | 'draining'): Promise<void> {
    await this.#change({ state });
  }

  /**
   * Sets the limits, durably. A hard maximum below what is in use refuses puts and nothing else.
   * @throws HF_BAD_ARGUMENT, HF_DEVICE_FAILED.
   */
  async setLimits(limits: StoreLimits): Promise<void> {
    checkLimits(limits);
    await this.#change({ limits });
    this.#inventory.space.setHardMax(limits.hardMaxBytes);
    this.#tellPressure();
  }

  /** What was damaged has been dealt with: peers were asked. @throws HF_DEVICE_FAILED. */
  async clearDamage(): Promise<void> {
    await this.#change({ damagedAtMs: 0 });
    this.#damage = [];
  }

  async scrub(options: ScrubOptions = {}): Promise<ScrubReport> {
    using _ = this.#operations.begin();
    this.#health.check();
    const closing = this.#closing.signal;
    const signal = options.signal ? AbortSignal.any([options.signal, closing]) : closing;
    return await scrubStore(
      {
        env: this.#env,
        device: this.#device,
        io: this.#io,
        inventory: this.#inventory,
        journal: this.#journal,
        checkpointer: this.#checkpointer,
        reads: this.#reads,
        mark: async (record, kind) => await this.#reader.mark(record, kind),
      },
      { ...options, signal },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    if (!(await this.#operations.close())) return;
    await this.#committer.close();
    await this.#quarantine.close();
    try {
      if (!this.#health.hasFailed) await this.#checkpointer.close();
    } finally {
      await this.#device[Symbol.asyncDispose]();
    }
  }

  async #change(changes: Partial<Superblock>): Promise<void> {
    using _ = this.#operations.begin();
    await this.#checkpointer.writeSuperblock(changes);
  }

  #usage(): StoreUsage {
    const { space, chunkCount, badChunkCount } = this.#inventory;
    const { sizeBlocks, usedBlocks, freeBlocks } = space.usage();
    return {
      sizeBytes: sizeBlocks * BLOCK_BYTES,
      usedBytes: usedBlocks * BLOCK_BYTES,
      freeBytes: freeBlocks * BLOCK_BYTES,
      chunkCount,
      badChunkCount,
    };
  }

  #tellPressure(): void {
    this.#gauge.update(pressureOf(this.#usage(), this.#checkpointer.superblock.limits));
  }

  get #inventory(): MountedStore['inventory'] {
    return this.#mounted.inventory;
  }

  async #commit(record: ChunkRecord & { readonly kind: RecordKind }): Promise<void> {
    await this.#committer.submit({ record: encodeRecord(record) });
  }

  #checkpointWhenDue(): void {
    if (this.#health.hasFailed || !this.#checkpointer.isDue) return;
    // A failure has stopped the store, and whoever asks next is told.
    this.#checkpointer.start().catch(() => undefined);
  }
}
