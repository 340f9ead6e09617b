/**
 * What repair is at, for whoever asks: the runs that are under way, of which the latest is shown,
 * how fast bytes are written, and what the last look found at risk.
 */
import { GROUP_COUNT } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import type { RepairActivity, RepairStatus } from './repair.ts';

/** Speed is that of so long a time, at most. */
const SPEED_WINDOW_MS = 10_000;

export class StatusBoard {
  readonly #clock: Clock;
  readonly #runs = new Set<RunMeter>();
  stripesAtRisk = 0;
  bytesAtRisk = 0;
  wholeGroups = 0;
  #lastRepairAtMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The run is under way until what it returns is disposed. */
  begin(activity: RepairActivity): RunMeter & Disposable {
    const run = new RunMeter(this.#clock, activity);
    this.#runs.add(run);
    return Object.assign(run, { [Symbol.dispose]: () => void this.#runs.delete(run) });
  }

  repairHasEnded(): void {
    this.#lastRepairAtMs = this.#clock.now();
  }

  status(): RepairStatus {
    const run = [...this.#runs].at(-1);
    return {
      activity: run?.activity ?? 'rest',
      isWaiting: run?.isWaiting ?? false,
      startedAtMs: run?.startedAtMs,
      doneCount: run?.doneCount ?? 0,
      totalCount: run?.totalCount ?? 0,
      doneBytes: run?.doneBytes ?? 0,
      totalBytes: run?.totalBytes ?? 0,
      bytesPerSecond: run?.bytesPerSecond ?? 0,
      leftMs: run?.leftMs,
      stripesAtRisk: this.stripesAtRisk,
      bytesAtRisk: this.bytesAtRisk,
      wholeGroups: this.wholeGroups,
      groupCount: GROUP_COUNT,
      lastRepairAtMs: this.#lastRepairAtMs,
    };
  }
}

/** How far one run has come. */
export class RunMeter {
  readonly startedAtMs: number;
  activity: RepairActivity;
  waitingCount = 0;
  doneCount = 0;
  totalCount = 0;
  doneBytes = 0;
  totalBytes = 0;
  readonly #clock: Clock;
  /** Of the monotonic clock, oldest first, with the bytes done until then. */
  readonly #samples: { readonly atMs: number; readonly bytes: number }[] = [];

  constructor(clock: Clock, activity: RepairActivity) {
    this.#clock = clock;
    this.startedAtMs = clock.now();
    this.activity = activity;
    this.#samples.push({ atMs: clock.monotonic(), bytes: 0 });
  }

  get isWaiting(): boolean {
    return this.waitingCount > 0;
  }

  addBytes(bytes: number): void {
    this.doneBytes += bytes;
    const atMs = this.#clock.monotonic();
    // One sample a second is enough.
    if (atMs - this.#samples.at(-1)!.atMs >= 1000) {
      this.#samples.push({ atMs, bytes: this.doneBytes });
    }
    while (this.#samples.length > 2 && this.#samples[1]!.atMs < atMs - SPEED_WINDOW_MS) {
      this.#samples.shift();
    }
  }

  get bytesPerSecond(): number {
    const since = this.#samples[0]!;
    const passedMs = this.#clock.monotonic() - since.atMs;
    if (passedMs <= 0) return 0;
    return Math.round(((this.doneBytes - since.bytes) * 1000) / passedMs);
  }

  get leftMs(): number | undefined {
    const speed = this.bytesPerSecond;
    if (this.activity !== 'repair' || speed === 0) return undefined;
    const leftBytes = Math.max(0, this.totalBytes - this.doneBytes);
    return Math.round((leftBytes * 1000) / speed);
  }
}
