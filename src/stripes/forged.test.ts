/**
 * Aim: bytes that are not what their id names are marked where they are, and where the other node
 * stands by them it is not believed: repair puts the shard elsewhere, and says so. Method: stores
 * whose bytes are changed behind their back, checksums and all, here and behind a network in
 * memory; one of them lies also when it is asked to look.
 */
import { describe, expect, it } from 'vitest';
import { groupOf, type StripeId } from '../base/index.ts';
import { type ChunkStore, RemoteChunkStore, serveStores } from '../store/index.ts';
import { RemoteBed } from '../../test/suites/remote-bed.ts';
import {
  bytesOf,
  chunkOf,
  homeOf,
  lyingStore,
  openStripesBed,
  readAll,
  rebuild,
  rs42,
  store,
  type StripesBed,
} from '../../test/suites/store-bed.ts';
import type { StripeRef } from './index.ts';

const content = bytesOf(300_000);
/** Past the header, so that only the digest shows it. */
const OFFSET = 5000;

async function placesOf({ stripes }: StripesBed, { stripe, schemeNumber }: StripeRef) {
  return (await stripes.inspect(stripe, schemeNumber)).places;
}

/** Puts a store of the bed on another node. */
async function behindNetwork(bed: StripesBed, local: ChunkStore): Promise<AsyncDisposable> {
  const net = await RemoteBed.open((server, { env: { clock } }) =>
    serveStores(server, () => [local], {
      clock,
      mayPut: () => true,
      mayRemove: () => true,
      oldestEpoch: () => 0,
    }),
  );
  const { asker: network, server, env } = net;
  const about = { clock: env.clock, network, node: server.self, epoch: () => 1 };
  const served = bed.bed.stores.find(({ id }) => id === local.id)!;
  bed.bed.wraps.set(served, new RemoteChunkStore({ ...about, id: local.id }));
  return net;
}

describe('forged chunks', () => {
  it('are marked by the store that has them when a read meets them', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const ref = await store(bed, content);
    const home = homeOf(bed, ref, 1);
    home.forge(chunkOf(ref, 1), OFFSET);
    expect((await placesOf(bed, ref))[1]!.badAt).toEqual([]);
    expect(await readAll(bed, ref)).toEqual(content);
    await bed.stripes[Symbol.asyncDispose]();
    expect((await home.usage()).badChunkCount).toBe(1);
    await home.scrub(); // whose checksum is right
    expect((await placesOf(bed, ref))[1]).toMatchObject({ foundAt: [], badAt: [home.id] });
    await rebuild(bed, ref);
    expect((await placesOf(bed, ref))[1]).toMatchObject({ foundAt: [home.id], badAt: [] });
  });

  it('that repair meets are made again at once, also those of copies', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const ref = await store(bed, content);
    for (const index of [0, 3]) homeOf(bed, ref, index).forge(chunkOf(ref, index), OFFSET);
    homeOf(bed, ref, 4).lose(chunkOf(ref, 4));
    expect(await rebuild(bed, ref).catch(() => 'lost')).toBe('lost'); // three of six, four needed
    await using other = await openStripesBed({ storeCount: 7 });
    const again = await store(other, content);
    homeOf(other, again, 0).forge(chunkOf(again, 0), OFFSET);
    homeOf(other, again, 4).lose(chunkOf(again, 4));
    expect((await rebuild(other, again)).health).toMatchObject({ isWhole: true, spareCount: 2 });
    expect(await readAll(other, again)).toEqual(content);
  });

  it('of a node that owns up are made again there', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const ref = await store(bed, content);
    const home = homeOf(bed, ref, 0);
    await using _net = await behindNetwork(bed, home);
    home.forge(chunkOf(ref, 0), OFFSET);
    homeOf(bed, ref, 4).lose(chunkOf(ref, 4));
    const { health } = await rebuild(bed, ref);
    expect(health.places[0]).toMatchObject({ foundAt: [home.id], badAt: [] });
  });

  it('of a node that stands by them are put elsewhere', async () => {
    await using bed = await openStripesBed({ storeCount: 7 });
    const ref = await store(bed, content);
    const home = homeOf(bed, ref, 0);
    const liar = lyingStore(home, (chunk) => chunk.with(-1, chunk.at(-1)! ^ 1) as Uint8Array);
    await using _net = await behindNetwork(bed, liar);
    homeOf(bed, ref, 4).lose(chunkOf(ref, 4));
    const { health } = await rebuild(bed, ref);
    const [spare] = bed.cluster.handOff(ref.stripe, rs42);
    expect(health).toMatchObject({ isWhole: true, spareCount: 2 });
    expect(health.places[0]).toMatchObject({ wantedAt: home.id, foundAt: [spare] });
    // It is not given the shard again.
    await rebuild(bed, ref);
    expect(await home.stat(chunkOf(ref, 0))).toBeUndefined();
    expect(await readAll(bed, ref)).toEqual(content);
  });

  it('are in no count or digest of a node that stands by them', async () => {
    await using bed = await openStripesBed({ storeCount: 6 });
    const ref = await store(bed, content);
    const id = chunkOf(ref, 0);
    const home = homeOf(bed, ref, 0);
    await using _net = await behindNetwork(
      bed,
      lyingStore(home, (chunk) => chunk),
    );
    const remote = bed.bed.alive().find((each) => each.id === home.id)!;
    expect(await remote.digests()).toEqual(await home.digests());
    expect(await remote.dispute!(id)).toBe(true);
    expect(await remote.digests()).toEqual([]);
    const group = groupOf(id as Uint8Array as StripeId);
    const listed = await Array.fromAsync(remote.list({ group }));
    expect(listed).toMatchObject([{ isGood: false }]);
    expect(await remote.stat(id)).toMatchObject({ isGood: false });
    expect((await remote.usage()).badChunkCount).toBe(1);
    await expect(remote.get(id)).rejects.toMatchObject({ code: 'HF_CORRUPT' });
    expect(await remote.remove(id, { generationMax: 1 })).toBe(true);
    expect((await remote.usage()).badChunkCount).toBe(0);
    const bytes = (await homeOf(bed, ref, 1).get(chunkOf(ref, 1)))!;
    const put = remote.put(id, bytes, { generation: 1, isVerified: true });
    await expect(put).rejects.toMatchObject({ code: 'HF_IO' });
  });
});
