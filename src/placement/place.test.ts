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
      const order = handOffOrder(at, stripe, SCHEME);
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
      const order = handOffOrder(at, stripe, SCHEME);
      expect(handOffOrder(reversed, stripe, SCHEME)).toEqual(order);
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

describe('near-N', () => {
  const near = parseScheme('near-3');
  const at = clusterOf(devices, 5);
  const writing = (stripe: (typeof stripes)[number], isNear: (number: number) => boolean) =>
    nearPlaces(
      { places: placeStripe(at, stripe, near), handOff: handOffOrder(at, stripe, near) },
      near,
      (id) => isNear(parseInt(id, 16)),
    );

  it('has one copy near the writer, and each device once', () => {
    for (const stripe of stripes.slice(0, 200)) {
      const row = placeStripe(at, stripe, near);
      for (const mine of [[0], [3, 4], [0, 1, 2, 3, 4, 5, 6, 7], []]) {
        const { places, handOff } = writing(stripe, (number) => mine.includes(number));
        expect(places.slice(0, 2)).toEqual(row.slice(0, 2));
        expect(new Set([...places, ...handOff]).size).toBe(places.length + handOff.length);
        expect(new Set([...places, ...handOff])).toEqual(
          new Set(devices.slice(0, 8).map(({ id }) => id)),
        );
        const ids = mine.map(idOf);
        expect(places.some((id) => ids.includes(id!))).toBe(mine.length > 0);
        const isNearAlready = row.slice(0, 2).some((id) => ids.includes(id!));
        if (isNearAlready || mine.length === 0) expect(places).toEqual(row);
      }
    }
  });

  const held = (holdersOf: (index: number) => DeviceId[]) => ({
    holdersOf,
    leaving: new Set<DeviceId>(),
  });

  it('is settled where its last copy is, unless another copy belongs there', () => {
    for (const stripe of stripes.slice(0, 200)) {
      const row = placeStripe(at, stripe, near);
      const { places } = writing(stripe, (number) => number === 7);
      const settled = settledPlaces(
        row,
        near,
        held((index) => [places[index]!]),
      );
      expect(settled).toEqual(places);
      expect(
        settledPlaces(
          row,
          near,
          held(() => []),
        ),
      ).toEqual(row);
      // On a device that has, or is to have, another copy it bears no loss of its own.
      const together = held((index) => (index === 2 ? [row[0]!] : []));
      expect(settledPlaces(row, near, together)).toEqual(row);
      const doubled = (index: number) => (index === 0 ? [idOf(7)] : [places[index]!]);
      if (places[2] === idOf(7)) expect(settledPlaces(row, near, held(doubled))).toEqual(row);
      // A device that is to be emptied does not keep it.
      const leaving = new Set([idOf(7)]);
      const emptied = settledPlaces(row, near, { ...held((index) => [places[index]!]), leaving });
      if (row[2] !== idOf(7)) expect(emptied).toEqual(row);
    }
  });

  it('other schemes go by the row', () => {
    const places = placeStripe(at, stripes[0]!, SCHEME);
    expect(
      settledPlaces(
        places,
        SCHEME,
        held(() => [idOf(7)]),
      ),
    ).toBe(places);
  });
});
