/**
 * Tells any number of watchers what has changed, at their own pace. A watcher that is slow sees the
 * latest change of each key and misses those before, so what waits for it is bounded by the keys.
 */
export class ChangeFeed<Key, Change> {
  readonly #watchers = new Set<Watcher<Key, Change>>();

  publish(key: Key, change: Change): void {
    for (const watcher of this.#watchers) watcher.take(key, change);
  }

  /** Begins with `first`, ends when `signal` is aborted. Watching starts with this call. */
  watch(
    first: Iterable<readonly [Key, Change]>,
    { signal }: { signal: AbortSignal },
  ): AsyncIterable<Change> {
    const watcher = new Watcher<Key, Change>();
    for (const [key, change] of first) watcher.take(key, change);
    this.#watchers.add(watcher);
    const stop = (): void => {
      this.#watchers.delete(watcher);
      watcher.end();
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    return watcher.changes(stop);
  }
}

class Watcher<Key, Change> {
  readonly #waiting = new Map<Key, Change>();
  #isEnded = false;
  #wake = Promise.withResolvers<void>();

  take(key: Key, change: Change): void {
    this.#waiting.delete(key); // its place is that of the latest change
    this.#waiting.set(key, change);
    this.#wake.resolve();
  }

  end(): void {
    this.#isEnded = true;
    this.#wake.resolve();
  }

  async *changes(stop: () => void): AsyncGenerator<Change, void, void> {
    try {
      while (!this.#isEnded) {
        const next = this.#waiting.entries().next();
        if (next.done) {
          await this.#wake.promise;
          this.#wake = Promise.withResolvers();
        } else {
          this.#waiting.delete(next.value[0]);
          yield next.value[1];
        }
      }
    } finally {
      stop();
    }
  }
}
