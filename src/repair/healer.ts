/**
 * Heals by itself: at its own pace, never in reaction to each event. Bad chunks that reads and
 * scrubs have met are put again; what crashed writers left is collected.
 */
import { errorCode } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { Repair } from './repair.ts';

export interface HealerOptions {
  readonly env: Env;
  readonly repair: Pick<Repair, 'collect' | 'repair'>;
  /** Whether something is known that repair would mend. */
  readonly needsRepair: () => Promise<boolean>;
  /** How often it asks that. */
  readonly lookEveryMs: number;
  readonly collectEveryMs: number;
  /** Age at which a chunk that nothing names goes. */
  readonly graceMs: number;
}

/** Runs until `signal` is aborted. */
export async function runHealer(options: HealerOptions, signal: AbortSignal): Promise<void> {
  const { env, repair, graceMs, needsRepair } = options;
  const { clock } = env;
  /** A healer that stops would be worse than one that fails. */
  const attempt = async (task: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      if (!signal.aborted) await work();
    } catch (error) {
      if (errorCode(error) !== 'HF_INTERRUPTED') env.log.warn(`${task} failed`, { error });
    }
  };
  let collectAt = clock.monotonic();
  for await (const _ of clock.every(options.lookEveryMs, { signal })) {
    // What is lost is made again first. The next time of a task is set before it is tried: one that
    // fails waits for its turn like all others, and keeps none of them from theirs.
    await attempt('repair', async () => {
      if (await needsRepair()) await repair.repair({ signal, isAutomatic: true });
    });
    if (clock.monotonic() >= collectAt) {
      collectAt = clock.monotonic() + options.collectEveryMs;
      await attempt('collection', () => repair.collect({ graceMs, signal }));
    }
  }
}
