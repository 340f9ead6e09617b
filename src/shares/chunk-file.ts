/**
 * One chunk file opened for reading. Whatever is wrong with it is a *fault* with its place; a chunk
 * file with faults still serves the blocks that its table vouches for. Nothing is written.
 */
import fs from 'node:fs/promises';
import { bytesEqual, errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import {
  CHECKSUM_BYTES,
  type ChunkFileHeader,
  chunkFileShape,
  type ChunkFileStripe,
  decodeChunkFileHeader,
  HEADER_END_BYTES,
  headerBytesAtEnd,
  headerBytesAtFront,
  sha256,
} from './chunk-format.ts';

export interface ChunkFault {
  readonly path: string;
  /** `undefined` when it is about the file as a whole. */
  readonly stripeIndex: number | undefined;
  readonly reason: string;
}

export function faultLine({ path, stripeIndex, reason }: ChunkFault): string {
  return stripeIndex === undefined
    ? `${path}: ${reason}`
    : `${path}: stripe ${stripeIndex}: ${reason}`;
}

export class ChunkFile implements AsyncDisposable {
  readonly path: string;
  readonly header: ChunkFileHeader;
  /** About the file as a whole: its length, one of its two headers. */
  readonly faults: readonly ChunkFault[];
  readonly #handle: fs.FileHandle;
  readonly #table: Uint8Array;

  private constructor(
    path: string,
    handle: fs.FileHandle,
    parts: { header: ChunkFileHeader; table: Uint8Array; reasons: readonly string[] },
  ) {
    this.path = path;
    this.header = parts.header;
    const reason = parts.reasons.join('; ');
    this.faults = reason === '' ? [] : [{ path, stripeIndex: undefined, reason }];
    this.#handle = handle;
    this.#table = parts.table;
  }

  /** @throws HF_NOT_OURS, HF_CORRUPT when none of it can be used; the filesystem's errors. */
  static async open(path: string): Promise<ChunkFile> {
    const handle = await fs.open(path, 'r');
    try {
      const { size } = await handle.stat();
      const { header, reasons } = await readHeader(handle, size);
      const { headerBytes, dataBytes, tableBytes, fileBytes } = chunkFileShape(header);
      if (size < fileBytes) reasons.unshift(`it is cut short: ${size} of ${fileBytes} bytes`);
      if (size > fileBytes) reasons.unshift(`${size - fileBytes} bytes too many are in it`);
      const tableAt = headerBytes + dataBytes;
      const isThere = tableAt + tableBytes <= size;
      const table = isThere ? await readAt(handle, tableAt, tableBytes) : undefined;
      if (!table || !bytesEqual(sha256(table), header.roots[header.index]!)) {
        const reason = 'its checksum table does not match its header';
        throw new HoldfastError('HF_CORRUPT', [...reasons, reason].join('; '));
      }
      return new ChunkFile(path, handle, { header, table, reasons });
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** A copy, as a view would take the whole table along to another thread. */
  checksum(stripeIndex: number): Uint8Array {
    return this.#table.slice(stripeIndex * CHECKSUM_BYTES, (stripeIndex + 1) * CHECKSUM_BYTES);
  }

  /** Reads, but does not check, a block. @returns whether all of it could be read. */
  async readBlock({ blockOffset }: ChunkFileStripe, target: Uint8Array): Promise<boolean> {
    try {
      return await readInto(this.#handle, blockOffset, target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EIO') return false; // as good as bad bytes
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** The header from the file's beginning, or where that is damaged from its end. */
async function readHeader(
  handle: fs.FileHandle,
  size: number,
): Promise<{ header: ChunkFileHeader; reasons: string[] }> {
  const front = await readFrontHeader(handle);
  const end = await readEndHeader(handle, size);
  if (front.header && end.header && bytesEqual(front.bytes!, end.bytes!)) {
    return { header: front.header, reasons: [] };
  }
  if (front.header) return { header: front.header, reasons: [`at its end, ${end.reason}`] };
  if (end.header) return { header: end.header, reasons: [`at its beginning, ${front.reason}`] };
  throw front.error;
}

interface HeaderRead {
  readonly header?: ChunkFileHeader;
  readonly bytes?: Uint8Array;
  readonly reason: string;
  readonly error?: unknown;
}

async function readFrontHeader(handle: fs.FileHandle): Promise<HeaderRead> {
  const length = headerBytesAtFront((await readAt(handle, 0, 64)) ?? new Uint8Array());
  return decoded(length && (await readAt(handle, 0, length)));
}

async function readEndHeader(handle: fs.FileHandle, size: number): Promise<HeaderRead> {
  const tail = await readAt(handle, size - HEADER_END_BYTES, HEADER_END_BYTES);
  const length = headerBytesAtEnd(tail ?? new Uint8Array());
  return decoded(length && (await readAt(handle, size - length, length)));
}

function decoded(bytes: Uint8Array | 0 | undefined): HeaderRead {
  try {
    if (!bytes) throw new HoldfastError('HF_NOT_OURS', 'no header of a chunk file is there');
    return { header: decodeChunkFileHeader(bytes), bytes, reason: 'another header stands there' };
  } catch (error) {
    if (!errorCode(error)) throw error;
    return { reason: errorMessage(error), error };
  }
}

async function readAt(
  handle: fs.FileHandle,
  offset: number,
  bytes: number,
): Promise<Uint8Array | undefined> {
  const target = new Uint8Array(bytes);
  return offset >= 0 && (await readInto(handle, offset, target)) ? target : undefined;
}

async function readInto(
  handle: fs.FileHandle,
  offset: number,
  target: Uint8Array,
): Promise<boolean> {
  let done = 0;
  while (done < target.length) {
    const { bytesRead } = await handle.read(target, done, target.length - done, offset + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}
