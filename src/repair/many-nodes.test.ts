/**
 * Aim: what is wanted comes to stand where the layout wants it, at the least cost, and what is not
 * wanted goes, whoever was away meanwhile; nothing is asked of whom nothing is needed. Method: a
 * cluster in memory (RepairBed) whose stores go, come back and are written off; every put and
 * remove is seen. Planted faults show that the tests would notice.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PutStripe, RepairBed, rs42 } from '../../test/suites/repair-bed.ts';
import {
  chunkId,
  chunkIdParts,
  GROUP_COUNT,
  groupOf,
  HoldfastError,
  parseScheme,
  schemeOfNumber,
} from '../base/index.ts';
import type { MemoryChunkStore } from '../store/index.ts';
import { type Repair, WholeEpochs } from './index.ts';

const HOUR_MS = 3_600_000;
const graceMs = 24 * HOUR_MS;
const copies = parseScheme('copy-3');
const OK = { incomplete: 0, skipped: 0, lost: 0 };

async function putMany(bed: RepairBed, count: number): Promise<PutStripe[]> {
  const stripes: PutStripe[] = [];
  for (let seed = 1; seed <= count; seed++) {
    stripes.push(await bed.put(seed, seed % 3 === 0 ? { scheme: copies } : {}));
  }
  return stripes;
}

function shard(stripe: PutStripe, index: number) {
  return chunkId(stripe.stripe, stripe.schemeNumber, index);
}

/** Every shard stands where the layout wants it, and nowhere else. */
async function expectInPlace(bed: RepairBed, stripes: readonly PutStripe[]): Promise<void> {
  for (const stripe of stripes) {
    const scheme = stripe.schemeNumber === stripes[0]!.schemeNumber ? rs42 : copies;
    const places = bed.cluster.place(stripe.stripe, scheme);
    const holders = await bed.holders(stripe);
    expect(holders.map((stores) => stores.map(({ id }) => id))).toEqual(
      places.map((device) => [device]),
    );
  }
}

