/** The door of `env`: effects as values. */
export type { Clock, Env, Log, LogFields, Metrics, Random } from './env.ts';
export { MetricsTable } from './metrics-table.ts';
export { noMetrics, realEnv, silentLog } from './real.ts';
export { siblingModule } from './sibling.ts';
export { ticksOf } from './ticks.ts';
export { within } from './within.ts';
export { serveRequests, WorkerPool } from './worker-pool.ts';
