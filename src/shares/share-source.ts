/**
 * The stream that is dispersed, read from the plain file: its bytes as they are, or sealed. Reading
 * is asynchronous, sealing is part of the work on a strip.
 */
import { assert } from '../base/index.ts';
import { type FileSeal, SEALED_SEGMENT_BYTES, SEGMENT_BYTES } from './file-seal.ts';
import type { InputFile } from './files.ts';

interface StreamRange {
  readonly offset: number;
  readonly bytes: number;
}

export class ShareSource {
  readonly #file: InputFile;
  readonly #seal: FileSeal | undefined;
  readonly #plain: readonly Uint8Array[];
  readonly #stream: Uint8Array;

  /** @param stripBytes of the stream, at the most, in one range. */
  constructor(file: InputFile, seal: FileSeal | undefined, stripBytes: number) {
    this.#file = file;
    this.#seal = seal;
    this.#plain = [Buffer.allocUnsafe(stripBytes), Buffer.allocUnsafe(stripBytes)];
    this.#stream = Buffer.allocUnsafe(seal ? stripBytes : 0);
  }

  /** Reads what {@link take} will need. A sealed range begins and ends with a segment. */
  async load(range: StreamRange, bank: 0 | 1): Promise<void> {
    const { offset, bytes } = this.#plainRange(range);
    await this.#file.read(this.#plain[bank]!.subarray(0, bytes), offset);
  }

  /** The range that was loaded into the bank; good until the next call. */
  take(range: StreamRange, bank: 0 | 1): Uint8Array {
    const { bytes } = this.#plainRange(range);
    const plain = this.#plain[bank]!.subarray(0, bytes);
    if (!this.#seal) return plain;
    const first = range.offset / SEALED_SEGMENT_BYTES;
    const count = Math.ceil(range.bytes / SEALED_SEGMENT_BYTES);
    for (let index = 0; index < count; index++) {
      const at = index * SEGMENT_BYTES;
      const target = this.#stream.subarray(index * SEALED_SEGMENT_BYTES);
      this.#seal.sealSegment(first + index, plain.subarray(at, at + SEGMENT_BYTES), target);
    }
    return this.#stream.subarray(0, range.bytes);
  }

  #plainRange({ offset, bytes }: StreamRange): StreamRange {
    if (!this.#seal) return { offset, bytes };
    assert(offset % SEALED_SEGMENT_BYTES === 0, 'a sealed range begins with a segment');
    const start = (offset / SEALED_SEGMENT_BYTES) * SEGMENT_BYTES;
    const count = Math.ceil(bytes / SEALED_SEGMENT_BYTES);
    return { offset: start, bytes: Math.min(count * SEGMENT_BYTES, this.#seal.plainBytes - start) };
  }
}