describe('a look', () => {
  it('asks each store once when there is nothing to do', async () => {
    await using bed = await RepairBed.open(6);
    const stripes = await putMany(bed, 12);
    await bed.repair.repair();
    bed.resetCounts();
    const written: number[] = [];
    bed.references.setWholeEpoch = async (group) => void written.push(group);
    expect(await bed.repair.repair()).toEqual({ ...OK, repaired: 0, writtenBytes: 0 });
    expect(bed.counts).toEqual({ digests: 6, lists: 0, puts: 0, putBytes: 0, removes: 0 });
    expect((await bed.repair.health()).stripes).toEqual({ ok: 12, degraded: 0, lost: 0 });
    expect(bed.counts.lists).toBe(0);
    expect(written).toEqual([]);
    await expectInPlace(bed, stripes);
  });

  it('calls misplaced what a repair would move, and nothing that has to wait', async () => {
    await using bed = await RepairBed.open(8);
    bed.away.add(bed.stores[0]!);
    const stripes = await putMany(bed, 12);
    const homeless = stripes.filter(({ stripe, schemeNumber }) =>
      bed.cluster.place(stripe, schemeOfNumber(schemeNumber)).includes(bed.stores[0]!.id),
    ).length;
    expect(homeless).toBeGreaterThan(0);
    expect(await bed.repair.health()).toMatchObject({ stripes: { ok: 12 }, misplaced: 0 });
    expect(await bed.repair.repair()).toMatchObject({ ...OK, repaired: 0 });
    bed.away.clear();
    expect(await bed.repair.health()).toMatchObject({ stripes: { ok: 12 }, misplaced: homeless });
    expect(await bed.repair.repair()).toMatchObject({ ...OK, repaired: homeless });
    expect(await bed.repair.health()).toMatchObject({ misplaced: 0 });
  });

  it('walks only the groups that differ', async () => {
    await using bed = await RepairBed.open(6);
    const stripes = await putMany(bed, 12);
    const [hurt] = stripes;
    const [[holder]] = (await bed.holders(hurt!)) as [[MemoryChunkStore]];
    holder.lose(shard(hurt!, 0));
    bed.resetCounts();
    expect(await bed.repair.health()).toMatchObject({ stripes: { ok: 11, degraded: 1, lost: 0 } });
    expect(bed.counts.lists).toBe(6);
    expect(await bed.repair.repair()).toMatchObject({ ...OK, repaired: 1 });
    await expectInPlace(bed, stripes);
  });

  /** All shards of a stripe are lost at once: what all stores agree on is wrong. */
  async function lostEverywhere(bed: RepairBed, repair: Repair) {
    const stripes = await putMany(bed, 3);
    await repair.repair();
    for (const [index, [store]] of (await bed.holders(stripes[0]!)).entries()) {
      store!.lose(shard(stripes[0]!, index));
    }
    return (await repair.health()).stripes;
  }

  it('is not deceived when all stores agree on what is wrong', async () => {
    await using bed = await RepairBed.open(6);
    expect(await lostEverywhere(bed, bed.repair)).toEqual({ ok: 2, degraded: 0, lost: 1 });
    await using other = await RepairBed.open(6);
    const planted = other.openRepair({ plantedFault: 'equal-is-whole' });
    expect(await lostEverywhere(other, planted)).toEqual({ ok: 2, degraded: 0, lost: 0 });
  });

  it('finds bad chunks where digests show none', async () => {
    await using bed = await RepairBed.open(8);
    const stripes = await putMany(bed, 3);
    await bed.repair.repair();
    // A surplus copy that is known bad: to all others it is not there.
    const [store] = await spareStores(bed, stripes[0]!);
    const id = shard(stripes[0]!, 2);
    const holder = (await bed.holders(stripes[0]!))[2]![0];
    await store!.put(id, (await holder!.get(id))!, { generation: 1 });
    store!.flip(id, 100);
    await store!.scrub();
    expect(await bed.repair.health()).toMatchObject({ badChunks: 1, stripes: { ok: 3 } });
    await bed.repair.repair();
    expect((await store!.usage()).chunkCount).toBe((await bed.held(store!)).length);
    expect(await bed.repair.health()).toMatchObject({ badChunks: 0 });
    await expectInPlace(bed, stripes);
  });

  it('agrees with a look at every chunk, whatever happened to the stores', async () => {
    const event = fc.record({
      what: fc.constantFrom('lose', 'copy', 'rot', 'release', 'half-release', 'pend', 'repair'),
      stripe: fc.nat(5),
      index: fc.nat(5),
      store: fc.nat(7),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 12 }), async (events) => {
        await using bed = await RepairBed.open(8);
        const stripes = await putMany(bed, 6);
        // Its stores never agree: it looks at every chunk.
        const thorough = bed.openRepair({ stores: () => bed.alive().map(disagreeing) });
        for (const { what, stripe: number, index, store } of events) {
          const stripe = stripes[number]!;
          const id = shard(stripe, index);
          const [holder] = (await bed.holders(stripe))[index] ?? [];
          if (what === 'lose') holder?.lose(id);
          const bytes = what === 'copy' && (await holder?.get(id).catch(() => undefined));
          if (bytes) await bed.stores[store]!.put(id, bytes, { generation: 1 });
          if (what === 'rot' && holder) holder.flip(id, 50);
          if (what === 'rot') await holder?.scrub();
          if (what === 'release') await bed.release(stripe);
          if (what === 'half-release') await halfRelease(bed, stripe);
          if (what === 'pend') await bed.put(1000 + number, { commits: false });
          if (what === 'repair') await bed.repair.repair();
        }
        expect(await bed.repair.health()).toEqual(await thorough.health());
      }),
      { numRuns: 4 },
    );
  }, 30_000);
});

/** Its references go, and then nothing is deleted. */
async function halfRelease(bed: RepairBed, stripe: PutStripe): Promise<void> {
  const remove = bed.stripes.remove.bind(bed.stripes);
  bed.stripes.remove = async () => {
    throw new HoldfastError('HF_UNAVAILABLE');
  };
  await bed.release(stripe).catch(() => {});
  bed.stripes.remove = remove;
}

