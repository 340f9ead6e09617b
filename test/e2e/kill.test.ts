/**
 * Aim: a node that is killed loses nothing that was acknowledged and leaves nothing that was not
 * (item 4; rows F8, E2, E5, traps 35 and 41). Method: the drill with ten rounds.
 */
import { it } from 'vitest';
import { killDuringPuts } from './drill-kill.ts';
import { Bed } from './harness.ts';

it('keeps what it acknowledged, and only that, through ten kills', async () => {
  await using bed = await Bed.open();
  await killDuringPuts(bed, { seed: 41, rounds: 10, writerCount: 4, lifeMsMax: 700 });
});
