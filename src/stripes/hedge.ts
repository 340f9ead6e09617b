/**
 * The first few of several that may answer: as many are asked as are needed, another one for each
 * that fails, and one more whenever the answers take long (a *hedge*). Who is not needed any more
 * is told so by its signal.
 *
 * Hedging after a delay, not one more from the start: measured by bench/stripes.ts on nodes of even
 * speed, one more costs 4+2 a fifth of its throughput and more (five shards move for four), while a
 * holder that lags costs a hedged read the delay once; then it is known as slow, and asked last.
 * Source: Dean and Barroso, "The Tail at Scale", 2013.
 */
import { errorCode, unlessBug, NOT_NEEDED } from '../base/index.ts';
import type { Clock } from '../env/index.ts';

export interface HedgeOptions {
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
  /** Time after which one more is asked. */
  readonly hedgeMs: number;
  /** How many may be asked beyond those that are needed. */
  readonly extraMax: number;
  readonly onHedge: () => void;
}

/**
 * @param candidates in the order in which they are asked.
 * @param ask whether the candidate gave what is wanted. What it throws ends it all.
 * @returns those that did; fewer than `count` as soon as no more can be had.
 */
export async function firstFew<Candidate>(
  count: number,
  candidates: readonly Candidate[],
  ask: (candidate: Candidate, signal: AbortSignal) => Promise<boolean>,
  options: HedgeOptions,
): Promise<Candidate[]> {
  const queue = candidates.slice();
  const found: Candidate[] = [];
  const failures: unknown[] = [];
  const stop = new AbortController();
  const { signal, clock } = options;
  const stopped = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  let underWay = 0;
  let extra = 0;
  let isLate = false;
  let wake: () => void = () => {};
  const start = (candidate: Candidate): void => {
    underWay += 1;
    ask(candidate, stopped)
      .then(
        (isThere) => isThere && found.length < count && found.push(candidate),
        (error: unknown) => {
          const wasStopped = stop.signal.aborted && errorCode(error) !== undefined;
          if (!wasStopped) failures.push(error);
        },
      )
      .finally(() => {
        underWay -= 1;
        wake();
      });
  };
  const hedge = async (): Promise<void> => {
    do {
      await clock.sleep(options.hedgeMs, { signal: stopped });
      isLate = true;
      if (queue.length > 0) {
        extra += 1;
        options.onHedge();
      }
      wake();
    } while (queue.length > 0 && extra < options.extraMax);
  };
  if (options.extraMax > 0) hedge().catch(unlessBug);
  while (found.length < count && failures.length === 0) {
    while (queue.length > 0 && underWay < count - found.length + extra) start(queue.shift()!);
    // When those under way cannot be enough, they are waited for no longer than a hedge.
    const isHopeless = found.length + underWay < count;
    if (underWay === 0 || (isHopeless && isLate)) break;
    await new Promise<void>((resolve) => (wake = resolve));
  }
  stop.abort(NOT_NEEDED);
  // Then they may be asked for the same again.
  while (found.length < count && underWay > 0) {
    await new Promise<void>((resolve) => (wake = resolve));
  }
  if (failures.length > 0) throw failures[0];
  return found;
}
