/**
 * Patience with stores whose nodes are silent, where others alone will not do: they are asked again
 * until they would have been late anyway, as the way to them may be back in a moment. Where others
 * will do nobody waits.
 */
import { LIMITS } from '../base/index.ts';
import type { Clock } from '../env/index.ts';

const PAUSE_MS = 500;

export class Patience {
  readonly #clock: Clock;
  #endMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits a moment. @returns false when it has lasted long enough. @throws HF_INTERRUPTED. */
  async waitOn(signal: AbortSignal | undefined): Promise<boolean> {
    const nowMs = this.#clock.monotonic();
    this.#endMs ??= nowMs + LIMITS.remoteCallMs;
    if (nowMs >= this.#endMs) return false;
    await this.#clock.sleep(PAUSE_MS, { signal });
    return true;
  }
}
