/**
 * Writes new chunks: finds them room, growing the device when it has to, and hands them to the
 * committer; large ones are on the device before that, small ones are staged by it.
 *
 *   reserve ──▶ small: submit bytes
 *           └─▶ large: take extents ──▶ write ──▶ submit record
 *
 * Invariants: (1) room for the chunk and for its slots is promised before a byte is written; (2)
 * the blocks of a chunk whose write failed are given back when nothing is under way on them any
 * more.
 */
import {
  type ChunkId,
  type DeviceId,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  xxh64,
} from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import type { Extent } from './allocator.ts';
import type { Committer } from './committer.ts';
import type { ExtentIo } from './extent-io.ts';
import { chunkBlocks } from './footer.ts';
import { BLOCK_BYTES, SMALL_CHUNK_BYTES } from './geometry.ts';
import { encodeRecord } from './slot.ts';
import type { Space } from './space.ts';
import { seedOf } from './superblock.ts';

export class ChunkWriter {
  readonly #env: Env;
  readonly #device: BlockDevice;
  readonly #io: ExtentIo;
  readonly #committer: Committer;
  readonly #space: Space;
  readonly #seed: bigint;

  constructor(parts: {
    readonly env: Env;
    readonly device: BlockDevice;
    readonly io: ExtentIo;
    readonly committer: Committer;
    readonly space: Space;
    readonly id: DeviceId;
  }) {
    this.#env = parts.env;
    this.#device = parts.device;
    this.#io = parts.io;
    this.#committer = parts.committer;
    this.#space = parts.space;
    this.#seed = seedOf(parts.id);
  }

  /**
   * Stores a chunk that is not in the index, or known bad there; the caller holds its lock.
   * @throws HF_NO_SPACE, HF_IO, HF_DEVICE_FAILED.
   */
  async write(id: ChunkId, chunk: Uint8Array, generation: number): Promise<void> {
    const blocks = chunkBlocks(chunk.length);
    if (this.#space.reserve(id, blocks) > 0) await this.#growFor(id, blocks);
    try {
      if (chunk.length <= SMALL_CHUNK_BYTES) await this.#writeSmall(id, chunk, generation);
      else await this.#writeLarge(id, chunk, generation);
    } finally {
      this.#space.settle(id);
    }
  }

  async #writeSmall(id: ChunkId, chunk: Uint8Array, generation: number): Promise<void> {
    const checksum = xxh64(chunk);
    const writtenAt = this.#nowSeconds();
    await this.#committer.submit({ staged: { id, chunk, generation, checksum, writtenAt } });
  }

  async #writeLarge(id: ChunkId, chunk: Uint8Array, generation: number): Promise<void> {
    const extents = await this.#takeExtents(id, chunkBlocks(chunk.length));
    const writtenAt = this.#nowSeconds();
    let checksum: bigint;
    try {
      const subject = { id, writtenAt, seed: this.#seed };
      checksum = await this.#io.writeLarge(extents, chunk, subject);
    } catch (error) {
      this.#space.release({ id, extents });
      throw error;
    }
    const times = { writtenAt, verifiedAt: writtenAt };
    const lengthBytes = chunk.length;
    const kind = 'live';
    const record = encodeRecord({ id, kind, lengthBytes, generation, extents, checksum, ...times });
    await this.#committer.submit({ record });
  }

  /** Promises room for a chunk that there was none for. @throws HF_NO_SPACE. */
  async #growFor(id: ChunkId, blocks: number): Promise<void> {
    await this.#space.resizing.run(async () => {
      // Another put may have grown it while this one waited, so it is asked again first.
      for (let missing = this.#space.reserve(id, blocks); missing > 0;) {
        await this.#grow(missing);
        missing = this.#space.reserve(id, blocks);
      }
    });
  }

  /** Extents out of what is reserved; what is free may be too scattered for a large chunk. */
  async #takeExtents(id: ChunkId, blocks: number): Promise<readonly Extent[]> {
    let extents = this.#space.takeExtents(blocks);
    try {
      while (!extents) {
        await this.#space.resizing.run(() => this.#grow(blocks));
        extents = this.#space.takeExtents(blocks);
      }
    } finally {
      if (!extents) this.#space.unreserve(id, blocks);
    }
    return extents;
  }

  async #grow(missing: number): Promise<void> {
    const possible = this.#space.growthBlocks;
    if (possible < missing) {
      throw new HoldfastError('HF_NO_SPACE', `the store ${this.#device.name} is full`);
    }
    const step = Math.max(missing, LIMITS.segmentFileBytesMin / BLOCK_BYTES);
    try {
      await this.#device.grow(Math.min(step, possible) * BLOCK_BYTES);
      this.#space.isGrowthRefused = false;
    } catch (error) {
      // Asked again at the next put that lacks room: others may have left the filesystem some.
      if (errorCode(error) !== 'HF_NO_SPACE') throw error;
      this.#space.isGrowthRefused = true;
      const message = `the store ${this.#device.name} is full: ${errorMessage(error)}`;
      throw new HoldfastError('HF_NO_SPACE', message, { cause: error });
    } finally {
      // Also when it fails: a part may have been added.
      this.#space.allocator.grow(this.#device.sizeBytes / BLOCK_BYTES);
    }
  }

  #nowSeconds(): number {
    return Math.floor(this.#env.clock.now() / 1000);
  }
}
