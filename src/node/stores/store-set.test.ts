/**
 * Aim: stores come, go, fail, return and are drained, and the node always knows which is which.
 * Method: real directory stores in a temporary folder, moved and swapped under the running set; a
 * whole core over them.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ClusterId, errorCode, hexId, MiB } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { realEnv } from '../../env/index.ts';
import { bytesOf, NODE, rs42, streamOf } from '../../../test/suites/store-bed.ts';
import { type HomeCore, openHomeCore } from '../core.ts';
import { LocalDevices } from './device-manager.ts';
import { StoreSet } from './store-set.ts';

const env = realEnv();
const clusterId = hexId<ClusterId>(new Uint8Array(16).fill(0xcc));
const CAPACITY = 24 * MiB;
/** A request to add a store, as it is without options. */
const ADD = { isNew: true, isForced: false, replacesStore: false };

let folder: string;
beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-stores-'));
});
afterEach(async () => {
  await fs.rm(folder, { recursive: true, force: true });
});

function newSet(cluster = clusterId): StoreSet {
  return new StoreSet({ env, nodeId: NODE, clusterId: cluster });
}

function at(name: string): string {
  return path.join(folder, name);
}

describe('StoreSet', () => {
  it('makes stores, finds them by path and beginning of id, and opens them again', async () => {
    const stores = newSet();
    const [first, second] = [
      await stores.create(at('a'), { capacityBytes: CAPACITY }),
      await stores.create(at('b'), { capacityBytes: CAPACITY }),
    ];
    expect(stores.alive().map(({ id }) => id)).toEqual([first.id, second.id]);
    expect(stores.find(at('b')).id).toBe(second.id);
    expect(stores.find(first.id.slice(0, 12)).path).toBe(at('a'));
    for (const name of ['', 'zzz']) expect(() => stores.find(name)).toThrow(/HF_|fits|no store/);
    expect(await stores.create(at('a'), { capacityBytes: CAPACITY }).catch(errorCode)).toMatch(
      /^HF_/,
    );
    expect(await stores.attach(at('a')).catch(errorCode)).toBe('HF_BUSY');
    // One filesystem is one disk.
    expect(new Set(stores.devices().map(({ labels }) => labels[1])).size).toBe(1);
    const entries = stores.entries();
    await stores[Symbol.asyncDispose]();

    await using again = newSet();
    await again.openKnown(entries);
    expect(again.alive()).toHaveLength(2);
    await using others = newSet(hexId<ClusterId>(new Uint8Array(16).fill(1)));
    await again.forget(first.id);
    expect(await others.attach(at('a')).catch(errorCode)).toBe('HF_NOT_OURS');
    // Refusing it has let it go.
    expect((await again.attach(at('a'))).id).toBe(first.id);
  });

  it('lists as away what cannot be opened, and takes it back when it returns', async () => {
    const stores = newSet();
    for (const name of ['a', 'b', 'c']) await stores.create(at(name), { capacityBytes: CAPACITY });
    const entries = stores.entries();
    await stores[Symbol.asyncDispose]();
    await fs.rename(at('a'), at('elsewhere'));
    await fs.rename(at('b'), at('swap'));
    await fs.rename(at('c'), at('b'));

    await using again = newSet();
    await again.openKnown(entries);
    expect(again.alive()).toEqual([]);
    expect(again.slots.map(({ reason }) => reason)).toEqual([
      expect.any(String),
      expect.stringContaining('another store than before'),
      expect.any(String),
    ]);
    const known = stores
      .devices()
      .map((device, number) => ({ ...device, number, weightBytes: 77 }));
    again.recall(known);
    expect(again.devices().map(({ weightBytes }) => weightBytes)).toEqual([77, 77, 77]);
    expect(again.awayFor(0)).toHaveLength(3);
    expect(again.awayFor(60_000)).toEqual([]);
    again.setState(entries[0]!.id as never, 'out');
    expect(again.awayFor(0)).toHaveLength(2);
    await again.refresh();
    expect(again.changeCount).toBe(0);

    await fs.rename(at('elsewhere'), at('a'));
    await again.refresh();
    expect(again.slots[0]).toMatchObject({
      state: 'in',
      reason: undefined,
      sizeBytes: expect.any(Number),
    });
    await fs.rename(at('b'), at('c'));
    await fs.rename(at('swap'), at('b'));
    await again.refresh();
    expect(again.alive()).toHaveLength(3);
    expect(again.changeCount).toBe(3);
  });

  it('notices a folder that is gone while the store runs', async () => {
    await using stores = newSet();
    await stores.create(at('a'), { capacityBytes: CAPACITY });
    await stores.create(at('b'), { capacityBytes: CAPACITY });
    await stores.refresh();
    expect(stores.changeCount).toBe(2);
    await fs.rename(at('a'), at('pulled'));
    await stores.refresh();
    expect(stores.changeCount).toBe(3);
    expect(stores.alive()).toHaveLength(1);
    expect(stores.slots[0]!.reason).toBeTypeOf('string');
    await fs.rename(at('pulled'), at('a'));
    await stores.refresh();
    expect(stores.alive()).toHaveLength(2);
  });

  it('tries ever more seldom what is there and cannot be opened, unless it is asked', async () => {
    let nowMs = 0;
    const clock = { ...env.clock, monotonic: () => nowMs };
    await using stores = new StoreSet({ env: { ...env, clock }, nodeId: NODE, clusterId });
    await stores.create(at('a'), { capacityBytes: CAPACITY });
    const retry = () => stores.slots[0]!.retry;
    await fs.rename(at('a'), at('pulled'));
    for (let i = 0; i < 3; i++) await stores.refresh({ onlyDue: true });
    nowMs = 1000;
    await stores.refresh({ onlyDue: true });
    // Nothing is there: that it comes back is noticed at once.
    expect(retry()).toBe(undefined);
    await fs.mkdir(at('a'));
    await stores.refresh({ onlyDue: true });
    for (const waitMs of [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]) {
      const wait = { waitMs, atMs: nowMs + waitMs };
      expect(retry()).toEqual(wait);
      nowMs += waitMs - 1;
      await stores.refresh({ onlyDue: true });
      await stores.refresh();
      expect(retry()).toEqual(wait);
      nowMs += 1;
      await stores.refresh({ onlyDue: true });
    }
    await fs.rmdir(at('a'));
    await fs.rename(at('pulled'), at('a'));
    await stores.refresh({ onlyDue: true });
    expect(stores.alive()).toEqual([]);
    await stores.refresh();
    expect(stores.alive()).toHaveLength(1);
    expect(retry()).toBe(undefined);
  });

  it('goes on with the others while a disk hangs, and asks that one no more', async () => {
    await using stores = newSet();
    for (const name of ['a', 'b', 'c']) await stores.create(at(name), { capacityBytes: CAPACITY });
    for (const name of ['a', 'b']) await fs.rename(at(name), at(`pulled-${name}`));
    await stores.refresh();
    // Who opens a pipe waits for somebody who writes.
    await fs.mkdir(at('a'));
    execFileSync('mkfifo', [at('a/holdfast.json')]);
    // More looks that hang would take all threads that there are for files.
    for (let i = 0; i < 8; i++) await stores.refresh({ onlyDue: i > 3, msMax: 50 });
    await fs.rename(at('pulled-b'), at('b'));
    await stores.refresh({ onlyDue: true });
    expect(stores.alive()).toHaveLength(2);
    await stores.create(at('d'), { capacityBytes: CAPACITY });
    await stores.detach(stores.find(at('c')).id);
    await stores.attach(at('c'));
    expect(stores.alive()).toHaveLength(3);

    const pipe = await fs.open(at('a/holdfast.json'), 'w');
    await fs.rm(at('a'), { recursive: true });
    await fs.rename(at('pulled-a'), at('a'));
    await pipe.close();
    await stores.refresh();
    expect(stores.alive()).toHaveLength(4);
  });

  it('does not take the copy of a store for another one', async () => {
    await using stores = newSet();
    const { id } = await stores.create(at('a'), { capacityBytes: CAPACITY });
    await stores.forget(id);
    await fs.cp(at('a'), at('copy'), { recursive: true });
    await stores.attach(at('a'));
    expect(await stores.attach(at('copy')).catch(errorCode)).toBe('HF_BUSY');
    expect(stores.slots).toHaveLength(1);
  });
});

