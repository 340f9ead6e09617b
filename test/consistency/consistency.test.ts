/**
 * Aim: what clients of real nodes are told makes sense in one order, also while a node is killed
 * and the cells are still being spread. Method: a short slice of `npm run consistency`, on four
 * nodes with a ring; what must be found is proven in windows.test.ts. Needs etcd.
 */
import { expect, it } from 'vitest';
import { Bed } from '../e2e/harness.ts';
import { Ground, ringObstacle } from './cluster.ts';
import { runOnce } from './runs.ts';

const obstacle = ringObstacle();
if (obstacle !== undefined) console.warn(`SKIPPED: ${obstacle}`);
const without = obstacle === undefined ? '' : ` (SKIPPED: ${obstacle})`;

it.skipIf(obstacle !== undefined)(`keeps names and objects in one order${without}`, async () => {
  await using bed = await Bed.open();
  await using ground = await Ground.open(bed, { nodeCount: 4, isFresh: true });
  const say = (): void => {};
  const names = await runOnce(ground, { workload: 'names', seed: 1, seconds: 3, say });
  expect(names.faults).toEqual([]);
  const plan = { workload: 'register', seed: 2, seconds: 4, nemesis: 'kill', say } as const;
  const register = await runOnce(ground, plan);
  expect(register.faults).toEqual([]);
  expect(register.troubles).toBeGreaterThan(0);
  const additions = { workload: 'set', seed: 3, seconds: 1, elementsMin: 6, say } as const;
  const set = await runOnce(ground, additions);
  expect(set.faults).toEqual([]);
  expect(set.figures['acknowledged']).toBeGreaterThan(5);
});