/** A store whose digests name every group, with a content that no other store has. */
function disagreeing(store: ReturnType<RepairBed['alive']>[number]) {
  return {
    ...store,
    digests: async () =>
      Array.from({ length: GROUP_COUNT }, (_, group) => ({
        group,
        schemeNumber: 3,
        shardIndex: 0,
        count: 1,
        digest: BigInt(`0x${store.id.slice(0, 8)}`),
      })),
  };
}

/** Stores that hold nothing of a stripe. */
async function spareStores(bed: RepairBed, stripe: PutStripe): Promise<MemoryChunkStore[]> {
  const holders = new Set((await bed.holders(stripe)).flat());
  return bed.stores.filter((store) => !holders.has(store));
}

describe('a node that goes and comes back', () => {
  it('moves nothing while it has its grace, and nothing when it is back', async () => {
    await using bed = await RepairBed.open(9);
    const stripes = (await putMany(bed, 12)).filter(
      ({ schemeNumber }, _, all) => schemeNumber === all[0]!.schemeNumber,
    );
    await bed.repair.repair();
    bed.away.add(bed.stores[0]!);
    bed.resetCounts();
    const held = (await Promise.all(stripes.map((each) => bed.holders(each)))).filter((holders) =>
      holders.flat().includes(bed.stores[0]!),
    );
    const away = await bed.repair.repair({ isAutomatic: true });
    expect(held.length).toBeGreaterThan(0);
    expect(away.incomplete).toBeGreaterThanOrEqual(held.length);
    expect(bed.counts.puts).toBe(0);
    bed.away.clear();
    expect(await bed.repair.repair({ isAutomatic: true })).toMatchObject({ ...OK, repaired: 0 });
    expect(bed.counts).toMatchObject({ puts: 0, removes: 0 });
  });

  it('holds nobody up by its silence', async () => {
    await using bed = await RepairBed.open(9);
    const stripes = await putMany(bed, 12);
    await bed.repair.repair();
    const [hurt] = stripes;
    const [[silent], [other]] = (await bed.holders(hurt!)) as [
      [MemoryChunkStore],
      [MemoryChunkStore],
    ];
    bed.silent.add(silent);
    other.lose(shard(hurt!, 1));
    bed.resetCounts();
    const before = new Set(await bed.held(silent));
    const run = await bed.repair.repair({ isAutomatic: true });
    expect(run.lost).toBe(0);
    expect(await other.stat(shard(hurt!, 1))).toBeDefined();
    // Once it has not answered, nobody asks it for a list.
    const others = bed.stores.length - 1;
    expect(bed.counts.lists % others).toBe(0);
    bed.silent.clear();
    expect(await bed.repair.repair()).toMatchObject(OK);
    await expectInPlace(bed, stripes);
    expect(before.isSubsetOf(new Set(await bed.held(silent)))).toBe(true);
  });

  it('waits for none when nothing is left to lose, or when a user asks', async () => {
    await using bed = await RepairBed.open(9);
    const stripes = await putMany(bed, 6);
    await bed.repair.repair();
    const [two] = stripes;
    const lost = (await bed.holders(two!)).slice(0, 2).map(([store]) => store!);
    for (const store of lost) bed.away.add(store);
    await bed.repair.repair({ isAutomatic: true });
    const health = await bed.stripes.inspect(two!.stripe, two!.schemeNumber);
    expect(health.isWhole).toBe(true);
    expect(await bed.repair.repair()).toMatchObject(OK);
  });

  it('keeps what is still wanted there, and copies nothing twice', async () => {
    await using bed = await RepairBed.open(9);
    const stripes = await putMany(bed, 24);
    await bed.repair.repair();
    const [back] = bed.stores as [MemoryChunkStore];
    const before = await bed.held(back);
    bed.out.add(back);
    await bed.state();
    expect(await bed.repair.repair()).toMatchObject(OK);
    // It is back, with all that it had.
    bed.out.clear();
    await bed.state();
    const wanted = await shardsAt(bed, stripes, back);
    const puts: MemoryChunkStore[] = [];
    bed.onChange = async (what, store, id) => {
      if (what === 'put' && store.id === back.id) puts.push(back);
      if (what === 'remove') await expectElsewhere(bed, store.id, id);
    };
    expect(await bed.repair.repair()).toMatchObject(OK);
    const kept = before.filter((id) => wanted.has(id));
    expect(kept.length).toBeGreaterThan(0);
    expect(puts).toHaveLength(wanted.size - kept.length);
    await expectInPlace(bed, stripes);
    expect(await bed.repair.health()).toMatchObject({ misplaced: 0, unnamedChunks: 0 });
  });
});

