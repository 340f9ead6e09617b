/** Aim: waiting ends when it is told to; random is in its range. Method: aborted signals. */
import { describe, expect, it } from 'vitest';
import { realEnv } from './real.ts';

const { clock, random } = realEnv();
const LONG_MS = 3_600_000;

describe('clock', () => {
  it('sleeps at least as long as asked', async () => {
    const start = clock.monotonic();
    await clock.sleep(5);
    // Timers may fire up to a millisecond early.
    expect(clock.monotonic() - start).toBeGreaterThanOrEqual(4);
  });

  it('wakes with HF_INTERRUPTED when aborted, before or while it sleeps', async () => {
    const gone = clock.sleep(LONG_MS, { signal: AbortSignal.abort() });
    await expect(gone).rejects.toMatchObject({ code: 'HF_INTERRUPTED' });
    const controller = new AbortController();
    const sleeping = clock.sleep(LONG_MS, { signal: controller.signal });
    controller.abort();
    await expect(sleeping).rejects.toMatchObject({ code: 'HF_INTERRUPTED' });
  });

  it('ticks until the signal is aborted, then the loop is over', async () => {
    const controller = new AbortController();
    let ticks = 0;
    for await (const _ of clock.every(1, { signal: controller.signal })) {
      ticks += 1;
      if (ticks === 3) controller.abort();
    }
    expect(ticks).toBe(3);
    for await (const _ of clock.every(LONG_MS, { signal: AbortSignal.abort() })) ticks += 1;
    expect(ticks).toBe(3);
  });

  it('ends a tick that is being waited for', async () => {
    const controller = new AbortController();
    const ticks = clock.every(LONG_MS, { signal: controller.signal })[Symbol.asyncIterator]();
    const next = ticks.next();
    controller.abort();
    expect(await next).toEqual({ done: true, value: undefined });
  });
});

describe('random', () => {
  it('gives as many bytes as asked, not twice the same', () => {
    expect(random.bytes(0).length).toBe(0);
    expect(random.bytes(16).length).toBe(16);
    expect(random.bytes(16)).not.toEqual(random.bytes(16));
  });

  it('stays below its limit and reaches every value', () => {
    const seen = new Set(Array.from({ length: 1000 }, () => random.below(4)));
    expect(seen).toEqual(new Set([0, 1, 2, 3]));
  });
});
