/**
 * Aim: the rules of layouts hold for any topology and any history. Method: properties over random
 * trees, weights and changes, checked against the rules restated here by counting labels, not by
 * the code under test; then chosen topologies with their figures.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeviceId, GROUP_COUNT } from '../base/index.ts';
import { type Layout, nextLayout, NO_DEVICE, type Topology, type TopologyDevice } from './index.ts';

const LEVELS = ['rack', 'server'];

function device(number: number, labels: readonly string[], weightBytes = 1000): TopologyDevice {
  const id = number.toString(16).padStart(32, '0') as DeviceId;
  return { id, number, weightBytes, state: 'in', labels };
}

function topology(epoch: number, devices: readonly TopologyDevice[], levels = LEVELS): Topology {
  return { epoch, levels, devices };
}

/** `count` devices, dealt out to racks and servers in turn. */
function grid(count: number, racks: number, servers: number): TopologyDevice[] {
  return Array.from({ length: count }, (_, i) =>
    device(i, [`rack-${i % racks}`, `server-${Math.floor(i / racks) % servers}`]),
  );
}

function rowsOf({ table, width }: Layout): number[][] {
  return Array.from({ length: GROUP_COUNT }, (_, row) => [
    ...table.subarray(row * width, (row + 1) * width),
  ]);
}

function loadsOf(layout: Layout, columns = layout.width): Map<number, number> {
  const loads = new Map<number, number>();
  for (const row of rowsOf(layout)) {
    for (const number of row.slice(0, columns)) loads.set(number, (loads.get(number) ?? 0) + 1);
  }
  loads.delete(NO_DEVICE);
  return loads;
}

/** Positions that had to move: what each device must give up to come to its new load. */
function demandedMoves(before: Layout, after: Layout): number {
  const loads = loadsOf(after);
  return [...loadsOf(before, after.width)].reduce(
    (sum, [number, load]) => sum + Math.max(0, load - (loads.get(number) ?? 0)),
    0,
  );
}

/** Names of the domains of each level that a device lies in. */
function domainsOf({ labels }: TopologyDevice): string[] {
  return labels.map((_, level) => labels.slice(0, level + 1).join('/'));
}

function countBy<Item>(items: readonly Item[], key: (item: Item) => string): number[] {
  return Object.values(Object.groupBy(items, key)).map((group) => group!.length);
}

/** The largest number of positions of one row in one domain of each level. */
function crowding(layout: Layout, { devices, levels }: Topology): number[] {
  const byNumber = new Map(devices.map((each) => [each.number, domainsOf(each)]));
  const worst = levels.map(() => 0);
  for (const row of rowsOf(layout)) {
    const held = row.flatMap((number) => (number === NO_DEVICE ? [] : [byNumber.get(number)!]));
    for (const level of levels.keys()) {
      worst[level] = Math.max(worst[level]!, ...countBy(held, (domains) => domains[level]!));
    }
  }
  return worst;
}

interface Case {
  readonly width: number;
  readonly tolerance: number;
  readonly topologies: readonly Topology[];
}

const anyDevice = fc.record({
  labels: fc.tuple(
    fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    fc.constantFrom('1', '2', '3', '4', '5', '6'),
  ),
  weightBytes: fc.oneof(fc.constant(1000), fc.integer({ min: 1, max: 9000 })),
  states: fc.array(fc.constantFrom('in', 'in', 'in', 'draining', 'out'), {
    minLength: 3,
    maxLength: 3,
  }),
});

/** A cluster through three epochs: devices come (not yet there = left out), drain and go. */
const anyCase: fc.Arbitrary<Case> = fc
  .record({
    width: fc.integer({ min: 1, max: 9 }),
    tolerance: fc.integer({ min: 0, max: 4 }),
    devices: fc.array(anyDevice, { minLength: 1, maxLength: 20 }),
    late: fc.integer({ min: 0, max: 4 }),
  })
  .map(({ width, tolerance, devices, late }) => ({
    width,
    tolerance,
    topologies: [0, 1, 2].map((epoch) =>
      topology(
        epoch + 1,
        devices.slice(0, Math.max(1, devices.length - (2 - epoch) * late)).map((each, i) => ({
          ...device(i, each.labels, each.weightBytes),
          state: each.states[epoch] as TopologyDevice['state'],
        })),
      ),
    ),
  }));

