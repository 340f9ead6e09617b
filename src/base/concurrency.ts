/** Bounded concurrency without effects: no timers, no randomness, the same order every time. */
import { assert } from './assert.ts';
import { keyText } from './bytes.ts';
import { HoldfastError } from './errors.ts';

/**
 * Runs `work` over `items` with at most `limit` at once; results in the order of the items.
 * The first failure is thrown after the work already started has settled.
 */
export async function mapBounded<Item, Result>(
  items: Iterable<Item>,
  limit: number,
  work: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  assert(limit >= 1, 'the limit is at least one');
  const results: Result[] = [];
  const failures: unknown[] = [];
  const all = [...items];
  const queue = all.entries();
  async function drain(): Promise<void> {
    for (const [index, item] of queue) {
      if (failures.length > 0) return;
      try {
        results[index] = await work(item, index);
      } catch (error) {
        failures.push(error);
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, all.length) }, drain));
  if (failures.length > 0) throw failures[0];
  return results;
}

/** Cuts a list into parts of at most `size`, for work whose steps are bounded. */
export function* batchesOf<Item>(items: readonly Item[], size: number): Generator<Item[]> {
  assert(size >= 1, 'a batch holds something');
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}

/** A count of permits; those who wait are served in order. */
export class Semaphore {
  #permits: number;
  readonly #waiting: (() => void)[] = [];

  constructor(permits: number) {
    assert(Number.isInteger(permits) && permits >= 1, 'there is at least one permit');
    this.#permits = permits;
  }

  /** Resolves when a permit is held; the caller calls the function it gets exactly once. */
  async acquire(): Promise<() => void> {
    if (this.#permits > 0) this.#permits -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let isHeld = true;
    return () => {
      assert(isHeld, 'a permit is given back once');
      isHeld = false;
      const next = this.#waiting.shift();
      if (next) next();
      else this.#permits += 1;
    };
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    const release = await this.acquire();
    try {
      return await work();
    } finally {
      release();
    }
  }
}

/** One at a time, in order of asking. */
export class Mutex extends Semaphore {
  constructor() {
    super(1);
  }
}

/** One at a time for each key: who comes second waits until the first has let go. */
export class KeyedLock {
  readonly #held = new Map<string, HeldKey>();

  /** Resolves when the lock is held, until what it returns is disposed. */
  async acquire(bytes: Uint8Array): Promise<Disposable> {
    const key = keyText(bytes);
    // Whoever is woken first takes the lock; the others find it held again.
    for (let held = this.#held.get(key); held; held = this.#held.get(key)) await held.released();
    const held = new HeldKey(this.#held, key);
    this.#held.set(key, held);
    return held;
  }
}

class HeldKey implements Disposable {
  readonly #all: Map<string, HeldKey>;
  readonly #key: string;
  /** Made for the first that waits: hardly ever does anybody. */
  #released: PromiseWithResolvers<void> | undefined;

  constructor(all: Map<string, HeldKey>, key: string) {
    this.#all = all;
    this.#key = key;
  }

  released(): Promise<void> {
    this.#released ??= Promise.withResolvers();
    return this.#released.promise;
  }

  [Symbol.dispose](): void {
    this.#all.delete(this.#key);
    this.#released?.resolve();
  }
}

/** Work of many callers, so that somebody can wait until what began before has ended. */
export class UnderWay {
  readonly #running = new Set<Promise<unknown>>();

  get count(): number {
    return this.#running.size;
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    const running = work();
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  /** Resolves when all that is under way now has ended, well or not. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }
}

/** @throws HF_INTERRUPTED when the caller of `signal` has given up. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal.reason });
  }
}
