/**
 * Aim: what is wanted comes back to n good shards in its places, what is not wanted goes, and
 * nothing wanted ever goes with it. Method: a whole core over memory stores that are lost and
 * replaced; what crashes leave is made by hand at the references, the cell and the stores.
 */
import { afterEach, describe, expect, it } from 'vitest';
import {
  type ChunkId,
  chunkIdParts,
  HoldfastError,
  METADATA_SCHEME_NUMBER,
  schemeNumber,
  stripeId,
  toHex,
} from '../base/index.ts';
import type { Namespace } from '../meta/index.ts';
import type { MemoryChunkStore } from '../store/index.ts';
import {
  bytesOf,
  type Core,
  CoreBed,
  eventually,
  rs42,
  streamOf,
} from '../../test/suites/store-bed.ts';

type ObjectStore = ReturnType<Core['volumes']['objects']>;

const HOUR_MS = 3_600_000;

interface Opened {
  readonly bed: CoreBed;
  readonly core: Core;
  readonly objects: ObjectStore;
  readonly volume: string;
  readonly namespace: Namespace;
  readonly put: (size: number, key: string) => Promise<void>;
  readonly expectReadable: (sizes: Readonly<Record<string, number>>) => Promise<void>;
}

const cleanup: Core[] = [];
afterEach(async () => {
  for (const core of cleanup.splice(0)) await core[Symbol.asyncDispose]();
});

type OpenOptions = Parameters<CoreBed['open']>[0];

async function open(bed = new CoreBed(6), options: OpenOptions = {}): Promise<Opened> {
  const core = await bed.open(options);
  cleanup.push(core);
  const [known] = await core.volumes.list();
  if (!known) await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
  const objects = core.volumes.objects('v');
  const volume = core.volumes.ids()[0]!;
  const namespace = core.volumes.namespaceOf(volume)!;
  return {
    bed,
    core,
    objects,
    volume,
    namespace,
    async put(size, key) {
      await objects.put(streamOf(bytesOf(size, size)), { key });
      await eventually(async () => {
        for (const { inode } of await namespace.listObjects({})) {
          for (const { stripe } of await namespace.extents(inode)) {
            expect(await core.references.stripe(stripe)).toMatchObject({ isStored: true });
          }
        }
      });
    },
    async expectReadable(sizes) {
      for (const [key, size] of Object.entries(sizes)) {
        const { bytes } = await objects.get(key);
        const content = Buffer.concat(await Array.fromAsync(bytes));
        expect(Buffer.compare(content, bytesOf(size, size))).toBe(0);
      }
    },
  };
}

async function shardIds(store: MemoryChunkStore): Promise<ChunkId[]> {
  const ids: ChunkId[] = [];
  for await (const { id } of store.list()) {
    if (chunkIdParts(id).schemeNumber !== METADATA_SCHEME_NUMBER) ids.push(id);
  }
  return ids;
}

/** Chunks of each stripe that is not stored as copies, by its id; in index order. */
async function shardsByStripe({ bed }: CoreBed) {
  const stripes = new Map<string, { store: MemoryChunkStore; id: ChunkId }[]>();
  for (const store of bed.stores) {
    for (const id of await shardIds(store)) {
      const parts = chunkIdParts(id);
      if (parts.schemeNumber !== schemeNumber(rs42)) continue;
      const stripe = toHex(parts.stripe);
      const shards = stripes.get(stripe) ?? [];
      shards[parts.shardIndex] = { store, id };
      stripes.set(stripe, shards);
    }
  }
  return stripes;
}

/** Loses stores for good and puts fresh ones in their place. */
async function replaceStores({ bed, core }: Opened, lost: readonly number[], fresh = lost.length) {
  for (const index of lost) {
    const store = bed.bed.stores[index]!;
    bed.bed.away.add(store);
    await core.cluster.setDevices([bed.bed.deviceOf(store, 'out')]);
  }
  for (let i = 0; i < fresh; i++) {
    await core.cluster.setDevices([bed.bed.deviceOf(bed.bed.addStore())]);
  }
}

const SIZES = { small: 1000, middle: 70_000, large: 400_000 };

