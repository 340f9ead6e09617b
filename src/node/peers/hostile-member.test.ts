/**
 * Aim: what an admitted node that is neither home nor admin cannot do to the others, and what one
 * that is only wrong cannot: a copied disk, a run that is never given up. Method: whole cores over
 * a network in memory, in virtual time; one node calls what its own code never would.
 */
import { describe, expect, it } from 'vitest';
import {
  ByteWriter,
  errorCode,
  METADATA_LIST_SCHEME_NUMBER,
  METADATA_PART_SCHEME_NUMBER,
  METADATA_SHARD_SCHEME_NUMBER,
  metadataChunkId,
  type NodeId,
  schemeNumber,
  stripeId,
  toHex,
  xxh64,
} from '../../base/index.ts';
import { digest, NodeKey } from '../../crypto/index.ts';
import type { Registry } from '../../log/index.ts';
import { type ChunkStore, RemoteChunkStore } from '../../store/index.ts';
import { founderKeyring } from '../../../test/suites/admission-bed.ts';
import { type ClusterBed, openClusterBed, volume } from '../../../test/suites/cluster-bed.ts';
import { bytesOf, rs42, streamOf } from '../../../test/suites/store-bed.ts';
import { PartShards } from '../metadata/part-shards.ts';

/** A part of a snapshot of the registry that says that much more was acknowledged; not sealed. */
function forgedRecord(): Uint8Array {
  const body = new ByteWriter()
    .u32(0x524c4648)
    .u8(1)
    .u8(2)
    .u64(1)
    .text('registry')
    .u64(2 ** 45)
    .u64(2 ** 40)
    .u64(2 ** 40)
    .u64(0)
    .raw(new Uint8Array(32))
    .bytes(new Uint8Array(40));
  return body.bigU64(xxh64(body.finish())).finish();
}

/** Ids of all chunks on stores of the home. */
async function recordsOf({ home }: ClusterBed): Promise<Set<string>> {
  const ids = new Set<string>();
  for (const store of home.stores) for await (const { id } of store.list()) ids.add(toHex(id));
  return ids;
}

async function loseAllBut({ home }: ClusterBed, ids: ReadonlySet<string>): Promise<void> {
  for (const store of home.stores) {
    const lost = (await Array.fromAsync(store.list())).filter(({ id }) => !ids.has(toHex(id)));
    for (const { id } of lost) await store.remove(id, { generationMax: 9 });
  }
}

describe('metadata on a store of the home', () => {
  it('is put by nobody else', async () => {
    const bed = await openClusterBed({ nodes: 2 });
    const [own] = bed.home.stores;
    const store = bed
      .node(2)
      .up.stores()
      .find(({ id }) => id === own!.id)!;
    for (const bytes of [forgedRecord(), bytesOf(100_000)]) {
      const id = metadataChunkId(digest(bytes));
      expect(await store.put(id, bytes, { generation: 1 }).catch(errorCode)).toBe('HF_DENIED');
      expect(await own!.stat(id)).toBeUndefined();
    }
  });

  it.each([METADATA_PART_SCHEME_NUMBER, METADATA_LIST_SCHEME_NUMBER, METADATA_SHARD_SCHEME_NUMBER])(
    'of the pool (%i) is put and removed by no node that is none for metadata',
    async (kind) => {
      const bed = await openClusterBed({ nodes: 2 });
      const [own] = bed.home.stores;
      const stores = bed.node(2).up.stores();
      const store = stores.find(({ id }) => id === own!.id)!;
      const [part] = new PartShards().chunksOf(bytesOf(300_000), {
        k: 2,
        tolerance: 2,
        isList: false,
      });
      const isShard = kind === METADATA_SHARD_SCHEME_NUMBER;
      const bytes = isShard ? part!.bytes : bytesOf(1000);
      const id = isShard ? part!.id : metadataChunkId(digest(bytes), kind);
      const options = { generation: 1 };
      expect(await store.put(id, bytes, options).catch(errorCode)).toBe('HF_DENIED');
      await own!.put(id, bytes, options);
      expect(await store.remove(id, { generationMax: 1 }).catch(errorCode)).toBe('HF_DENIED');
      expect(await store.get(id)).toEqual(bytes);
    },
  );

  it('counts only when it opens with the metadata key', async () => {
    const bed = await openClusterBed({ nodes: 2 });
    const bytes = forgedRecord();
    await bed.home.stores[0]!.put(metadataChunkId(digest(bytes)), bytes, { generation: 1 });
    await bed.kill(bed.home);
    await bed.start(bed.home);
    expect(bed.home.up.cluster.topology().devices).toHaveLength(4);
  });
});

describe('the reference slots', () => {
  it('take no stripes in the session of another node', async () => {
    const bed = await openClusterBed();
    await bed.home.up.volumes.create(volume);
    const { id } = bed.home.up.volumes.records[0]!;
    const { references } = bed.node(2).up;
    const [own, other] = [
      await references.openSession(bed.node(2).id),
      await bed.home.up.references.openSession(bed.home.id),
    ];
    const wanted = { stripe: stripeId(bytesOf(28)), schemeNumber: schemeNumber(rs42) };
    const stripes = [{ ...wanted, chunkBytes: 8192 }];
    const holder = { volume: id, inode: 9n };
    const add = async (session: typeof own) =>
      await references.add({ session, holder, stripes }).then(() => 'added', errorCode);
    expect(await add(other)).toBe('HF_DENIED');
    expect(await add(own)).toBe('added');
  });
});