/**
 * Most positions that the first ones of a row may have in a domain: the fewest that will do on a
 * server, then, with that, in a rack. By length, at most `tolerance + 1`.
 */
function prefixRooms({ devices }: Topology, length: number): number[][] {
  const takers = devices.filter(({ state }) => state === 'in');
  const racks = Object.values(Object.groupBy(takers, (each) => domainsOf(each)[0]!)).map((rack) =>
    countBy(rack!, (each) => domainsOf(each)[1]!),
  );
  const sum = (counts: readonly number[], most: number) =>
    counts.reduce((total, count) => total + Math.min(count, most), 0);
  const least = (count: number, fits: (room: number) => number) => {
    let room = 1;
    while (fits(room) < count) room += 1;
    return room;
  };
  const rooms: number[][] = [];
  for (let count = 1; count <= Math.min(length, takers.length); count++) {
    const server = least(count, (room) => sum(racks.flat(), room));
    const sizes = racks.map((servers) => sum(servers, server));
    const rack = least(count, (room) => sum(sizes, room));
    rooms.push([rack, server].map((room, level) => Math.max(room, rooms.at(-1)?.[level] ?? 1)));
  }
  return rooms;
}

/** Where a row breaks the rule for its first positions. */
function unspread(row: readonly number[], { devices }: Topology, rooms: number[][]): number {
  const byNumber = new Map(devices.map((each) => [each.number, domainsOf(each)]));
  return rooms.findIndex((most, i) => {
    const held = row.slice(0, i + 1).map((number) => byNumber.get(number)!);
    return most.some((room, level) => Math.max(...countBy(held, (each) => each[level]!)) > room);
  });
}

/** The largest room with which the report's promise for a level would still be kept. */
function promisedRooms({ topologies, width, tolerance }: Case, layout: Layout): number[] {
  const last = topologies.at(-1)!;
  const devices = last.devices.filter(({ state }) => state === 'in');
  const filled = Math.min(width, devices.length);
  return crowding(layout, last).map((worst, level) => {
    const sizes = countBy(devices, (each) => domainsOf(each)[level]!);
    const room = Math.max(1, tolerance);
    const fit = sizes.reduce((sum, size) => sum + Math.min(size, room), 0);
    return fit >= filled ? room : worst;
  });
}

function layoutsOf({ topologies, width, tolerance }: Case): Layout[] {
  const layouts: Layout[] = [];
  for (const each of topologies) {
    layouts.push(nextLayout(layouts.at(-1), each, { width, tolerance }).layout);
  }
  return layouts;
}

/** A swap in one row that takes from the fullest device and leaves the taker less full still. */
function findBetterSwap(
  at: Topology,
  layout: Layout,
  { rooms, prefixes }: { readonly rooms: number[]; readonly prefixes: number[][] },
): string | undefined {
  const { devices } = at;
  const takers = devices.filter(({ state }) => state === 'in');
  const loads = loadsOf(layout);
  const fullness = ({ number, weightBytes }: TopologyDevice, more = 0) =>
    ((loads.get(number) ?? 0) + more) / weightBytes;
  if (takers.length === 0) return undefined;
  const fullest = takers.reduce((a, b) => (fullness(b) > fullness(a) ? b : a));
  // Shares are held to whole positions per row where rounding alone would pass them: two positions.
  const emptier = takers.filter((each) => fullness(each, 2) < fullness(fullest));
  const byNumber = new Map(takers.map((each) => [each.number, each]));
  for (const [row, numbers] of rowsOf(layout).entries()) {
    if (!numbers.includes(fullest.number)) continue;
    const others = numbers.flatMap((n) => (n === fullest.number ? [] : (byNumber.get(n) ?? [])));
    const isLegal = (taker: TopologyDevice) =>
      !others.includes(taker) &&
      unspread(
        numbers.map((n) => (n === fullest.number ? taker.number : n)),
        at,
        prefixes,
      ) === -1 &&
      rooms.every((room, level) => {
        const domain = domainsOf(taker)[level];
        return others.filter((each) => domainsOf(each)[level] === domain).length < room;
      });
    const taker = emptier.find(isLegal);
    if (taker) return `row ${row}: ${fullest.number} → ${taker.number}`;
  }
  return undefined;
}

