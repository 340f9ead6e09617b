/** Waiting with an end. */
import { NOT_NEEDED } from '../base/index.ts';
import type { Clock } from './env.ts';

/** What `work` comes to, or `undefined` when `waitMs` were over first. */
export async function within<Result>(
  clock: Pick<Clock, 'sleep'>,
  work: Promise<Result>,
  waitMs: number,
): Promise<Result | undefined> {
  const over = new AbortController();
  const late = clock.sleep(waitMs, { signal: over.signal }).then(
    () => undefined,
    () => undefined, // nobody listens any more
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort(NOT_NEEDED);
  }
}
