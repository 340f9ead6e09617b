/**
 * An Env whose time passes only while everybody sleeps, and whose chance follows from a seed: the
 * same test takes the same steps every time, and never waits.
 */
import { HoldfastError } from '../../src/base/index.ts';
import type { Clock, Env, Random } from '../../src/env/index.ts';
import { MetricsTable, silentLog, ticksOf } from '../../src/env/index.ts';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

function virtualClock(): Clock {
  const sleepers: Sleeper[] = [];
  let now = 0;
  let isTurning = false;

  function turn(): void {
    const next = sleepers.shift();
    isTurning = next !== undefined;
    if (!next) return;
    now = next.at;
    next.wake();
    setImmediate(turn); // whoever was woken goes on first
  }

  /** Behind those that wake at the same time. */
  function add(sleeper: Sleeper): void {
    const behind = sleepers.findLastIndex(({ at }) => at <= sleeper.at);
    sleepers.splice(behind + 1, 0, sleeper);
    if (!isTurning) setImmediate(turn);
    isTurning = true;
  }

  const sleep = (ms: number, { signal }: { signal?: AbortSignal | undefined } = {}) =>
    new Promise<void>((resolve, reject) => {
      const stop = (): void => {
        const index = sleepers.indexOf(sleeper);
        if (index >= 0) sleepers.splice(index, 1);
        reject(new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal?.reason }));
      };
      const wake = (): void => {
        signal?.removeEventListener('abort', stop);
        resolve();
      };
      const sleeper = { at: now + ms, wake };
      if (signal?.aborted) return stop();
      signal?.addEventListener('abort', stop, { once: true });
      add(sleeper);
    });
  return {
    now: () => now,
    monotonic: () => now,
    sleep,
    turn: () => sleep(0),
    every: ticksOf(sleep),
  };
}

/** Source: mulberry32, public domain (Tommy Ettinger). */
function seededRandom(seed: number): Random {
  let state = seed;
  function word(): number {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }
  return {
    bytes: (count) => Uint8Array.from({ length: count }, () => word() & 0xff),
    below: (limit) => Math.floor((word() / 2 ** 32) * limit),
  };
}

export function virtualEnv(seed: number): Env {
  return {
    clock: virtualClock(),
    random: seededRandom(seed),
    log: silentLog,
    metrics: new MetricsTable(),
  };
}