describe('any topology, any history', () => {
  it('keeps the rules', () => {
    fc.assert(
      fc.property(anyCase, (example) => {
        const { topologies, width } = example;
        const layout = layoutsOf(example).at(-1)!;
        const last = topologies.at(-1)!;
        const takers = new Set(
          last.devices.filter(({ state }) => state === 'in').map(({ number }) => number),
        );
        for (const row of rowsOf(layout)) {
          const held = row.filter((number) => number !== NO_DEVICE);
          expect(held.length).toBe(Math.min(width, takers.size));
          expect(row.slice(0, held.length)).toEqual(held);
          expect(new Set(held).size).toBe(held.length);
          expect(held.every((number) => takers.has(number))).toBe(true);
        }
        const rooms = promisedRooms(example, layout);
        const crowded = crowding(layout, last);
        expect(crowded.every((worst, level) => worst <= rooms[level]!)).toBe(true);
        const prefixes = prefixRooms(last, Math.min(width, example.tolerance + 1));
        expect(rowsOf(layout).find((row) => unspread(row, last, prefixes) !== -1)).toBeUndefined();
        expect(findBetterSwap(last, layout, { rooms, prefixes })).toBeUndefined();
      }),
      { numRuns: 15 },
    );
  });

  it('makes the same table from the same input, in whatever order devices are listed', () => {
    fc.assert(
      fc.property(anyCase, (example) => {
        const reversed = {
          ...example,
          topologies: example.topologies.map((each) => ({
            ...each,
            devices: each.devices.toReversed(),
          })),
        };
        expect(layoutsOf(reversed)).toEqual(layoutsOf(example));
      }),
      { numRuns: 4 },
    );
  });

  it('stays as it is when nothing has changed', () => {
    fc.assert(
      fc.property(anyCase, (example) => {
        const { topologies, width, tolerance } = example;
        const layout = layoutsOf(example).at(-1)!;
        const last = topologies.at(-1)!;
        const again = nextLayout(layout, { ...last, epoch: 9 }, { width, tolerance });
        expect(again.report.movedPositions).toBe(0);
        expect(again.layout.table).toEqual(layout.table);
      }),
      { numRuns: 6 },
    );
  });
});

describe('moves', () => {
  const options = { width: 6, tolerance: 2 };

  it.each([
    { name: 'flat', devices: grid(12, 12, 1) },
    { name: '4 racks of 3 servers', devices: grid(24, 4, 3) },
    { name: '48 devices', devices: grid(48, 6, 4) },
  ])('are exactly what the shares demand when a device joins: $name', ({ devices }) => {
    const before = nextLayout(undefined, topology(1, devices), options).layout;
    const joined = [...devices, device(900, ['rack-1', 'server-1'])];
    const { layout, report } = nextLayout(before, topology(2, joined), options);
    const fairLoad = (GROUP_COUNT * options.width) / joined.length;
    expect(Math.abs(loadsOf(layout).get(900)! - fairLoad)).toBeLessThan(1);
    expect(report.movedPositions).toBe(loadsOf(layout).get(900));
  });

  // Chains of moves, and exchanges in a row for its first positions: at most 5 % on top.
  it.each([
    { name: 'flat', devices: grid(12, 12, 1) },
    { name: '4 racks of 3 servers', devices: grid(24, 4, 3) },
    { name: '48 devices', devices: grid(48, 6, 4) },
  ])('are what the shares demand when a device is out: $name', ({ devices }) => {
    const before = nextLayout(undefined, topology(1, devices), options).layout;
    const gone = devices.map(
      (each) => ({ ...each, state: each.number === 5 ? 'out' : 'in' }) as const,
    );
    const { layout, report } = nextLayout(before, topology(2, gone), options);
    expect(loadsOf(layout).has(5)).toBe(false);
    const lost = loadsOf(before).get(5)!;
    expect(demandedMoves(before, layout)).toBe(lost);
    expect(report.movedPositions).toBeGreaterThanOrEqual(lost);
    expect(report.movedPositions).toBeLessThanOrEqual(lost * 1.05);
  });

  it('fill a new rack with what each other rack gives up', () => {
    const devices = grid(30, 5, 2);
    const before = nextLayout(undefined, topology(1, devices), options).layout;
    const rack = Array.from({ length: 6 }, (_, i) =>
      device(50 + i, ['rack-new', `server-${i % 2}`]),
    );
    const { layout, report } = nextLayout(before, topology(2, [...devices, ...rack]), options);
    expect(demandedMoves(before, layout)).toBe(GROUP_COUNT);
    expect(report.movedPositions).toBeGreaterThanOrEqual(GROUP_COUNT);
    expect(report.movedPositions).toBeLessThanOrEqual(GROUP_COUNT * 1.01);
    // One in each rack would be the most even; two are in the room, where one more would cost
    // moves.
    expect(crowding(layout, topology(2, [...devices, ...rack]))[0]).toBeLessThanOrEqual(2);
  });

  it('are none when rows become wider', () => {
    const devices = grid(24, 4, 3);
    const before = nextLayout(undefined, topology(1, devices), options).layout;
    const wider = nextLayout(before, topology(2, devices), { width: 10, tolerance: 3 });
    expect(wider.report.movedPositions).toBe(0);
    expect(rowsOf(wider.layout).map((row) => row.slice(0, 6))).toEqual(rowsOf(before));
  });
});

