/**
 * Acknowledges pipelined appends of one epoch in lsn order, whatever order their stores answer in.
 * Once one has failed, no later one is acknowledged: it may be durable, but the one before is not.
 */
import { HoldfastError } from '../base/index.ts';

export class AckOrder {
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param work makes the entry durable.
   * @param accept runs in the order of the calls, once `work` and all work before it succeeded.
   * @throws what `work` threw; HF_UNKNOWN_OUTCOME when work before it failed.
   */
  async add<Stored, Result>(
    work: Promise<Stored>,
    accept: (stored: Stored) => Result,
  ): Promise<Result> {
    const acknowledged = this.#acknowledge(this.#last, work, accept);
    this.#last = acknowledged;
    return await acknowledged;
  }

  async #acknowledge<Stored, Result>(
    before: Promise<unknown>,
    work: Promise<Stored>,
    accept: (stored: Stored) => Result,
  ): Promise<Result> {
    const [previous] = await Promise.allSettled([before, work]);
    if (previous.status === 'rejected') {
      throw new HoldfastError('HF_UNKNOWN_OUTCOME', 'an entry before this one may be missing', {
        cause: previous.reason,
      });
    }
    return accept(await work);
  }

  /** Resolves when everything added so far has succeeded or failed. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#last]);
  }
}
