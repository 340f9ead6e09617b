/**
 * Aim: a member states its own devices and nothing else, and whatever it writes the topology can be
 * read. Method: the cluster of an honest node, and records made by hand, over one registry that
 * asks the rules before each change.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { type DeviceId, errorCode, HoldfastError, type NodeId } from '../base/index.ts';
import { MemoryRegistry, type Registry } from '../log/index.ts';
import { decodeLayout, decodeTopology, encodeLayout, encodeTopology } from '../placement/index.ts';
import { type Cluster, mayChangeTopology, openCluster } from './index.ts';
import { decodeRoot, encodeRoot, type Root } from './root-record.ts';

const env = virtualEnv(1);
const [home, member] = ['a', 'b'].map((letter) => letter.repeat(32)) as [NodeId, NodeId];
const ROOT = 'topology/epoch';

function device(digit: number, state: 'in' | 'draining' | 'out' = 'in') {
  const id = String(digit).repeat(32) as DeviceId;
  return { id, weightBytes: 1e9, state, labels: [`server-${digit >> 2}`, `disk-${digit}`] };
}

let registry: Registry;
/** The same, for the member. */
let ruled: Registry;
let alive: Set<DeviceId>;
let far: Cluster;

function openAs(node: NodeId): Promise<Cluster> {
  const about = { env, node, tolerance: 2 };
  return openCluster({ ...about, registry: node === home ? registry : ruled });
}

beforeEach(async () => {
  registry = new MemoryRegistry();
  alive = new Set();
  const rules = { registry, tolerance: 2, isAlive: (id: DeviceId) => alive.has(id) };
  ruled = {
    get: (key) => registry.get(key),
    list: (prefix) => registry.list(prefix),
    async compareAndSet(key, expected, value) {
      const isPermitted = await mayChangeTopology(rules, member, { key, expected, value });
      if (!isPermitted) throw new HoldfastError('HF_DENIED');
      return await registry.compareAndSet(key, expected, value);
    },
    async [Symbol.asyncDispose]() {},
  };
  const near = await openAs(home);
  await near.setDevices([1, 2, 3].map((digit) => device(digit)));
  await near.ensureWidth(3);
  far = await openAs(member);
});

async function rootNow(): Promise<{ root: Root; version: number }> {
  const { value, version } = (await registry.get(ROOT))!;
  return { root: decodeRoot(value), version };
}

async function tryRoot(change: Partial<Root>): Promise<unknown> {
  const { root, version } = await rootNow();
  const next = { ...root, epoch: root.epoch + 1, ...change };
  return await ruled.compareAndSet(ROOT, version, encodeRoot(next)).catch(errorCode);
}

describe('a member', () => {
  it('states its own devices, changes and drains them, and widens rows', async () => {
    await far.setDevices([device(5), device(6)]);
    await far.setDevices([device(5, 'draining')]);
    await far.setNodeDevices(member, 'out');
    await far.setNodeDevices(member, 'in');
    await far.ensureWidth(5);
    await far.setDevices([device(7)]);
    const seen = await openAs(home);
    const numbers = seen.devicesOf(member).map(({ number }) => number);
    expect(new Set(numbers)).toEqual(new Set([3, 4, 5]));
    expect(seen.layout().width).toBe(5);
    // Nothing stays that the root does not name, but layouts of the last epochs.
    expect(await registry.list('topology/node/')).toHaveLength(2);
    expect(await registry.list('layout/')).toHaveLength(4);
  });

  it('takes over a device that does not answer where it was, and no other', async () => {
    alive.add(device(1).id);
    expect(await far.setDevices([device(1)]).catch(errorCode)).toBe('HF_DENIED');
    await far.setDevices([device(2)]);
    const seen = await openAs(home);
    expect([1, 2, 3].map((digit) => seen.nodeOf(device(digit).id))).toEqual([home, member, home]);
  });

  it('that lost a race is told so, and tries again', async () => {
    const near = await openAs(home);
    await Promise.all([far.setDevices([device(5)]), near.setDevices([device(8)])]);
    await far.refresh();
    expect(far.topology().devices).toHaveLength(5);
  });

  it('does not put devices of others out', async () => {
    expect(await far.setNodeDevices(home, 'out').catch(errorCode)).toBe('HF_DENIED');
    const { root } = await rootNow();
    const { slices } = root;
    expect(await tryRoot({ slices: new Map([...slices].slice(1)) })).toBe('HF_DENIED');
    const states = (await openAs(home)).topology().devices.map(({ state }) => state);
    expect(states).toEqual(['in', 'in', 'in']);
  });

  it('makes no layout but the one that follows', async () => {
    await far.setDevices([device(5)]);
    const { root } = await rootNow();
    const layout = decodeLayout((await registry.get(root.layoutKey))!.value);
    const next = { ...layout, epoch: root.epoch + 1 };
    const layoutKey = `layout/${next.epoch}/x`;
    const skewed = { ...next, table: next.table.map((each, slot) => (slot % 3 ? each : 3)) };
    await ruled.compareAndSet(layoutKey, 0, encodeLayout(skewed));
    expect(await tryRoot({ layoutKey })).toBe('HF_DENIED');
    await ruled.compareAndSet(`${layoutKey}y`, 0, encodeLayout(next));
    expect(await tryRoot({ layoutKey: `${layoutKey}y` })).toEqual(expect.any(Number));
  });

  it('gives no number twice, nor many away', async () => {
    await far.setDevices([device(5)]);
    const { root } = await rootNow();
    const slice = decodeTopology((await registry.get(root.slices.get(member)!))!.value);
    const [own] = slice.devices;
    for (const [i, devices] of [
      [{ ...own!, number: 0 }],
      [own!, { ...own!, id: device(6).id, number: 0 }],
      [own!, { ...own!, id: device(6).id, number: 60_000 }],
    ].entries()) {
      const key = `topology/node/${member}/${i}`;
      await ruled.compareAndSet(key, 0, encodeTopology({ ...slice, devices }));
      const slices = new Map(root.slices).set(member, key);
      expect(await tryRoot({ slices, nextNumber: root.nextNumber + 1 })).toBe('HF_DENIED');
    }
  });

  it('writes nothing that cannot be read, and removes nothing that is needed', async () => {
    const { root, version } = await rootNow();
    const tries: [string, number, Uint8Array | undefined][] = [
      [ROOT, version, new Uint8Array(40)],
      [ROOT, version, undefined],
      [ROOT, version + 1, encodeRoot(root)],
      [root.layoutKey, (await registry.get(root.layoutKey))!.version, undefined],
      [root.layoutKey, (await registry.get(root.layoutKey))!.version, new Uint8Array(9)],
    ];
    for (const key of root.slices.values()) {
      tries.push([key, (await registry.get(key))!.version, undefined]);
    }
    for (const [key, expected, value] of tries) {
      expect(await ruled.compareAndSet(key, expected, value).catch(errorCode)).toBe('HF_DENIED');
    }
    expect(await tryRoot({ layoutKey: 'layout/9/none' })).toBe('HF_DENIED');
    expect(await tryRoot({ levels: ['x'] })).toBe('HF_DENIED');
    expect((await openAs(home)).topology().devices).toHaveLength(3);
  });
});