describe('health and repair', () => {
  it('count, mend and count again after one and two stores are lost', async () => {
    const opened = await open();
    const { core, put, expectReadable } = opened;
    for (const [key, size] of Object.entries(SIZES)) await put(size, key);
    const whole = await core.repair.health();
    expect(whole).toEqual({
      stripes: { ok: 3, degraded: 0, lost: 0 },
      bySpare: {},
      misplaced: 0,
      unnamedChunks: 0,
      badChunks: 0,
    });
    for (const lost of [[0], [1, 2]]) {
      await replaceStores(opened, lost);
      const hurt = await core.repair.health();
      expect(hurt.stripes.degraded).toBeGreaterThanOrEqual(2);
      expect(hurt.stripes.lost).toBe(0);
      const bySpare = Object.values(hurt.bySpare).reduce((sum, count) => sum + count, 0);
      expect(bySpare).toBe(hurt.stripes.degraded);
      await expectReadable(SIZES);
      const progress: number[] = [];
      const summary = await core.repair.repair({
        onProgress: ({ doneCount, totalCount }) => progress.push(doneCount / totalCount),
      });
      expect(summary).toMatchObject({ incomplete: 0, lost: 0 });
      expect(summary.repaired).toBeGreaterThanOrEqual(hurt.stripes.degraded);
      expect(progress.at(-1)).toBe(1);
      expect(await core.repair.health()).toEqual(whole);
      await expectReadable(SIZES);
    }
    expect((await core.repair.repair()).writtenBytes).toBe(0);
  });

  it('mends metadata with it: a reopened core finds all after losses one by one', async () => {
    const opened = await open();
    for (const [key, size] of Object.entries(SIZES)) await opened.put(size, key);
    for (const lost of [0, 1, 2, 3, 4, 5]) {
      await replaceStores(opened, [lost]);
      await opened.core.repair.repair();
    }
    await opened.core[Symbol.asyncDispose]();
    cleanup.length = 0;
    const again = await open(opened.bed);
    await again.expectReadable(SIZES);
    expect((await again.core.repair.health()).stripes).toEqual({ ok: 3, degraded: 0, lost: 0 });
  });

  it('begins with the stripes that can lose least', async () => {
    const opened = await open();
    const { bed, core, objects } = opened;
    const puts = Array.from({ length: 16 }, (_, i) =>
      objects.put(streamOf(bytesOf(70_000 + i, i))),
    );
    await Promise.all(puts);
    await eventually(async () => expect((await core.repair.health()).stripes.ok).toBe(16));
    const lostOf = new Map<string, number>();
    for (const [stripe, shards] of await shardsByStripe(bed)) {
      const lostCount = 1 + (lostOf.size % 2);
      lostOf.set(stripe, lostCount);
      for (const { store, id } of shards.slice(0, lostCount)) store.lose(id);
    }
    expect((await core.repair.health()).bySpare).toEqual({ '0': 8, '1': 8 });
    const order = new Set<string>();
    for (const store of bed.bed.stores) {
      store.fault = (operation, id) => {
        const { stripe, schemeNumber: number } = chunkIdParts(id);
        // That groups are whole is written down in metadata.
        const isShard = number !== METADATA_SCHEME_NUMBER;
        if (operation === 'put' && isShard) order.add(toHex(stripe));
        return undefined;
      };
    }
    expect((await core.repair.repair()).repaired).toBe(16);
    const losses = [...order].map((stripe) => lostOf.get(stripe));
    // Four are under way at once, so the order may differ by as many.
    expect(losses.slice(0, 4)).toEqual([2, 2, 2, 2]);
    expect(losses.slice(-4)).toEqual([1, 1, 1, 1]);
  });

  it('leaves what is lost alone, says so, and mends the rest', async () => {
    const opened = await open();
    const { bed, core, put, objects, expectReadable } = opened;
    await put(SIZES.large, 'large');
    await put(SIZES.small, 'small');
    const [shards] = (await shardsByStripe(bed)).values();
    for (const { store, id } of shards!.slice(0, 3)) store.lose(id);
    expect(await core.repair.health()).toMatchObject({
      stripes: { ok: 1, degraded: 0, lost: 1 },
      bySpare: { '-1': 1 },
    });
    expect(await core.repair.repair()).toMatchObject({ lost: 1, repaired: 0, writtenBytes: 0 });
    await expectReadable({ small: SIZES.small });
    await objects.remove('large');
    expect((await core.repair.health()).stripes).toEqual({ ok: 1, degraded: 0, lost: 0 });
  });

  it('finds bad chunks by scrubbing and puts them again', async () => {
    const { bed, core, put, expectReadable } = await open();
    await put(SIZES.large, 'large');
    const [store, other] = bed.bed.stores as [MemoryChunkStore, MemoryChunkStore];
    for (const each of [store, other]) each.flip((await shardIds(each))[0]!, 500);
    expect((await core.repair.scrub()).bad).toBe(2);
    expect(await core.repair.health()).toMatchObject({
      stripes: { ok: 0, degraded: 1, lost: 0 },
      badChunks: 2,
      bySpare: { '0': 1 },
    });
    await core.repair.repair();
    const summary = await core.repair.scrub();
    expect(summary).toMatchObject({ bad: 0, mended: 0, failedStores: [] });
    expect(summary.checked).toBe(await bed.bed.chunkCount());
    expect(summary.checkedBytes).toBeGreaterThan(SIZES.large);
    expect((await core.repair.health()).badChunks).toBe(0);
    await expectReadable({ large: SIZES.large });
  });

  it('can be given up', async () => {
    const { core } = await open();
    const signal = AbortSignal.abort();
    for (const what of ['health', 'repair'] as const) {
      const run = core.repair[what]({ signal });
      await expect(run).rejects.toMatchObject({ code: 'HF_INTERRUPTED' });
    }
  });
});

