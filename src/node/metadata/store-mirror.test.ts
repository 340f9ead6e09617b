/**
 * Aim: a record is on one store more than may be lost, comes back while one copy is good, and
 * repair brings the copies back. Method: memory stores that are lost, full, bad or drained.
 */
import { describe, expect, it } from 'vitest';
import { type ChunkId, type DeviceId, utf8 } from '../../base/index.ts';
import { StoreBed } from '../../../test/suites/store-bed.ts';
import { Quorum } from './quorum.ts';
import { StoreMirror } from './store-mirror.ts';

function openMirror(storeCount = 6) {
  const bed = new StoreBed(storeCount);
  const leaving = new Set<DeviceId>();
  const isLeaving = (id: DeviceId) => leaving.has(id);
  const quorum = new Quorum(bed.devices(), 2);
  const mirror = new StoreMirror({ stores: bed.alive, tolerance: 2, quorum, isLeaving });
  const holdersOf = async (id: Uint8Array) => {
    const entries = await Promise.all(bed.stores.map((store) => store.stat(id as ChunkId)));
    return bed.stores.filter((_, index) => entries[index]?.isGood);
  };
  return { bed, mirror, leaving, holdersOf };
}

const RECORDS = Array.from({ length: 40 }, (_, i) => utf8(`record ${i}`));

