/**
 * Aim: with five fit nodes the ring has five seats and bears two losses, as content does; it grows
 * one learner at a time, and is not made smaller while one of five is only away. Method: real etcds
 * in this process. Skipped, and said so, where no etcd is installed.
 */
import { describe, expect, it } from 'vitest';
import { etcdProgram, RingBed } from '../../../test/suites/ring-bed.ts';
import { errorCode } from '../../base/index.ts';

if (!etcdProgram) console.warn('SKIPPED: the growth of the ring; install etcd-server (3.4–3.6)');
const { signal } = new AbortController();

describe.skipIf(!etcdProgram)('a ring among five nodes', { timeout: 90_000 }, () => {
  it('grows to five seats one by one, and bears two losses', async () => {
    await using bed = await RingBed.open(4);
    const keeper = bed.keeper(1, { graceMs: 600_000 });
    expect((await keeper.form(2, { signal })).members).toHaveLength(3);
    await bed.settle(keeper);
    expect(keeper.known!.members).toHaveLength(3);
    await bed.put(1, 'a', '1');

    await bed.start(5);
    const underWay: number[] = [];
    await bed.until('there are five', async () => {
      const outcome = await keeper.pass().catch(errorCode);
      const { members } = keeper.known!;
      underWay.push(members.filter(({ state }) => state !== 'member').length);
      return members.length === 5 && outcome === 'at rest';
    });
    expect(Math.max(...underWay)).toBe(1);

    await bed.stop(4);
    await bed.stop(5);
    await bed.put(1, 'b', '2');
    expect([await bed.get(2, 'a'), await bed.get(3, 'b')]).toEqual(['1', '2']);
    for (let count = 0; count < 3; count++) await keeper.pass().catch(errorCode);
    expect(keeper.known!.members).toHaveLength(5);
  });
});
