/**
 * Digests of share files, by threads when there is much to do: SHA-256 takes longer than all the
 * rest of dispersing a file.
 */
import { availableParallelism } from 'node:os';
import { MiB } from '../base/index.ts';
import { siblingModule, WorkerPool } from '../env/index.ts';
import { InputFile } from './files.ts';

export interface DigestRequest {
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

  private constructor(width: number) {
    this.width = width;
    const module = siblingModule(import.meta.url, './share-digest-worker');
    this.#pool = width > 1 ? new WorkerPool({ module, workerCount: width }) : undefined;
  }

  /** @param totalBytes of all files that will be digested, about. */
  static open({ totalBytes }: { readonly totalBytes: number }): ShareDigester {
    const isLarge = totalBytes >= THREADED_BYTES_MIN;
    return new ShareDigester(isLarge ? Math.min(THREADS_MAX, availableParallelism()) : 1);
  }

  /** SHA-256 of the first `bytes` of the file. */
  async digest(request: DigestRequest): Promise<Uint8Array> {
    if (this.#pool) return await this.#pool.call(request);
    return await digestOf(request);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool?.[Symbol.asyncDispose]();
  }
}

export async function digestOf({ path, bytes }: DigestRequest): Promise<Uint8Array> {
  await using input = await InputFile.open(path);
  return new Uint8Array(await input.digest({ bytes }));
}