describe('prefixes', () => {
  it.each([2, 3, 6, 10])('of %i columns load devices by weight', (columns) => {
    const devices = grid(40, 5, 4).map((each, i) => ({
      ...each,
      weightBytes: 1000 + (i % 4) * 1000,
    }));
    const { layout } = nextLayout(undefined, topology(1, devices), { width: 14, tolerance: 4 });
    const loads = loadsOf(layout, columns);
    const weight = devices.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
    for (const { number, weightBytes } of devices) {
      const fair = (GROUP_COUNT * columns * weightBytes) / weight;
      expect(Math.abs(loads.get(number)! / fair - 1)).toBeLessThan(0.02);
    }
  });

  it('are spread over as many racks and servers as there are', () => {
    const devices = grid(40, 5, 4);
    const { layout } = nextLayout(undefined, topology(1, devices), { width: 14, tolerance: 4 });
    const spreadOf = (columns: number) => {
      const table = Uint16Array.from(rowsOf(layout).flatMap((row) => row.slice(0, columns)));
      return crowding({ ...layout, width: columns, table }, topology(1, devices));
    };
    // 5 racks, 20 servers: n positions need ⌈n / 5⌉ in a rack, one on a server.
    expect([2, 5, 6, 10, 14].map(spreadOf)).toEqual([
      [1, 1],
      [1, 1],
      [2, 1],
      [2, 1],
      [3, 1],
    ]);
  });

  // What stood on one machine first: three copies of which two have other places now.
  it('come to stand on a server that has joined, at few moves beside those of its share', () => {
    const before = [0, 1, 2, 3, 4, 5].map((i) => device(i, ['a', `${i % 2}`]));
    const options = { width: 4, tolerance: 2 };
    let { layout } = nextLayout(undefined, topology(1, before), options);
    const joined = [6, 7, 8].map((i) => device(i, ['a', '2']));
    const now = topology(2, [...before, ...joined]);
    const { report, ...next } = nextLayout(layout, now, options);
    const rooms = prefixRooms(now, 3);
    expect(rooms).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
    ]);
    expect(rowsOf(next.layout).filter((row) => unspread(row, now, rooms) !== -1)).toEqual([]);
    expect(report.movedPositions).toBeLessThanOrEqual(1.3 * demandedMoves(layout, next.layout));
    // One of two that goes takes at most two of three with it, and all there are come first.
    layout = next.layout;
    const gone = topology(
      3,
      now.devices.map((each) => ({ ...each, state: each.labels[1] === '0' ? 'out' : 'in' })),
    );
    layout = nextLayout(layout, gone, options).layout;
    const two = prefixRooms(gone, 3);
    expect(two.at(-1)![1]).toBe(2);
    expect(rowsOf(layout).filter((row) => unspread(row, gone, two) !== -1)).toEqual([]);
  });

  it('stay fair as devices join and leave', () => {
    let devices = grid(12, 4, 3);
    let { layout } = nextLayout(undefined, topology(1, devices), { width: 6, tolerance: 2 });
    for (let epoch = 2; epoch < 10; epoch++) {
      const joining = device(100 + epoch, [`rack-${epoch % 4}`, `server-${epoch % 3}`]);
      devices = [...(epoch % 3 === 0 ? devices.slice(1) : devices), joining];
      layout = nextLayout(layout, topology(epoch, devices), { width: 6, tolerance: 2 }).layout;
    }
    const loads = loadsOf(layout, 2);
    const fair = (GROUP_COUNT * 2) / devices.length;
    for (const { number } of devices) {
      expect(Math.abs(loads.get(number)! / fair - 1)).toBeLessThan(0.2);
    }
  });
});

