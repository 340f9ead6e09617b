/**
 * Chunks on their extents: writes large ones, reads and verifies all. Small ones are written by the
 * committer together with others.
 *
 * - Payload first, at a block's start, so that aligned memory goes to the device as it is; the last
 *   block, with the footer, comes from lent memory.
 * - What is read is verified before it is handed out, whole or by pages of 64 KiB.
 * - A read that fails is done in smaller parts; what cannot be read then is HF_IO, which says
 *   where.
 */
import { assert, errorCode, HoldfastError, KiB, LIMITS, Semaphore, xxh64 } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Extent } from './allocator.ts';
import type { BufferPool } from './buffer-pool.ts';
import { checkFooter, checkPages, chunkBlocks, encodeFooter, footerBytes } from './footer.ts';
import type { FooterSubject } from './footer.ts';
import { BLOCK_BYTES, PAGE_BYTES, SMALL_CHUNK_BYTES } from './geometry.ts';
import type { ReadFailures } from './health.ts';
import { runsOf } from './index-image.ts';
import { describeBlocks, readAround } from './read-around.ts';
import type { ChunkRecord } from './slot.ts';

/**
 * Whether memory starts on a page, so that a direct transfer may use it. A program cannot see
 * addresses; but resizable and growable buffers get pages of their own from the engine, and so does
 * shared WebAssembly memory, whose buffer is the only frozen kind.
 */
export function isPageAligned({ buffer, byteOffset }: Uint8Array): boolean {
  if (byteOffset % BLOCK_BYTES !== 0) return false;
  if (buffer instanceof SharedArrayBuffer) return buffer.growable || Object.isFrozen(buffer);
  return buffer.resizable;
}

/** Bytes [from, from + count) of the sources laid end to end, as views. */
export function sliceSources(
  sources: readonly Uint8Array[],
  from: number,
  count: number,
): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let skip = from;
  let left = count;
  for (const source of sources) {
    const part = source.subarray(
      Math.min(skip, source.length),
      Math.min(skip + left, source.length),
    );
    skip -= Math.min(skip, source.length);
    left -= part.length;
    if (part.length > 0) parts.push(part);
  }
  return parts;
}

/**
 * Large chunks that are checksummed and written at once, up to so many bytes and above. They keep a
 * device busy; more would only wait in it, in front of the journal, and their checksums would keep
 * commits waiting. Measured: with 16 at once, two thirds of the rate.
 */
const WRITES_MAX = 6;
const BIG_WRITES_MAX = 3;
const BIG_BYTES: number = 512 * KiB;

/** Bad blocks of a chunk that are looked for: one is enough to give it up. */
const UNREADABLE_BLOCKS_MAX = 16;

/** Blocks [from, from + count) of the extents laid end to end. */
export function sliceExtents(extents: readonly Extent[], from: number, count: number): Extent[] {
  const parts: Extent[] = [];
  let skip = from;
  let left = count;
  for (const { start, blocks } of extents) {
    const skipped = Math.min(skip, blocks);
    skip -= skipped;
    const taken = Math.min(blocks - skipped, left);
    left -= taken;
    if (taken > 0) parts.push({ start: start + skipped, blocks: taken });
  }
  return parts;
}

export class ExtentIo {
  readonly #device: BlockDevice;
  readonly #pool: BufferPool;
  readonly #operations = new Semaphore(LIMITS.deviceOperationsMax);
  readonly #writes = new Semaphore(WRITES_MAX);
  readonly #bigWrites = new Semaphore(BIG_WRITES_MAX);

  constructor(device: BlockDevice, pool: BufferPool) {
    this.#device = device;
    this.#pool = pool;
  }

  /** Writes a large chunk; durable after the next flush. @returns the footer's checksum. */
  async writeLarge(
    extents: readonly Extent[],
    chunk: Uint8Array,
    subject: FooterSubject,
  ): Promise<bigint> {
    const permits = chunk.length > BIG_BYTES ? this.#bigWrites : this.#writes;
    return await permits.run(() => this.#writeLarge(extents, chunk, subject));
  }

  async #writeLarge(
    extents: readonly Extent[],
    chunk: Uint8Array,
    subject: FooterSubject,
  ): Promise<bigint> {
    const blocks = chunkBlocks(chunk.length);
    assert(extents.reduce((sum, extent) => sum + extent.blocks, 0) === blocks, 'it fits exactly');
    const isDirect = isPageAligned(chunk);
    const directBlocks = isDirect ? Math.floor(chunk.length / BLOCK_BYTES) : 0;
    const direct = chunk.subarray(0, directBlocks * BLOCK_BYTES);
    using lent = this.#pool.lend(blocks - directBlocks);
    const tail = lent.bytes;
    tail.set(chunk.subarray(direct.length));
    const footerAt = tail.length - footerBytes(chunk.length);
    tail.fill(0, chunk.length - direct.length, footerAt);
    const checksum = encodeFooter(tail.subarray(footerAt), chunk, subject);
    let at = 0;
    for (const { start, blocks: count } of extents) {
      const parts = sliceSources([direct, tail], at, count * BLOCK_BYTES);
      await this.#operations.run(() => this.#device.write(parts, start * BLOCK_BYTES));
      at += count * BLOCK_BYTES;
    }
    return checksum;
  }

