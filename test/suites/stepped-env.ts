/** Real effects, but time that comes in steps: for tests of what happens every so often. */
import { realEnv, type Env } from '../../src/env/index.ts';

/** `every` ticks when `step` is called; that resolves when the tick is done. One loop at a time. */
export function steppedEnv(): { env: Env; step: () => Promise<void> } {
  const real = realEnv();
  let tick: () => void = () => {};
  let done: () => void = () => {};
  async function* every(_ms: number, { signal }: { signal: AbortSignal }): AsyncGenerator<void> {
    while (true) {
      await new Promise<void>((resolve) => {
        tick = resolve;
        signal.addEventListener('abort', () => resolve());
      });
      if (signal.aborted) return;
      try {
        yield;
      } finally {
        done();
      }
    }
  }
  const step = (): Promise<void> =>
    new Promise((resolve) => {
      done = resolve;
      tick();
    });
  return { env: { ...real, clock: { ...real.clock, every } }, step };
}
