/**
 * The lanes of this node's requests to one space: each carries one request at a time, so that a
 * cell keeps one answer for each, and a request that is asked again is not done again. Sequences
 * rise over all lanes, so that a slot which comes to another cell never meets an older one.
 */
import { assert, HoldfastError, LIMITS, Semaphore } from '../../base/index.ts';
import type { Clock } from '../../env/index.ts';
import type { RetryTag } from '../cells/executor.ts';

/** Changes under way to one space; 64 lanes at 1.3 ms each are some 50,000 a second. */
const LANES = LIMITS.retryLanesMax;

export class Lanes {
  readonly #session: string;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #free = Array.from({ length: LANES }, (_, index) => LANES - 1 - index);
  readonly #permits = new Semaphore(LANES);
  #sequence = 0;

  constructor(session: string, clock: Pick<Clock, 'monotonic'>) {
    this.#session = session;
    this.#clock = clock;
  }

  /**
   * Runs `work` with a tag that is its own until it is over.
   * @throws HF_UNAVAILABLE when none became free for as long as an operation is tried: behind a
   *   space that nobody serves, a queue ends at once and not lane by lane.
   */
  async run<Result>(work: (tag: RetryTag) => Promise<Result>): Promise<Result> {
    const startMs = this.#clock.monotonic();
    return await this.#permits.run(async () => {
      if (this.#clock.monotonic() - startMs >= LIMITS.remoteCallMs) {
        throw new HoldfastError('HF_UNAVAILABLE', 'too many changes wait for the space');
      }
      const lane = this.#free.pop();
      assert(lane !== undefined, 'a permit stands for a lane');
      this.#sequence += 1;
      try {
        return await work({ session: this.#session, lane, sequence: this.#sequence });
      } finally {
        this.#free.push(lane);
      }
    });
  }
}
