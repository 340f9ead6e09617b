/**
 * Aim: a record is on one store more than may be lost, comes back while one copy is good, and
 * repair brings the copies back. Method: memory stores that are lost, full, bad or drained.
 */
import { describe, expect, it } from 'vitest';
import { type ChunkId, type DeviceId, utf8 } from '../base/index.ts';
import { StoreBed } from '../../test/suites/store-bed.ts';
import { StoreMirror } from './store-mirror.ts';

function openMirror(storeCount = 6) {
  const bed = new StoreBed(storeCount);
  const leaving = new Set<DeviceId>();
  const isLeaving = (id: DeviceId) => leaving.has(id);
  const mirror = new StoreMirror({ stores: bed.alive, tolerance: 2, isLeaving });
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

  it('passes over stores that fail, and refuses one copy where there could be two', async () => {
    const { bed, mirror, holdersOf } = openMirror();
    for (const store of bed.stores.slice(0, 3)) store.fault = () => 'HF_DEVICE_FAILED';
    expect(await holdersOf((await mirror.put(RECORDS[0]!)).id)).toHaveLength(3);
    bed.stores[3]!.fault = () => 'HF_DEVICE_FAILED';
    expect(await holdersOf((await mirror.put(RECORDS[1]!)).id)).toHaveLength(2);
    bed.stores[4]!.fault = () => 'HF_DEVICE_FAILED';
    await expect(mirror.put(RECORDS[2]!)).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
    for (const store of bed.stores) bed.away.add(store);
    await expect(mirror.put(RECORDS[3]!)).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
    const single = openMirror(1);
    expect(await single.holdersOf((await single.mirror.put(RECORDS[0]!)).id)).toHaveLength(1);
  });

  it('says that stores are full', async () => {
    const { bed, mirror } = openMirror(4);
    for (const store of bed.stores.slice(0, 2)) store.fault = () => 'HF_NO_SPACE';
    await expect(mirror.put(RECORDS[0]!)).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
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
});
