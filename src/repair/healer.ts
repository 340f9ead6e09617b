/**
 * Heals by itself: at its own pace, never in reaction to each event. Bad chunks that reads and
 * scrubs have met are put again; what crashed writers left is collected; all stores are scrubbed in
 * turn.
 */
import { errorCode } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Repair } from './repair.ts';

export interface HealerOptions {
  readonly env: Env;
  readonly repair: Pick<Repair, 'scrub' | 'collect' | 'repair'>;
  /** Whether something is known that repair would mend. */
  readonly needsRepair: () => Promise<boolean>;
  /** How often it asks that. */
  readonly lookEveryMs: number;
  readonly collectEveryMs: number;
  readonly scrubEveryMs: number;
  /** Age at which a chunk that nothing names goes. */
  readonly graceMs: number;
}

/** Runs until `signal` is aborted. */
export async function runHealer(options: HealerOptions, signal: AbortSignal): Promise<void> {
  const { clock, log } = options.env;
  let collectAt = clock.monotonic();
  let scrubAt = clock.monotonic() + options.scrubEveryMs;
  for await (const _ of clock.every(options.lookEveryMs, { signal })) {
    try {
      if (clock.monotonic() >= collectAt) {
        await options.repair.collect({ graceMs: options.graceMs, signal });
        collectAt = clock.monotonic() + options.collectEveryMs;
      }
      if (clock.monotonic() >= scrubAt) {
        await options.repair.scrub({ signal });
        scrubAt = clock.monotonic() + options.scrubEveryMs;
      }
      if (await options.needsRepair()) await options.repair.repair({ signal });
    } catch (error) {
      if (errorCode(error) === 'HF_INTERRUPTED') return;
      // The next round tries again; a healer that stops would be worse than one that fails.
      log.warn('a round of healing failed', { error });
    }
  }
}
