/**
 * Aim: a stripe's devices and hand-off order follow the row of its group and the weights. Method:
 * a small topology and stripe ids counted up.
 */
import { describe, expect, it } from 'vitest';
import { type DeviceId, groupOf, parseScheme, stripeId, xxh64 } from '../base/index.ts';
import {
  handOffOrder,
  nearPlaces,
  nextLayout,
  NO_DEVICE,
  placeStripe,
  settledPlaces,
  type TopologyDevice,
} from './index.ts';

const SCHEME = parseScheme('rs-2+1');

function device(number: number, state: TopologyDevice['state'] = 'in'): TopologyDevice {
  const id = number.toString(16).padStart(32, '0') as DeviceId;
  return { id, number, weightBytes: number % 2 ? 3000 : 1000, state, labels: [] };
}

function clusterOf(devices: TopologyDevice[], width: number) {
  const topology = { epoch: 1, levels: [], devices };
  return { topology, layout: nextLayout(undefined, topology, { width, tolerance: 1 }).layout };
}

const stripes = Array.from({ length: 2000 }, (_, i) => {
  const digest = new Uint8Array(28);
  new DataView(digest.buffer).setBigUint64(0, xxh64(Uint8Array.of(i >> 8, i & 255)));
  return stripeId(digest);
});

const devices = Array.from({ length: 10 }, (_, i) =>
  device(i, i === 8 ? 'draining' : i === 9 ? 'out' : 'in'),
);
const idOf = (number: number) => devices[number]!.id;

describe('placeStripe', () => {
  it('gives the first n devices of the row', () => {
    const at = clusterOf(devices, 5);
    for (const stripe of stripes) {
      const start = groupOf(stripe) * 5;
      const row = [...at.layout.table.subarray(start, start + 3)];
      expect(placeStripe(at, stripe, SCHEME)).toEqual(row.map(idOf));
    }
  });

  it('leaves out what the layout does not have', () => {
    const two = clusterOf(devices.slice(0, 2), 4);
    expect(two.layout.table.includes(NO_DEVICE)).toBe(true);
    const places = placeStripe(two, stripes[0]!, parseScheme('rs-4+2'));
    expect(places.length).toBe(6);
    expect(new Set(places)).toEqual(new Set([idOf(0), idOf(1), undefined]));
  });
});

describe('handOffOrder', () => {
  it('is the rest of the row, then every other device that takes shards, each once', () => {
    const at = clusterOf(devices, 5);
    for (const stripe of stripes.slice(0, 200)) {
      const start = groupOf(stripe) * 5;
      const further = [...at.layout.table.subarray(start + 3, start + 5)].map(idOf);
      const order = handOffOrder(at, { stripe, scheme: SCHEME });
      expect(order.slice(0, 2)).toEqual(further);
      const all = [...placeStripe(at, stripe, SCHEME), ...order];
      expect(new Set(all)).toEqual(new Set(devices.slice(0, 8).map(({ id }) => id)));
      expect(all.length).toBe(8);
    }
  });

  it('spreads stripes over the others by weight, whatever order they are listed in', () => {
    const at = clusterOf(devices, 3);
    const reversed = { ...at, topology: { ...at.topology, devices: devices.toReversed() } };
    const counts = [0, 0];
    for (const stripe of stripes) {
      const order = handOffOrder(at, { stripe, scheme: SCHEME });
      expect(handOffOrder(reversed, { stripe, scheme: SCHEME })).toEqual(order);
      const others = new Set(order.map((id) => parseInt(id, 16)));
      // Where a light and a heavy device are both among the others, which comes first?
      if (others.has(0) && others.has(1)) {
        counts[order.indexOf(idOf(0)) < order.indexOf(idOf(1)) ? 0 : 1]! += 1;
      }
    }
    // Weights 1 : 3.
    expect(counts[1]! / (counts[0]! + counts[1]!)).toBeGreaterThan(0.7);
    expect(counts[1]! / (counts[0]! + counts[1]!)).toBeLessThan(0.8);
  });
});

