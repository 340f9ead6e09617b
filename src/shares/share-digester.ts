/**
 * Digests of share files, by threads when there is much to do: SHA-256 takes longer than all the
 * rest of dispersing a file.
 */
import { availableParallelism } from 'node:os';
import { HoldfastError, MiB, throwIfAborted } from '../base/index.ts';
import { siblingModule, WorkerPool } from '../env/index.ts';
import { InputFile } from './files.ts';

interface DigestRequest {
  readonly path: string;
  /** From the beginning of the file. */
  readonly bytes: number;
}

/** Below this, starting threads takes longer than they save. */
const THREADED_BYTES_MIN = 48 * MiB;
const THREADS_MAX = 4;

export class ShareDigester implements AsyncDisposable {
  /** Digests made at the same time. */
  readonly width: number;
  readonly #pool: WorkerPool<DigestRequest, Uint8Array> | undefined;

  readonly #signal: AbortSignal | undefined;

  private constructor(width: number, signal: AbortSignal | undefined) {
    this.width = width;
    this.#signal = signal;
    const module = siblingModule(import.meta.url, './share-digest-worker');
    this.#pool = width > 1 ? new WorkerPool({ module, workerCount: width }) : undefined;
  }

  /** @param options.totalBytes of all files that will be digested, about. */
  static open(options: {
    readonly totalBytes: number;
    readonly signal: AbortSignal | undefined;
  }): ShareDigester {
    const isLarge = options.totalBytes >= THREADED_BYTES_MIN;
    const width = isLarge ? Math.min(THREADS_MAX, availableParallelism()) : 1;
    return new ShareDigester(width, options.signal);
  }

  /** SHA-256 of the first `bytes` of the file. @throws HF_INTERRUPTED. */
  async digest(request: DigestRequest): Promise<Uint8Array> {
    throwIfAborted(this.#signal);
    if (!this.#pool) return await digestOf(request);
    const interrupted = Promise.withResolvers<never>();
    const stop = () => interrupted.reject(new HoldfastError('HF_INTERRUPTED'));
    this.#signal?.addEventListener('abort', stop);
    try {
      // The thread is not told: it ends with the pool.
      return await Promise.race([this.#pool.call(request), interrupted.promise]);
    } finally {
      this.#signal?.removeEventListener('abort', stop);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool?.[Symbol.asyncDispose]();
  }
}

export async function digestOf({ path, bytes }: DigestRequest): Promise<Uint8Array> {
  await using input = await InputFile.open(path);
  return new Uint8Array(await input.digest({ bytes }));
}
