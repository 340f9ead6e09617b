/** A clock's `every` out of its sleep: the same loop for real and for virtual time. */
import type { Clock } from './env.ts';

/** @param sleep rejects when its signal is aborted, which ends the loop. */
export function ticksOf(
  sleep: (ms: number, options: { signal: AbortSignal }) => Promise<unknown>,
): Clock['every'] {
  return async function* every(ms, { signal }) {
    while (!signal.aborted) {
      try {
        await sleep(ms, { signal });
      } catch {
        return; // aborted: the loop is over
      }
      yield;
    }
  };
}
