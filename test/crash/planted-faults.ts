/** The faults that tests plant in the engine, by name (src/store/planted-fault.ts says what). */
import type { OpenOptions } from '../../src/store/index.ts';

export type PlantedFault = NonNullable<OpenOptions['plantedFault']>;

export const PLANTED_FAULTS = [
  'tail-not-verified',
  'commit-not-flushed',
  'images-not-flushed',
  'superblocks-flushed-once',
] as const satisfies readonly PlantedFault[];
