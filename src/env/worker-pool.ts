/**
 * Threads that each run one module and answer requests in order. A request is posted to the worker
 * with the fewest unanswered ones; more than one may wait at a worker, which hides the hand-over
 * (about 60 µs a round trip). The worker module calls {@link serveRequests}.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { assert, type ErrorCode, errorCode, errorMessage, HoldfastError } from '../base/index.ts';

interface Answer<Result> {
  readonly id: number;
  readonly result?: Result;
  readonly failure?: { readonly code: ErrorCode | undefined; readonly message: string };
}

interface Pending<Result> {
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/**
 * Workers make garbage of buffers (a cipher's output, 64 KiB at a time), which counts against the
 * young generation. A small one is swept often and at once: measured with four coding workers, 364
 * instead of 614 MiB resident at the same speed.
 */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 1 };

/** Asks a thread for its first sign of life, and that sign. */
const ARE_YOU_THERE = 'are you there';
const BEGUN = 'begun';

class PooledWorker<Request, Result> {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending<Result>>();
  /** Settled when the thread has taken its first message, or has ended. */
  readonly #begun = Promise.withResolvers<void>();
  #nextId = 0;
  /** Why the thread answers no more. */
  #ended: { readonly reason: unknown } | undefined;

  constructor(module: URL, data: unknown) {
    this.#worker = new Worker(module, { workerData: data, resourceLimits: RESOURCE_LIMITS });
    this.#worker.on('message', (answer: Answer<Result> | typeof BEGUN) => {
      if (answer === BEGUN) this.#begun.resolve();
      else this.#settle(answer);
    });
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', (code) => {
      this.#end(new Error(`a worker ended with code ${code}`));
      this.#begun.resolve();
    });
    this.#worker.unref();
  }

  get waiting(): number {
    return this.#pending.size;
  }

  async call(request: Request, transfer: readonly ArrayBuffer[]): Promise<Result> {
    if (this.#ended) throw this.#ended.reason;
    const id = this.#nextId++;
    // A worker at rest does not keep the process alive; one that owes an answer does.
    if (this.#pending.size === 0) this.#worker.ref();
    return await new Promise<Result>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, request }, transfer as ArrayBuffer[]);
    });
  }

  #settle({ id, result, failure }: Answer<Result>): void {
    if (this.#ended) return; // whoever asked has been told
    const pending = this.#pending.get(id);
    assert(pending, 'an answer belongs to a request');
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#worker.unref();
    if (failure?.code) pending.reject(new HoldfastError(failure.code, failure.message));
    else if (failure) pending.reject(new Error(failure.message));
    else pending.resolve(result as Result);
  }

  /** The first reason stays: an error is followed by an exit. */
  #end(reason: unknown): void {
    this.#ended ??= { reason };
    for (const pending of this.#pending.values()) pending.reject(this.#ended.reason);
    this.#pending.clear();
  }

  /**
   * To terminate a thread whose module is still being evaluated brings down the process (seen with
   * Node 24: 6 of 100 quick stops), so its first sign of life is waited for.
   */
  async close(): Promise<void> {
    this.#end(new HoldfastError('HF_CLOSED'));
    this.#worker.ref();
    this.#worker.postMessage(ARE_YOU_THERE);
    await this.#begun.promise;
    await this.#worker.terminate();
  }
}

export class WorkerPool<Request, Result> implements AsyncDisposable {
  readonly #workers: readonly PooledWorker<Request, Result>[];

  /** @param data given to each worker as it starts; shared memory stays shared. */
  constructor(options: { module: URL; workerCount: number; data?: unknown }) {
    assert(options.workerCount >= 1, 'a pool has at least one worker');
    this.#workers = Array.from(
      { length: options.workerCount },
      () => new PooledWorker<Request, Result>(options.module, options.data),
    );
  }

  get workerCount(): number {
    return this.#workers.length;
  }

  /** @param transfer buffers that move to the worker and are no longer the caller's. */
  async call(request: Request, transfer: readonly ArrayBuffer[] = []): Promise<Result> {
    const idlest = this.#workers.reduce((best, worker) =>
      worker.waiting < best.waiting ? worker : best,
    );
    return await idlest.call(request, transfer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }
}

/** The other end, called once by a worker module; `workerData` is what the pool was given. */
export function serveRequests<Request, Result>(
  open: (data: unknown) => (request: Request) => Result | Promise<Result>,
): void {
  const port = parentPort;
  assert(port, 'this module runs in a worker thread');
  const answer = open(workerData);
  let previous = Promise.resolve();
  // A message arrives only when this module has been evaluated to its end.
  port.once('message', () => port.postMessage(BEGUN));
  port.on('message', (message: { id: number; request: Request } | typeof ARE_YOU_THERE) => {
    if (message === ARE_YOU_THERE) return;
    const { id, request } = message;
    previous = previous.then(async () => {
      try {
        port.postMessage({ id, result: await answer(request) });
      } catch (error) {
        const failure = { code: errorCode(error), message: errorMessage(error) };
        port.postMessage({ id, failure });
      }
    });
  });
}
