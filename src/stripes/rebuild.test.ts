/**
 * Aim: repair of one stripe brings every shard back, byte for byte, to where the layout wants it,
 * needs no key, spoils nothing, and gets as far as the stores let it. Method: memory stores that
 * lose, damage, refuse and lie; the chunks before and after are compared.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { chunkId, parseScheme, type Scheme, schemeNumber, stripeId } from '../base/index.ts';
import { digest } from '../crypto/index.ts';
import { encodeChunkHeader, stripeIdOf } from '../store/index.ts';
import {
  bytesOf,
  chunkOf,
  codeOf,
  freeSlots,
  homeOf,
  lyingStore,
  openStripesBed,
  prepare,
  rebuild,
  rs42,
  store,
  type StripesBed,
} from '../../test/suites/store-bed.ts';
import type { StripeRef } from './index.ts';

const content = bytesOf(300_000);

/** A stripe and its chunks as they were made. */
async function storedStripe(bed: StripesBed, scheme: Scheme = rs42, size = content.length) {
  const bytes = content.subarray(0, size);
  const ref = await store(bed, bytes, { scheme });
  const chunks: Uint8Array[] = [];
  for (let index = 0; index < scheme.n; index++) {
    chunks.push((await homeOf(bed, ref, index).get(chunkOf(ref, index)))!);
  }
  return { ref, chunks };
}

async function expectWhole(bed: StripesBed, ref: StripeRef, chunks: readonly Uint8Array[]) {
  for (const [index, chunk] of chunks.entries()) {
    expect(await homeOf(bed, ref, index).get(chunkOf(ref, index))).toEqual(chunk);
  }
  const { places } = await bed.stripes.inspect(ref.stripe, ref.schemeNumber);
  for (const { wantedAt, foundAt, badAt } of places) {
    expect(foundAt).toEqual([wantedAt]);
    expect(badAt).toEqual([]);
  }
  expect(await freeSlots(bed)).toBe(bed.slotCount);
}

