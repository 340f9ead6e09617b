/**
 * Aim: a store on a real block device that loses its process at any moment mounts, has what it
 * acknowledged and nothing that was removed (rows F8, E5; traps 30 and 41). Method: the drill with
 * five rounds on a loop device, which only root can attach: without that the test is skipped, and
 * says so.
 */
import { expect, it } from 'vitest';
import { describeWithLoop } from '../suites/loop-device.ts';
import { killDeviceWriter } from './drill-device.ts';
import { Bed } from './harness.ts';

describeWithLoop('a writer to a block device', () => {
  it('is killed five times, and what it acknowledged is there', async () => {
    await using bed = await Bed.open();
    const plan = { seed: 51, rounds: 5, sizeBytes: 64 * 2 ** 20, lifeMsMax: 400 };
    const { acknowledgedPuts, acknowledgedRemoves } = await killDeviceWriter(bed, plan);
    expect(acknowledgedPuts).toBeGreaterThan(50);
    expect(acknowledgedRemoves).toBeGreaterThan(10);
  });
});
