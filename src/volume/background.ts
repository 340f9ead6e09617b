/** Work that goes on after its caller was answered; whoever owns it waits for it before closing. */
import { errorCode } from '../base/index.ts';
import type { Log } from '../env/index.ts';

export class Background {
  readonly #log: Log;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param what named in the log when it fails; what failed is found again by the collector. */
  start(what: string, work: Promise<unknown>): void {
    const settled = work.then(
      () => void this.#underWay.delete(settled),
      (error: unknown) => {
        this.#underWay.delete(settled);
        this.#log.warn(`${what} failed; the collector ends it`, { error });
      },
    );
    this.#underWay.add(settled);
  }

  /** The same for a caller who waits. Fails only for a bug of ours. */
  async run(what: string, work: Promise<unknown>): Promise<void> {
    this.start(what, work);
    await work.catch((error: unknown) => {
      if (errorCode(error) === undefined) throw error;
    });
  }

  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}
