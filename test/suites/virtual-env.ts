/**
 * An Env whose time passes only while everybody sleeps, and whose chance follows from a seed: the
 * same test takes the same steps every time, and never waits.
 */
import type { Clock, Env, Random } from '../../src/env/index.ts';
import { noMetrics, silentLog } from '../../src/env/index.ts';

function virtualClock(): Clock {
  const sleepers: { readonly at: number; readonly wake: () => void }[] = [];
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

  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      sleepers.push({ at: now + ms, wake: resolve });
      sleepers.sort((a, b) => a.at - b.at);
      if (!isTurning) setImmediate(turn);
      isTurning = true;
    });
  return {
    now: () => now,
    monotonic: () => now,
    sleep,
    turn: () => sleep(0),
    async *every() {},
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
    metrics: noMetrics,
  };
}