/** Stores, a core over them and a volume, in as many folders. */
async function openNode(stack: AsyncDisposableStack, storeCount: number) {
  const stores = stack.use(newSet());
  for (let i = 0; i < storeCount; i++)
    await stores.create(at(`disk-${i}`), { capacityBytes: CAPACITY });
  const core = stack.use(await coreOver(stores));
  let savedCount = 0;
  const devices = new LocalDevices({
    stores,
    heart: { core, waitsFor: undefined, open: async () => {} },
    clusterId,
    saveList: async () => void (savedCount = stores.entries().length),
  });
  await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
  return { stores, core, devices, savedCount: () => savedCount };
}

async function coreOver(stores: StoreSet): Promise<HomeCore> {
  return await openHomeCore({
    env,
    nodeId: NODE,
    metadataKey: new Uint8Array(32),
    secrets: { get: () => undefined, add: async () => {} },
    stores: () => stores.alive(),
    devices: stores.devices(),
    tolerance: 2,
    openDb: async () => new MemoryDb(),
    threadCount: 0,
    slotCount: 4,
  });
}

describe('LocalDevices', () => {
  it('drains a store before it lets go of it, and refuses when it cannot', async () => {
    await using stack = new AsyncDisposableStack();
    const { stores, core, devices, savedCount } = await openNode(stack, 7);
    const objects = core.volumes.objects('v');
    for (let i = 0; i < 8; i++) {
      const content = bytesOf(20_000 * (i + 1), i);
      await objects.put(streamOf(content), { key: `${i}` });
    }
    const expectAll = async () => {
      for (let i = 0; i < 8; i++) {
        const { bytes } = await objects.get(`${i}`);
        const content = Buffer.concat(await Array.fromAsync(bytes));
        expect(Buffer.compare(content, bytesOf(20_000 * (i + 1), i))).toBe(0);
      }
    };
    expect(await devices.list()).toHaveLength(7);
    const details = await devices.query(at('disk-0'));
    expect(details).toMatchObject({ state: 'active', badChunkCount: 0 });
    expect(details.chunkCount).toBeGreaterThan(0);

    const gone = await devices.remove({ device: at('disk-0'), isForced: false });
    expect(gone).toMatchObject({ state: 'draining', path: at('disk-0') });
    expect(savedCount()).toBe(6);
    await expectAll();
    const { stripes, misplaced } = await core.repair.health();
    expect([stripes.degraded, stripes.lost, misplaced]).toEqual([0, 0, 0]);
    expect(await core.metadata.mend()).toBe(0);

    // Six are needed for rs-4+2.
    const refused = devices.remove({ device: at('disk-1'), isForced: false });
    await expect(refused).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
    expect(stores.find(at('disk-1')).state).toBe('in');
    await devices.remove({ device: at('disk-1'), isForced: true });
    await expectAll();
    const back = await devices.add({ ...ADD, path: at('disk-0'), isNew: false });
    expect(back.state).toBe('active');
    expect(await core.repair.repair()).toMatchObject({ incomplete: 0, lost: 0 });
    await expectAll();
    await expect(devices.query('nothing')).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
  });

  it('does not let go of a store that is away while stripes need it', async () => {
    await using stack = new AsyncDisposableStack();
    const { stores, core, devices } = await openNode(stack, 6);
    await core.volumes.objects('v').put(streamOf(bytesOf(200_000)), { key: 'k' });
    await fs.rename(at('disk-0'), at('pulled'));
    await stores.refresh();
    const refused = devices.remove({ device: at('disk-0'), isForced: false });
    await expect(refused).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
    expect(stores.slots).toHaveLength(6);
    expect(stores.find(at('disk-0')).state).toBe('in');
    await devices.add({ ...ADD, path: at('disk-6'), capacityBytes: CAPACITY });
    await devices.remove({ device: at('disk-0'), isForced: false });
    expect(stores.slots).toHaveLength(6);
    expect((await core.repair.health()).stripes).toEqual({ ok: 1, degraded: 0, lost: 0 });
  });

  it('goes on draining after the store was away, and after a restart', async () => {
    const { entries, epoch } = await (async () => {
      await using stack = new AsyncDisposableStack();
      const { stores, core } = await openNode(stack, 7);
      stores.setState(stores.slots[0]!.id, 'draining');
      await core.cluster.setDevices(stores.devices());
      await fs.rename(at('disk-0'), at('pulled'));
      await stores.refresh();
      await fs.rename(at('pulled'), at('disk-0'));
      await stores.refresh();
      expect(stores.slots[0]).toMatchObject({ state: 'draining', open: expect.anything() });
      return { entries: stores.entries(), epoch: core.cluster.topology().epoch };
    })();
    await using again = newSet();
    await again.openKnown(entries);
    await using core = await coreOver(again);
    again.recall(core.cluster.topology().devices);
    expect(again.devices().map(({ state }) => state)).toEqual([
      'draining',
      'in',
      'in',
      'in',
      'in',
      'in',
      'in',
    ]);
    // What a restart finds is what there was: no epoch is made of it.
    await core.cluster.setDevices(again.devices());
    expect(core.cluster.topology().epoch).toBe(epoch);
  });
});
