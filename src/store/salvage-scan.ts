/**
 * Finds chunks on a device by what they are, without an index, in the order of the blocks.
 *
 * - A chunk of a stripe starts a block with its header, which says how long it is; its digests tell
 *   whether the bytes are its own, and which shard they are.
 * - A large metadata chunk is found by its footer, from its end; a small one says nothing of
 *   itself.
 * - A block that looks like a page of an index image has slots that say what may be where.
 *
 * Invariant: bytes are a found chunk only when they digest to what an id commits to. So what is
 * left of older data, however much it looks like a header, is never taken for a chunk.
 */
import { type ChunkId, errorCode, LIMITS, MiB, throwIfAborted, xxh64 } from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Extent } from './allocator.ts';
import {
  checkChunk,
  decodeChunkHeader,
  isChunkHeader,
  isMetadataChunk,
  possibleIds,
} from './chunk-format.ts';
import type { ExtentIo } from './extent-io.ts';
import { checkFooter, chunkBlocks, footerBytes, peekFooter } from './footer.ts';
import { BLOCK_BYTES, SMALL_CHUNK_BYTES } from './geometry.ts';
import { readAround } from './read-around.ts';
import { isIndexPage } from './salvage-hints.ts';
import type { ChunkRecord } from './slot.ts';

const WINDOW_BLOCKS: number = (8 * MiB) / BLOCK_BYTES;
/** The longest header has 255 digests. */
const HEADER_BLOCKS_MAX = 3;

export interface FoundChunk {
  readonly kind: 'chunk';
  /** Any of these is right; a large chunk has one, its footer says it. */
  readonly ids: readonly ChunkId[];
  /** One. */
  readonly extents: readonly Extent[];
  readonly lengthBytes: number;
  /** As a record has it. */
  readonly checksum: bigint;
}

export type Found =
  | FoundChunk
  /** The start of a chunk that is not all there, or not in one piece. */
  | { readonly kind: 'torn'; readonly block: number }
  /** The end of a chunk whose start is elsewhere. */
  | { readonly kind: 'footer'; readonly block: number; readonly id: ChunkId }
  | { readonly kind: 'page'; readonly block: number; readonly bytes: Uint8Array };