  /**
   * The chunk or a range of it, verified.
   * @param range inside the chunk.
   * @param target page-aligned memory that is used when it is large enough.
   * @throws HF_CORRUPT, HF_IO.
   */
  async read(
    record: ChunkRecord,
    range: { readonly offset: number; readonly lengthBytes: number },
    target: Uint8Array | undefined,
  ): Promise<Uint8Array> {
    const { lengthBytes } = record;
    if (lengthBytes <= SMALL_CHUNK_BYTES) return await this.#readSmall(record, range, target);
    const firstPage = Math.floor(range.offset / PAGE_BYTES);
    const endPage = Math.ceil((range.offset + range.lengthBytes) / PAGE_BYTES);
    const isWhole = (endPage - firstPage) * PAGE_BYTES >= lengthBytes / 2;
    return isWhole
      ? await this.#readWhole(record, range, target)
      : await this.#readPages(record, range, { firstPage, endPage, target });
  }

  /**
   * Whether the chunk's bytes are what its record says.
   * @throws HF_IO when so many in a row cannot be read that the device is to blame.
   */
  async isWhole(record: ChunkRecord, failures: ReadFailures): Promise<boolean> {
    try {
      await this.read(record, { offset: 0, lengthBytes: record.lengthBytes }, undefined);
      failures.succeeded();
      return true;
    } catch (error) {
      if (failures.isChunkBad(record.id, error)) return false;
      throw error;
    }
  }

  /** Whether small chunks that lie one behind the other, each in one piece, are all good. */
  async areWhole(records: readonly ChunkRecord[]): Promise<boolean> {
    const { start } = records[0]!.extents[0]!;
    const last = records.at(-1)!.extents[0]!;
    const run = { start, blocks: last.start + last.blocks - start };
    using lent = this.#pool.lend(run.blocks);
    try {
      await this.#readBlocks([run], 0, lent.bytes);
    } catch (error) {
      if (errorCode(error) !== 'HF_IO') throw error;
      return false;
    }
    return records.every(({ extents, lengthBytes, checksum }) => {
      const at = (extents[0]!.start - start) * BLOCK_BYTES;
      return xxh64(lent.bytes.subarray(at, at + lengthBytes)) === checksum;
    });
  }

  async #readSmall(
    record: ChunkRecord,
    range: { readonly offset: number; readonly lengthBytes: number },
    target: Uint8Array | undefined,
  ): Promise<Uint8Array> {
    using lent = this.#pool.lend(chunkBlocks(record.lengthBytes));
    await this.#readBlocks(record.extents, 0, lent.bytes);
    const payload = lent.bytes.subarray(0, record.lengthBytes);
    if (xxh64(payload) !== record.checksum) {
      throw new HoldfastError('HF_CORRUPT', 'the payload does not match its checksum');
    }
    const wanted = payload.subarray(range.offset, range.offset + range.lengthBytes);
    if (!target || target.length < wanted.length) return new Uint8Array(wanted);
    target.set(wanted);
    return target.subarray(0, wanted.length);
  }

  async #readWhole(
    record: ChunkRecord,
    range: { readonly offset: number; readonly lengthBytes: number },
    target: Uint8Array | undefined,
  ): Promise<Uint8Array> {
    const bytes = chunkBlocks(record.lengthBytes) * BLOCK_BYTES;
    const memory = this.#memory(bytes, target);
    await this.#readBlocks(record.extents, 0, memory);
    const footer = memory.subarray(bytes - footerBytes(record.lengthBytes));
    checkFooter(footer, record);
    checkPages(memory.subarray(0, record.lengthBytes), 0, footer);
    return memory.subarray(range.offset, range.offset + range.lengthBytes);
  }

  async #readPages(
    record: ChunkRecord,
    range: { readonly offset: number; readonly lengthBytes: number },
    pages: {
      readonly firstPage: number;
      readonly endPage: number;
      readonly target: Uint8Array | undefined;
    },
  ): Promise<Uint8Array> {
    const blocks = chunkBlocks(record.lengthBytes);
    const footerLength = footerBytes(record.lengthBytes);
    const footerBlocks = Math.ceil(footerLength / BLOCK_BYTES);
    using lent = this.#pool.lend(footerBlocks);
    await this.#readBlocks(record.extents, blocks - footerBlocks, lent.bytes);
    const footer = lent.bytes.subarray(lent.bytes.length - footerLength);
    checkFooter(footer, record);
    const from = pages.firstPage * PAGE_BYTES;
    const to = Math.min(pages.endPage * PAGE_BYTES, record.lengthBytes);
    const memory = this.#memory(Math.ceil((to - from) / BLOCK_BYTES) * BLOCK_BYTES, pages.target);
    await this.#readBlocks(record.extents, from / BLOCK_BYTES, memory);
    checkPages(memory.subarray(0, to - from), pages.firstPage, footer);
    return memory.subarray(range.offset - from, range.offset - from + range.lengthBytes);
  }

  #memory(bytes: number, target: Uint8Array | undefined): Uint8Array {
    const isUsable = target && target.length >= bytes && isPageAligned(target);
    return isUsable ? target.subarray(0, bytes) : this.#device.allocate(bytes);
  }

  /** Fills `target` from block `from` of the extents laid end to end. @throws HF_IO. */
  async #readBlocks(extents: readonly Extent[], from: number, target: Uint8Array): Promise<void> {
    const unreadable: number[] = [];
    let filled = 0;
    for (const { start, blocks } of sliceExtents(extents, from, target.length / BLOCK_BYTES)) {
      const part = target.subarray(filled, filled + blocks * BLOCK_BYTES);
      const options = { start, blocksMax: UNREADABLE_BLOCKS_MAX };
      const bad = await this.#operations.run(() => readAround(this.#device, part, options));
      unreadable.push(...bad);
      filled += part.length;
    }
    assert(filled === target.length, 'the extents hold what is read');
    if (unreadable.length === 0) return;
    const where = describeBlocks(runsOf(unreadable));
    throw new HoldfastError('HF_IO', `${this.#device.name}: ${where} cannot be read`);
  }
}