describe('the record of a volume', () => {
  it('is changed by who serves the volume, and new ones are records', async () => {
    const bed = await openClusterBed({ nodes: 4 });
    await bed.home.up.volumes.create(volume);
    const key = 'volume/v';
    const { value, version } = (await bed.home.up.registry.get(key))!;
    const write = async (number: number, ...change: Parameters<Registry['compareAndSet']>) =>
      await bed
        .node(number)
        .up.registry.compareAndSet(...change)
        .then((made) => (made === undefined ? 'late' : 'made'), errorCode);
    for (const bytes of [value, undefined, bytesOf(9)]) {
      expect(await write(4, key, version, bytes)).toBe('HF_DENIED');
    }
    // A second name for a volume, or what would keep the home from opening.
    expect(await write(4, 'volume/w', 0, value)).toBe('HF_DENIED');
    expect(await write(4, 'volume/w', 0, bytesOf(9))).toBe('HF_DENIED');
    expect(await write(2, key, version, bytesOf(9))).toBe('HF_DENIED');
    expect(await write(2, key, version, value)).toBe('made');
    await bed.node(4).up.volumes.create({ ...volume, name: 'own' });
    expect(await bed.node(4).up.volumes.create(volume).catch(errorCode)).toBe('HF_EXISTS');
  });
});

describe('the topology', () => {
  it('has no devices of others put out by a member', async () => {
    const bed = await openClusterBed({ nodes: 3 });
    const { cluster } = bed.node(2).up;
    const before = cluster.topology().epoch;
    for (const other of [bed.home, bed.node(3)]) {
      expect(await cluster.setNodeDevices(other.id, 'out').catch(errorCode)).toBe('HF_DENIED');
    }
    await cluster.setNodeDevices(bed.node(2).id, 'draining');
    expect(bed.home.up.cluster.topology().epoch).toBeLessThanOrEqual(before + 1);
  });
});

describe('repair for other nodes', () => {
  it('does not keep the home from closing', async () => {
    const bed = await openClusterBed();
    const begun = Promise.withResolvers<void>();
    for (const store of bed.node(3).stores) {
      const slow: ChunkStore['scrub'] = async ({ signal } = {}) => {
        begun.resolve();
        await bed.env.clock.sleep(2 * 3_600_000, { signal });
        return { checkedChunks: 0, checkedBytes: 0, findings: [] };
      };
      Object.assign(store, { scrub: slow });
    }
    const asked = bed.node(2).up.repair.scrub().catch(errorCode);
    await begun.promise;
    const startMs = bed.env.clock.monotonic();
    const { life } = bed.home;
    bed.home.life = undefined;
    bed.home.core = undefined;
    await life!.disposeAsync();
    expect(bed.env.clock.monotonic() - startMs).toBeLessThan(10_000);
    expect(await asked).toBe('HF_UNAVAILABLE');
  });
});

describe('a copy of a disk on a second node', () => {
  it('does not change the topology again and again', async () => {
    const bed = await openClusterBed();
    const copy = bed.addStore(bed.node(3));
    Object.defineProperty(copy, 'id', { value: bed.node(2).stores[0]!.id });
    const { cluster } = bed.home.up;
    const { epoch } = cluster.topology();
    await bed.sleep(60_000);
    expect(cluster.topology().epoch - epoch).toBeLessThan(3);
    expect(cluster.nodeOf(copy.id)).toBe(bed.node(2).id);
  });
});

describe('after a recovery that accepted losses', () => {
  it('stores take puts of epochs that the old home had passed', async () => {
    let home: NodeId = new NodeKey(founderKeyring(1).nodeSeed).nodeId;
    const bed = await openClusterBed({ serving: { home: () => home } });
    await bed.home.up.volumes.create(volume);
    await bed.home.up.volumes.objects('v').put(streamOf(bytesOf(90_000)), { key: 'a' });
    await bed.home.up.repair.repair();
    const { epoch } = bed.home.up.cluster.topology();
    const [own] = bed.node(3).stores;
    const [entry] = await Array.fromAsync(own!.list());
    const chunk = (await own!.get(entry!.id))!;
    const about = { clock: bed.env.clock, network: bed.node(2).network!, node: bed.node(3).id };
    const store = new RemoteChunkStore({ ...about, id: own!.id, epoch: () => epoch - 1 });
    const put = async () =>
      await store.put(entry!.id, chunk, { generation: 1 }).then(() => 'taken', errorCode);
    expect(await put()).toBe('HF_OLD_EPOCH');
    home = bed.node(2).id;
    expect(await put()).toBe('taken');
  });

  it('no version of the registry is given a second time', async () => {
    const bed = await openClusterBed({ nodes: 2 });
    const far = bed.node(2).up.registry;
    const { registry } = bed.home.up;
    const version = (await registry.compareAndSet('x', 0, bytesOf(10)))!;
    const before = await recordsOf(bed);
    const lost = await registry.compareAndSet('x', version, bytesOf(11, 1));
    expect((await far.get('x'))?.version).toBe(lost);
    await bed.kill(bed.home);
    await loseAllBut(bed, before);
    await bed.start(bed.home, { acceptsLoss: true });
    const value = bytesOf(11, 2);
    const next = await bed.home.up.registry.compareAndSet('x', version, value);
    expect(next).toBeGreaterThan(lost!);
    expect((await far.get('x'))!.value).toEqual(value);
  });
});
