/**
 * Aim: the harness of crash.test.ts finds a store that breaks its promises.
 * Method: four faults are planted in the engine, and the same loads run. Each is found with every
 * kind of load, by any one seed (tried: 24 each). To be quick, the two that lie in checkpoints are
 * sought with half of the loads, and at moments at which a superblock is being written.
 */
import { describe, expect, it } from 'vitest';
import { enumerate, type Violation } from '../../test/crash/enumerate.ts';
import { PLANTED_FAULTS } from '../../test/crash/planted-faults.ts';
import { PROFILES, profileOf } from '../../test/crash/profiles.ts';
import type { Snapshot } from '../../test/crash/snapshots.ts';

const SEEDS: readonly number[] = PROFILES.map((_, index) => index + 1);

/** First copies of the two pairs, of which either may be written first. */
const SUPERBLOCK_OFFSETS: readonly number[] = [0, 2048 * 4096];

function hasSuperblockPending({ point }: Snapshot): boolean {
  return point.pending.some(({ offset }) => SUPERBLOCK_OFFSETS.includes(offset));
}

describe.each(PLANTED_FAULTS)('a store with a fault: %s', (plantedFault) => {
  const isInCheckpoint = /^(images|superblocks)/.test(plantedFault);

  const seeds = SEEDS.filter((seed) => !isInCheckpoint || seed % 2 === 0);

  it.each(seeds.map((seed) => ({ seed, load: profileOf(seed).name })))(
    'is found out by a $load load, seed $seed',
    async ({ seed }) => {
      const { violations } = await enumerate({
        seed,
        plantedFault,
        ...(isInCheckpoint ? { wants: hasSuperblockPending } : {}),
        onState: (found: readonly Violation[]) => found.length > 0,
      });
      expect(violations.length).toBeGreaterThan(0);
    },
  );
});