describe('hand-off and failure domains', () => {
  const rs42 = parseScheme('rs-4+2');
  const LEVELS = ['rack', 'server', 'disk'];
  /** Two or more servers in each of three racks, each server with three stores, two on one disk. */
  const racks = [2, 3, 4].flatMap((serverCount, rack) =>
    Array.from({ length: serverCount * 3 }, (_, i) => [
      `rack-${rack}`,
      `server-${Math.floor(i / 3)}`,
      `disk-${Math.min(i % 3, 1)}`,
    ]),
  );
  const all = racks.map((labels, number) => ({ ...device(number), labels }));
  const topology = { epoch: 1, levels: LEVELS, devices: all };
  const { layout } = nextLayout(undefined, topology, { width: 6, tolerance: 2 });
  const at = { topology, layout };
  const mostIn = (ids: readonly DeviceId[], level: number): number => {
    const counts = new Map<string, number>();
    for (const id of ids) {
      const domain = all
        .find((each) => each.id === id)!
        .labels.slice(0, level + 1)
        .join('/');
      counts.set(domain, (counts.get(domain) ?? 0) + 1);
    }
    return Math.max(...counts.values());
  };

  /** Where the shards stand when devices are away, each in turn by the order. */
  function written(stripe: (typeof stripes)[number], isAway: (id: DeviceId) => boolean) {
    const row = placeStripe(at, stripe, rs42).map((id) => id!);
    const taken = row.filter((id) => !isAway(id));
    while (taken.length < 6) {
      const order = handOffOrder(at, { stripe, scheme: rs42, taken });
      const next = order.find((id) => !isAway(id));
      if (next === undefined) break;
      taken.push(next);
    }
    return taken;
  }

  it('no rack and no server gets more than may be lost, while there are others', () => {
    for (const stripe of stripes.slice(0, 500)) {
      for (const away of all) {
        // The server goes with all its stores.
        const server = away.labels.slice(0, 2).join('/');
        const isAway = (id: DeviceId): boolean =>
          all
            .find((each) => each.id === id)!
            .labels.slice(0, 2)
            .join('/') === server;
        const ids = written(stripe, isAway);
        expect(new Set(ids).size).toBe(6);
        expect(mostIn(ids, 0)).toBeLessThanOrEqual(2);
        expect(mostIn(ids, 1)).toBeLessThanOrEqual(2);
        expect(mostIn(ids, 2)).toBe(1);
      }
    }
  });

  it('with a rack less the servers stay apart all the same', () => {
    for (const stripe of stripes.slice(0, 500)) {
      const ids = written(stripe, (id) => parseInt(id, 16) < 6);
      expect(new Set(ids).size).toBe(6);
      expect(mostIn(ids, 1)).toBeLessThanOrEqual(2);
    }
  });

  it('leaves out what is taken, and names every other device once', () => {
    const taken = all.slice(0, 9).map(({ id }) => id);
    const order = handOffOrder(at, { stripe: stripes[0]!, scheme: rs42, taken });
    expect(order.toSorted()).toEqual(all.slice(9).map(({ id }) => id));
  });
});

