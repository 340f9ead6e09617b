/**
 * Writers on several nodes that get into each other's way: who was too late pauses for a random
 * time, longer with each try, so that everybody has a turn.
 */
import type { Env } from '../../env/index.ts';

/** Pauses are below 2 to the power of the tries, and of this, in ms. */
const DOUBLINGS_MAX = 7;

export async function makeWay(
  { clock, random }: Pick<Env, 'clock' | 'random'>,
  tries: number,
): Promise<void> {
  const ms = random.below(2 ** Math.min(tries, DOUBLINGS_MAX));
  if (ms > 0) await clock.sleep(ms);
}
