/** The real effects. Log and metrics are handed in by `node`, which alone loads their libraries. */
import { randomBytes, randomInt } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as sleepTimer } from 'node:timers/promises';
import { HoldfastError, throwIfAborted } from '../base/index.ts';
import type { Clock, Env, Log, Metrics, Random } from './env.ts';
import { MetricsTable } from './metrics-table.ts';
import { ticksOf } from './ticks.ts';

const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep,
  turn: async () => {
    await nextTurn();
  },
  // A loop alone keeps no process running.
  every: ticksOf((ms, { signal }) => sleepTimer(ms, undefined, { signal, ref: false })),
};

/** Most are ended early, by work done in time: that takes three times as long with Node's own. */
async function sleep(
  ms: number,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  throwIfAborted(signal);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    signal?.removeEventListener('abort', stop);
    resolve();
  }, ms);
  function stop(): void {
    clearTimeout(timer);
    reject(new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal?.reason }));
  }
  signal?.addEventListener('abort', stop, { once: true });
  await promise;
}

const realRandom: Random = {
  bytes: (count) => new Uint8Array(randomBytes(count)),
  below: (limit) => randomInt(limit),
};

/** Drops everything. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Drops everything. */
export const noMetrics: Metrics = { add() {}, set() {} };

export function realEnv(parts: { log?: Log; metrics?: Metrics } = {}): Env {
  return {
    clock: realClock,
    random: realRandom,
    log: parts.log ?? silentLog,
    metrics: parts.metrics ?? new MetricsTable(),
  };
}