/** Hex ids of the shards that the layout wants at a store. */
async function shardsAt(
  bed: RepairBed,
  stripes: readonly PutStripe[],
  store: MemoryChunkStore,
): Promise<Set<string>> {
  const ids = new Set<string>();
  for (const stripe of stripes) {
    const scheme = stripe.schemeNumber === stripes[0]!.schemeNumber ? rs42 : copies;
    for (const [index, device] of bed.cluster.place(stripe.stripe, scheme).entries()) {
      if (device === store.id) ids.add(Buffer.from(shard(stripe, index)).toString('hex'));
    }
  }
  return ids;
}

/** A wanted shard is never removed but when another store has it, good and readable. */
async function expectElsewhere(bed: RepairBed, at: string, id: Uint8Array): Promise<void> {
  const { stripe } = chunkIdParts(id as ReturnType<typeof chunkId>);
  if (!(await bed.references.stripe(stripe))) return;
  for (const store of bed.stores) {
    if (store.id === at || bed.away.has(store) || bed.out.has(store)) continue;
    const bytes = await store.get(id as ReturnType<typeof chunkId>).catch(() => undefined);
    if (bytes) return;
  }
  throw new Error('the last copy of a shard was to be removed');
}

describe('rebalance', () => {
  it('moves exactly what a new node takes, and removes a source after its target', async () => {
    await using bed = await RepairBed.open(8);
    const stripes = await putMany(bed, 30);
    await bed.repair.repair();
    const added = bed.addStore();
    await bed.state();
    const wanted = new Set<string>();
    for (const store of bed.stores) {
      for (const id of await shardsAt(bed, stripes, store)) {
        if (!(await bed.held(store)).includes(id)) wanted.add(id);
      }
    }
    bed.resetCounts();
    bed.onChange = async (what, store, id) => {
      if (what === 'remove') await expectElsewhere(bed, store.id, id);
    };
    expect(await bed.repair.repair()).toMatchObject(OK);
    expect((await bed.held(added)).length).toBeGreaterThan(0);
    expect(bed.counts.puts).toBe(wanted.size);
    expect(bed.counts.removes).toBe(wanted.size);
    await expectInPlace(bed, stripes);
  });

  it('notices a source that goes before its target has it', async () => {
    await using bed = await RepairBed.open(8);
    await putMany(bed, 30);
    await bed.repair.repair();
    bed.addStore();
    await bed.state();
    const violations: unknown[] = [];
    bed.onChange = async (what, store, id) => {
      if (what !== 'remove') return;
      await expectElsewhere(bed, store.id, id).catch((error: unknown) => violations.push(error));
    };
    // The planted fault: what stands elsewhere than the layout wants is removed, then rebuilt.
    const rebuild = bed.stripes.rebuild.bind(bed.stripes);
    bed.stripes.rebuild = async (wanted, options) => {
      const { places } = await bed.stripes.inspect(wanted.stripe, wanted.schemeNumber);
      for (const { shardIndex, wantedAt, foundAt } of places) {
        const id = chunkId(wanted.stripe, wanted.schemeNumber, shardIndex);
        for (const store of bed.alive()) {
          if (store.id === wantedAt || !foundAt.includes(store.id)) continue;
          await store.remove(id, { generationMax: wanted.generation });
        }
      }
      return await rebuild(wanted, options);
    };
    await bed.repair.repair();
    expect(violations.length).toBeGreaterThan(0);
  });

  it('goes on where a run was cut short', async () => {
    await using bed = await RepairBed.open(8);
    const stripes = await putMany(bed, 30);
    await bed.repair.repair();
    bed.addStore();
    await bed.state();
    bed.resetCounts();
    const caller = new AbortController();
    const onProgress = ({ doneCount }: { doneCount: number }): void => {
      if (doneCount === 5) caller.abort();
    };
    const run = bed.repair.repair({ signal: caller.signal, onProgress });
    await expect(run).rejects.toMatchObject({ code: 'HF_INTERRUPTED' });
    const cut = bed.counts.puts;
    expect(cut).toBeGreaterThan(0);
    expect(await bed.openRepair().repair()).toMatchObject(OK);
    expect(bed.counts.puts).toBeGreaterThan(cut);
    // Each target was written once.
    expect(bed.counts.removes).toBe(bed.counts.puts);
    await expectInPlace(bed, stripes);
  });

  it('removes what is there too often', async () => {
    await using bed = await RepairBed.open(8);
    const stripes = await putMany(bed, 6);
    await bed.repair.repair();
    const [stripe] = stripes;
    const [[holder]] = (await bed.holders(stripe!)) as [[MemoryChunkStore]];
    const id = shard(stripe!, 0);
    for (const store of await spareStores(bed, stripe!)) {
      await store.put(id, (await holder.get(id))!, { generation: 1 });
    }
    bed.resetCounts();
    expect(await bed.repair.repair()).toMatchObject({ ...OK, writtenBytes: 0 });
    expect(bed.counts).toMatchObject({ puts: 0, removes: 2 });
    await expectInPlace(bed, stripes);
  });
});

