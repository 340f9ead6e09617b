/**
 * Aim: names that were in a ring come back from the stores alone, with their references: as of the
 * newest snapshot that can be read whole; not from too few stores, unless that is said; a log of
 * one node that is newer goes first. Method: a core's metadata is moved to a simulated etcd, whose
 * cells are worked on until they are saved to the stores, in virtual time; the etcd is then
 * forgotten, and chunks are lost.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CoreBed, METADATA_KEY, streamOf } from '../../../test/suites/store-bed.ts';
import {
  type ChunkId,
  chunkIdParts,
  type DeviceId,
  errorCode,
  hexId,
  LIMITS,
  METADATA_LIST_SCHEME_NUMBER,
  METADATA_SCHEME_NUMBER,
  type NodeId,
  parseScheme,
  schemeNumber,
  stripeId,
  utf8,
} from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import {
  EtcdLog,
  type EtcdPlace,
  EtcdRegistry,
  MemoryEtcd,
  PoolSnapshots,
} from '../../log/index.ts';
import { openReferences, openVolumeCell, spaceOfVolume } from '../../meta/index.ts';
import { moveToRing } from './engine-change.ts';
import { LocalMetadata } from './local-metadata.ts';
import { PoolParts } from './pool-parts.ts';
import { recoverFromPool } from './pool-recovery.ts';
import { RegistryBackup } from './registry-backup.ts';

const NEW_NODE = hexId<NodeId>(new Uint8Array(16).fill(0xab));
const COUNT = 5;

async function openBed() {
  const cores = new CoreBed();
  const { bed } = cores;
  const { env } = bed;
  const parts = new PoolParts({
    stores: bed.alive,
    nodeOf: (id: DeviceId) => id as string as NodeId,
    nodeCount: () => bed.stores.length,
    tolerance: 2,
  });
  const core = await cores.open();
  await core.volumes.create({ name: 'v', isDeduplicating: true });
  const { id: volume } = core.volumes.records[0]!;
  for (let number = 1; number <= COUNT; number++) {
    const content = utf8(`content ${number}`);
    await core.volumes.objects('v').put(streamOf(content), { key: `k${number}` });
  }
  await core[Symbol.asyncDispose]();
  const options = cores.metadataOptions();
  const kv = new MemoryEtcd({ env }).connect();
  const place: EtcdPlace = { env, kv, prefix: 'test/2/', metadataKey: METADATA_KEY, generation: 2 };
  const metadata = await LocalMetadata.open(options);
  await moveToRing({ ...place, from: await metadata.freeze(), parts });
  await metadata[Symbol.asyncDispose]();
  return { cores, bed, env, parts, volume, options, place };
}

type RingBed = Awaited<ReturnType<typeof openBed>>;

/** Works on the cells of the ring until the stores have what was done. */
async function saveCells(
  { env, parts, volume, place }: RingBed,
  work: (cells: {
    readonly references: Awaited<ReturnType<typeof openReferences>>;
    readonly names: Awaited<ReturnType<typeof openVolumeCell>>;
  }) => Promise<void> = async ({ references, names }) => {
    await references.openSession('somebody');
    await names.namespace.allocateInodes(1);
  },
): Promise<void> {
  await using log = new EtcdLog({ ...place, parts });
  const about = { env, log };
  const db = new MemoryDb();
  const cell = spaceOfVolume(volume);
  await using references = await openReferences({
    ...about,
    cell: 'references',
    db: new MemoryDb(),
  });
  await using names = await openVolumeCell({ ...about, cell, db });
  await work({ references, names });
  await env.clock.sleep(LIMITS.snapshotAgeMs + 1);
  await env.clock.sleep(1000);
}

function poolOf({ env, parts }: RingBed): PoolSnapshots {
  return new PoolSnapshots({ env, parts, metadataKey: METADATA_KEY });
}

async function saveRegistry(ring: RingBed): Promise<void> {
  const { env, parts, place } = ring;
  const registry = new EtcdRegistry(place);
  const about = { env, registry, generation: 2, pool: poolOf(ring), parts };
  await new RegistryBackup(about).saveIfChanged();
}

async function recover({ options }: RingBed, { acceptsLoss = false } = {}) {
  const dropDb = async (): Promise<void> => {};
  return await recoverFromPool({ ...options, nodeId: NEW_NODE, acceptsLoss, dropDb });
}

/** Opens what was made, and reads all objects of before. */
async function expectAllThere({ cores }: RingBed, generation: number, stripes = COUNT) {
  const recovery = { acceptsLoss: false };
  await using core = await cores.open({ nodeId: NEW_NODE, generation, recovery });
  const objects = core.volumes.objects('v');
  await core.repair.collect({ graceMs: 0 });
  const health = await core.repair.health();
  expect(health).toMatchObject({ stripes: { ok: stripes, degraded: 0, lost: 0 } });
  for (let number = 1; number <= COUNT; number++) {
    const { bytes } = await objects.get(`k${number}`);
    const content = Buffer.concat(await Array.fromAsync(bytes)).toString();
    expect(content).toBe(`content ${number}`);
  }
  await objects.put(streamOf(utf8('another')), { key: 'another' });
}

/** Takes away all chunks of a list, or of what it lists. */
async function lose(ring: RingBed, cell: string, what: 'list' | 'parts'): Promise<void> {
  const [newest] = (await poolOf(ring).all()).filter((one) => one.cell === cell);
  await ring.parts.remove(what === 'list' ? [newest!.ref] : newest!.partRefs);
}

