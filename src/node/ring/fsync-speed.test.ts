/** Aim: a disk is measured once; one that was too slow, or failed, again after a minute. */
import { expect, it } from 'vitest';
import { virtualEnv } from '../../../test/suites/virtual-env.ts';
import { HoldfastError } from '../../base/index.ts';
import { FsyncSpeed } from './fsync-speed.ts';

it('measures again what was too slow, and nothing else', async () => {
  const { clock } = virtualEnv(1);
  const times = [Infinity, 500, 20, 1];
  let count = 0;
  const measure = async (): Promise<number> => {
    const ms = times[count++]!;
    if (ms === Infinity) throw new HoldfastError('HF_IO');
    return ms;
  };
  const speed = new FsyncSpeed(measure, clock);
  expect(await Promise.all([speed.ms(), speed.ms()])).toEqual([Infinity, Infinity]);
  await clock.sleep(59_000);
  expect(await speed.ms()).toBe(Infinity);
  await clock.sleep(1000);
  expect(await speed.ms()).toBe(500);
  for (let minutes = 0; minutes < 5; minutes++) {
    await clock.sleep(60_000);
    expect(await speed.ms()).toBe(20);
  }
  expect(count).toBe(3);
});
