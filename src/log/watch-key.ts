/** The states of a key as one watches it, whatever the registry. */
import { errorCode } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import type { Registry, Versioned } from './fenced-log.ts';

/** How often a watched key is looked at: a change is noticed within a second. */
const WATCH_MS = 500;

export interface Look {
  readonly row: Versioned | undefined;
}

export interface Watching<Seen extends Look> {
  /** `undefined` while nobody answers. */
  readonly look: () => Promise<Seen | undefined>;
  /** Until it is worth looking again, or `signal` is aborted. Never fails. */
  readonly wait: (seen: Seen | undefined) => Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * The state at first and after each change; a change that is followed by another at once may not be
 * seen. While nobody answers nothing is seen. Ends when `signal` is aborted.
 */
export async function* statesOf<Seen extends Look>({
  look,
  wait,
  signal,
}: Watching<Seen>): AsyncGenerator<Versioned | undefined> {
  let last: number | undefined;
  while (!signal.aborted) {
    const seen = await look();
    if (signal.aborted) return;
    const version = seen && (seen.row?.version ?? 0);
    if (seen && version !== last) {
      last = version;
      yield seen.row;
    }
    await wait(seen);
  }
}

/** {@link statesOf} a key that is looked at now and then. */
export function watchKey(
  registry: Pick<Registry, 'get'>,
  key: string,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): AsyncGenerator<Versioned | undefined> {
  return statesOf<Look>({
    async look() {
      try {
        return { row: await registry.get(key) };
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        return undefined; // it is asked again soon
      }
    },
    wait: () => clock.sleep(WATCH_MS, { signal }).catch(() => {}), // aborted
    signal,
  });
}
