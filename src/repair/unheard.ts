/**
 * Stripes that lost their last reference while not every device could be told. When such a device
 * is back, their chunks need no grace time (ruling 14): it is known that nobody wants them. Kept in
 * memory, and bounded: what is forgotten goes after the grace time, as all that nothing names.
 */
import { type StripeId, toHex } from '../base/index.ts';

/** Some 100 bytes each. */
const UNHEARD_MAX = 200_000;

export class Unheard {
  readonly #stripes = new Set<string>();

  has(stripe: StripeId): boolean {
    return this.#stripes.has(toHex(stripe));
  }

  /** The oldest make way. */
  add(stripe: StripeId): void {
    this.#stripes.add(toHex(stripe));
    if (this.#stripes.size <= UNHEARD_MAX) return;
    for (const oldest of this.#stripes) {
      this.#stripes.delete(oldest);
      return;
    }
  }

  delete(stripe: StripeId): void {
    this.#stripes.delete(toHex(stripe));
  }
}
