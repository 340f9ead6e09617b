/**
 * Every effect that a module may need, passed in. Real in the daemon, simulated in `sim/`: with the
 * same seed a simulated run takes the same steps. Code above `env` never calls Date, Math.random or
 * setTimeout (tools/tidy.ts sees to it).
 */

export interface Clock {
  /** Whole milliseconds since 1970, as the outside world counts them. May jump. */
  now(): number;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonic(): number;
  /** @throws HF_INTERRUPTED when `signal` is aborted. */
  sleep(ms: number, options?: { signal?: AbortSignal | undefined }): Promise<void>;
  /** Resolves when the events that had arrived by now have been handled: a pause to gather work. */
  turn(): Promise<void>;
  /** Ticks `ms` apart, at the consumer's pace, until `signal` is aborted (then it ends). */
  every(ms: number, options: { signal: AbortSignal }): AsyncIterable<void>;
}

export interface Random {
  /** Unpredictable bytes, owned by the caller. */
  bytes(count: number): Uint8Array;
  /** A whole number, 0 ≤ result < limit, for choices that need no secrecy. */
  below(limit: number): number;
}

export type LogFields = Readonly<Record<string, unknown>>;

/** Structured log. Never given content, names or keys. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Counters and gauges by name. */
export interface Metrics {
  add(counter: string, count: number, labels?: Readonly<Record<string, string>>): void;
  set(gauge: string, value: number, labels?: Readonly<Record<string, string>>): void;
}

export interface Env {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}
