/** Work that goes on after its caller was answered; whoever owns it waits for it before closing. */
import type { Log } from '../env/index.ts';

export class Background {
  readonly #log: Log;
  readonly #underWay = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param what named in the log when it fails; what failed is found again by the collector. */
  start(what: string, work: Promise<unknown>): void {
    void this.run(what, work);
  }

  /** The same for a caller who waits; never fails. */
  async run(what: string, work: Promise<unknown>): Promise<void> {
    const settled = work.then(
      () => {},
      (error: unknown) => this.#log.warn(`${what} failed; the collector ends it`, { error }),
    );
    this.#underWay.add(settled);
    await settled;
    this.#underWay.delete(settled);
  }

  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}
