/**
 * Aim: the topology changes by whole epochs, whoever changes it, and nothing is given twice.
 * Method: clusters over one memory registry, with and without lost messages; races of several
 * nodes; damaged records.
 */
import { describe, expect, it } from 'vitest';
import { type DeviceId, errorCode, type NodeId, parseScheme, stripeId } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import { MemoryRegistry, type Registry } from '../log/index.ts';
import { NO_DEVICE } from '../placement/index.ts';
import { openCluster } from './index.ts';

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
    expect(cluster.topology()).toEqual({ epoch: 0, levels: ['server', 'disk'], devices: [] });
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
    expect(cluster.report().relaxed[0]).toContain('share 1 server');
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
    expect(again.report()).toEqual({ ...cluster.report(), movedPositions: 0 });
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
      cluster.setDevices([{ ...one!, labels: ['here'] }]),
      cluster.setDevices([{ ...one!, labels: ['here', ''] }]),
      cluster.setDevices([{ ...one!, weightBytes: -1 }]),
      cluster.setDevices([{ ...one!, weightBytes: 0.5 }]),
    ];
    expect(await Promise.all(refusals.map(codeOf))).toEqual(refusals.map(() => 'HF_BAD_ARGUMENT'));
    expect(await codeOf(cluster.ensureWidth(7))).toBe('HF_BAD_SCHEME');
    expect(await codeOf(cluster.ensureWidth(256))).toBe('HF_BAD_SCHEME');
    expect(cluster.topology().epoch).toBe(1);
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

  it('lets any node mark the device of another as out', async () => {
    await using registry = new MemoryRegistry();
    const mine = await open(registry, 1);
    await mine.setDevices([stated(1), stated(2)]);
    const yours = await open(registry, 2);
    await yours.setDevices([stated(1, 'out'), stated(3)]);
    const slices = await registry.list('topology/node/');
    expect(slices.length).toBe(2);
    const { devices } = (await open(registry, 3)).topology();
    const states = new Map(devices.map(({ id, state }) => [id, state]));
    expect(states).toEqual(
      new Map([
        [deviceId(1), 'out'],
        [deviceId(2), 'in'],
        [deviceId(3), 'in'],
      ]),
    );
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
