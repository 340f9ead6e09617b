/**
 * Salvage: what a store still holds after its index is lost, wholly or in part. Chunks say what
 * they are (salvage-scan.ts), so nothing is copied: the index learns of them where they lie.
 *
 *   no superblock ──▶ find the place of the ring ──▶ new superblocks, empty ring ─┐
 *   superblock ───────────────────────────────────────────────────────────────────┴▶ mount
 *     ──▶ scan all blocks that are free according to the index ──▶ adopt, first what old pages and
 *     batches name ──▶ checkpoint
 *
 * - *adopted*: a chunk that the index lacked, or knew as bad.
 *
 * Invariants: (1) a chunk is adopted only when its bytes digest to its id; (2) nothing is written
 * to blocks that may hold a chunk: all are found and taken before the store writes at all; (3)
 * until the checkpoint is durable the store is as it was, but for new superblocks and their bitmap,
 * so an interrupted salvage is begun anew.
 *
 * Chunks that had been deleted may come back, if the journal has forgotten it; nothing names them,
 * and they are collected in time.
 */
import {
  type ChunkId,
  type ClusterId,
  type DeviceId,
  errorCode,
  LIMITS,
  throwIfAborted,
  toHex,
} from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import { BufferPool } from './buffer-pool.ts';
import { ExtentIo } from './extent-io.ts';
import { ExtentStore } from './extent-store.ts';
import { BLOCK_BYTES } from './geometry.ts';
import { IndexTable } from './index-table.ts';
import type { MountedStore } from './mount.ts';
import { Hints } from './salvage-hints.ts';
import { writeNewSuperblock } from './salvage-layout.ts';
import { ChunkScanner, type FoundChunk, isChunkThere } from './salvage-scan.ts';
import { type ChunkRecord, encodeRecord, idAt } from './slot.ts';
import { readSuperblock, seedOf } from './superblock.ts';

