/**
 * Who codes the stripes of chunk files: this thread when there are few, else a pool of threads over
 * the same memory, so that reading, coding and writing overlap.
 */
import { availableParallelism } from 'node:os';
import { siblingModule, WorkerPool } from '../env/index.ts';
import { MiB } from '../base/index.ts';
import {
  type ChunkCodingPlan,
  type ChunkCodingRequest,
  type ChunkCodingResult,
  ChunkStripeCoding,
} from './chunk-coding.ts';
import { type ChunkFileSet } from './chunk-format.ts';
import { codecMemory, createChunkSlab, type ChunkSlab } from './chunk-memory.ts';

/** Below this, starting threads takes longer than they save. */
const THREADED_BYTES_MIN = 32 * MiB;
/** More would wait for memory and disks; one processor is left to whoever reads and writes. */
const THREADS_MAX = 4;

/** What each coding thread is started with. */
export interface ChunkThreadData {
  readonly plan: ChunkCodingPlan;
  readonly nextThread: SharedArrayBuffer;
}

interface Place {
  readonly stripeIndex: number;
  readonly slot: number;
}

export class ChunkCoder implements AsyncDisposable {
  readonly slab: ChunkSlab;
  readonly #run: (request: ChunkCodingRequest) => Promise<ChunkCodingResult>;
  readonly #close: () => Promise<void>;

  private constructor(
    slab: ChunkSlab,
    run: (request: ChunkCodingRequest) => Promise<ChunkCodingResult>,
    close: () => Promise<void>,
  ) {
    this.slab = slab;
    this.#run = run;
    this.#close = close;
  }

  /** @param key of the key file, where content is to be sealed or opened. */
  static open(set: ChunkFileSet, key: Uint8Array | undefined): ChunkCoder {
    if (set.contentBytes < THREADED_BYTES_MIN) {
      const slab = createChunkSlab(set, 1);
      const coding = new ChunkStripeCoding({ set, slab, key }, codecMemory(slab, 0));
      return new ChunkCoder(
        slab,
        async (request) => coding.run(request),
        async () => {},
      );
    }
    const workerCount = Math.min(THREADS_MAX, Math.max(1, availableParallelism() - 1));
    const slab = createChunkSlab(set, workerCount);
    const data: ChunkThreadData = {
      plan: { set, slab, key },
      nextThread: new SharedArrayBuffer(4),
    };
    const module = siblingModule(import.meta.url, './chunk-worker');
    const pool = new WorkerPool<ChunkCodingRequest, ChunkCodingResult>({
      module,
      workerCount,
      data,
    });
    return new ChunkCoder(
      slab,
      (request) => pool.call(request),
      () => pool[Symbol.asyncDispose](),
    );
  }

  /** Makes the blocks of the content that lies in the slot. @returns their checksums. */
  async encode(place: Place): Promise<Uint8Array> {
    return (await this.#run({ kind: 'encode', ...place })) as Uint8Array;
  }

  /** Which of these blocks of the slot do not match their checksums. */
  async check(
    place: Place,
    checksums: ReadonlyMap<number, Uint8Array>,
  ): Promise<readonly number[]> {
    return (await this.#run({ kind: 'check', ...place, checksums })) as readonly number[];
  }

  /** Restores the data blocks and, with a key, the plain content. @throws HF_FORGED. */
  async decode(place: Place, present: readonly number[]): Promise<void> {
    await this.#run({ kind: 'decode', ...place, present });
  }

  /** Makes the wanted blocks again. @returns their checksums. */
  async rebuild(
    place: Place,
    blocks: { readonly present: readonly number[]; readonly wanted: readonly number[] },
  ): Promise<Uint8Array> {
    return (await this.#run({ kind: 'rebuild', ...place, ...blocks })) as Uint8Array;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
