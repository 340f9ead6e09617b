/** Content of a file in memory: chunks that are there or not (holes), and a size. */
import { MiB } from '../../src/base/index.ts';

const CHUNK_BYTES = MiB;
const ZEROS = Buffer.alloc(CHUNK_BYTES);

/** Part of a chunk. */
interface Piece {
  readonly index: number;
  readonly start: number;
  readonly end: number;
}

export class MemoryContent {
  sizeBytes = 0;
  readonly #chunks = new Map<number, Buffer>();

  get storedBytes(): number {
    return Math.min(this.#chunks.size * CHUNK_BYTES, this.sizeBytes);
  }

  /** Views; zeros for holes. */
  read(offset: number, lengthBytes: number): Uint8Array[] {
    const end = Math.min(offset + lengthBytes, this.sizeBytes);
    return pieces(offset, end).map((piece) =>
      (this.#chunks.get(piece.index) ?? ZEROS).subarray(piece.start, piece.end),
    );
  }

  write(offset: number, data: Uint8Array): void {
    let at = 0;
    for (const { index, start, end } of pieces(offset, offset + data.length)) {
      const part = data.subarray(at, at + end - start);
      this.#chunk(index, part.length).set(part, start);
      at += part.length;
    }
    this.sizeBytes = Math.max(this.sizeBytes, offset + data.length);
  }

  /** @param bytes that are about to be written: a whole chunk needs no zeros before. */
  #chunk(index: number, bytes: number): Buffer {
    const there = this.#chunks.get(index);
    if (there) return there;
    const made = bytes === CHUNK_BYTES ? Buffer.allocUnsafeSlow(bytes) : Buffer.alloc(CHUNK_BYTES);
    this.#chunks.set(index, made);
    return made;
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.sizeBytes) this.punch(sizeBytes, this.sizeBytes);
    this.sizeBytes = sizeBytes;
  }

  /** Makes a hole. */
  punch(from: number, to: number): void {
    for (const { index, start, end } of pieces(from, Math.min(to, this.sizeBytes))) {
      const isWhole = start === 0 && (end === CHUNK_BYTES || to >= this.sizeBytes);
      if (isWhole) this.#chunks.delete(index);
      else this.#chunks.get(index)?.fill(0, start, end);
    }
  }

  seek(offset: number, finds: 'data' | 'hole'): number | undefined {
    if (offset >= this.sizeBytes) return undefined;
    const found = pieces(offset, this.sizeBytes).find(
      ({ index }) => this.#chunks.has(index) === (finds === 'data'),
    );
    if (found) return found.index * CHUNK_BYTES + found.start;
    return finds === 'hole' ? this.sizeBytes : undefined;
  }
}

function pieces(from: number, to: number): Piece[] {
  const found: Piece[] = [];
  for (let at = from; at < to;) {
    const index = Math.floor(at / CHUNK_BYTES);
    const start = at - index * CHUNK_BYTES;
    const end = Math.min(CHUNK_BYTES, to - index * CHUNK_BYTES);
    found.push({ index, start, end });
    at += end - start;
  }
  return found;
}
