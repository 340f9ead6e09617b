/**
 * The pace of a repair run: so many bytes a second in all and on each device, and making way for
 * clients. Each bucket knows when it is free again; a step takes its turn in all buckets at once
 * and then waits for the latest, so that nothing happens between the look and the booking.
 */
import type { DeviceId } from '../base/index.ts';
import type { Clock } from '../env/index.ts';

/** Bytes per second; `undefined` is as fast as can be. */
export interface PaceRates {
  readonly run?: number | undefined;
  readonly device?: number | undefined;
}

/**
 * What nobody waits for leaves each device most of its time: a third of what a spinning disk
 * writes, and in all a fifth of a 10 Gbit/s network.
 */
export const AUTOMATIC_RATES: PaceRates = { run: 250e6, device: 50e6 };

/** How often it is asked whether clients still wait, and for how long a step makes way at most. */
const BUSY_LOOK_MS = 50;
const MAKE_WAY_MS_MAX = 2000;

export interface PaceOptions {
  readonly clock: Clock;
  readonly rates: PaceRates;
  /** Whether clients wait for what repair would use; asked again and again. */
  readonly isBusy?: (() => boolean) | undefined;
}

export class Pacer {
  readonly #options: PaceOptions;
  #freeAtMs = 0;
  readonly #deviceFreeAtMs = new Map<DeviceId, number>();

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /**
   * Resolves when it is the turn of a step.
   * @param targets one device for each chunk; the bytes are theirs in equal parts.
   * @throws HF_INTERRUPTED.
   */
  async take(
    { bytes, targets }: { readonly bytes: number; readonly targets: readonly DeviceId[] },
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { clock } = this.#options;
    await this.#makeWay(signal);
    const waitMs = this.#book(bytes, targets) - clock.monotonic();
    if (waitMs > 0) await clock.sleep(waitMs, { signal });
  }

  /** @returns when the step may begin. */
  #book(bytes: number, targets: readonly DeviceId[]): number {
    const { clock, rates } = this.#options;
    const nowMs = clock.monotonic();
    let startMs = Math.max(nowMs, this.#freeAtMs);
    for (const device of targets) {
      startMs = Math.max(startMs, this.#deviceFreeAtMs.get(device) ?? 0);
    }
    if (rates.run !== undefined) this.#freeAtMs = startMs + (bytes * 1000) / rates.run;
    if (rates.device !== undefined) {
      const lengthMs = (bytes * 1000) / Math.max(1, targets.length) / rates.device;
      for (const device of targets) this.#deviceFreeAtMs.set(device, startMs + lengthMs);
    }
    return startMs;
  }

  async #makeWay(signal: AbortSignal | undefined): Promise<void> {
    const { clock, isBusy } = this.#options;
    const untilMs = clock.monotonic() + MAKE_WAY_MS_MAX;
    while (isBusy?.() && clock.monotonic() < untilMs) await clock.sleep(BUSY_LOOK_MS, { signal });
  }
}
