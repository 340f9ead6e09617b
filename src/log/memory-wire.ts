/**
 * The way between a caller and the memory engines, as bad as a simulation wants it: requests and
 * replies take time, get lost, and overtake each other. Without faults it is a plain call.
 */
import { assert, HoldfastError } from '../base/index.ts';
import type { Env } from '../env/index.ts';

/** Read at each use, so that a simulation may change them as it runs. All are 0 if left out. */
export interface MemoryFaults {
  /** Longest way of a request, and again of its reply. */
  readonly delayMsMax?: number;
  /** Of a hundred requests, how many never arrive: nothing was done. */
  readonly lostRequestPercent?: number;
  /** Of a hundred replies, how many never arrive: it was done. */
  readonly lostReplyPercent?: number;
  /** Of a hundred pipelined requests, how many do not queue behind the one before. Needs delays. */
  readonly overtakingPercent?: number;
}

export class MemoryWire {
  readonly #env: Pick<Env, 'clock' | 'random'> | undefined;
  readonly #faults: MemoryFaults;
  readonly #arrivals = new Map<string, Promise<void>>();

  constructor(env?: Pick<Env, 'clock' | 'random'>, faults: MemoryFaults = {}) {
    assert(env || Object.keys(faults).length === 0, 'faults have a clock and chance');
    this.#env = env;
    this.#faults = faults;
  }

  /** A change: when a message was lost, its outcome is unknown. A lane keeps its order. */
  async change<Result>(apply: () => Result, lane?: string): Promise<Result> {
    await (lane === undefined ? this.#travel() : this.#travelIn(lane));
    return await this.#exchange(apply, 'HF_UNKNOWN_OUTCOME');
  }

  /** A question: when a message was lost, there is no answer. */
  async ask<Result>(apply: () => Result): Promise<Result> {
    await this.#travel();
    return await this.#exchange(apply, 'HF_TIMEOUT');
  }

  async #exchange<Result>(
    apply: () => Result,
    lossCode: 'HF_UNKNOWN_OUTCOME' | 'HF_TIMEOUT',
  ): Promise<Result> {
    if (this.#happens(this.#faults.lostRequestPercent)) throw new HoldfastError(lossCode);
    const result = apply();
    await this.#travel();
    if (this.#happens(this.#faults.lostReplyPercent)) throw new HoldfastError(lossCode);
    return result;
  }

  #happens(percent = 0): boolean {
    return percent > 0 && this.#env !== undefined && this.#env.random.below(100) < percent;
  }

  async #travel(): Promise<void> {
    const { delayMsMax = 0 } = this.#faults;
    if (this.#env && delayMsMax > 0) {
      await this.#env.clock.sleep(this.#env.random.below(delayMsMax + 1));
    }
  }

  async #travelIn(lane: string): Promise<void> {
    const before = this.#happens(this.#faults.overtakingPercent)
      ? undefined
      : this.#arrivals.get(lane);
    const arrival = Promise.all([this.#travel(), before]).then(() => undefined);
    this.#arrivals.set(lane, arrival);
    await arrival;
    if (this.#arrivals.get(lane) === arrival) this.#arrivals.delete(lane);
  }
}
