/**
 * Aim: the topology changes by whole epochs, whoever changes it, and nothing is given twice.
 * Method: clusters over one memory registry, with and without lost messages; races of several
 * nodes; damaged records.
 */
import { describe, expect, it } from 'vitest';
import { type DeviceId, errorCode, type NodeId, parseScheme, stripeId } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import { MemoryRegistry, type Registry } from '../log/index.ts';
import { decodeTopology, encodeTopology, NO_DEVICE } from '../placement/index.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { DEFAULT_LABEL, LEVELS, openCluster } from './index.ts';

const env = realEnv();
const STRIPE = stripeId(new Uint8Array(28).fill(0x5a));

const nodeId = (number: number) => number.toString(16).padStart(32, 'f') as NodeId;
const deviceId = (number: number) => number.toString(16).padStart(32, '0') as DeviceId;

function stated(number: number, state: 'in' | 'draining' | 'out' = 'in', weightBytes = 1000) {
  return { id: deviceId(number), weightBytes, state, labels: ['here', `disk-${number}`] };
}

async function open(registry: Registry, node = 1) {
  return await openCluster({ env, registry, node: nodeId(node), tolerance: 2 });
}

const six = [1, 2, 3, 4, 5, 6].map((number) => stated(number));

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: unknown) => errorCode(error),
  );
}

describe('a cluster on one machine', () => {
  it('is empty at first, and writes nothing', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    expect(cluster.topology()).toEqual({ epoch: 0, levels: LEVELS, devices: [] });
    expect(cluster.place(STRIPE, parseScheme('rs-4+2'))).toEqual(Array(6).fill(undefined));
    expect(await registry.list('')).toEqual([]);
  });

  it('places stripes once it has devices and a width', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices(six);
    await cluster.ensureWidth(4);
    expect(cluster.topology().epoch).toBe(2);
    expect(cluster.layout()).toMatchObject({ epoch: 2, width: 4 });
    const places = cluster.place(STRIPE, parseScheme('rs-2+2'));
    const all = [...places, ...cluster.handOff(STRIPE, parseScheme('rs-2+2'))];
    expect(new Set(all)).toEqual(new Set(six.map(({ id }) => id)));
    expect(all.length).toBe(six.length);
  });

  it('is the same after it was opened again', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices(six);
    await cluster.ensureWidth(6);
    const again = await openCluster({
      env,
      registry,
      node: nodeId(1),
      tolerance: 2,
      levels: ['rack'], // heeded in new clusters only
    });
    expect(again.topology()).toEqual(cluster.topology());
    expect(again.layout()).toEqual(cluster.layout());
  });

  it('makes an epoch only when something changes', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices(six);
    await cluster.ensureWidth(6);
    const before = await registry.list('');
    await cluster.setDevices(six.toReversed());
    await cluster.ensureWidth(3);
    expect(await registry.list('')).toEqual(before);
  });

  it('keeps the number of a device and never gives it again', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices([stated(1), stated(2)]);
    await cluster.setDevices([stated(1, 'out'), stated(3)]);
    await cluster.setDevices([stated(1, 'in', 7)]);
    const numbers = new Map(cluster.topology().devices.map(({ id, number }) => [id, number]));
    expect(numbers).toEqual(
      new Map([
        [deviceId(1), 0],
        [deviceId(2), 1],
        [deviceId(3), 2],
      ]),
    );
    const first = cluster.topology().devices.find(({ id }) => id === deviceId(1));
    expect(first).toMatchObject({ state: 'in', weightBytes: 7 });
  });

  it('takes positions from devices that drain or are out', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices([...six, stated(7)]);
    await cluster.ensureWidth(4);
    await cluster.setDevices([stated(2, 'out'), stated(3, 'draining')]);
    const held = new Set(cluster.layout().table);
    expect(held).toEqual(new Set([0, 3, 4, 5, 6]));
    await cluster.setDevices([stated(1, 'out'), stated(4, 'out'), stated(5, 'out')]);
    expect(new Set(cluster.layout().table)).toEqual(new Set([5, 6, NO_DEVICE]));
    expect((await registry.list('topology/')).length).toBe(2);
  });

  it('keeps the layouts of the last few epochs and no more', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    for (let number = 1; number <= 9; number++) await cluster.setDevices([stated(number)]);
    const kept = (await registry.list('layout/')).map(({ key }) => key.split('/')[1]);
    expect(new Set(kept)).toEqual(new Set(['6', '7', '8', '9']));
    expect((await open(registry)).layout()).toEqual(cluster.layout());
  });

  it('refuses what cannot be', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices(six);
    const [one] = six;
    const id = 'short' as DeviceId;
    const refusals = [
      cluster.setDevices([one!, one!]),
      cluster.setDevices([{ ...one!, id }]),
      cluster.setDevices([{ ...one!, labels: [] }]),
      cluster.setDevices([{ ...one!, labels: 'a/b/c/d/e/f/g'.split('/') }]),
      cluster.setDevices([{ ...one!, labels: ['here', ''] }]),
      cluster.setDevices([{ ...one!, weightBytes: -1 }]),
      cluster.setDevices([{ ...one!, weightBytes: 0.5 }]),
    ];
    expect(await Promise.all(refusals.map(codeOf))).toEqual(refusals.map(() => 'HF_BAD_ARGUMENT'));
    expect(await codeOf(cluster.ensureWidth(7))).toBe('HF_BAD_SCHEME');
    expect(await codeOf(cluster.ensureWidth(256))).toBe('HF_BAD_SCHEME');
    expect(cluster.topology().epoch).toBe(1);
  });

  it('refuses pieces that have too few devices also when the rows are wide enough', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices(six);
    await cluster.ensureWidth(9, 0); // copies, of which there may be fewer
    expect(cluster.layout().width).toBe(6); // and no positions for which there are none
    expect(await codeOf(cluster.ensureWidth(8, 8))).toBe('HF_BAD_SCHEME');
    await cluster.ensureWidth(6);
    const other = await open(registry);
    await other.setDevices([...six, stated(7), stated(8)]);
    await cluster.ensureWidth(8, 8); // which it has not heard of before
    expect(cluster.topology().devices.length).toBe(8);
    expect(cluster.layout().width).toBe(8);
    await other.setDevices(Array.from({ length: 12 }, (_, i) => stated(i + 1)));
    await cluster.refresh();
    expect(cluster.layout().width).toBe(9); // as wanted before
    await cluster.setDevices([
      stated(12, 'out'),
      stated(11, 'out'),
      stated(10, 'out'),
      stated(9, 'out'),
    ]);
    for (let row = 0; row < 9 * 64; row += 9) {
      const positions = cluster.layout().table.subarray(row, row + 8);
      expect(positions.includes(NO_DEVICE)).toBe(false);
    }
  });

  it('refuses many times more copies than there are stores', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices(six);
    expect(await codeOf(cluster.ensureWidth(100, 0))).toBe('HF_BAD_SCHEME');
    expect(cluster.layout().width).toBe(0);
  });
});

