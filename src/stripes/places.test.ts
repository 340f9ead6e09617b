/**
 * Aim: copies are read where they are near, and none stays where it does not belong: not on a store
 * that is to be emptied, and no more of them than belong somewhere once it is known that their
 * place will not be back. Method: memory stores whose chunks are counted.
 */
import { describe, expect, it } from 'vitest';
import { type DeviceId, parseScheme, schemeOfNumber } from '../base/index.ts';
import {
  bytesOf,
  chunkOf,
  homeOf,
  openStripesBed,
  prepare,
  readAll,
  rebuild,
  refOf,
  rs42,
  store,
  type StripesBed,
} from '../../test/suites/store-bed.ts';
import type { StripeRef } from './index.ts';

const content = bytesOf(300_000);
const near3 = parseScheme('near-3');

/** A stripe whose last copy stands on a store of the writer's. */
async function nearStripe(bed: StripesBed, mine: Set<DeviceId>): Promise<StripeRef> {
  for (let seed = 1; ; seed++) {
    using prepared = await prepare(bed, bytesOf(content.length, seed), { scheme: near3 });
    const row = bed.cluster.place(prepared.stripe, near3);
    if (row.some((device) => device && mine.has(device))) continue;
    await bed.stripes.spread(prepared, { generation: 1 });
    return refOf(prepared);
  }
}

/** Devices that hold a shard, by index. */
async function holders({ bed }: StripesBed, ref: StripeRef): Promise<DeviceId[][]> {
  const { n } = schemeOfNumber(ref.schemeNumber);
  const found: DeviceId[][] = Array.from({ length: n }, () => []);
  for (const each of bed.stores) {
    for (const [index, ids] of found.entries()) {
      if (await each.stat(chunkOf(ref, index))) ids.push(each.id);
    }
  }
  return found;
}

describe('near copies', () => {
  it('are read before all others, those of short content too', async () => {
    const mine = new Set<DeviceId>();
    await using bed = await openStripesBed({ isNear: (device) => mine.has(device) });
    const [own] = bed.bed.stores.slice(-1);
    mine.add(own!.id);
    const ref = await nearStripe(bed, mine);
    for (const each of bed.bed.stores)
      each.fault = (what) => (what === 'get' ? 'HF_IO' : undefined);
    own!.fault = undefined;
    expect(await readAll(bed, ref)).toHaveLength(content.length);
    expect(await readAll(bed, ref, { offset: 70_000, lengthBytes: 1000 })).toHaveLength(1000);
    // No other store was tried first.
    const asked = bed.bed.stores.filter((each) => each !== own);
    let count = 0;
    for (const each of asked) each.fault = () => ((count += 1), undefined);
    await readAll(bed, ref);
    expect(count).toBe(0);
  });

  it('leave a store that is being emptied', async () => {
    const mine = new Set<DeviceId>();
    await using bed = await openStripesBed({ isNear: (device) => mine.has(device) });
    const own = bed.bed.stores.at(-1)!;
    mine.add(own.id);
    const ref = await nearStripe(bed, mine);
    await rebuild(bed, ref);
    expect((await holders(bed, ref))[2]).toEqual([own.id]);
    await bed.cluster.setDevices([bed.bed.deviceOf(own, 'draining')]);
    await rebuild(bed, ref);
    expect((await holders(bed, ref))[2]).toEqual([homeOf(bed, ref, 2).id]);
    expect((await own.usage()).chunkCount).toBe(0);
  });
});

describe('copies that have no place', () => {
  it('leave a store that is being emptied once every place there is has one', async () => {
    const scheme = parseScheme('copy-4');
    await using bed = await openStripesBed({ storeCount: 4, width: 4 });
    const ref = await store(bed, content, { scheme });
    const [lost, leaving] = [homeOf(bed, ref, 0), homeOf(bed, ref, 3)];
    lost.lose(chunkOf(ref, 0));
    await bed.cluster.setDevices([bed.bed.deviceOf(leaving, 'draining')]);
    lost.fault = (what) => (what === 'put' ? 'HF_NO_SPACE' : undefined);
    await rebuild(bed, ref).catch(() => undefined);
    expect((await leaving.usage()).chunkCount).toBe(1); // it is still needed
    lost.fault = undefined;
    await rebuild(bed, ref);
    expect((await leaving.usage()).chunkCount).toBe(0);
    expect(await bed.bed.chunkCount()).toBe(3);
    expect(await readAll(bed, ref)).toEqual(content);
  });

  it('of pieces none goes', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    await bed.cluster.setDevices([bed.bed.deviceOf(homeOf(bed, ref, 3), 'draining')]);
    await rebuild(bed, ref);
    const found = await holders(bed, ref);
    expect(found.every((ids) => ids.length > 0)).toBe(true);
    expect(new Set(found.flat()).size).toBe(6);
  });
});

describe('extra copies', () => {
  it.each([7, 9])(
    'stay while their place is away, and go once it is out: %i stores',
    async (storeCount) => {
      await using bed = await openStripesBed({ storeCount });
      const ref = await store(bed, content);
      const away = homeOf(bed, ref, 0);
      const chunk = (await away.get(chunkOf(ref, 0)))!;
      const spares = bed.cluster.handOff(ref.stripe, rs42).slice(0, 2);
      for (const each of bed.bed.stores.filter(({ id }) => spares.includes(id))) {
        await each.put(chunkOf(ref, 0), chunk, { generation: 1 });
      }
      bed.bed.away.add(away);
      await rebuild(bed, ref);
      // Any of them may be what keeps the stripe whole, should another store go.
      expect((await holders(bed, ref))[0]!.toSorted()).toEqual([away.id, ...spares].toSorted());
      await bed.cluster.setDevices([bed.bed.deviceOf(away, 'out')]);
      await rebuild(bed, ref);
      const others = (await holders(bed, ref))[0]!.filter((id) => id !== away.id);
      expect(others).toEqual([homeOf(bed, ref, 0).id]);
    },
  );

  it('go where no device has their position', async () => {
    await using bed = await openStripesBed({ storeCount: 6, width: 6 });
    const ref = await store(bed, content);
    const out = homeOf(bed, ref, 0);
    const chunk = (await homeOf(bed, ref, 5).get(chunkOf(ref, 5)))!;
    await bed.cluster.setDevices([bed.bed.deviceOf(out, 'out')]);
    bed.bed.away.add(out);
    for (const index of [1, 2]) {
      await homeOf(bed, ref, index).put(chunkOf(ref, 5), chunk, { generation: 1 });
    }
    const { places } = (await rebuild(bed, ref)).health;
    expect(places[5]).toMatchObject({ wantedAt: undefined });
    expect(places[5]!.foundAt).toHaveLength(1);
  });
});
