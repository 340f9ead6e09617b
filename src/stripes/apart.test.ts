/**
 * Aim: the shards of a stripe stay apart: what a device, or a server, takes with it is never more
 * than can be avoided; what is not apart is not called whole, and repair mends it. Method: memory
 * stores on servers of three, some away, some to be emptied; then as many die as may.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeviceId, parseScheme } from '../base/index.ts';
import { countApart } from '../placement/index.ts';
import type { MemoryChunkStore } from '../store/index.ts';
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
import type { StripeHealth, StripeRef } from './index.ts';

const content = bytesOf(300_000);

async function inspect({ stripes }: StripesBed, ref: StripeRef): Promise<StripeHealth> {
  return await stripes.inspect(ref.stripe, ref.schemeNumber);
}

function apart({ places }: StripeHealth): number {
  return countApart(places.map(({ foundAt }) => foundAt));
}

function storeOf({ bed }: StripesBed, id: DeviceId): MemoryChunkStore {
  return bed.stores.find((each) => each.id === id)!;
}

/** Shard 5 was handed off to a *host*, which the layout then wants for a shard that moves. */
async function withGuest(bed: StripesBed) {
  for (let seed = 1; ; seed++) {
    using prepared = await prepare(bed, bytesOf(content.length, seed));
    const away = homeOf(bed, prepared, 5);
    bed.bed.away.add(away);
    await bed.stripes.spread(prepared, { generation: 1 });
    const ref = refOf(prepared);
    const host = (await inspect(bed, ref)).places[5]!.foundAt[0]!;
    for (const index of [0, 1, 2, 3, 4]) {
      const emptied = homeOf(bed, prepared, index);
      await bed.cluster.setDevices([bed.bed.deviceOf(emptied, 'draining')]);
      const wanted = bed.cluster.place(ref.stripe, rs42);
      if (wanted[index] === host && wanted[5] === away.id) return { ref, away, host, emptied };
      await bed.cluster.setDevices([bed.bed.deviceOf(emptied, 'in')]);
    }
    bed.bed.away.clear();
  }
}

describe('a guest whose host is wanted for another shard', () => {
  it('moves on, and only then what is emptied gives up its copy', async () => {
    await using bed = await openStripesBed({ storeCount: 8 });
    const { ref, host, emptied } = await withGuest(bed);
    const { health } = await rebuild(bed, ref);
    expect(apart(health)).toBe(6);
    expect(health.isWhole).toBe(true);
    expect((await emptied.usage()).chunkCount).toBe(0);
    bed.bed.away.add(storeOf(bed, host));
    const other = health.places.flatMap(({ foundAt }) => foundAt).find((id) => id !== host)!;
    bed.bed.away.add(storeOf(bed, other));
    await readAll(bed, ref);
    // Nothing is left to be done.
    bed.bed.away.delete(storeOf(bed, host));
    bed.bed.away.delete(storeOf(bed, other));
    expect((await rebuild(bed, ref)).writtenBytes).toBe(0);
  });

  it('stays without a spare; then the copy that keeps them apart does too', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const { ref, away, emptied } = await withGuest(bed);
    const { health } = await rebuild(bed, ref);
    expect(apart(health)).toBe(6);
    expect((await emptied.usage()).chunkCount).toBe(1);
    // Its own device is back.
    bed.bed.away.delete(away);
    await rebuild(bed, ref);
    expect((await emptied.usage()).chunkCount).toBe(0);
    expect(apart(await inspect(bed, ref))).toBe(6);
    expect(await bed.bed.chunkCount()).toBe(6);
  });

  it('of copies does not stay on what is emptied, when there is no other place', async () => {
    const scheme = parseScheme('copy-4');
    await using bed = await openStripesBed({ storeCount: 4, width: 4 });
    const ref = await store(bed, content, { scheme });
    const [first, last] = [homeOf(bed, ref, 0), homeOf(bed, ref, 3)];
    const chunk = (await last.get(chunkOf(ref, 3)))!;
    await first.put(chunkOf(ref, 3), chunk, { generation: 1 });
    await bed.cluster.setDevices([bed.bed.deviceOf(last, 'draining')]);
    await rebuild(bed, ref);
    expect((await last.usage()).chunkCount).toBe(0);
    expect(apart(await inspect(bed, ref))).toBe(3);
  });
});

it('two shards on one device are not made up for by a second copy of a third one', async () => {
  await using bed = await openStripesBed({ storeCount: 8 });
  const ref = await store(bed, content);
  const homes = [0, 1, 2, 3].map((index) => homeOf(bed, ref, index));
  const [first, second, third, fourth] = homes;
  const spare = bed.cluster.handOff(ref.stripe, rs42)[0]!;
  const [one, two] = [await second!.get(chunkOf(ref, 1)), await third!.get(chunkOf(ref, 2))];
  await first!.put(chunkOf(ref, 1), one!, { generation: 1 });
  await storeOf(bed, spare).put(chunkOf(ref, 2), two!, { generation: 1 });
  second!.lose(chunkOf(ref, 1));
  expect((await inspect(bed, ref)).isWhole).toBe(false);
  await rebuild(bed, ref);
  expect((await inspect(bed, ref)).isWhole).toBe(true);
  for (const dead of [first!, fourth!]) bed.bed.away.add(dead);
  expect(await readAll(bed, ref)).toEqual(content);
});

describe('servers', () => {
  const SERVERS = 4;
  const STORES = 3;

  async function openServers(): Promise<StripesBed> {
    const bed = await openStripesBed({ storeCount: SERVERS * STORES });
    const devices = bed.bed.stores.map((each, i) => ({
      ...bed.bed.deviceOf(each),
      labels: [`server-${Math.floor(i / STORES)}`, `disk-${each.id}`],
    }));
    await bed.cluster.setDevices(devices);
    return bed;
  }

  const storesAt = ({ bed }: StripesBed, server: number): MemoryChunkStore[] =>
    bed.stores.slice(server * STORES, (server + 1) * STORES);

  function leave(bed: StripesBed, server: number): void {
    for (const each of storesAt(bed, server)) bed.bed.away.add(each);
  }

  it('that are left bear the loss of another one, in puts and in repair', async () => {
    await using bed = await openServers();
    const property = fc.asyncProperty(
      fc.nat(SERVERS - 1),
      fc.nat(SERVERS - 2),
      fc.nat(1000),
      fc.boolean(),
      async (gone, next, seed, isRepair) => {
        bed.bed.away.clear();
        if (!isRepair) leave(bed, gone);
        const ref = await store(bed, bytesOf(content.length, seed));
        leave(bed, gone);
        if (isRepair) await rebuild(bed, ref);
        expect((await inspect(bed, ref)).isWhole).toBe(true);
        leave(bed, (gone + 1 + next) % SERVERS);
        await readAll(bed, ref);
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });

  it('do too when the stores fail in the middle of a put', async () => {
    await using bed = await openServers();
    for (const [gone, next] of [
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 0],
    ] as const) {
      for (const each of storesAt(bed, gone)) {
        each.fault = (what) => (what === 'put' ? 'HF_IO' : undefined);
      }
      const ref = await store(bed, bytesOf(content.length, gone + 5000));
      for (const each of storesAt(bed, gone)) each.fault = undefined;
      for (const server of [gone, next]) leave(bed, server);
      expect(await readAll(bed, ref)).toHaveLength(content.length);
      bed.bed.away.clear();
    }
  });
});