describe('deletes', () => {
  /** A stripe that was removed while some of its holders were away. They are back. */
  async function removedMeanwhile(bed: RepairBed, awayCount: number): Promise<PutStripe> {
    const [stripe] = await putMany(bed, 2);
    await bed.repair.repair();
    const holders = (await bed.holders(stripe!)).map(([store]) => store!);
    for (const store of holders.slice(0, awayCount)) bed.away.add(store);
    await bed.release(stripe!);
    expect(await bed.record(stripe!)).toBeUndefined();
    bed.away.clear();
    return stripe!;
  }

  it.each([1, 3, 6])('reach %i holders that were away, at once', async (awayCount) => {
    await using bed = await RepairBed.open(8);
    const stripe = await removedMeanwhile(bed, awayCount);
    expect((await bed.holders(stripe)).flat()).toHaveLength(awayCount);
    expect(await bed.repair.repair()).toEqual({ ...OK, repaired: 0, writtenBytes: 0 });
    expect((await bed.holders(stripe)).flat()).toEqual([]);
    expect(await bed.repair.health()).toMatchObject({
      stripes: { ok: 1, degraded: 0, lost: 0 },
      unnamedChunks: 0,
    });
  });

  it('reach them after the grace time when the steward has forgotten', async () => {
    await using bed = await RepairBed.open(8);
    const stripe = await removedMeanwhile(bed, 6);
    const repair = bed.openRepair();
    await repair.repair();
    await repair.collect({ graceMs });
    expect((await bed.holders(stripe)).flat()).toHaveLength(6);
    await bed.env.clock.sleep(graceMs + 2000);
    expect(await repair.collect({ graceMs })).toMatchObject({ deletedChunks: 6 });
    expect((await bed.holders(stripe)).flat()).toEqual([]);
  });

  it('leave alone what is wanted again', async () => {
    await using bed = await RepairBed.open(8);
    const stripe = await removedMeanwhile(bed, 2);
    const again = await bed.put(1);
    expect(again.stripe).toEqual(stripe.stripe);
    await bed.repair.repair();
    await bed.env.clock.sleep(graceMs + 2000);
    await bed.repair.collect({ graceMs });
    expect((await bed.repair.health()).stripes).toEqual({ ok: 2, degraded: 0, lost: 0 });
    await expectInPlace(bed, [again]);
  });

  it.each([undefined, 'grace-alone'] as const)('planted fault: %s', async (plantedFault) => {
    await using bed = await RepairBed.open(8);
    const stripe = await removedMeanwhile(bed, 6);
    await bed.env.clock.sleep(graceMs + 2000);
    const repair = bed.openRepair({ plantedFault });
    // A writer names the stripe when the collector has looked, and before it deletes.
    let again: PutStripe | undefined;
    bed.onChange = async (what) => {
      if (what !== 'remove' || again) return;
      bed.onChange = async () => {};
      again = await bed.put(1);
    };
    const openSession = bed.references.openSession.bind(bed.references);
    bed.references.openSession = async (node) => {
      if (node === 'collector' && !again) again = await bed.put(1);
      return await openSession(node);
    };
    await repair.collect({ graceMs });
    expect(again?.stripe).toEqual(stripe.stripe);
    const { stripes } = await bed.openRepair().health();
    if (plantedFault) expect(stripes.ok).toBeLessThan(2);
    else expect(stripes).toEqual({ ok: 2, degraded: 0, lost: 0 });
  });

  it('that come late do not hit what was named and put again meanwhile', async () => {
    await using bed = await RepairBed.open(12);
    const [stripe] = await putMany(bed, 1);
    await bed.repair.repair();
    const holders = (await bed.holders(stripe!)).map(([store]) => store!);
    await halfRelease(bed, stripe!);
    // Three holders are away while it is put again; then they are back with what they had.
    for (const store of holders.slice(0, 3)) bed.away.add(store);
    const again = await bed.put(1);
    expect((await bed.record(again))?.generation).toBe(2);
    bed.away.clear();
    await bed.repair.repair();
    await bed.repair.collect({ graceMs });
    expect((await bed.repair.health()).stripes).toEqual({ ok: 1, degraded: 0, lost: 0 });
    expect(await bed.references.condemned()).toEqual([]);
  });

  it('are not done for a file that is alive, whoever asks', async () => {
    await using bed = await RepairBed.open(6);
    const stripe = await bed.put(1);
    await bed.repair.release('v', { inode: stripe.inode });
    expect(await bed.record(stripe)).toBeDefined();
    const unknown = bed.repair.release('another', { inode: stripe.inode });
    await expect(unknown).rejects.toMatchObject({ code: 'HF_NOT_FOUND' });
  });
});

