/**
 * Aim: each task of the healer has its turn, whatever becomes of the others. Method: a clock whose
 * rounds the test makes, and tasks that are counted and fail.
 */
import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../base/index.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { runHealer } from './healer.ts';
import type { RepairRunOptions } from './repair.ts';

type Task = 'collect' | 'repair';

/** Rounds of 10 s, with a collection due each minute. @returns how often each was tried. */
async function run(rounds: number, failing: readonly Task[]): Promise<Record<Task, number>> {
  const tries: Record<Task, number> = { collect: 0, repair: 0 };
  const env = virtualEnv(1);
  const end = new AbortController();
  let nowMs = 0;
  async function* every(ms: number): AsyncGenerator<void> {
    for (let i = 0; i < rounds; i++, nowMs += ms) yield;
  }
  const task =
    (name: Task) =>
    async (run?: RepairRunOptions): Promise<never> => {
      if (name === 'repair') expect(run?.isAutomatic).toBe(true);
      tries[name] += 1;
      if (failing.includes(name)) throw new HoldfastError('HF_NO_SPACE');
      return {} as never;
    };
  const options = {
    env: { ...env, clock: { ...env.clock, monotonic: () => nowMs, every } },
    repair: { collect: task('collect'), repair: task('repair') },
    needsRepair: async () => true,
    lookEveryMs: 10_000,
    collectEveryMs: 60_000,
    graceMs: 1,
  };
  await runHealer(options, end.signal);
  return tries;
}

describe('the healer', () => {
  it('does each task when it is due', async () => {
    expect(await run(60, [])).toEqual({ collect: 10, repair: 60 });
  });

  it.each(['collect', 'repair'] as const)('goes on when %s fails', async (task) => {
    expect(await run(60, [task])).toEqual({ collect: 10, repair: 60 });
  });
});
