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
  errorCode,
  errorMessage,
  groupOf,
  HoldfastError,
  KeyedLock,
  throwIfAborted,
  toHex,
} from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { BufferPool } from './buffer-pool.ts';
import { ChunkWriter } from './chunk-writer.ts';
import { Checkpointer } from './checkpoint.ts';
import { checkChunk } from './chunk-format.ts';
import type {
  ChunkEntry,
  ChunkStore,
  GetOptions,
  GroupDigest,
  PutOptions,
  ScrubReport,
  StoreState,
  StoreUsage,
} from './chunk-store.ts';
import { Committer } from './committer.ts';
import { ExtentIo } from './extent-io.ts';
import { BLOCK_BYTES } from './geometry.ts';
import { Health } from './health.ts';
import { BATCH_KINDS, Journal } from './journal.ts';
import { type MountedStore, mountStore } from './mount.ts';
import { Operations } from './operations.ts';
import type { PlantedFault } from './planted-fault.ts';
import { scrubStore } from './scrub.ts';
import { type ChunkRecord, encodeRecord, GENERATION_MAX, type RecordKind } from './slot.ts';
import { seedOf, type Superblock } from './superblock.ts';

export interface OpenOptions {
  readonly env: Env;
  /** Belongs to the store from now on; it is closed with it, also when opening fails. */
  readonly device: BlockDevice;
  /** Refuses a store of another cluster. */
  readonly clusterId?: ClusterId | undefined;
  /** For tests. */
  readonly plantedFault?: PlantedFault | undefined;
}

/** What `dev query` shows. */
export interface StoreDescription extends Superblock {
  readonly deviceName: string;
  readonly deviceKind: BlockDevice['kind'];
  readonly isDirect: boolean;
  readonly usage: StoreUsage;
  /** Blocks of the journal that the next checkpoint gives back. */
  readonly journalUsedBlocks: number;
  /** Why chunks may be missing since this mount; empty when nothing was lost. */
  readonly damage: readonly string[];
}