describe('rebuild', () => {
  it.each(['rs-4+2', 'ida-3of5', 'copy-3'])('brings missing shards of %s back', async (text) => {
    const scheme = parseScheme(text);
    await using bed = await openStripesBed({ storeCount: 6 });
    const { ref, chunks } = await storedStripe(bed, scheme);
    for (let first = 0; first < scheme.n; first++) {
      for (let second = 0; second < first; second++) {
        for (const index of [first, second]) homeOf(bed, ref, index).lose(chunkOf(ref, index));
        const { writtenBytes, health } = await rebuild(bed, ref);
        expect(writtenBytes).toBe(chunks[first]!.length + chunks[second]!.length);
        expect(health.spareCount).toBe(scheme.n - scheme.k);
        await expectWhole(bed, ref, chunks);
      }
    }
  });

  it('does nothing to a stripe that is whole', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    const { ref, chunks } = await storedStripe(bed);
    for (const each of bed.bed.stores) each.fault = () => 'HF_IO';
    expect((await rebuild(bed, ref)).writtenBytes).toBe(0);
    for (const each of bed.bed.stores) each.fault = undefined;
    await expectWhole(bed, ref, chunks);
  });

  it('replaces bad chunks, those of short content too', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    for (const size of [300_000, 1000]) {
      const scheme = size === 1000 ? parseScheme('copy-3') : rs42;
      const { ref, chunks } = await storedStripe(bed, scheme, size);
      for (const index of [0, 1]) {
        const home = homeOf(bed, ref, index);
        home.flip(chunkOf(ref, index), 300);
        await home.scrub();
      }
      const health = await bed.stripes.inspect(ref.stripe, ref.schemeNumber);
      expect(health.places[0]!.badAt).toEqual([homeOf(bed, ref, 0).id]);
      expect(health.spareCount).toBe(scheme.n - scheme.k - 2);
      await rebuild(bed, ref);
      await expectWhole(bed, ref, chunks);
    }
  });

  it('brings home what was handed off, and removes the surplus', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    using prepared = await prepare(bed, content);
    const home = homeOf(bed, prepared, 2);
    bed.bed.away.add(home);
    await bed.stripes.spread(prepared, { generation: 1 });
    bed.bed.away.clear();
    const chunks = prepared.chunks.map((chunk) => new Uint8Array(chunk));
    const { writtenBytes } = await rebuild(bed, prepared);
    expect(writtenBytes).toBe(prepared.chunkBytes);
    prepared[Symbol.dispose]();
    await expectWhole(bed, prepared, chunks);
    expect(await bed.bed.chunkCount()).toBe(6);
  });

  it('hands off while the right store is dead', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    const { ref, chunks } = await storedStripe(bed);
    bed.bed.away.add(homeOf(bed, ref, 0)).add(homeOf(bed, ref, 5));
    const { health } = await rebuild(bed, ref);
    expect(health.spareCount).toBe(2);
    expect(new Set(health.places.flatMap(({ foundAt }) => foundAt)).size).toBe(6);
    expect((await rebuild(bed, ref)).writtenBytes).toBe(0);
    bed.bed.away.clear();
    expect((await rebuild(bed, ref)).writtenBytes).toBe(0);
    await expectWhole(bed, ref, chunks);
    expect(await bed.bed.chunkCount()).toBe(6);
  });

  it('goes as far as it can when stores refuse, and says why', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const { ref, chunks } = await storedStripe(bed);
    const [spare] = bed.cluster.handOff(ref.stripe, rs42);
    bed.bed.away.add(bed.bed.stores.find(({ id }) => id === spare)!);
    const refusing = homeOf(bed, ref, 1);
    for (const index of [1, 4]) homeOf(bed, ref, index).lose(chunkOf(ref, index));
    refusing.fault = (operation) => (operation === 'put' ? 'HF_NO_SPACE' : undefined);
    expect(await codeOf(rebuild(bed, ref))).toBe('HF_NO_SPACE');
    const { spareCount } = await bed.stripes.inspect(ref.stripe, ref.schemeNumber);
    expect(spareCount).toBe(1);
    // With another store there is a place for it.
    bed.bed.away.clear();
    const { places } = (await rebuild(bed, ref)).health;
    expect(places[1]!.foundAt).toEqual([spare]);
    refusing.fault = undefined;
    await rebuild(bed, ref);
    await expectWhole(bed, ref, chunks);
  });

  it('reads from a store that is being drained', async () => {
    await using bed = await openStripesBed({ storeCount: 8, width: 6 });
    const { ref, chunks } = await storedStripe(bed);
    // Three of six, more than the code bears: what they hold must be read, not made again.
    const leaving = [0, 1, 2].map((index) => homeOf(bed, ref, index));
    for (const each of leaving.slice(0, 2)) {
      await bed.cluster.setDevices([bed.bed.deviceOf(each, 'draining')]);
    }
    for (const index of [4, 5]) {
      for (const each of bed.bed.stores) each.lose(chunkOf(ref, index));
    }
    await rebuild(bed, ref);
    await expectWhole(bed, ref, chunks);
    for (const each of leaving.slice(0, 2)) expect((await each.usage()).chunkCount).toBe(0);
  });

  it('passes over stores that lie or fail, whatever they are asked', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const { ref, chunks } = await storedStripe(bed);
    const liar = homeOf(bed, ref, 0);
    bed.bed.wraps.set(
      liar,
      lyingStore(liar, (chunk) => chunk.fill(1)),
    );
    homeOf(bed, ref, 3).lose(chunkOf(ref, 3));
    await rebuild(bed, ref);
    const mute = lyingStore(liar, (chunk) => chunk);
    mute.stat = async () => await liar.get(chunkOf(ref, 0)).then(() => undefined);
    liar.state = 'failed';
    bed.bed.wraps.set(liar, mute);
    homeOf(bed, ref, 4).lose(chunkOf(ref, 4));
    await rebuild(bed, ref);
    liar.state = 'active';
    bed.bed.wraps.clear();
    await rebuild(bed, ref);
    await expectWhole(bed, ref, chunks);
  });

  it('is done once at a time: two layouts do not remove the copies of each other', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const { ref } = await storedStripe(bed, rs42, 296_000);
    const old = homeOf(bed, ref, 5);
    await bed.cluster.setDevices([bed.bed.deviceOf(old, 'draining')]);
    const fresh = homeOf(bed, ref, 5);
    // The first rebuild is about to remove the copy at the old place when the layout turns back.
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const slow = lyingStore(old, (chunk) => chunk);
    slow.remove = async (id, options) => {
      reached.resolve();
      await gate.promise;
      return await old.remove(id, options);
    };
    bed.bed.wraps.set(old, slow);
    const first = rebuild(bed, ref);
    await reached.promise;
    await bed.cluster.setDevices([bed.bed.deviceOf(old)]);
    await bed.cluster.setDevices([bed.bed.deviceOf(fresh, 'draining')]);
    expect(homeOf(bed, ref, 5)).toBe(old);
    let isSecondDone = false;
    const second = rebuild(bed, ref).finally(() => (isSecondDone = true));
    for (let turns = 0; turns < 50 && !isSecondDone; turns++) await nextTurn();
    gate.resolve();
    await Promise.all([first, second]);
    const { places, spareCount } = await bed.stripes.inspect(ref.stripe, ref.schemeNumber);
    expect(spareCount).toBe(2);
    expect(places[5]!.foundAt).toEqual([old.id]);
  });

  it('a stripe is whole only when one loss takes one shard', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const { ref, chunks } = await storedStripe(bed);
    const isWhole = async () => (await bed.stripes.inspect(ref.stripe, ref.schemeNumber)).isWhole;
    expect(await isWhole()).toBe(true);
    homeOf(bed, ref, 0).lose(chunkOf(ref, 0));
    expect(await isWhole()).toBe(false);
    await homeOf(bed, ref, 1).put(chunkOf(ref, 0), chunks[0]!, { generation: 1 });
    expect(await isWhole()).toBe(false);
    // With five stores alive five devices are all there can be.
    bed.bed.away.add(homeOf(bed, ref, 0));
    bed.bed.away.add(
      bed.bed.stores.find(({ id }) => bed.cluster.handOff(ref.stripe, rs42)[0] === id)!,
    );
    expect(await isWhole()).toBe(true);
  });

  it('cannot be done from fewer than k', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const { ref } = await storedStripe(bed);
    for (const index of [0, 2, 4]) homeOf(bed, ref, index).lose(chunkOf(ref, index));
    await expect(rebuild(bed, ref)).rejects.toThrow(/have 3 good shards, need 4/);
    const gone = { ...ref, stripe: stripeId(new Uint8Array(32)) };
    await expect(rebuild(bed, gone)).rejects.toThrow(/have 0 good shards/);
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });

  it('refuses a stripe that would not fit its memory', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const shard = new Uint8Array(12 * 2 ** 20);
    const header = {
      schemeNumber: schemeNumber(rs42),
      matrixId: 1,
      shardBytes: shard.length,
      sealedBytes: shard.length,
      shardDigests: Array.from({ length: 6 }, () => digest(shard)),
    };
    const chunk = new Uint8Array(256 + shard.length);
    expect(encodeChunkHeader(header, chunk)).toBe(256);
    const ref = { ...header, stripe: stripeIdOf(header), key: shard, contentBytes: 1 };
    const id = chunkId(ref.stripe, ref.schemeNumber, 0);
    await bed.bed.stores[0]!.put(id, chunk, { generation: 1 });
    expect(await codeOf(rebuild(bed, ref))).toBe('HF_TOO_LARGE');
    expect(await freeSlots(bed)).toBe(bed.slotCount);
  });
});

describe('remove', () => {
  it('deletes on every store alive, and says whether all could be asked', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const { ref } = await storedStripe(bed);
    const wanted = { ...ref, generation: 1 };
    homeOf(bed, ref, 0).fault = () => 'HF_DEVICE_FAILED';
    expect(await bed.stripes.remove(wanted)).toBe(false);
    expect(await bed.bed.chunkCount()).toBe(1);
    homeOf(bed, ref, 0).fault = undefined;
    expect(await bed.stripes.remove(wanted)).toBe(true);
    expect(await bed.bed.chunkCount()).toBe(0);
  });

  it('leaves what is newer', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    using prepared = await prepare(bed, content);
    await bed.stripes.spread(prepared, { generation: 2 });
    await bed.stripes.remove({ ...prepared, generation: 1 });
    expect(await bed.bed.chunkCount()).toBe(6);
  });
});
