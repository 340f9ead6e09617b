/**
 * Work in strips with two *banks* of buffers: while one strip is worked on, the next is read into
 * the other bank and the one before is written. `work` is synchronous; the disks are not idle
 * meanwhile, as the thread pool serves them.
 */
import { throwIfAborted } from '../base/index.ts';

/** A part of a chunk that is worked on at once. */
export interface Strip {
  /** In the stream. */
  readonly offset: number;
  readonly bytes: number;
  /** In the share of the chunk. */
  readonly laneOffset: number;
  readonly laneBytes: number;
}

/** How a chunk is cut into strips of whole columns. */
export class Strips {
  readonly count: number;
  /** Of a full strip's lane. */
  readonly laneBytes: number;
  readonly #chunk: { readonly start: number; readonly next: number };
  readonly #columnBytes: number;
  readonly #width: number;

  /** @param most bytes of a strip, a multiple of k · width; a short chunk takes fewer. */
  constructor(
    chunk: { readonly start: number; readonly next: number },
    { k, width, most }: { readonly k: number; readonly width: number; readonly most: number },
  ) {
    const bytes = chunk.next - chunk.start;
    this.#chunk = chunk;
    this.#width = width;
    this.#columnBytes = k * width;
    const columns = Math.ceil(bytes / this.#columnBytes);
    this.laneBytes = Math.max(1, Math.min(most / this.#columnBytes, columns)) * width;
    this.count = Math.ceil((columns * width) / this.laneBytes);
  }

  /** Of a full strip. */
  get bytes(): number {
    return (this.laneBytes / this.#width) * this.#columnBytes;
  }

  of(index: number): Strip {
    const offset = this.#chunk.start + index * this.bytes;
    const bytes = Math.min(this.bytes, this.#chunk.next - offset);
    const laneBytes = Math.ceil(bytes / this.#columnBytes) * this.#width;
    return { offset, bytes, laneOffset: index * this.laneBytes, laneBytes };
  }
}

export interface Stages {
  /** Fills the bank's sources; the strip before the last is not needed any more. */
  read(strip: Strip, bank: 0 | 1): Promise<void>;
  /** From the bank's sources to its targets. */
  work(strip: Strip, bank: 0 | 1): void;
  /** Writes the bank's targets. */
  write(strip: Strip, bank: 0 | 1): Promise<void>;
}

/** Runs the strips in order. Nothing is under way any more when it returns or throws. */
export async function runStrips(
  strips: Strips,
  stages: Stages,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  if (strips.count === 0) return;
  const writing: [Promise<void>, Promise<void>] = [Promise.resolve(), Promise.resolve()];
  let reading = stages.read(strips.of(0), 0);
  try {
    for (let index = 0; index < strips.count; index++) {
      const bank = (index & 1) as 0 | 1;
      const strip = strips.of(index);
      await reading;
      throwIfAborted(signal);
      if (index + 1 < strips.count) {
        reading = stages.read(strips.of(index + 1), bank === 0 ? 1 : 0);
        reading.catch(() => {}); // it is awaited in the next round
      }
      await writing[bank];
      stages.work(strip, bank);
      writing[bank] = stages.write(strip, bank);
      writing[bank].catch(() => {}); // it is awaited two strips on
    }
    await Promise.all(writing);
  } finally {
    await Promise.allSettled([reading, ...writing]);
  }
}