describe('a cluster of several nodes', () => {
  it('keeps every change of a race', async () => {
    await using registry = new MemoryRegistry({ env, faults: { delayMsMax: 2 } });
    const clusters = await Promise.all([1, 2, 3].map((node) => open(registry, node)));
    await Promise.all(
      clusters.flatMap((cluster, i) => [
        cluster.setDevices([stated(10 * i), stated(10 * i + 1)]),
        cluster.setDevices([stated(10 * i + 2)]),
      ]),
    );
    const last = await open(registry, 4);
    const { epoch, devices } = last.topology();
    expect(epoch).toBe(6);
    expect(devices.map(({ id }) => id).toSorted()).toEqual(
      [0, 1, 2, 10, 11, 12, 20, 21, 22].map(deviceId).toSorted(),
    );
    expect(devices.map(({ number }) => number).toSorted((a, b) => a - b)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8,
    ]);
    // The records of lost races are gone: the root, three slices, four layouts.
    expect((await registry.list('')).length).toBe(8);
  });

  it('knows whose a device is, and gives it to the node that states it', async () => {
    await using registry = new MemoryRegistry();
    const mine = await open(registry, 1);
    await mine.setDevices([stated(1), stated(2)]);
    const yours = await open(registry, 2);
    await yours.setDevices([stated(2), stated(3)]);
    const numbersOf = (node: number) =>
      yours.devicesOf(nodeId(node)).map(({ id, number }) => [id, number]);
    expect(numbersOf(1)).toEqual([[deviceId(1), 0]]);
    expect(numbersOf(2)).toEqual([
      [deviceId(2), 1],
      [deviceId(3), 2],
    ]);
    expect(yours.nodeOf(deviceId(2))).toBe(nodeId(2));
    expect(yours.nodeOf(deviceId(9))).toBeUndefined();
    // What is out stays where it is.
    await mine.setDevices([stated(2, 'out')]);
    expect(mine.nodeOf(deviceId(2))).toBe(nodeId(2));
  });

  it('puts the devices of a node out and back', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry, 1);
    await cluster.setDevices([stated(1), stated(2, 'draining')]);
    const states = () => cluster.devicesOf(nodeId(1)).map(({ state }) => state);
    await cluster.setNodeDevices(nodeId(1), 'in');
    expect(states()).toEqual(['in', 'draining']);
    await cluster.setNodeDevices(nodeId(1), 'draining');
    expect(states()).toEqual(['draining', 'draining']);
    await cluster.setNodeDevices(nodeId(1), 'out');
    await cluster.setNodeDevices(nodeId(1), 'draining');
    expect(states()).toEqual(['out', 'out']);
    await cluster.setNodeDevices(nodeId(1), 'in');
    expect(states()).toEqual(['in', 'in']);
    const { epoch } = cluster.topology();
    await cluster.setNodeDevices(nodeId(7), 'out');
    await cluster.setNodeDevices(nodeId(1), 'in');
    expect(cluster.topology().epoch).toBe(epoch);
  });

  it('sees a new epoch when it looks, and within a second when it follows', async () => {
    await using registry = new MemoryRegistry();
    const virtual = virtualEnv(1);
    const reader = await openCluster({ env: virtual, registry, node: nodeId(2), tolerance: 2 });
    const writer = await open(registry, 1);
    await writer.setDevices([stated(1)]);
    expect(reader.topology().epoch).toBe(0);
    await reader.refresh();
    expect(reader.topology()).toEqual(writer.topology());
    const topology = reader.topology();
    await reader.refresh();
    expect(reader.topology()).toBe(topology);
    const end = new AbortController();
    const following = reader.follow({ signal: end.signal });
    await writer.setDevices([stated(2)]);
    await virtual.clock.sleep(1000);
    expect(reader.topology().epoch).toBe(2);
    end.abort();
    await following;
  });

  it('comes through lost messages with nothing applied twice', async () => {
    const faults = { lostRequestPercent: 0, lostReplyPercent: 0 };
    await using registry = new MemoryRegistry({ env, faults });
    const cluster = await open(registry);
    Object.assign(faults, { lostRequestPercent: 10, lostReplyPercent: 10 });
    for (let number = 0; number < 12; number++) {
      // A lost answer to a question is the caller's to ask again.
      for (;;) {
        const code = await codeOf(cluster.setDevices([stated(number)]));
        if (code === undefined) break;
        expect(code).toBe('HF_TIMEOUT');
      }
    }
    Object.assign(faults, { lostRequestPercent: 0, lostReplyPercent: 0 });
    const { epoch, devices } = (await open(registry)).topology();
    expect(epoch).toBe(12);
    expect(devices.map(({ number }) => number)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });
});

