/** Bugs that can be planted: each must be found, or the simulator proves nothing. */
import type { CellFault, NamespaceFault } from '../../src/meta/index.ts';
import { KINDS_EVERY } from './plan.ts';

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

/** In trees, as `meta/namespace` has them: a batch counts although its lease was taken. */
export const TREE_FAULTS = ['no-lease-fence'] as const satisfies readonly NamespaceFault[];

export type PlantName =
  | CellFault
  | (typeof LOG_FAULTS | typeof STRIPE_FAULTS | typeof TREE_FAULTS)[number];

export const PLANT_NAMES: readonly PlantName[] = [
  ...LOG_FAULTS,
  ...CELL_FAULTS,
  ...STRIPE_FAULTS,
  ...TREE_FAULTS,
];

/** Seeds of which one finds the bug. */
export interface PlantSeeds {
  readonly from: number;
  readonly count: number;
  /** Seeds between one and the next; 1 when left out. */
  readonly step?: number;
}

export function plantSeeds(plant: PlantName): PlantSeeds {
  const isOfOneKind = [...STRIPE_FAULTS, ...TREE_FAULTS].some((fault) => fault === plant);
  const { found, count } = SEEDS[plant];
  const step = isOfOneKind ? KINDS_EVERY : 1;
  // Not from the first seed on, which would take long for some.
  return { from: found > 8 * step ? found - 8 * step : found % step || step, count, step };
}

/**
 * The first seed, from 1 on, that found the bug when it was tried; and how many may be needed from
 * shortly before that one on, as seeds change their meaning with the code under them.
 */
const SEEDS: Readonly<Record<PlantName, { readonly found: number; readonly count: number }>> = {
  'no-fence': { found: 10, count: 150 },
  'no-predecessor': { found: 77, count: 300 },
  'no-seal': { found: 16, count: 150 },
  'no-retry-row': { found: 1, count: 50 },
  'volatile-intent': { found: 1, count: 150 },
  'read-without-barrier': { found: 9, count: 100 },
  'ack-on-unknown': { found: 74, count: 300 },
  'read-through-intent': { found: 23, count: 150 },
  'apply-before-commit': { found: 5, count: 50 },
  'status-without-barrier': { found: 46, count: 400 },
  'no-intent-token': { found: 1415, count: 3000 },
  'no-read-locks': { found: 89, count: 1000 },
  'move-without-freeze': { found: 4, count: 400 },
  'adopt-without-end': { found: 4, count: 50 },
  'no-digest': { found: 1, count: 50 },
  'known-while-pending': { found: 24, count: 50 },
  'same-generation': { found: 352, count: 50 },
  'forget-newer': { found: 168, count: 50 },
  'drop-without-refuse': { found: 864, count: 400 },
  'no-lease-fence': { found: 10, count: 50 },
};
