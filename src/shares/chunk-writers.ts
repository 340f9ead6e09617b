/**
 * Chunk files being written: all of a set for `make`, some for `repair`. Blocks may come in any
 * order; headers and tables follow when all are there.
 */
import { assert, HoldfastError, mapBounded, MiB } from '../base/index.ts';
import { checksumAt } from './chunk-coding.ts';
import {
  CHECKSUM_BYTES,
  type ChunkFileSet,
  chunkFileShape,
  type ChunkFileStripe,
  encodeChunkFileHeader,
  sha256,
} from './chunk-format.ts';
import { OutputFile } from './files.ts';

const WRITES_MAX = 16;
/** After so many bytes the disks are told to begin, while the next stripes are being made. */
const SYNC_BYTES = 128 * MiB;

export interface ChunkFileTarget {
  readonly index: number;
  readonly path: string;
  readonly replaces: boolean;
}

interface Writer extends ChunkFileTarget {
  readonly output: OutputFile;
  readonly table: Uint8Array;
}

export class ChunkFileWriters implements AsyncDisposable {
  readonly #set: ChunkFileSet;
  readonly #writers: readonly Writer[];
  #unsyncedBytes = 0;
  #syncing: Promise<unknown> | undefined;
  #failure: { readonly error: unknown } | undefined;

  private constructor(set: ChunkFileSet, writers: readonly Writer[]) {
    this.#set = set;
    this.#writers = writers;
  }

  /** @throws HF_EXISTS, HF_NOT_FOUND. */
  static async create(
    set: ChunkFileSet,
    targets: readonly ChunkFileTarget[],
  ): Promise<ChunkFileWriters> {
    const { tableBytes } = chunkFileShape(set);
    await using stack = new AsyncDisposableStack();
    const writers: Writer[] = [];
    for (const target of targets) {
      const output = stack.use(await OutputFile.create(target.path, target));
      writers.push({ ...target, output, table: new Uint8Array(tableBytes) });
    }
    stack.move();
    return new ChunkFileWriters(set, writers);
  }

  /**
   * @param blocks of a stripe, by index.
   * @param checksums one for each file that is written, in their order.
   */
  async write(
    stripe: ChunkFileStripe,
    blocks: readonly Uint8Array[],
    checksums: Uint8Array,
  ): Promise<void> {
    assert(checksums.length === this.#writers.length * CHECKSUM_BYTES, 'each has a checksum');
    await mapBounded(this.#writers, WRITES_MAX, async ({ index, output, table }, position) => {
      table.set(checksumAt(checksums, position), stripe.stripeIndex * CHECKSUM_BYTES);
      await output.write(blocks[index]!, stripe.blockOffset);
    });
    this.#unsyncedBytes += stripe.blockBytes * this.#writers.length;
    if (this.#unsyncedBytes >= SYNC_BYTES && !this.#syncing) this.#syncEarly();
  }

  /** A disk may report a failure only once, so it is kept until the files are completed. */
  #syncEarly(): void {
    this.#unsyncedBytes = 0;
    this.#syncing = mapBounded(this.#writers, WRITES_MAX, ({ output }) => output.sync())
      .catch((error: unknown) => void (this.#failure ??= { error }))
      .finally(() => (this.#syncing = undefined));
  }

  /** Roots of the files that were written, in their order. */
  roots(): Uint8Array[] {
    return this.#writers.map(({ table }) => sha256(table));
  }

  /**
   * Completes all files, makes them durable and names them: all, or where they are new none.
   * @param roots of all n files of the set.
   */
  async finish(set: ChunkFileSet, roots: readonly Uint8Array[]): Promise<void> {
    const { headerBytes, dataBytes, tableBytes } = chunkFileShape(this.#set);
    await this.#syncing;
    if (this.#failure) throw this.#failure.error;
    await mapBounded(this.#writers, WRITES_MAX, async ({ index, output, table }) => {
      const header = encodeChunkFileHeader(set, roots, index);
      assert(header.length === headerBytes, 'the header fits its room');
      await output.write(header, 0);
      await output.write(table, headerBytes + dataBytes);
      await output.write(header, headerBytes + dataBytes + tableBytes);
      await output.sync();
    });
    try {
      // Each is durable by now; one that cannot be named must not leave a part of a set.
      await mapBounded(this.#writers, WRITES_MAX, ({ output, replaces }) =>
        output.commit({ replaces }),
      );
    } catch (error) {
      const made = this.#writers.filter(({ replaces }) => !replaces);
      await mapBounded(made, WRITES_MAX, ({ output }) => output.withdraw());
      throw error;
    }
  }

  /** @throws HF_CORRUPT unless what was written are exactly these files of the set. */
  assertRoots(roots: readonly Uint8Array[]): void {
    for (const { index, table, path } of this.#writers) {
      if (Buffer.compare(sha256(table), roots[index]!) === 0) continue;
      const message = `${path}: what was rebuilt is not what was made; it is left as it was`;
      throw new HoldfastError('HF_CORRUPT', message);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#syncing;
    await mapBounded(this.#writers, WRITES_MAX, ({ output }) => output[Symbol.asyncDispose]());
  }
}
