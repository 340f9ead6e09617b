/**
 * The footer of a large chunk, in the last bytes of its last block: XXH64 of each 64 KiB page of
 * the payload, then 64 bytes that say whose it is. It makes ranges verifiable, and chunks
 * recognisable when every index is lost. The slot's checksum of a large chunk is the footer's.
 *
 * | bytes | field |
 * |---|---|
 * | 0 | XXH64 of each page, 8 bytes each |
 * | table end | magic, u32; length of the payload, u32; chunk id, 32 bytes |
 * | + 40 | written at, seconds, u64; seed of the store's metadata, u64 |
 * | + 56 | XXH64 of all footer bytes before |
 */
import { asBuffer, bytesEqual, type ChunkId, HoldfastError, LIMITS, xxh64 } from '../base/index.ts';
import { BLOCK_BYTES, blocksFor, PAGE_BYTES, SMALL_CHUNK_BYTES } from './geometry.ts';
import type { ChunkRecord } from './slot.ts';

/** "HFB1" */
const MAGIC = 0x31424648;
const TRAILER_BYTES = 64;

export function pageCount(lengthBytes: number): number {
  return Math.ceil(lengthBytes / PAGE_BYTES);
}

/** Bytes of the footer; a small chunk has none. */
export function footerBytes(lengthBytes: number): number {
  if (lengthBytes <= SMALL_CHUNK_BYTES) return 0;
  return pageCount(lengthBytes) * 8 + TRAILER_BYTES;
}

/** Blocks of a chunk on the device. */
export function chunkBlocks(lengthBytes: number): number {
  return blocksFor(lengthBytes + footerBytes(lengthBytes));
}

/** Memory that holds any chunk of this length with its footer, for `get`. */
export function chunkMemoryBytes(lengthBytes: number): number {
  return chunkBlocks(lengthBytes) * BLOCK_BYTES;
}

export interface FooterSubject {
  readonly id: ChunkId;
  readonly writtenAt: number;
  readonly seed: bigint;
}

/** Writes the footer into `target`, which has its length. @returns its checksum. */
export function encodeFooter(
  target: Uint8Array,
  payload: Uint8Array,
  { id, writtenAt, seed }: FooterSubject,
): bigint {
  const footer = asBuffer(target);
  const pages = pageCount(payload.length);
  for (let page = 0; page < pages; page++) {
    const bytes = payload.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    footer.writeBigUInt64LE(xxh64(bytes), page * 8);
  }
  const at = pages * 8;
  footer.writeUInt32LE(MAGIC, at);
  footer.writeUInt32LE(payload.length, at + 4);
  footer.set(id, at + 8);
  footer.writeBigUInt64LE(BigInt(writtenAt), at + 40);
  footer.writeBigUInt64LE(seed, at + 48);
  const checksum = xxh64(footer.subarray(0, at + 56));
  footer.writeBigUInt64LE(checksum, at + 56);
  return checksum;
}

/** What a footer says of its chunk. */
export interface FooterContent {
  readonly id: ChunkId;
  readonly lengthBytes: number;
  readonly checksum: bigint;
}

/** What the footer of a chunk that may end with this block says; it is not verified. */
export function peekFooter(lastBlock: Uint8Array): FooterContent | undefined {
  const trailer = asBuffer(lastBlock.subarray(lastBlock.length - TRAILER_BYTES));
  const lengthBytes = trailer.readUInt32LE(4);
  if (trailer.readUInt32LE(0) !== MAGIC || footerBytes(lengthBytes) === 0) return undefined;
  if (lengthBytes > LIMITS.chunkBytesMax) return undefined;
  const id = new Uint8Array(trailer.subarray(8, 40)) as ChunkId;
  return { id, lengthBytes, checksum: trailer.readBigUInt64LE(56) };
}

/** @throws HF_CORRUPT when the footer is not the one that the record names. */
export function checkFooter(
  target: Uint8Array,
  record: Pick<ChunkRecord, 'id' | 'lengthBytes' | 'checksum'>,
): void {
  const footer = asBuffer(target);
  const at = pageCount(record.lengthBytes) * 8;
  const checksum = footer.readBigUInt64LE(at + 56);
  if (checksum !== record.checksum || checksum !== xxh64(footer.subarray(0, at + 56))) {
    throw new HoldfastError('HF_CORRUPT', 'the footer does not match its checksum');
  }
  if (!bytesEqual(footer.subarray(at + 8, at + 40), record.id)) {
    throw new HoldfastError('HF_CORRUPT', 'the footer is of another chunk');
  }
}

/**
 * Checks pages of the payload against a footer that was checked before.
 * @param bytes from the start of page `firstPage`; the last page may be cut at the payload's end.
 */
export function checkPages(bytes: Uint8Array, firstPage: number, footer: Uint8Array): void {
  const table = asBuffer(footer);
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
    const page = firstPage + at / PAGE_BYTES;
    if (table.readBigUInt64LE(page * 8) !== xxh64(bytes.subarray(at, at + PAGE_BYTES))) {
      throw new HoldfastError('HF_CORRUPT', `page ${page} does not match its checksum`);
    }
  }
}
