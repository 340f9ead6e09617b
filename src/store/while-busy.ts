/**
 * Patience with a store that answers HF_BUSY: it is well, only others are served before, and what
 * it refused it has not begun.
 */
import { errorCode } from '../base/index.ts';
import type { Clock } from '../env/index.ts';

const PAUSE_MS_MIN = 20;
const PAUSE_MS_MAX = 1000;

/**
 * Asks again, after longer and longer pauses.
 * @throws HF_BUSY when it still is after `ms`; HF_INTERRUPTED; what `ask` throws.
 */
export async function whileBusy<Result>(
  clock: Pick<Clock, 'monotonic' | 'sleep'>,
  { ms, signal }: { readonly ms: number; readonly signal?: AbortSignal | undefined },
  ask: () => Promise<Result>,
): Promise<Result> {
  const untilMs = clock.monotonic() + ms;
  for (let pauseMs = PAUSE_MS_MIN; ; pauseMs = Math.min(PAUSE_MS_MAX, 2 * pauseMs)) {
    try {
      return await ask();
    } catch (error) {
      if (errorCode(error) !== 'HF_BUSY' || clock.monotonic() + pauseMs > untilMs) throw error;
    }
    await clock.sleep(pauseMs, { signal });
  }
}