describe('near-N', () => {
  const near = parseScheme('near-3');
  const at = clusterOf(devices, 5);
  const writing = (stripe: (typeof stripes)[number], isNear: (number: number) => boolean) => {
    const order = () => handOffOrder(at, { stripe, scheme: near });
    const about = { places: placeStripe(at, stripe, near), order, topology: at.topology };
    return nearPlaces(about, near, (id) => isNear(parseInt(id, 16)));
  };

  it('has one copy near the writer, and each device once', () => {
    for (const stripe of stripes.slice(0, 200)) {
      const row = placeStripe(at, stripe, near);
      for (const mine of [[0], [3, 4], [0, 1, 2, 3, 4, 5, 6, 7], []]) {
        const places = writing(stripe, (number) => mine.includes(number));
        expect(places.slice(0, 2)).toEqual(row.slice(0, 2));
        const taken = new Set(places.map((id) => id!));
        expect(taken.size).toBe(3);
        const handOff = handOffOrder(at, { stripe, scheme: near, taken });
        expect(new Set([...taken, ...handOff])).toEqual(
          new Set(devices.slice(0, 8).map(({ id }) => id)),
        );
        const ids = mine.map(idOf);
        expect(places.some((id) => ids.includes(id!))).toBe(mine.length > 0);
        const isNearAlready = row.slice(0, 2).some((id) => ids.includes(id!));
        if (isNearAlready || mine.length === 0) expect(places).toEqual(row);
      }
    }
  });

  const settled = (
    stripe: (typeof stripes)[number],
    holdersOf: (index: number) => DeviceId[],
    topology = at.topology,
  ) => {
    const order = () => handOffOrder(at, { stripe, scheme: near });
    return settledPlaces(
      { places: placeStripe(at, stripe, near), order, topology },
      near,
      holdersOf,
    );
  };

  it('is settled where its last copy is, unless another copy belongs there', () => {
    for (const stripe of stripes.slice(0, 200)) {
      const row = placeStripe(at, stripe, near);
      const places = writing(stripe, (number) => number === 7);
      expect(settled(stripe, (index) => [places[index]!])).toEqual(places);
      expect(settled(stripe, () => [])).toEqual(row);
      // On a device that has, or is to have, another copy it bears no loss of its own.
      expect(settled(stripe, (index) => (index === 2 ? [row[0]!] : []))).toEqual(row);
      const doubled = (index: number) => (index === 0 ? [idOf(7)] : [places[index]!]);
      if (places[2] === idOf(7)) expect(settled(stripe, doubled)).toEqual(row);
      // A device that is to be emptied does not keep it.
      const emptying = {
        ...at.topology,
        devices: devices.map((each) => (each === devices[7] ? device(7, 'draining') : each)),
      };
      const emptied = settled(stripe, (index) => [places[index]!], emptying);
      if (row[2] !== idOf(7)) expect(emptied).toEqual(row);
    }
  });

  it('has no two copies on a server while another server has none', () => {
    // Four servers in three racks, with six disks each, as wide a row as two policies need.
    const scheme = parseScheme('near-4');
    const racks = ['r1', 'r2', 'r3', 'r3'];
    const all = Array.from({ length: 24 }, (_, i) => ({
      ...device(i),
      weightBytes: 1000,
      labels: [racks[i % 4]!, `server-${i % 4}`, `disk-${i}`],
    }));
    const topology = { epoch: 1, levels: ['rack', 'server', 'disk'], devices: all };
    const { layout } = nextLayout(undefined, topology, { width: 9, tolerance: 2 });
    const serverOf = (id: DeviceId | undefined) => parseInt(id!, 16) % 4;
    for (const stripe of stripes.slice(0, 500)) {
      const row = placeStripe({ layout, topology }, stripe, scheme);
      const order = () => handOffOrder({ layout, topology }, { stripe, scheme });
      const about = { places: row, order, topology };
      const where = (places: readonly (DeviceId | undefined)[]) => new Set(places.map(serverOf));
      for (const writer of [0, 1, 2, 3]) {
        const written = nearPlaces(about, scheme, (id) => serverOf(id) === writer);
        expect(where(written)).toEqual(new Set([0, 1, 2, 3]));
        expect(settledPlaces(about, scheme, (index) => [written[index]!])).toEqual(written);
      }
      expect(where(settledPlaces(about, scheme, () => []))).toEqual(new Set([0, 1, 2, 3]));
      // Where an earlier layout put it beside another copy it does not stay.
      const beside = all.find(({ id }) => serverOf(id) === serverOf(row[0]) && id !== row[0])!.id;
      const holdersOf = (index: number) => [index === 3 ? beside : row[index]!];
      expect(where(settledPlaces(about, scheme, holdersOf))).toEqual(new Set([0, 1, 2, 3]));
    }
  });

  it('other schemes go by the row', () => {
    const places = placeStripe(at, stripes[0]!, SCHEME);
    const about = { places, order: () => [], topology: at.topology };
    expect(settledPlaces(about, SCHEME, () => [idOf(7)])).toBe(places);
  });
});