describe('collect', () => {
  const graceMs = 24 * HOUR_MS;

  /** Shards of a stripe on the stores, as a writer leaves them. */
  async function spread({ core }: Opened, size: number, generation = 1) {
    const { stripes } = core;
    const buffer = await stripes.lease(rs42);
    buffer.content.set(bytesOf(size, size));
    using prepared = await stripes.prepare(buffer, size, { scheme: rs42 });
    await stripes.spread(prepared, { generation });
    const { stripe, schemeNumber, chunkBytes, contentBytes, key } = prepared;
    return { stripe, schemeNumber, chunkBytes, contentBytes, key };
  }

  it('lets go of what nothing ever named, after the grace time', async () => {
    const opened = await open();
    const { bed, core } = opened;
    await opened.put(SIZES.large, 'large');
    await spread(opened, 100_000);
    expect(await core.repair.health()).toMatchObject({ unnamedChunks: 6 });
    expect((await core.repair.collect({ graceMs })).deletedChunks).toBe(0);
    bed.bed.nowMs += graceMs + 2000;
    const young = await spread(opened, 200_000);
    const summary = await core.repair.collect({ graceMs });
    expect(summary).toEqual({ releases: 0, strays: 0, deletedStripes: 0, deletedChunks: 6 });
    expect(await core.repair.health()).toMatchObject({ unnamedChunks: 6, stripes: { ok: 1 } });
    expect(await core.references.stripe(young.stripe)).toBeUndefined();
    await opened.expectReadable({ large: SIZES.large });
    expect(await core.references.strays()).toEqual([]);
  });

  it('does not hit a stripe that is named while it is being collected', async () => {
    const opened = await open();
    const { bed, core, volume, namespace } = opened;
    const ref = await spread(opened, 100_000);
    bed.bed.nowMs += graceMs + 2000;
    // A writer of the same content comes when the stores have been listed, before they delete.
    const { references } = core;
    const session = await references.openSession('writer');
    const holder = { volume, inode: await namespace.allocateInodes(1) };
    let named: { generation: number } | undefined;
    const openSession = references.openSession.bind(references);
    (references as { openSession: unknown }).openSession = async (node: string) => {
      named ??= (await references.add({ session, holder, stripes: [ref] }))[0];
      return await openSession(node);
    };
    expect(await core.repair.collect({ graceMs })).toMatchObject({ deletedChunks: 0 });
    expect(named).toBeDefined();
    for (const { foundAt } of (await core.stripes.inspect(ref.stripe, ref.schemeNumber)).places) {
      expect(foundAt).toHaveLength(1);
    }
    // One that comes later puts all shards again, under a higher generation.
    await references.release(holder, [ref.stripe]);
    const [later] = await references.add({ session, holder, stripes: [ref] });
    expect(later).toEqual({ generation: named!.generation + 1, isStored: false });
  });

  it('settles what a writer that is gone has left pending', async () => {
    const opened = await open();
    const { core, volume, namespace } = opened;
    const { references } = core;
    await opened.put(SIZES.large, 'large');
    const session = await references.openSession('gone');
    const [abandoned, unknown] = [await spread(opened, 90_000), await spread(opened, 110_000)];
    const inode = await namespace.allocateInodes(2);
    await references.add({ session, holder: { volume, inode }, stripes: [abandoned] });
    // A volume that is not open here may have committed it: that is not ours to judge.
    const foreign = { volume: 'ff'.repeat(16), inode };
    await references.add({ session, holder: foreign, stripes: [unknown] });
    await references.openSession('gone');
    expect(await core.repair.collect({ graceMs })).toMatchObject({ strays: 2, deletedStripes: 1 });
    expect(await references.stripe(abandoned.stripe)).toBeUndefined();
    expect(await references.stripe(unknown.stripe)).toBeDefined();
    expect((await core.stripes.inspect(unknown.stripe, unknown.schemeNumber)).spareCount).toBe(2);
    expect((await core.stripes.inspect(abandoned.stripe, abandoned.schemeNumber)).spareCount).toBe(
      -4,
    );
    expect(await namespace.refuse(inode)).toBe('refused');
    await opened.expectReadable({ large: SIZES.large });
  });

  it('confirms what a writer committed and did not confirm', async () => {
    const opened = await open(new CoreBed(6), {
      // The node ends after the commit: nobody confirms.
      wrapReferences: (references) => ({
        ...references,
        confirm: () => Promise.reject(new Error('crashed')),
      }),
    });
    const { core, bed } = opened;
    await opened.objects.put(streamOf(bytesOf(SIZES.large, SIZES.large)), {
      key: 'large',
    });
    await core[Symbol.asyncDispose]();
    cleanup.length = 0;
    const again = await open(bed);
    expect(await again.core.repair.health()).toMatchObject({
      stripes: { ok: 1 },
      unnamedChunks: 0,
    });
    expect(await again.core.repair.collect({ graceMs })).toMatchObject({
      strays: 1,
      deletedStripes: 0,
    });
    expect(await again.core.repair.health()).toMatchObject({ stripes: { ok: 1 } });
    await again.expectReadable({ large: SIZES.large });
  });

  it('keeps and confirms what was acknowledged and whose confirmation failed', async () => {
    let isFailing = true;
    const opened = await open(new CoreBed(6), {
      wrapReferences: (references) => ({
        ...references,
        async confirm(holder, stripes) {
          if (isFailing) throw new HoldfastError('HF_NO_SPACE');
          await references.confirm(holder, stripes);
        },
      }),
    });
    const { bed, core, objects, expectReadable } = opened;
    await objects.put(streamOf(bytesOf(SIZES.large, SIZES.large)), { key: 'large' });
    const [[stripe, shards]] = (await shardsByStripe(bed)).entries() as unknown as [
      [string, { store: MemoryChunkStore; id: ChunkId }[]],
    ];
    // Six shards are lost, two at a time: without repair of what is pending the stripe would be.
    for (const two of [shards.slice(0, 2), shards.slice(2, 4), shards.slice(4)]) {
      for (const { store, id } of two) store.lose(id);
      expect((await core.repair.health()).stripes).toEqual({ ok: 0, degraded: 1, lost: 0 });
      expect(await core.repair.repair()).toMatchObject({ repaired: 1, incomplete: 0, skipped: 0 });
    }
    await expectReadable({ large: SIZES.large });
    const record = async () => await core.references.stripe(stripeId(Buffer.from(stripe, 'hex')));
    expect(await record()).toMatchObject({ isStored: false });
    await core.repair.collect({ graceMs });
    isFailing = false;
    await core.repair.collect({ graceMs });
    expect(await record()).toMatchObject({ isStored: true, referenceCount: 1 });
    await expectReadable({ large: SIZES.large });
  });

  it('says which stripes it passed over because nobody has committed them yet', async () => {
    const opened = await open();
    const { core, bed, volume, namespace } = opened;
    const session = await core.references.openSession('writer');
    const ref = await spread(opened, 100_000);
    const holder = { volume, inode: await namespace.allocateInodes(1) };
    await core.references.add({ session, holder, stripes: [ref] });
    expect(await core.repair.repair()).toMatchObject({ skipped: 0, incomplete: 0 });
    const [[shard]] = (await shardsByStripe(bed)).values() as unknown as [
      [{ store: MemoryChunkStore; id: ChunkId }],
    ];
    shard.store.lose(shard.id);
    const none = { repaired: 0, incomplete: 0, lost: 0, writtenBytes: 0 };
    expect(await core.repair.repair()).toEqual({ ...none, skipped: 1 });
    expect((await core.repair.health()).stripes).toEqual({ ok: 0, degraded: 0, lost: 0 });
  });

  it('ends deletes that a crash cut short, wherever it did', async () => {
    for (const cutAt of ['release', 'remove', 'forget'] as const) {
      const opened = await open();
      const { bed, core, objects } = opened;
      await opened.put(SIZES.large, 'large');
      const crash = async (): Promise<never> => {
        throw new Error('crashed');
      };
      if (cutAt === 'remove') (core.stripes as { remove: unknown }).remove = crash;
      else (core.references as unknown as Record<string, unknown>)[cutAt] = crash;
      await expect(objects.remove('large')).rejects.toThrow('crashed');
      await core[Symbol.asyncDispose]();
      cleanup.length = 0;
      const again = await open(bed);
      await again.core.repair.collect({ graceMs });
      expect(await again.core.repair.health()).toMatchObject({
        stripes: { ok: 0, degraded: 0, lost: 0 },
        unnamedChunks: 0,
      });
      expect(await again.core.references.condemned()).toEqual([]);
      expect(await again.namespace.releases()).toEqual([]);
      await again.core[Symbol.asyncDispose]();
      cleanup.length = 0;
    }
  });
});
