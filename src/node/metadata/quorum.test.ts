/**
 * Aim: whoever may go on from what is here sees every record that counts. Method: every set of
 * stores that may be here against every set of holders that counts, for small clusters on any
 * disks.
 */
import { describe, expect, it } from 'vitest';
import { type DeviceId, hexId } from '../../base/index.ts';
import { Quorum } from './quorum.ts';

const idOf = (index: number) => hexId<DeviceId>(new Uint8Array(16).fill(index + 1));

function devicesOn(disks: readonly number[]) {
  return disks.map((disk, index) => ({
    id: idOf(index),
    state: 'in' as const,
    labels: ['server', `disk-${disk}`],
  }));
}

function subsets(count: number): DeviceId[][] {
  const indices = Array.from({ length: count }, (_, index) => index);
  return Array.from({ length: 2 ** count }, (_, bits) =>
    indices.filter((index) => (bits >> index) & 1).map(idOf),
  );
}

describe('Quorum', () => {
  it('lets nobody go on who may have missed a record', () => {
    for (const disks of [
      [0],
      [0, 0],
      [0, 1],
      [0, 1, 2],
      [0, 0, 1],
      [0, 0, 0, 0],
      [0, 1, 2, 3, 4],
      [0, 0, 0, 1, 2],
      [0, 0, 1, 1, 2, 2],
      [0, 1, 2, 3, 4, 5],
      [0, 0, 0, 1, 1, 1, 2],
      [0, 1, 1, 2, 2, 2, 2, 3],
    ]) {
      const quorum = new Quorum(devicesOn(disks), 2);
      const all = subsets(disks.length);
      const present = all.filter((here) => quorum.isPresent(here));
      const kept = all.filter((holders) => quorum.isKept(holders));
      expect(present.length * kept.length).toBeGreaterThan(0);
      for (const here of present) {
        expect(kept.every((holders) => holders.some((id) => here.includes(id)))).toBe(true);
      }
    }
  });

  it('bears a minority, and no more than the tolerance', () => {
    const bears = (count: number) => new Quorum(devicesOn([...Array(count).keys()]), 2);
    const counts = [1, 2, 3, 4, 5, 6, 12];
    expect(counts.map((count) => bears(count).storesAwayMax)).toEqual([0, 0, 1, 1, 2, 2, 2]);
    expect(counts.map((count) => bears(count).copiesMin)).toEqual([1, 2, 2, 2, 3, 3, 3]);
  });

  it('does not count stores that are out, nor disks that nobody lies on', () => {
    const [first, ...others] = devicesOn([0, 1, 2, 3, 4]);
    const quorum = new Quorum([{ ...first!, state: 'out' }, ...others], 2);
    expect(quorum.memberCount).toBe(4);
    expect(quorum.isPresent([1, 2].map(idOf))).toBe(false);
    expect(quorum.isPresent([0, 1, 2].map(idOf))).toBe(false);
    expect(quorum.isPresent([1, 2, 3].map(idOf))).toBe(true);
    expect(quorum.isKept([0, 1].map(idOf))).toBe(false);
    expect(quorum.equals(new Quorum(others, 2))).toBe(true);
    expect(quorum.equals(new Quorum(devicesOn([0, 1, 2, 3, 4]), 2))).toBe(false);
  });
});