export interface ScanOptions {
  readonly device: BlockDevice;
  /** Whether nothing is known to be there. */
  readonly isFree: (extent: Extent) => boolean;
  /** Told of each long read, in the order of the device. */
  readonly onRead?: ((read: Extent, unreadableBlocks: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class ChunkScanner {
  readonly #device: BlockDevice;
  readonly #isFree: (extent: Extent) => boolean;
  readonly #onRead: ScanOptions['onRead'];
  readonly #signal: AbortSignal | undefined;
  readonly #totalBlocks: number;
  #window: { readonly from: number; readonly bytes: Uint8Array } = {
    from: 0,
    bytes: new Uint8Array(0),
  };

  constructor(options: ScanOptions) {
    this.#device = options.device;
    this.#isFree = options.isFree;
    this.#onRead = options.onRead;
    this.#signal = options.signal;
    this.#totalBlocks = options.device.sizeBytes / BLOCK_BYTES;
  }

  /** Everything that starts in these blocks, in order. @throws HF_INTERRUPTED. */
  async *scan({ start, blocks }: Extent): AsyncGenerator<Found> {
    const areaEnd = Math.min(start + blocks, this.#totalBlocks);
    for (let block = start; block < areaEnd;) {
      if (!this.#isFree({ start: block, blocks: 1 })) {
        block += 1;
        continue;
      }
      const at = block - this.#window.from;
      if (at < 0 || (at + 1) * BLOCK_BYTES > this.#window.bytes.length) {
        await this.#loadWindow(block, areaEnd);
      }
      const found = await this.lookAt(block);
      if (found) yield found;
      const end = found?.kind === 'chunk' ? endOf(found.extents[0]!) : 0;
      block = Math.max(end, block + 1);
    }
  }

  /** What starts in this block, if anything does. */
  async lookAt(block: number): Promise<Found | undefined> {
    const bytes = await this.#read({ start: block, blocks: 1 });
    if (!bytes) return undefined;
    if (isChunkHeader(bytes)) return await this.#stripeChunk(block);
    const footer = peekFooter(bytes);
    if (footer) return await this.#chunkBefore(block, footer);
    // The window is used again, so what is handed out is a copy.
    const isPage = isIndexPage(bytes, this.#totalBlocks);
    return isPage ? { kind: 'page', block, bytes: new Uint8Array(bytes) } : undefined;
  }

  async #stripeChunk(block: number): Promise<Found | undefined> {
    const lengthBytes = await this.#lengthByHeader(block);
    if (lengthBytes === undefined) return undefined;
    const extent = { start: block, blocks: chunkBlocks(lengthBytes) };
    const torn = { kind: 'torn', block } as const;
    const bytes = await this.#readFree(extent);
    if (!bytes) return torn;
    const payload = bytes.subarray(0, lengthBytes);
    const possible = possibleIds(payload);
    if (possible.length === 0) return torn;
    if (lengthBytes <= SMALL_CHUNK_BYTES) {
      const checksum = xxh64(payload);
      return { kind: 'chunk', ids: possible, extents: [extent], lengthBytes, checksum };
    }
    return chunkByFooter(bytes, lengthBytes, extent) ?? torn;
  }

  /** @returns `undefined` when no chunk starts here. */
  async #lengthByHeader(block: number): Promise<number | undefined> {
    const blocks = Math.min(HEADER_BLOCKS_MAX, this.#totalBlocks - block);
    const bytes = await this.#read({ start: block, blocks });
    if (!bytes) return undefined;
    try {
      const { headerBytes, shardBytes } = decodeChunkHeader(bytes);
      const lengthBytes = headerBytes + shardBytes;
      return lengthBytes <= LIMITS.chunkBytesMax ? lengthBytes : undefined;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return undefined;
    }
  }

  /** A large metadata chunk that ends with this block, or else what the footer says. */
  async #chunkBefore(
    block: number,
    footer: { readonly id: ChunkId; readonly lengthBytes: number },
  ): Promise<Found | undefined> {
    const { id, lengthBytes } = footer;
    const blocks = chunkBlocks(lengthBytes);
    const extent = { start: block + 1 - blocks, blocks };
    const bytes = isMetadataChunk(id) ? await this.#readFree(extent) : undefined;
    const chunk = bytes && chunkByFooter(bytes, lengthBytes, extent);
    return chunk ?? { kind: 'footer', block, id };
  }

  /** The bytes of blocks that are all free and can be read. */
  async #readFree(extent: Extent): Promise<Uint8Array | undefined> {
    const isInside = extent.start >= 0 && endOf(extent) <= this.#totalBlocks;
    return isInside && this.#isFree(extent) ? await this.#read(extent) : undefined;
  }

  async #read({ start, blocks }: Extent): Promise<Uint8Array | undefined> {
    const { from, bytes } = this.#window;
    const [first, last] = [(start - from) * BLOCK_BYTES, (start - from + blocks) * BLOCK_BYTES];
    const isInside = first >= 0 && last <= bytes.length;
    if (isInside) return bytes.subarray(first, last);
    const memory = this.#device.allocate(blocks * BLOCK_BYTES);
    const bad = await readAround(this.#device, memory, { start, blocksMax: 1 });
    return bad.length === 0 ? memory : undefined;
  }

  /** @param end nothing from here on is of interest. */
  async #loadWindow(from: number, end: number): Promise<void> {
    throwIfAborted(this.#signal);
    const blocks = Math.min(WINDOW_BLOCKS, end - from);
    const isLarge = this.#window.bytes.length === blocks * BLOCK_BYTES;
    const bytes = isLarge ? this.#window.bytes : this.#device.allocate(blocks * BLOCK_BYTES);
    const unreadable = await readAround(this.#device, bytes, { start: from });
    for (const block of unreadable) {
      const at = (block - from) * BLOCK_BYTES;
      bytes.fill(0, at, at + BLOCK_BYTES);
    }
    this.#window = { from, bytes };
    this.#onRead?.({ start: from, blocks }, unreadable.length);
  }
}

/** Whether the blocks of a record hold what its id commits to. @throws HF_DEVICE_FAILED. */
export async function isChunkThere(io: ExtentIo, record: ChunkRecord): Promise<boolean> {
  const { id, lengthBytes } = record;
  try {
    checkChunk(id, await io.read(record, { offset: 0, lengthBytes }, undefined));
    return true;
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined || code === 'HF_DEVICE_FAILED') throw error;
    return false;
  }
}

function endOf({ start, blocks }: Extent): number {
  return start + blocks;
}

/** A large chunk on these blocks, if its footer and its content are whole. */
function chunkByFooter(
  bytes: Uint8Array,
  lengthBytes: number,
  extent: Extent,
): FoundChunk | undefined {
  const content = peekFooter(bytes.subarray(bytes.length - BLOCK_BYTES));
  if (content?.lengthBytes !== lengthBytes) return undefined;
  const { id, checksum } = content;
  try {
    checkFooter(bytes.subarray(bytes.length - footerBytes(lengthBytes)), content);
    checkChunk(id, bytes.subarray(0, lengthBytes));
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
  return { kind: 'chunk', ids: [id], extents: [extent], lengthBytes, checksum };
}
