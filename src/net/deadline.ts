/** Waiting for shared work with a deadline of one's own; the work itself goes on. */
import { HoldfastError, throwIfAborted, NOT_NEEDED } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import type { CallOptions } from './types.ts';

/** @throws HF_TIMEOUT, HF_INTERRUPTED, or what `work` throws. */
export async function withDeadline<Result>(
  clock: Clock,
  work: Promise<Result>,
  { deadlineMs, signal }: CallOptions,
): Promise<Result> {
  throwIfAborted(signal);
  const done = new AbortController();
  const waiting = signal ? AbortSignal.any([signal, done.signal]) : done.signal;
  const late = clock.sleep(deadlineMs, { signal: waiting }).then(() => {
    throw new HoldfastError('HF_TIMEOUT', `no connection within ${Math.round(deadlineMs)} ms`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    done.abort(NOT_NEEDED);
    late.catch(() => {}); // interrupted just now
  }
}
