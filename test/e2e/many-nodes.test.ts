/**
 * Aim: what many nodes promise: any n − k of them may be killed in the midst of puts and gets, a
 * whole rack may go, nodes come, leave, are lost and come back, and what was acknowledged stays
 * readable, what was deleted stays deleted. Method: the drills with moderate sizes, on real
 * processes; `npm run test:large -- nodes` is the same with twelve nodes and waits for them to heal
 * by themselves.
 */
import { it } from 'vitest';
import { changeNodes, killNodesDuringUse, loseRacks } from './drill-nodes.ts';
import { Bed } from './harness.ts';

it('loses nothing when two of seven nodes are killed in the midst of puts and gets', async () => {
  await using bed = await Bed.open();
  const plan = { seed: 61, nodeCount: 7, rounds: 1, lifeMsMax: 600, asksForRepair: true };
  await killNodesDuringUse(bed, plan);
});

it('reads on without any one rack of three', async () => {
  await using bed = await Bed.open();
  await loseRacks(bed, { bookCount: 8, asksForRepair: true });
});

it('spreads to a new node, and goes on without those that leave or are lost', async () => {
  await using bed = await Bed.open();
  await changeNodes(bed, { bookCount: 40, spreadMax: 0.4, asksForRepair: true });
});