describe('StoreMirror', () => {
  it('puts three copies, evenly, and survives the loss of any two stores', async () => {
    const { bed, mirror, holdersOf } = openMirror();
    const refs = [];
    for (const bytes of RECORDS) refs.push(await mirror.put(bytes));
    for (const { id } of refs) expect(await holdersOf(id)).toHaveLength(3);
    for (const store of bed.stores) expect((await store.usage()).chunkCount).toBeGreaterThan(8);
    for (const first of bed.stores) {
      for (const second of bed.stores) {
        bed.away.add(first).add(second);
        for (const [i, ref] of refs.entries()) expect(await mirror.get(ref)).toEqual(RECORDS[i]);
        const listed = await Array.fromAsync(mirror.list());
        expect(listed).toHaveLength(RECORDS.length);
        bed.away.clear();
      }
    }
    await mirror.remove(refs);
    expect(await bed.chunkCount()).toBe(0);
    expect(await mirror.get(refs[0]!)).toBeUndefined();
  });

  it('passes over stores that fail, and refuses fewer copies than a record needs', async () => {
    const { bed, mirror, holdersOf } = openMirror();
    for (const store of bed.stores.slice(0, 3)) store.fault = () => 'HF_DEVICE_FAILED';
    expect(await holdersOf((await mirror.put(RECORDS[0]!)).id)).toHaveLength(3);
    bed.stores[3]!.fault = () => 'HF_DEVICE_FAILED';
    await expect(mirror.put(RECORDS[2]!)).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
    for (const store of bed.stores) bed.away.add(store);
    await expect(mirror.put(RECORDS[3]!)).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
    const two = openMirror(2);
    expect(await two.holdersOf((await two.mirror.put(RECORDS[0]!)).id)).toHaveLength(2);
    two.bed.away.add(two.bed.stores[0]!);
    await expect(two.mirror.put(RECORDS[1]!)).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
    const single = openMirror(1);
    expect(await single.holdersOf((await single.mirror.put(RECORDS[0]!)).id)).toHaveLength(1);
  });

  it('says that stores are full', async () => {
    const { bed, mirror } = openMirror(4);
    for (const store of bed.stores.slice(0, 3)) store.fault = () => 'HF_NO_SPACE';
    await expect(mirror.put(RECORDS[0]!)).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
  });

  it('goes on without a full store as without one that is away', async () => {
    const { bed, mirror, holdersOf } = openMirror(3);
    const [full] = bed.stores;
    full!.fault = (what) => (what === 'put' ? 'HF_NO_SPACE' : undefined);
    const { id } = await mirror.put(RECORDS[0]!);
    expect(await holdersOf(id)).toHaveLength(2);
    expect([...mirror.fullStores]).toEqual([full!.id]);
    bed.away.add(bed.stores[1]!);
    await expect(mirror.put(RECORDS[1]!)).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
    bed.away.clear();
    full!.fault = undefined;
    expect(await mirror.repair()).toBeGreaterThan(0);
    expect(await holdersOf(id)).toHaveLength(3);
    expect([...mirror.fullStores]).toEqual([]);
  });

  it('leaves out records whose every copy is bad', async () => {
    const { mirror, holdersOf } = openMirror();
    const [bad, good] = [await mirror.put(RECORDS[0]!), await mirror.put(RECORDS[1]!)];
    for (const store of await holdersOf(bad.id)) store.flip(bad.id as ChunkId, 3);
    const [only, ...others] = await holdersOf(good.id);
    for (const store of others) store.flip(good.id as ChunkId, 3);
    only!.flip(good.id as ChunkId, 0);
    only!.flip(good.id as ChunkId, 0);
    expect(await mirror.get(bad)).toBeUndefined();
    expect(await Array.fromAsync(mirror.list())).toEqual([{ id: good.id, bytes: RECORDS[1] }]);
  });

  it('repair brings copies back after losses, and replaces bad ones', async () => {
    const { bed, mirror, holdersOf } = openMirror();
    const refs = [];
    for (const bytes of RECORDS) refs.push(await mirror.put(bytes));
    expect(await mirror.repair()).toBe(0);
    for (const lost of bed.stores.slice(0, 4)) {
      bed.away.add(lost);
      bed.addStore();
      mirror.settle(
        new Quorum(
          bed.alive().map((store) => bed.deviceOf(store)),
          2,
        ),
      );
      expect(await mirror.repair()).toBeGreaterThan(0);
      expect(await mirror.repair()).toBe(0);
    }
    for (const { id } of refs) {
      const holders = await holdersOf(id);
      holders.at(-1)!.flip(id as ChunkId, 1);
      await holders.at(-1)!.scrub();
    }
    expect(await mirror.repair()).toBe(RECORDS.length);
    for (const store of bed.alive()) expect((await store.usage()).badChunkCount).toBe(0);
    for (const [i, ref] of refs.entries()) expect(await mirror.get(ref)).toEqual(RECORDS[i]);
    expect(await mirror.repair()).toBe(0);
  });

  it('leads copies off a store that is being drained', async () => {
    const { bed, mirror, leaving, holdersOf } = openMirror();
    const refs = [];
    for (const bytes of RECORDS) refs.push(await mirror.put(bytes));
    const [going] = bed.stores;
    leaving.add(going!.id);
    expect(await mirror.repair()).toBe((await going!.usage()).chunkCount);
    for (const { id } of refs) {
      const staying = (await holdersOf(id)).filter((store) => store !== going);
      expect(staying.length).toBeGreaterThanOrEqual(3);
    }
    const fresh = await mirror.put(utf8('fresh'));
    expect(await holdersOf(fresh.id)).not.toContain(going);
  });

  it('counts copies on a store that is being drained where the others are too few', async () => {
    const { bed, mirror, leaving, holdersOf } = openMirror(2);
    const [going, staying] = bed.stores;
    const old = await mirror.put(RECORDS[0]!);
    leaving.add(going!.id);
    const meanwhile = await mirror.put(RECORDS[1]!);
    expect(await holdersOf(meanwhile.id)).toHaveLength(2);
    expect(await mirror.repair()).toBe(0);
    const next = new Quorum([bed.deviceOf(going!, 'out'), bed.deviceOf(staying!)], 2);
    await mirror.prepare(next);
    mirror.settle(next);
    bed.away.add(going!);
    for (const [i, ref] of [old, meanwhile].entries()) {
      expect(await mirror.get(ref)).toEqual(RECORDS[i]);
    }
    expect(await holdersOf((await mirror.put(RECORDS[2]!)).id)).toEqual([staying]);
  });

  it('puts copies on different disks first, and counts those', async () => {
    const bed = new StoreBed(9);
    const devices = bed.stores.map((store, index) => ({
      ...bed.deviceOf(store),
      labels: ['server', `disk-${index % 3}`],
    }));
    const quorum = new Quorum(devices, 2);
    const mirror = new StoreMirror({ stores: bed.alive, tolerance: 2, quorum });
    for (const bytes of RECORDS) {
      const { id } = await mirror.put(bytes);
      const disks = new Set<number>();
      for (const [index, store] of bed.stores.entries()) {
        if (await store.stat(id as ChunkId)) disks.add(index % 3);
      }
      expect(disks.size).toBe(3);
    }
    for (const [index, store] of bed.stores.entries()) if (index % 3 > 0) bed.away.add(store);
    await expect(mirror.put(utf8('on one disk'))).rejects.toMatchObject({
      code: 'HF_TOO_FEW_STORES',
    });
  });

  it('brings records to what new members need before they count, and holds to both', async () => {
    const { bed, mirror, holdersOf } = openMirror(4);
    bed.away.add(bed.stores[0]!).add(bed.stores[1]!);
    const { id } = await mirror.put(RECORDS[0]!);
    expect(await holdersOf(id)).toHaveLength(2);
    const six = new Quorum(
      [...bed.devices(), ...[1, 2].map(() => bed.deviceOf(bed.addStore()))],
      2,
    );
    await mirror.prepare(six);
    expect((await holdersOf(id)).length).toBeGreaterThanOrEqual(3);
    bed.away.add(bed.stores[2]!);
    // Three of the six, but one only of the four before.
    await expect(mirror.put(RECORDS[1]!)).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
    mirror.settle(six);
    expect(await holdersOf((await mirror.put(RECORDS[2]!)).id)).toHaveLength(3);
    bed.away.add(bed.stores[3]!);
    const three = new Quorum(
      bed.stores.slice(3).map((store) => bed.deviceOf(store)),
      2,
    );
    await mirror.prepare(three).catch(() => {});
    await expect(mirror.put(RECORDS[3]!)).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
  });
});