/** @throws HF_NOT_OURS, HF_CORRUPT, HF_UNSUPPORTED, HF_IO, HF_DEVICE_FAILED. */
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
  readonly #writer: ChunkWriter;
  readonly #locks = new KeyedLock();
  readonly #operations: Operations;

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
    this.#io = io;
    this.#health = new Health(device.name, env.log);
    this.#operations = new Operations(device.name);
    this.#journal = new Journal({
      ringStart: superblock.journalStart,
      ringBlocks: superblock.journalBlocks,
      head: mounted.head,
      usedBlocks: mounted.journalUsedBlocks,
    });
    const shared = {
      device,
      health: this.#health,
      inventory,
      journal: this.#journal,
      plantedFault,
    };
    this.#checkpointer = new Checkpointer({ ...shared, ...mounted });
    this.#committer = new Committer({
      ...shared,
      pool,
      env,
      seed: seedOf(superblock.id),
      mountEpoch: superblock.mountEpoch + 1,
      makeRoom: async () => await this.#checkpointer.start(),
      afterCommit: () => this.#checkpointWhenDue(),
    });
    const committer = this.#committer;
    this.#writer = new ChunkWriter({
      env,
      device,
      io,
      committer,
      space: inventory.space,
      id: this.id,
    });
  }

  static async open(options: OpenOptions): Promise<ExtentStore> {
    const { device, env } = options;
    try {
      const pool = new BufferPool(device);
      const io = new ExtentIo(device, pool);
      const mounted = await mountStore({ device, io, plantedFault: options.plantedFault });
      const { clusterId } = mounted.superblock;
      if (options.clusterId && clusterId !== options.clusterId) {
        const message = `${device.name} holds a store of another cluster, ${clusterId}`;
        throw new HoldfastError('HF_NOT_OURS', message, { details: { clusterId } });
      }
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
    const mountEpoch = superblock.mountEpoch + 1;
    await this.#checkpointer.writeSuperblock({ mountEpoch, isClean: false });
    await pairs.mend();
    // After a gap old batches lie ahead in the ring; the new mark puts them behind.
    if (damage.length > 0) await this.#checkpointer.start();
    await Promise.all([
      this.#committer.submit({ kind: BATCH_KINDS.mount }),
      ...doubtful.map((record) => this.#committer.submit({ record })),
    ]);
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
    await this.#writer.write(id, chunk, Math.max(generation, present?.generation ?? 0));
  }

  async get(id: ChunkId, options: GetOptions = {}): Promise<Uint8Array | undefined> {
    throwIfAborted(options.signal);
    using _ = this.#operations.begin();
    this.#health.check();
    const record = this.#inventory.index.find(id);
    if (!record) return undefined;
    if (record.kind === 'bad') throw badChunk(id, 'it is known to be bad');
    const { offset = 0, lengthBytes = record.lengthBytes - offset } = options;
    if (offset < 0 || lengthBytes < 0 || offset + lengthBytes > record.lengthBytes) {
      throw new HoldfastError('HF_BAD_ARGUMENT', 'the range is not inside the chunk');
    }
    const { space } = this.#inventory;
    space.pin(record.extents);
    let reason: unknown;
    try {
      return await this.#io.read(record, { offset, lengthBytes }, options.target);
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT') throw error;
      reason = error;
    } finally {
      space.unpin(record.extents);
    }
    await this.#mark(record, 'bad');
    throw badChunk(id, errorMessage(reason), reason);
  }

  async stat(id: ChunkId): Promise<ChunkEntry | undefined> {
    using _ = this.#operations.begin();
    const record = this.#inventory.index.find(id);
    return record && entryOf(record);
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
    return true;
  }

  async *list(
    options: { group?: number; signal?: AbortSignal | undefined } = {},
  ): AsyncIterable<ChunkEntry> {
    const { index } = this.#inventory;
    const { group, signal } = options;
    if (group !== undefined && !this.#inventory.hasGroup(group)) return;
    const numbers =
      group === undefined ? index.partitions.keys() : [index.partitionOf(Math.floor(group / 16))];
    for (const number of numbers) {
      throwIfAborted(signal);
      this.#operations.check();
      for (const record of index.recordsOf(number)) {
        if (group === undefined || groupOf(record.id) === group) yield entryOf(record);
      }
    }
  }

  async digests(): Promise<readonly GroupDigest[]> {
    this.#operations.check();
    return this.#inventory.digests.list();
  }

  async usage(): Promise<StoreUsage> {
    const { space } = this.#inventory;
    const { growthBlocks, likelyGrowthBlocks } = this.#writer;
    return {
      sizeBytes: (space.sizeBlocks + growthBlocks) * BLOCK_BYTES,
      usedBytes: space.usedBlocks * BLOCK_BYTES,
      freeBytes: space.freeBlocks(likelyGrowthBlocks) * BLOCK_BYTES,
      chunkCount: this.#inventory.chunkCount,
      badChunkCount: this.#inventory.badChunkCount,
    };
  }

  async describe(): Promise<StoreDescription> {
    const usage = await this.usage();
    return {
      ...this.#checkpointer.superblock,
      deviceName: this.#device.name,
      deviceKind: this.#device.kind,
      isDirect: this.#device.isDirect,
      sizeBytes: usage.sizeBytes,
      chunkCount: usage.chunkCount,
      usedBlocks: this.#inventory.space.usedBlocks,
      usage,
      journalUsedBlocks: this.#journal.usedBlocks,
      damage: this.#mounted.damage,
    };
  }

  async scrub(
    options: {
      rateBytesPerSecond?: number;
      onProgress?: (checkedBytes: number, totalBytes: number) => void;
      signal?: AbortSignal | undefined;
    } = {},
  ): Promise<ScrubReport> {
    using _ = this.#operations.begin();
    this.#health.check();
    return await scrubStore(
      {
        env: this.#env,
        device: this.#device,
        io: this.#io,
        inventory: this.#inventory,
        journal: this.#journal,
        checkpointer: this.#checkpointer,
        mark: async (record, kind) => await this.#mark(record, kind),
      },
      options,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!(await this.#operations.close())) return;
    await this.#committer.close();
    try {
      if (!this.#health.hasFailed) await this.#checkpointer.close();
    } finally {
      await this.#device[Symbol.asyncDispose]();
    }
  }

  get #inventory(): MountedStore['inventory'] {
    return this.#mounted.inventory;
  }

  async #commit(record: ChunkRecord & { readonly kind: RecordKind }): Promise<void> {
    await this.#committer.submit({ record: encodeRecord(record) });
  }

  /** Marks a chunk as known bad, or as good, unless other bytes have taken its place meanwhile. */
  async #mark(record: ChunkRecord, kind: 'bad' | 'live'): Promise<void> {
    using _lock = await this.#locks.acquire(record.id);
    const present = this.#inventory.index.find(record.id);
    if (present?.kind !== record.kind || present.checksum !== record.checksum) return;
    if (present.extents[0]!.start !== record.extents[0]!.start) return;
    await this.#commit({ ...present, kind });
    const what = kind === 'bad' ? 'a chunk is bad' : 'a chunk that was bad is good';
    this.#env.log.warn(what, { device: this.#device.name, chunk: toHex(record.id) });
  }

  #checkpointWhenDue(): void {
    if (this.#journal.usedBlocks * 2 < this.#journal.ringBlocks || this.#health.hasFailed) return;
    // A failure has stopped the store, and whoever asks next is told.
    this.#checkpointer.start().catch(() => undefined);
  }
}

function entryOf(record: ChunkRecord): ChunkEntry {
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