describe('shares', () => {
  it('of a lopsided rack are what its rooms give, spread over its devices by weight', () => {
    // Rack a has ten devices, b and c three each; a row has at most two positions in a rack.
    const racks = { a: 10, b: 3, c: 3 };
    const devices = Object.entries(racks).flatMap(([rack, count], r) =>
      Array.from({ length: count }, (_, i) => device(r * 10 + i, [rack])),
    );
    const at = (epoch: number, list: TopologyDevice[]) => topology(epoch, list, ['rack']);
    const first = nextLayout(undefined, at(1, devices), { width: 6, tolerance: 2 });
    const loads = loadsOf(first.layout);
    for (const { number, labels } of devices) {
      const fair = (GROUP_COUNT * 2) / racks[labels[0] as keyof typeof racks];
      expect(Math.abs(loads.get(number)! - fair)).toBeLessThan(1);
    }
    // A new device in b takes its part of b's room, and from b alone.
    const joined = at(2, [...devices, device(99, ['b'])]);
    const { layout, report } = nextLayout(first.layout, joined, { width: 6, tolerance: 2 });
    expect(loadsOf(layout).get(99)).toBe(GROUP_COUNT / 2);
    expect(report.movedPositions).toBe(GROUP_COUNT / 2);
  });

  it('of a device too large for one position of a row go to the others by weight', () => {
    const devices = [9000, 1000, 1000, 2000].map((weight, i) => device(i, [`${i}`, '1'], weight));
    const { layout } = nextLayout(undefined, topology(1, devices), { width: 2, tolerance: 1 });
    expect([...loadsOf(layout)].toSorted(([a], [b]) => a - b)).toEqual([
      [0, 4096],
      [1, 1024],
      [2, 1024],
      [3, 2048],
    ]);
  });

  it('let each pair of devices meet in rows, so that many help to rebuild one', () => {
    const devices = grid(24, 24, 1);
    const { layout } = nextLayout(undefined, topology(1, devices), { width: 6, tolerance: 2 });
    const meetings = new Map<number, number>();
    for (const row of rowsOf(layout)) {
      if (!row.includes(0)) continue;
      for (const number of row) meetings.set(number, (meetings.get(number) ?? 0) + 1);
    }
    const expected = (loadsOf(layout).get(0)! * 5) / 23;
    for (const number of devices.keys()) {
      expect(meetings.get(number)!).toBeGreaterThan(expected / 2);
      if (number !== 0) expect(meetings.get(number)!).toBeLessThan(expected * 2);
    }
  });
});

describe('edges', () => {
  it('an empty topology and a width of 0 give empty layouts', () => {
    const none = nextLayout(undefined, topology(1, []), { width: 3, tolerance: 1 });
    expect(none.layout.table.every((number) => number === NO_DEVICE)).toBe(true);
    const narrow = nextLayout(undefined, topology(1, grid(4, 2, 2)), { width: 0, tolerance: 1 });
    expect(narrow.layout.table.length).toBe(0);
    expect(narrow.report.survives.every(({ count }) => count === 0)).toBe(true);
  });

  it('200 devices at width 14 keep every promise', () => {
    const devices = grid(200, 10, 5).map((each, i) => ({
      ...each,
      weightBytes: 1000 * (1 + (Math.floor(i / 50) % 4)),
    }));
    const { layout, report } = nextLayout(undefined, topology(1, devices), {
      width: 14,
      tolerance: 4,
    });
    expect(crowding(layout, topology(1, devices))).toEqual([2, 1]);
    expect(report.survives).toEqual([
      { level: 'rack', count: 2 },
      { level: 'server', count: 4 },
      { level: 'device', count: 4 },
    ]);
  });
});

it('fills rows though weights are so unlike that no prefix of them can be spread', () => {
  const places = ['a/1', 'a/1', 'a/1', 'd/1', 'e/1', 'a/3', 'd/1'];
  const devices = places.map((place, number) => ({
    id: `${number}`.padStart(32, '0') as DeviceId,
    number,
    weightBytes: place.startsWith('a') ? 1000 : 1,
    state: 'in' as const,
    labels: place.split('/'),
  }));
  const topology = { epoch: 1, levels: ['rack', 'server'], devices };
  const { layout } = nextLayout(undefined, topology, { width: 6, tolerance: 3 });
  expect(layout.table).not.toContain(NO_DEVICE);
});
