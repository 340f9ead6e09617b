/**
 * Virtual time for the metadata plane: thousands of events a seed, hundreds of seeds a second.
 * Each event runs in a turn of its own, when all promises that can go on have gone on.
 *
 * A {@link Life} is what a machine is between start and crash. Its timers die with it; while it is
 * paused they wait, and so does what arrives, as for a process that was stopped and goes on.
 */
import { HoldfastError } from '../../src/base/index.ts';
import {
  type Clock,
  type Env,
  noMetrics,
  type Log,
  silentLog,
  ticksOf,
} from '../../src/env/index.ts';
import type { SeededRandom } from '../random.ts';
import { inTurns } from '../sim-env.ts';
import { type Timer, TimerHeap } from '../timer-heap.ts';

/** Any moment will do; tests of dates see a real one. */
const START_MS = 1_800_000_000_000;

/** A run that takes longer goes round in a circle. */
const EVENTS_MAX = 400_000;

interface LifeTimer extends Timer {
  readonly life: Life | undefined;
  readonly wake: () => void;
  /** Asked when it is due: if nobody waits for it any more, it takes no turn. */
  readonly isNeedless: (() => boolean) | undefined;
}

export class Time {
  readonly #heap = new TimerHeap<LifeTimer>();
  #nowMs = 0;
  #order = 0;
  #eventCount = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  get eventCount(): number {
    return this.#eventCount;
  }

  /** @param life whose end takes the timer with it. */
  after(ms: number, wake: () => void, life?: Life): void {
    this.#push({ atMs: this.#nowMs + ms, life, wake, isNeedless: undefined });
  }

  /** The same, for what may turn out to be needless until then. */
  afterUnless(ms: number, wake: () => void, unless: Pick<LifeTimer, 'life' | 'isNeedless'>): void {
    this.#push({ atMs: this.#nowMs + ms, wake, ...unless });
  }

  #push(timer: Omit<LifeTimer, 'order'>): void {
    this.#heap.push({ ...timer, order: this.#order++ });
  }

  async sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.after(ms, resolve));
  }

  /** Ends when `main` does. @throws when nothing is left that could ever wake it. */
  async run<Result>(main: () => Promise<Result>): Promise<Result> {
    let isOver = false;
    const result = main().finally(() => (isOver = true));
    result.catch(() => {}); // thrown below
    await inTurns(() => {
      if (!isOver) this.#turn();
      return isOver;
    });
    return await result;
  }

  #turn(): void {
    for (;;) {
      const timer = this.#heap.pop();
      if (!timer) throw new Error('stuck: everybody waits and no timer is left');
      const { life, atMs } = timer;
      if (life?.isOver || timer.isNeedless?.()) continue;
      this.#nowMs = atMs;
      if (life && life.pausedUntilMs > atMs) {
        this.#push({ ...timer, atMs: life.pausedUntilMs });
        continue;
      }
      this.#eventCount += 1;
      if (this.#eventCount > EVENTS_MAX) throw new Error(`stuck: ${EVENTS_MAX} events and no end`);
      return timer.wake();
    }
  }
}

export interface LifeOptions {
  readonly time: Time;
  readonly random: SeededRandom;
  /** Its clock runs so much faster than the others'. */
  readonly clockRate?: number;
  readonly log?: Log | undefined;
}

export class Life {
  readonly env: Env;
  readonly #time: Time;
  #isOver = false;
  pausedUntilMs = 0;

  constructor({ time, random, clockRate = 1, log = silentLog }: LifeOptions) {
    this.#time = time;
    this.env = { clock: this.#clock(clockRate), random, log, metrics: noMetrics };
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  end(): void {
    this.#isOver = true;
  }

  /** Runs it when nobody has stopped the machine; never, when the life ends before. */
  whenAwake(work: () => void): void {
    if (this.#isOver) return;
    const waitMs = this.pausedUntilMs - this.#time.nowMs;
    if (waitMs > 0) this.#time.after(waitMs, work, this);
    else work();
  }

  /** What others promised: it arrives when the machine is awake, and never once it is dead. */
  hears<Result>(promise: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      promise.then(
        (result) => this.whenAwake(() => resolve(result)),
        (error: unknown) => this.whenAwake(() => reject(error as Error)),
      );
    });
  }

  #clock(rate: number): Clock {
    const time = this.#time;
    const sleep = (
      ms: number,
      { signal }: { signal?: AbortSignal | undefined } = {},
    ): Promise<void> =>
      new Promise((resolve, reject) => {
        if (!signal) return time.after(ms / rate, resolve, this);
        const stop = (): void => reject(new HoldfastError('HF_INTERRUPTED'));
        if (signal.aborted) return stop();
        signal.addEventListener('abort', stop, { once: true });
        const wake = (): void => {
          signal.removeEventListener('abort', stop);
          resolve();
        };
        time.after(ms / rate, wake, this);
      });
    return {
      now: () => START_MS + Math.floor(time.nowMs * rate),
      monotonic: () => time.nowMs * rate,
      sleep,
      turn: () => sleep(0),
      every: ticksOf(sleep),
    };
  }
}
