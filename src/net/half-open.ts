/**
 * Counts connections that have not said who they are, by the address they come from, so that one
 * address cannot hold many. A connection counts until it is let go.
 */
import { LIMITS } from '../base/index.ts';
import type { Metrics } from '../env/index.ts';

export class HalfOpen {
  readonly #counts = new Map<string, number>();
  readonly #metrics: Metrics;
  #total = 0;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  /** What lets it go, to be called at least once; undefined when there are too many already. */
  admit(address: string): (() => void) | undefined {
    const count = this.#counts.get(address) ?? 0;
    if (count >= LIMITS.halfOpenPerAddressMax || this.#total >= LIMITS.halfOpenMax) {
      this.#metrics.add('net_half_open_refused', 1);
      return undefined;
    }
    this.#change(address, 1);
    let isHeld = true;
    return () => {
      if (isHeld) this.#change(address, -1);
      isHeld = false;
    };
  }

  get total(): number {
    return this.#total;
  }

  #change(address: string, by: number): void {
    const count = (this.#counts.get(address) ?? 0) + by;
    if (count === 0) this.#counts.delete(address);
    else this.#counts.set(address, count);
    this.#total += by;
  }
}
