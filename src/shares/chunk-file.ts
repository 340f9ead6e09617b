/**
 * One chunk file opened for reading. Whatever is wrong with it is a *fault* with its place; a chunk
 * file with faults still serves the blocks that its table vouches for. Nothing is written.
 */
import { bytesEqual, HoldfastError } from '../base/index.ts';
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
import { faultOf, InputFile } from './files.ts';

export interface ChunkFault {
  readonly path: string;
  /** `undefined` when it is about the file as a whole. */
  readonly stripeIndex: number | undefined;
  readonly reason: string;
}

/** A line for each file and reason, with the stripes; those that follow each other as a range. */
export function faultLines(faults: readonly ChunkFault[]): string[] {
  const alike = Map.groupBy(faults, ({ path, reason }) => `${path}\0${reason}`);
  return [...alike.values()].map((group) => {
    const { path, reason } = group[0]!;
    const stripes = group.flatMap(({ stripeIndex }) => stripeIndex ?? []);
    const where =
      stripes.length === 0 ? '' : ` stripe${stripes.length > 1 ? 's' : ''} ${rangesOf(stripes)}:`;
    return `${path}:${where} ${reason}`;
  });
}

/** `1, 4-6` */
function rangesOf(numbers: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const range = ranges.at(-1);
    if (range && number <= range[1] + 1) range[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(', ');
}

export class ChunkFile implements AsyncDisposable {
  readonly path: string;
  readonly header: ChunkFileHeader;
  /** About the file as a whole: its length, one of its two headers. */
  readonly faults: readonly ChunkFault[];
  readonly #input: InputFile;
  readonly #table: Uint8Array;

  private constructor(
    input: InputFile,
    parts: { header: ChunkFileHeader; table: Uint8Array; reasons: readonly string[] },
  ) {
    const { path } = input;
    this.path = path;
    this.header = parts.header;
    const reason = parts.reasons.join('; ');
    this.faults = reason === '' ? [] : [{ path, stripeIndex: undefined, reason }];
    this.#input = input;
    this.#table = parts.table;
  }

  /** @throws HF_NOT_OURS, HF_CORRUPT when none of it can be used; the filesystem's errors. */
  static async open(path: string): Promise<ChunkFile> {
    const input = await InputFile.open(path);
    try {
      const { size } = input;
      const { header, reasons } = await readHeader(input);
      const { headerBytes, dataBytes, tableBytes, fileBytes } = chunkFileShape(header);
      if (size < fileBytes) reasons.unshift(`it is cut short: ${size} of ${fileBytes} bytes`);
      if (size > fileBytes) reasons.unshift(`${size - fileBytes} bytes too many are in it`);
      const tableAt = headerBytes + dataBytes;
      const table = await readAt(input, tableAt, tableBytes);
      if (!table || !bytesEqual(sha256(table), header.roots[header.index]!)) {
        const reason = 'its checksum table does not match its header';
        throw new HoldfastError('HF_CORRUPT', [...reasons, reason].join('; '));
      }
      return new ChunkFile(input, { header, table, reasons });
    } catch (error) {
      await input[Symbol.asyncDispose]();
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
      await this.#input.read(target, blockOffset);
      return true;
    } catch (error) {
      faultOf(error, this.path); // as good as bad bytes
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input[Symbol.asyncDispose]();
  }
}

/** The header from the file's beginning, or where that is damaged from its end. */
async function readHeader(
  input: InputFile,
): Promise<{ header: ChunkFileHeader; reasons: string[] }> {
  const front = await readFrontHeader(input);
  const end = await readEndHeader(input);
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

async function readFrontHeader(input: InputFile): Promise<HeaderRead> {
  return await decoded(input, async () => {
    const length = headerBytesAtFront((await readAt(input, 0, 64)) ?? new Uint8Array());
    return length && (await readAt(input, 0, length));
  });
}

async function readEndHeader(input: InputFile): Promise<HeaderRead> {
  return await decoded(input, async () => {
    const tail = await readAt(input, input.size - HEADER_END_BYTES, HEADER_END_BYTES);
    const length = headerBytesAtEnd(tail ?? new Uint8Array());
    return length && (await readAt(input, input.size - length, length));
  });
}

async function decoded(
  input: InputFile,
  read: () => Promise<Uint8Array | 0 | undefined>,
): Promise<HeaderRead> {
  try {
    const bytes = await read();
    if (!bytes) throw new HoldfastError('HF_NOT_OURS', 'no header of a chunk file is there');
    return { header: decodeChunkFileHeader(bytes), bytes, reason: 'another header stands there' };
  } catch (error) {
    return { reason: faultOf(error, input.path), error };
  }
}

/** `undefined` when the file has no such place. @throws HF_IO. */
async function readAt(
  input: InputFile,
  offset: number,
  bytes: number,
): Promise<Uint8Array | undefined> {
  if (offset < 0 || offset + bytes > input.size) return undefined;
  const target = new Uint8Array(bytes);
  await input.read(target, offset);
  return target;
}
