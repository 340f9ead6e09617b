/**
 * The limits of a store and how near it is to them, for those who decide what it should hold.
 *
 *   0 ── hungry ── min ── normal ── max ── high ── hard max, or the end of the device: full
 */
import { HoldfastError } from '../base/index.ts';
import type { StoreUsage } from './chunk-store.ts';
import type { StoreLimits } from './superblock.ts';

/** Below min; between; at or above max; no room for shards. */
export type Pressure = 'hungry' | 'normal' | 'high' | 'full';

/** @throws HF_BAD_ARGUMENT. */
export function checkLimits({ minBytes, maxBytes, hardMaxBytes }: StoreLimits): void {
  const limits = [minBytes, maxBytes, hardMaxBytes];
  if (limits.some((bytes) => !Number.isSafeInteger(bytes) || bytes < 0)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'the limits of a store are whole numbers of bytes');
  }
  const set = limits.filter((bytes) => bytes > 0);
  if (set.some((bytes, at) => at > 0 && bytes <= set[at - 1]!)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'the limits of a store are min < max < hard max');
  }
}

export function pressureOf(
  { usedBytes, freeBytes }: Pick<StoreUsage, 'usedBytes' | 'freeBytes'>,
  { minBytes, maxBytes }: StoreLimits,
): Pressure {
  // The size that is reported is the hard maximum where that is the nearer end.
  if (freeBytes === 0) return 'full';
  if (maxBytes > 0 && usedBytes >= maxBytes) return 'high';
  return usedBytes < minBytes ? 'hungry' : 'normal';
}

/** Tells of changes; `normal` is what everybody assumes until told otherwise. */
export class PressureGauge {
  readonly #onPressure: (pressure: Pressure) => void;
  #present: Pressure = 'normal';

  constructor(onPressure: (pressure: Pressure) => void) {
    this.#onPressure = onPressure;
  }

  update(pressure: Pressure): void {
    if (pressure === this.#present) return;
    this.#present = pressure;
    this.#onPressure(pressure);
  }
}