async function loseLogBefore({ bed }: RingBed): Promise<void> {
  for (const store of bed.stores) {
    for await (const { id } of store.list({ group: 0 })) {
      if (chunkIdParts(id).schemeNumber === METADATA_SCHEME_NUMBER) store.lose(id);
    }
  }
}

let ring: RingBed;

beforeEach(async () => {
  ring = await openBed();
  await saveRegistry(ring);
});

afterEach(() => {
  ring.bed.away.clear();
});

describe('a recovery from what a ring left on the stores', () => {
  it('brings names and references back, and is done once', async () => {
    await saveCells(ring);
    const { generation, notes } = await recover(ring);
    expect([generation, notes.length]).toEqual([3, 1]);
    await expectAllThere(ring, 3);
    expect(await recover(ring)).toEqual({ generation: 3, notes: [] });
    await expectAllThere(ring, 3, COUNT + 1);
  });

  it('takes cells that were not saved yet from the log that was moved', async () => {
    const { notes } = await recover(ring);
    expect(notes.filter((line) => line.includes('when names moved to the ring'))).toHaveLength(2);
    await expectAllThere(ring, 3);
  });

  it('makes references again that are missing, which the collector settles', async () => {
    await saveCells(ring);
    await lose(ring, 'references', 'list');
    await loseLogBefore(ring);
    const { notes } = await recover(ring);
    expect(notes.join()).toContain('nothing was on the stores');
    await expectAllThere(ring, 3);
  });

  it('lets go of references to what no snapshot has', async () => {
    const stripe = stripeId(new Uint8Array(28).fill(9));
    const inode = (5n << 52n) | 77n;
    await saveCells(ring, async ({ references, names }) => {
      const session = await references.openSession('somebody');
      const holder = { volume: ring.volume, inode };
      const stripes = [
        { stripe, schemeNumber: schemeNumber(parseScheme('copy-3')), chunkBytes: 9 },
      ];
      await references.add({ session, holder, stripes });
      await references.confirm(holder, [stripe]);
      await names.namespace.allocateInodes(1);
    });
    await recover(ring);
    const recovery = { acceptsLoss: false };
    await using core = await ring.cores.open({ nodeId: NEW_NODE, generation: 3, recovery });
    expect(await core.metadata.references.stripe(stripe)).toMatchObject({ referenceCount: 1 });
    await core.repair.collect({ graceMs: 0 });
    expect(await core.metadata.references.stripe(stripe)).toBeUndefined();
    // A number that a lost object may have had is not given again, here or in any slot.
    const names = await core.metadata.openNamespace(ring.volume);
    expect((await names.allocateInodes(1)) & (2n ** 52n - 1n)).toBeGreaterThan(2n ** 32n);
  });

  it('goes back to an older snapshot when the newest cannot be read', async () => {
    await saveCells(ring);
    const cell = spaceOfVolume(ring.volume);
    const [before] = (await poolOf(ring).all()).filter((one) => one.cell === cell);
    const kept = [];
    for (const ref of before!.partRefs) kept.push((await ring.parts.get(ref))!);
    const list = (await ring.parts.get(before!.ref))!;
    await saveCells(ring);
    const [after] = (await poolOf(ring).all()).filter((one) => one.cell === cell);
    expect(after!.lsn).toBeGreaterThan(before!.lsn);
    await lose(ring, cell, 'parts');
    for (const bytes of kept) await ring.parts.put(bytes);
    await ring.parts.put(list, 'list');
    await recover(ring);
    await expectAllThere(ring, 3);
  });

  it('says which volume nothing is left of', async () => {
    await saveCells(ring);
    await lose(ring, spaceOfVolume(ring.volume), 'parts');
    const { notes } = await recover(ring);
    expect(notes.join()).toMatch(/of volume v nothing/);
  });

  it('refuses while stores are away that may have newer names, unless told otherwise', async () => {
    await saveCells(ring);
    ring.bed.away.add(ring.bed.stores[0]!);
    expect(await recover(ring).catch(errorCode)).toBe('HF_TOO_FEW_STORES');
    const { notes } = await recover(ring, { acceptsLoss: true });
    expect(notes.join()).toContain('newer names may be on them alone');
  });

  it('can be broken off anywhere and begun again', async () => {
    await saveCells(ring);
    let left = 0;
    for (const store of ring.bed.stores) {
      store.fault = (operation) => {
        if (operation !== 'put') return undefined;
        left -= 1;
        return left < 0 ? 'HF_DEVICE_FAILED' : undefined;
      };
    }
    for (const puts of [0, 2, 5, 11, 17]) {
      left = puts;
      expect(await recover(ring).catch(errorCode)).toBe('HF_TOO_FEW_STORES');
    }
    left = Number.POSITIVE_INFINITY;
    expect((await recover(ring)).generation).toBe(3);
    await expectAllThere(ring, 3);
  });
});

it('takes the newer copy of the registry, and lets the older one go', async () => {
  const registryLists = async () =>
    (await poolOf(ring).all()).filter(({ cell }) => cell === 'registry');
  const [first] = await registryLists();
  const registry = new EtcdRegistry(ring.place);
  await registry.compareAndSet('some', 0, utf8('row'));
  await saveRegistry(ring);
  const [second, ...others] = await registryLists();
  expect(others).toEqual([]);
  expect(second!.lsn).toBeGreaterThan(first!.lsn);
  const lists = ring.bed.stores.map(async (store) => {
    const ids: ChunkId[] = [];
    for await (const { id } of store.list({ group: 0 })) {
      if (chunkIdParts(id).schemeNumber === METADATA_LIST_SCHEME_NUMBER) ids.push(id);
    }
    return ids.length;
  });
  expect((await Promise.all(lists)).reduce((sum, count) => sum + count, 0)).toBe(3);
});
