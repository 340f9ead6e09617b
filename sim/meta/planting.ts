/** Bugs that can be planted: each must be found, or the simulator proves nothing. */
import type { CellFault } from '../../src/meta/index.ts';

/** Inside cells. */
export const CELL_FAULTS: readonly CellFault[] = [
  'no-retry-row',
  'volatile-intent',
  'read-without-barrier',
  'ack-on-unknown',
  'read-through-intent',
  'apply-before-commit',
  'status-without-barrier',
  'no-intent-token',
  'no-read-locks',
  'move-without-freeze',
  'adopt-without-end',
  'no-digest',
];

/**
 * In the log: older epochs append; an entry may follow one that is not there; a generation that was
 * sealed takes changes.
 */
export const LOG_FAULTS = ['no-fence', 'no-predecessor', 'no-seal'] as const;

/** In references, as `meta/references` has them; the last one is the collector's. */
export const STRIPE_FAULTS = [
  'known-while-pending',
  'same-generation',
  'forget-newer',
  'drop-without-refuse',
] as const;

export type PlantName = CellFault | (typeof LOG_FAULTS)[number] | (typeof STRIPE_FAULTS)[number];

export const PLANT_NAMES: readonly PlantName[] = [...LOG_FAULTS, ...CELL_FAULTS, ...STRIPE_FAULTS];

/** Of these seeds one finds the bug: what was measured, and as much again. */
export function plantSeeds(plant: PlantName): { readonly from: number; readonly count: number } {
  return { from: 1, count: SEEDS_NEEDED[plant] };
}

const SEEDS_NEEDED: Readonly<Record<PlantName, number>> = {
  'no-fence': 100,
  'no-predecessor': 100,
  'no-seal': 100,
  'no-retry-row': 100,
  'volatile-intent': 100,
  'read-without-barrier': 100,
  'ack-on-unknown': 100,
  'read-through-intent': 100,
  'apply-before-commit': 100,
  'status-without-barrier': 100,
  'no-intent-token': 100,
  'no-read-locks': 100,
  'move-without-freeze': 100,
  'adopt-without-end': 100,
  'no-digest': 100,
  'known-while-pending': 200,
  'same-generation': 200,
  'forget-newer': 100,
  'drop-without-refuse': 1600,
};