describe('whole groups', () => {
  it('are recorded at their epoch, after the stores have heard of it', async () => {
    const epochs = new WholeEpochs();
    const order: string[] = [];
    const onWhole = async (groups: readonly number[], epoch: number): Promise<void> => {
      order.push('told');
      epochs.raise(groups, epoch);
    };
    await using bed = await RepairBed.open(8, { onWhole });
    const setWholeEpoch = bed.references.setWholeEpoch.bind(bed.references);
    bed.references.setWholeEpoch = async (group, epoch) => {
      order.push('recorded');
      expect(epochs.oldest(group)).toBe(epoch);
      await setWholeEpoch(group, epoch);
    };
    const [stripe] = await putMany(bed, 1);
    const group = groupOf(stripe!.stripe);
    const first = bed.cluster.layout().epoch;
    await bed.repair.repair();
    expect(order).toEqual(['told', 'recorded']);
    expect(await bed.references.wholeEpoch(group)).toBe(first);
    // A new layout; the group is recorded again when it is in order again.
    for (let count = 0; count < 3; count++) bed.addStore();
    await bed.state();
    const { epoch } = bed.cluster.layout();
    await bed.repair.repair();
    expect(await bed.references.wholeEpoch(group)).toBe(epoch);
    expect(epochs.oldest(group)).toBe(epoch);
    epochs.raise([group], first);
    expect(epochs.oldest(group)).toBe(epoch);
  });

  it('are not recorded when something came in the meantime', async () => {
    let meanwhile = async (): Promise<void> => {};
    await using bed = await RepairBed.open(8, { onWhole: () => meanwhile() });
    const [stripe] = await putMany(bed, 1);
    const [[holder]] = (await bed.holders(stripe!)) as [[MemoryChunkStore]];
    meanwhile = async () => void holder.lose(shard(stripe!, 0));
    await bed.repair.repair();
    expect(await bed.references.wholeEpoch(groupOf(stripe!.stripe))).toBe(0);
  });
});
