/** Work that goes on after its caller was answered; whoever owns it waits for it before closing. */
import type { Log } from '../env/index.ts';

export class Background {
  readonly #log: Log;
  readonly #underWay = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param what named in the log when it fails; what failed is found again by the collector. */
  start(what: string, work: Promise<void>): void {
    const settled = work
      .catch((error: unknown) => this.#log.warn(`${what} failed; the collector ends it`, { error }))
      .finally(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
  }

  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}