describe('levels', () => {
  const OLD = ['server', 'disk'];
  const old = { env, node: nodeId(1), tolerance: 2, levels: OLD };

  it('of an older cluster become six at its home, and nothing moves', async () => {
    await using registry = new MemoryRegistry();
    const before = await openCluster({ ...old, registry });
    await before.setDevices(six);
    await (await openCluster({ ...old, registry, node: nodeId(2) })).setDevices([stated(7)]);
    await before.ensureWidth(4);
    const elsewhere = await open(registry, 3);
    expect(elsewhere.topology()).toEqual(before.topology());
    const home = await openCluster({ ...old, registry, levels: LEVELS, isMigrating: true });
    const { epoch, levels, devices } = home.topology();
    expect(levels).toEqual(LEVELS);
    expect(epoch).toBe(before.topology().epoch + 1);
    expect(devices[0]?.labels).toEqual([...Array(4).fill(DEFAULT_LABEL), 'here', 'disk-1']);
    expect(home.layout().table).toEqual(before.layout().table);
    await elsewhere.refresh();
    expect(elsewhere.topology()).toEqual(home.topology());
    const again = await openCluster({ ...old, registry, levels: LEVELS, isMigrating: true });
    expect(again.topology().epoch).toBe(epoch);
    expect(again.topology()).toEqual((await open(registry, 3)).topology());
  });

  it('are filled up when a node states the narrow ones alone', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    const rack = ['dc', 'eu', 'z1', 'r1', 'here', 'disk-2'];
    await cluster.setDevices([stated(1), { ...stated(2), labels: rack }]);
    const labels = cluster.topology().devices.map((device) => device.labels);
    expect(labels).toEqual([[...Array(4).fill(DEFAULT_LABEL), 'here', 'disk-1'], rack]);
    await cluster.setDevices([stated(1)]);
    expect(cluster.topology().epoch).toBe(1);
  });

  it('of a slice that an older release wrote meanwhile are read as they are now', async () => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices([stated(1)]);
    const [slice] = await registry.list('topology/node/');
    const { epoch, devices } = decodeTopology(slice!.value);
    const narrow = devices.map((device) => ({ ...device, labels: device.labels.slice(-2) }));
    const bytes = encodeTopology({ epoch, levels: OLD, devices: narrow });
    await registry.compareAndSet(slice!.key, slice!.version, bytes);
    expect((await open(registry)).topology()).toEqual(cluster.topology());
  });
});

describe('damaged records', () => {
  it.each(['topology/epoch', 'topology/node/', 'layout/2'])('are refused: %s', async (prefix) => {
    await using registry = new MemoryRegistry();
    const cluster = await open(registry);
    await cluster.setDevices(six);
    await cluster.ensureWidth(3);
    const [record] = await registry.list(prefix);
    const { key, version, value } = record!;
    const damaged = value.map((byte, i) => (i === 20 ? byte ^ 1 : byte));
    const damagedVersion = await registry.compareAndSet(key, version, damaged);
    expect(await codeOf(open(registry))).toBe('HF_CORRUPT');
    await registry.compareAndSet(key, damagedVersion!, undefined);
    const code = prefix === 'topology/epoch' ? undefined : 'HF_CORRUPT';
    expect(await codeOf(open(registry))).toBe(code);
  });
});
