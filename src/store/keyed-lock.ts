/** One operation at a time for each chunk: the second waits until the first is durable. */
import { asBuffer, type ChunkId } from '../base/index.ts';

export class KeyedLock {
  readonly #held = new Map<string, { readonly done: Promise<void> }>();

  /** Resolves when the lock is held, until what it returns is disposed. */
  async acquire(id: ChunkId): Promise<Disposable> {
    const key = asBuffer(id).toString('latin1');
    // Whoever is woken first takes the lock; the others find it held again.
    for (let held = this.#held.get(key); held; held = this.#held.get(key)) await held.done;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.set(key, { done: promise });
    return {
      [Symbol.dispose]: () => {
        this.#held.delete(key);
        resolve();
      },
    };
  }
}