export interface SalvageOptions {
  readonly env: Env;
  /** Belongs to the store from now on, and is closed at the end. */
  readonly device: BlockDevice;
  /** Of the store, and of one that gets new superblocks: the chunks do not say it. */
  readonly clusterId: ClusterId;
  /** For new superblocks: the id that the device had, if it is known; else made up. */
  readonly id?: DeviceId | undefined;
  readonly label?: string | undefined;
  readonly onProgress?: ((scannedBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SalvageReport {
  readonly id: DeviceId;
  /** No superblock was good, so new ones were written. */
  readonly isNewSuperblock: boolean;
  /** Good chunks that the index had before. */
  readonly chunksBefore: number;
  readonly adopted: number;
  readonly adoptedBytes: number;
  /** Found, but the index has the chunk in another place. */
  readonly known: number;
  /** Found, but the journal says that they were removed. */
  readonly removed: number;
  /** Found, but the index has no room for them. */
  readonly refused: number;
  /**
   * Starts of chunks that are not all there, or not in one piece: half written or half overwritten.
   */
  readonly incomplete: number;
  /** Chunks that are not all there, as far as their ends tell; at most a thousand. */
  readonly incompleteIds: readonly ChunkId[];
  readonly scannedBytes: number;
  readonly unreadableBlocks: number;
}

type Adoptable = Pick<ChunkRecord, 'id' | 'extents' | 'lengthBytes' | 'checksum' | 'generation'>;

/** What a chunk does not say of itself. */
const UNKNOWN = { generation: 0, writtenAt: 0, verifiedAt: 0 } as const;

type Findings = Omit<SalvageReport, 'id' | 'isNewSuperblock'>;

const FOUND_PARTITION_BITS = 8;
const INCOMPLETE_IDS_MAX = 1000;

/**
 * Brings back what can be found.
 * @throws HF_NOT_OURS when there is neither a superblock nor a chunk, and for a store of another
 *   cluster; HF_CORRUPT when there is no room for a superblock; HF_INTERRUPTED; as `openStore`.
 */
export async function salvageStore(options: SalvageOptions): Promise<SalvageReport> {
  const { env, device, clusterId } = options;
  const hints = new Hints(device.sizeBytes / BLOCK_BYTES);
  const isNewSuperblock = await begin(options, hints).catch(async (error: unknown) => {
    await device[Symbol.asyncDispose]();
    throw error;
  });
  let findings: Findings | undefined;
  const store = await ExtentStore.open({ env, device, clusterId }, async (mounted) => {
    const salvaged = await new Salvage(options, mounted, hints).run();
    findings = salvaged.found;
    return salvaged.mounted;
  });
  await store[Symbol.asyncDispose]();
  return { ...findings!, id: store.id, isNewSuperblock };
}

/** Sees to a superblock, and to what the journal says. @returns whether it had to be made. */
async function begin(options: SalvageOptions, hints: Hints): Promise<boolean> {
  const { device } = options;
  try {
    const { superblock } = await readSuperblock(device);
    const { journalStart: start, journalBlocks: blocks, id } = superblock;
    await hints.addJournal(device, { start, blocks, seed: seedOf(id) });
    return false;
  } catch (error) {
    const code = errorCode(error);
    if (code !== 'HF_NOT_OURS' && code !== 'HF_CORRUPT') throw error;
  }
  await writeNewSuperblock(options, hints);
  return true;
}

class Salvage {
  readonly #options: SalvageOptions;
  readonly #mounted: MountedStore;
  readonly #hints: Hints;
  readonly #scanner: ChunkScanner;
  readonly #io: ExtentIo;
  readonly #chunksBefore: number;
  /** Chunks that were found; of each id one. */
  readonly #found = new IndexTable(FOUND_PARTITION_BITS);
  /** Blocks where copies start of which it is not known which one they are. */
  readonly #ambiguous: number[] = [];
  readonly #torn: number[] = [];
  readonly #incomplete = new Map<string, ChunkId>();
  #adopted = 0;
  #adoptedBytes = 0;
  #known = 0;
  #removed = 0;
  #refused = 0;
  #scannedBytes = 0;
  #unreadableBlocks = 0;

  constructor(options: SalvageOptions, mounted: MountedStore, hints: Hints) {
    const { device, signal } = options;
    const { chunkCount, badChunkCount } = mounted.inventory;
    this.#options = options;
    this.#mounted = mounted;
    this.#hints = hints;
    this.#io = new ExtentIo(device, new BufferPool(device));
    this.#chunksBefore = chunkCount - badChunkCount;
    this.#scanner = new ChunkScanner({
      device,
      isFree: (extent) => mounted.inventory.space.allocator.isFree(extent),
      onRead: (read, unreadableBlocks) => {
        this.#scannedBytes += read.blocks * BLOCK_BYTES;
        this.#unreadableBlocks += unreadableBlocks;
        const end = (read.start + read.blocks) * BLOCK_BYTES;
        options.onProgress?.(end, device.sizeBytes);
      },
      signal,
    });
  }

  /** @returns what was mounted, with all that was adopted, and what was found. */
  async run(): Promise<{ readonly mounted: MountedStore; readonly found: Findings }> {
    await this.#scan();
    for (const hint of this.#hints.records()) await this.#follow(hint);
    for (const number of this.#found.partitions.keys()) {
      for (const record of this.#found.recordsOf(number)) await this.#adoptAs([record.id], record);
    }
    for (const block of this.#ambiguous) {
      const found = await this.#scanner.lookAt(block);
      if (found?.kind === 'chunk') await this.#adoptAs(found.ids, found);
    }
    const found = this.#findings();
    if (this.#adopted === 0) return { mounted: this.#mounted, found };
    const line = `salvage: ${this.#adopted} chunks were found again; others may be missing`;
    const damage = [...this.#mounted.damage, line];
    // What the journal would be told of chunks that have been found elsewhere is over.
    const { index } = this.#mounted.inventory;
    const isBad = (words: Uint32Array): boolean => index.find(idAt(words, 0))?.kind === 'bad';
    const doubtful = this.#mounted.doubtful.filter(isBad);
    return { mounted: { ...this.#mounted, damage, doubtful }, found };
  }

  async #scan(): Promise<void> {
    const { device } = this.#options;
    const whole = { start: 0, blocks: device.sizeBytes / BLOCK_BYTES };
    for await (const found of this.#scanner.scan(whole)) {
      if (found.kind === 'page') this.#hints.addPage(found.bytes);
      else if (found.kind === 'torn') this.#torn.push(found.block);
      else if (found.kind === 'footer') this.#noteIncomplete(found.id);
      // An old page may still say which of the copies it is.
      else if (found.ids.length > 1) this.#ambiguous.push(found.extents[0]!.start);
      else this.#note(found);
    }
  }

  #note({ ids, ...found }: FoundChunk): void {
    const id = ids[0]!;
    if (this.#found.find(id)) this.#known += 1;
    else this.#found.apply(encodeRecord({ ...found, id, kind: 'live', ...UNKNOWN }));
  }

  #noteIncomplete(id: ChunkId): void {
    if (this.#incomplete.size < INCOMPLETE_IDS_MAX) this.#incomplete.set(toHex(id), id);
  }

  /** Goes after what an old page or batch says. */
  async #follow(hint: ChunkRecord): Promise<void> {
    throwIfAborted(this.#options.signal);
    const { index, space } = this.#mounted.inventory;
    const present = index.find(hint.id);
    if (present?.kind === 'live') {
      const isSame = present.extents[0]!.start === hint.extents[0]!.start;
      if (!isSame || present.generation >= hint.generation) return;
      this.#apply({ ...present, generation: hint.generation });
    } else if (space.allocator.areFree(hint.extents) && (await this.#isThere(hint))) {
      await this.#adopt(hint);
    }
  }

  /** Whether the blocks hold what the id commits to. */
  async #isThere(record: ChunkRecord): Promise<boolean> {
    const { id, lengthBytes, extents, checksum } = record;
    const found = this.#found.find(id);
    const isFound = found?.extents[0]!.start === extents[0]!.start && extents.length === 1;
    if (isFound && found.lengthBytes === lengthBytes && found.checksum === checksum) return true;
    return await isChunkThere(this.#io, record);
  }

  /** Adopts a chunk that was found under the first of the ids that the store lacks. */
  async #adoptAs(
    ids: readonly ChunkId[],
    chunk: Omit<Adoptable, 'id' | 'generation'>,
  ): Promise<void> {
    const { index, space } = this.#mounted.inventory;
    // A page has named it, or what is in its place.
    if (!space.allocator.areFree(chunk.extents)) return;
    const lacking = ids.filter((id) => index.find(id)?.kind !== 'live');
    const id = lacking.find((each) => !this.#hints.isRemoved(each));
    if (id) await this.#adopt({ ...chunk, id, generation: 0 });
    else if (lacking.length > 0) this.#removed += 1;
    else this.#known += 1;
  }

  async #adopt({ id, extents, lengthBytes, checksum, generation }: Adoptable): Promise<void> {
    const { inventory } = this.#mounted;
    const chunk = { id, extents, lengthBytes, checksum };
    let isTaken = inventory.space.adopt(chunk);
    if (!isTaken) {
      await this.#grow();
      isTaken = inventory.space.adopt(chunk);
    }
    if (!isTaken) {
      this.#refused += 1;
      return;
    }
    const before = inventory.index.find(id);
    // As if it were written now: a chunk that nothing names is spared for a while.
    const now = Math.floor(this.#options.env.clock.now() / 1000);
    const times = { writtenAt: now, verifiedAt: now };
    const highest = Math.max(generation, before?.generation ?? 0);
    this.#apply({ ...chunk, kind: 'live', generation: highest, ...times });
    this.#adopted += 1;
    this.#adoptedBytes += lengthBytes;
  }

  #apply(record: ChunkRecord): void {
    this.#mounted.inventory.apply(encodeRecord(record));
  }

  /** More room at the end of the device, where it can grow. */
  async #grow(): Promise<void> {
    const { device } = this.#options;
    const { space } = this.#mounted.inventory;
    const bytes = Math.min(space.growthBlocks * BLOCK_BYTES, LIMITS.segmentFileBytesMin);
    if (bytes === 0) return;
    try {
      await device.grow(bytes);
    } catch (error) {
      if (errorCode(error) !== 'HF_NO_SPACE') throw error;
    }
    space.allocator.grow(device.sizeBytes / BLOCK_BYTES);
  }

  #findings(): Findings {
    const { index, space } = this.#mounted.inventory;
    const isFree = (block: number): boolean => space.allocator.isFree({ start: block, blocks: 1 });
    const isMissing = (id: ChunkId): boolean => index.find(id)?.kind !== 'live';
    return {
      chunksBefore: this.#chunksBefore,
      adopted: this.#adopted,
      adoptedBytes: this.#adoptedBytes,
      known: this.#known,
      removed: this.#removed,
      refused: this.#refused,
      incomplete: this.#torn.filter(isFree).length,
      incompleteIds: [...this.#incomplete.values()].filter(isMissing),
      scannedBytes: this.#scannedBytes,
      unreadableBlocks: this.#unreadableBlocks,
    };
  }
}
