/**
 * Aim: what a report says is true of the table. Method: topologies whose promises are known, and
 * the exact count of survivable losses against trying every set of domains.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeviceId, GROUP_COUNT } from '../base/index.ts';
import {
  type Layout,
  nextLayout,
  reportLayout,
  type Topology,
  type TopologyDevice,
} from './index.ts';

function device(number: number, labels: readonly string[], weightBytes = 1000): TopologyDevice {
  const id = number.toString(16).padStart(32, '0') as DeviceId;
  return { id, number, weightBytes, state: 'in', labels };
}

function report(levels: readonly string[], devices: TopologyDevice[], width = 6, tolerance = 2) {
  return nextLayout(undefined, { epoch: 1, levels, devices }, { width, tolerance }).report;
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

describe('relaxed', () => {
  it('is empty where every rule is kept', () => {
    const devices = numbers(12).map((i) => device(i, [`rack-${i % 4}`, `server-${i}`]));
    expect(report(['rack', 'server'], devices)).toEqual({
      survives: [
        { level: 'rack', count: 1 },
        { level: 'server', count: 2 },
        { level: 'device', count: 2 },
      ],
      relaxed: [],
      movedPositions: 0,
    });
  });

  it('says that devices share one disk', () => {
    const shared = report(
      ['disk'],
      numbers(6).map((i) => device(i, ['sda'])),
    );
    expect(shared.survives).toEqual([
      { level: 'disk', count: 0 },
      { level: 'device', count: 2 },
    ]);
    expect(shared.relaxed).toEqual([
      '6 devices share 1 disk: losing that disk loses everything; add disks',
    ]);
  });

  it('says how many shards too few domains hold', () => {
    const two = numbers(8).map((i) => device(i, [`server-${i % 2}`]));
    expect(report(['server'], two).relaxed).toEqual([
      '8 devices share 2 servers: losing one can take 3 of 6 shards, 2 may be lost; ' +
        'add servers or even them out',
    ]);
  });

  it('says that devices are too few, and counts their lack as loss', () => {
    const five = numbers(5).map((i) => device(i, [`disk-${i}`]));
    expect(report(['disk'], five)).toMatchObject({
      survives: [
        { level: 'disk', count: 1 },
        { level: 'device', count: 1 },
      ],
      relaxed: ['5 devices for 6 shards: add 1'],
    });
    expect(report(['disk'], five.slice(0, 2)).survives[1]!.count).toBe(0);
  });

  it('says how much space the rules leave empty', () => {
    const lopsided = [8000, 1000, 1000].map((weight, i) => device(i, [`disk-${i}`], weight));
    expect(report(['disk'], lopsided, 2, 1).relaxed).toEqual([
      '60 % of the space stays empty: too much of it is in too few places; even it out',
    ]);
  });
});

describe('survives', () => {
  it('is the largest loss that no group feels', () => {
    const anyRow = fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 5, maxLength: 5 });
    fc.assert(
      fc.property(anyRow, fc.integer({ min: 0, max: 5 }), (row, tolerance) => {
        const devices = numbers(8).map((i) => device(i, [`rack-${i % 3}`]));
        const topology: Topology = { epoch: 1, levels: ['rack'], devices };
        const table = new Uint16Array(GROUP_COUNT * 5).map((_, slot) => row[slot % 5]!);
        const layout: Layout = { epoch: 1, width: 5, table };
        const racks = numbers(3).map((rack) => row.filter((n) => n % 3 === rack).length);
        const isSafe = (lost: number) =>
          numbers(8)
            .map((mask) => racks.filter((_, rack) => (mask >> rack) & 1))
            .filter((chosen) => chosen.length === lost)
            .every((chosen) => chosen.reduce((sum, count) => sum + count, 0) <= tolerance);
        const expected = [3, 2, 1, 0].find(isSafe);
        expect(reportLayout(layout, topology, { tolerance }).survives[0]!.count).toBe(expected);
      }),
      { numRuns: 60 },
    );
  });
});

it('counts moves against the layout before', () => {
  const devices = numbers(6).map((i) => device(i, []));
  const topology: Topology = { epoch: 1, levels: [], devices };
  const { layout } = nextLayout(undefined, topology, { width: 3, tolerance: 1 });
  const other = { ...layout, table: layout.table.map((number) => (number === 4 ? 5 : number)) };
  const moved = reportLayout(other, topology, { tolerance: 1, previous: layout }).movedPositions;
  expect(moved).toBe(layout.table.filter((number) => number === 4).length);
});
