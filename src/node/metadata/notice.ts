/** Waiting for what may happen, or for the end. */

/** Resolves when `signal` is aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

/** Wakes all that wait for the next change of something. */
export class Notice {
  #next = Promise.withResolvers<void>();

  give(): void {
    const given = this.#next;
    this.#next = Promise.withResolvers();
    given.resolve();
  }

  /** Resolves with the next notice, or when `signal` is aborted. */
  async next(signal: AbortSignal): Promise<void> {
    const { promise } = this.#next;
    if (signal.aborted) return;
    const aborted = Promise.withResolvers<void>();
    const wake = (): void => aborted.resolve();
    signal.addEventListener('abort', wake, { once: true });
    await Promise.race([promise, aborted.promise]);
    signal.removeEventListener('abort', wake);
  }
}
