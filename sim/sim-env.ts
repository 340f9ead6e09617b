/**
 * Virtual time. Nothing waits for real: when every promise that can go on has gone on, the clock
 * jumps to the next *timer* and wakes it; timers of one moment wake in the order they were set.
 *
 * A {@link Process} is one life of a node: its own Env over the shared clock. When it is killed its
 * timers never wake, so whatever it was doing stays where it is for ever, as in a crash.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { assert, errorMessage, HoldfastError } from '../src/base/index.ts';
import {
  type Clock,
  type Env,
  type Log,
  type LogFields,
  type Metrics,
  ticksOf,
} from '../src/env/index.ts';
import { SeededRandom } from './random.ts';
import { type Timer, TimerHeap } from './timer-heap.ts';
import type { Trace } from './trace.ts';

/** Any moment will do; tests of dates see a real one. */
const START_MS = 1_800_000_000_000;

/** A run that takes longer is stuck in a circle. */
const EVENTS_MAX = 5_000_000;

interface LifeTimer extends Timer {
  readonly process: Process | undefined;
  readonly wake: () => void;
}

export class VirtualTime {
  readonly #heap = new TimerHeap<LifeTimer>();
  #nowMs = 0;
  #order = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** @param process whose death takes the timer with it. */
  after(ms: number, wake: () => void, process?: Process): void {
    assert(ms >= 0, 'time does not go back');
    this.#heap.push({ atMs: this.#nowMs + ms, order: this.#order++, process, wake });
  }

  async sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.after(ms, resolve));
  }

  /** Ends when `main` does. @throws when nothing is left that could ever wake it. */
  async run<Result>(main: () => Promise<Result>): Promise<Result> {
    let isOver = false;
    const result = main().finally(() => (isOver = true));
    result.catch(() => {}); // thrown below
    for (let events = 0; !(await quiet(() => isOver)); events++) {
      const timer = this.#pop();
      if (!timer) throw new Error('stuck: everybody waits and no timer is left');
      if (events === EVENTS_MAX) throw new Error(`stuck: ${EVENTS_MAX} timers and no end`);
      this.#nowMs = timer.atMs;
      timer.wake();
    }
    return await result;
  }

  /** The next timer of a living process. */
  #pop(): LifeTimer | undefined {
    let timer = this.#heap.pop();
    while (timer?.process?.isDead) timer = this.#heap.pop();
    return timer;
  }
}

/**
 * Resolves with `ask()` when nothing can go on any more: node runs what was set for its next turn
 * only once the queues of promises and of ticks, which streams use, are empty.
 */
async function quiet<Answer>(ask: () => Answer): Promise<Answer> {
  await nextTurn();
  return ask();
}

/** Turns in one round of node's loop. */
const ROUND_TURNS = 256;

/**
 * Calls `turn` until it says that it was the last one, each time when every promise that can go on
 * has gone on: node empties that queue between two immediates, and for a row of them that costs a
 * quarter of what it does between two rounds of its loop ({@link VirtualTime} waits for streams,
 * too, which take turns of their own). Rejects with what `turn` throws.
 */
export async function inTurns(turn: () => boolean): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let isLast = false;
    let left = 0;
    const step = (): void => {
      left -= 1;
      try {
        isLast ||= turn();
      } catch (error) {
        isLast = true;
        reject(error as Error);
      }
      if (left > 0) return;
      if (isLast) resolve();
      else begin();
    };
    const begin = (): void => {
      for (; left < ROUND_TURNS; left += 1) setImmediate(step);
    };
    begin();
  });
}

export interface ProcessOptions {
  readonly name: string;
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly trace: Trace;
}

export class Process {
  readonly name: string;
  readonly env: Env;
  readonly random: SeededRandom;
  readonly counters = new Map<string, number>();
  readonly #time: VirtualTime;
  readonly #trace: Trace;
  #isDead = false;

  constructor({ name, time, random, trace }: ProcessOptions) {
    this.name = name;
    this.random = random.fork(name);
    this.#time = time;
    this.#trace = trace;
    this.env = {
      clock: this.#clock(),
      random: this.random,
      log: this.#log(),
      metrics: this.#metrics(),
    };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  kill(): void {
    this.#isDead = true;
  }

  note(what: string): void {
    if (!this.#isDead) this.#trace.add(this.#time.nowMs, this.name, what);
  }

  async sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.#time.after(ms, resolve, this));
  }

  #clock(): Clock {
    const time = this.#time;
    const sleep = async (
      ms: number,
      { signal }: { signal?: AbortSignal | undefined } = {},
    ): Promise<void> => {
      if (signal?.aborted) throw new HoldfastError('HF_INTERRUPTED');
      await new Promise<void>((resolve, reject) => {
        const stop = (): void => reject(new HoldfastError('HF_INTERRUPTED'));
        signal?.addEventListener('abort', stop, { once: true });
        const wake = (): void => {
          signal?.removeEventListener('abort', stop);
          resolve();
        };
        time.after(ms, wake, this);
      });
    };
    return {
      now: () => START_MS + Math.floor(time.nowMs),
      monotonic: () => time.nowMs,
      sleep,
      turn: () => sleep(0),
      every: ticksOf(sleep),
    };
  }

  #log(): Log {
    const write =
      (level: string) =>
      (message: string, fields: LogFields = {}): void => {
        const texts = Object.entries(fields).map(([name, value]) => `${name}=${textOf(value)}`);
        this.note(`${level} ${message} ${texts.join(' ')}`);
      };
    return {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
    };
  }

  #metrics(): Metrics {
    return {
      add: (counter, count) => {
        this.counters.set(counter, (this.counters.get(counter) ?? 0) + count);
      },
      set: (gauge, value) => {
        this.counters.set(gauge, value);
      },
    };
  }
}

/** Errors with their causes, as one line without stack or address. */
export function textOf(value: unknown): string {
  if (!(value instanceof Error)) return String(value);
  const cause = value.cause === undefined ? '' : ` ← ${textOf(value.cause)}`;
  return `${errorMessage(value)}${cause}`;
}
