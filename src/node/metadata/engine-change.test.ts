/**
 * Aim: the metadata of a node moves to a ring whole, whatever fails on the way: before the log is
 * sealed it stays where it was, afterwards it is only ever in the ring. Method: a real log on
 * stores in memory, a simulated etcd that stops answering after so many requests, for each such
 * number.
 */
import { describe, expect, it } from 'vitest';
import { CoreBed, METADATA_KEY, streamOf } from '../../../test/suites/store-bed.ts';
import { utf8 } from '../../base/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { EtcdLog, EtcdRegistry, MemoryEtcd, type EtcdKv } from '../../log/index.ts';
import { openNamespace, openReferences, spaceOfVolume } from '../../meta/index.ts';
import { moveToRing } from './engine-change.ts';
import { LocalMetadata } from './local-metadata.ts';
import { PoolParts } from './pool-parts.ts';

const GENERATION = 2;
const PREFIX = 'test/2/';
const REQUESTS_MAX = 200;

/** Answers so many requests. */
function limited(kv: EtcdKv, countMax: number): EtcdKv & { readonly count: number } {
  let count = 0;
  return {
    get count() {
      return count;
    },
    async transact(transaction) {
      count += 1;
      if (count > countMax) throw new Error('the process ends here');
      return await kv.transact(transaction);
    },
    change: (...watch) => kv.change(...watch),
    async [Symbol.asyncDispose]() {},
  };
}

async function openBed() {
  const cores = new CoreBed();
  const { bed } = cores;
  const { env } = bed;
  const etcd = new MemoryEtcd({ env });
  const parts = new PoolParts({
    stores: bed.alive,
    nodeOf: () => undefined,
    nodeCount: () => 1,
    tolerance: 2,
  });
  const core = await cores.open();
  await core.volumes.create({ name: 'v', isDeduplicating: true });
  const { id } = core.volumes.records[0]!;
  for (let number = 1; number <= 5; number++) {
    await core.volumes.objects('v').put(streamOf(utf8(`content ${number}`)), { key: `k${number}` });
  }
  const sizes = await usageOf(await core.metadata.openNamespace(id));
  const topology = core.cluster.topology();
  await core[Symbol.asyncDispose]();
  const options = cores.metadataOptions();
  const place = { env, prefix: PREFIX, metadataKey: METADATA_KEY, generation: GENERATION };
  const move = async (from: Parameters<typeof moveToRing>[0]['from'], kv: EtcdKv) =>
    await moveToRing({ ...place, from, kv, parts });
  return { bed, env, etcd, parts, options, place, move, volume: id, sizes, topology };
}

async function usageOf(namespace: { usage(): Promise<unknown> }): Promise<unknown> {
  return await namespace.usage();
}

/** What a test looks at in the ring. */
async function assertMoved(moved: Awaited<ReturnType<typeof openBed>>): Promise<void> {
  const { env, etcd, parts, place, volume, sizes } = moved;
  const kv = etcd.connect();
  await using registry = new EtcdRegistry({ ...place, kv });
  expect((await registry.list('volume/')).length).toBe(1);
  expect(await registry.get('home')).toBeDefined();
  await using log = new EtcdLog({ ...place, kv, parts });
  const cell = spaceOfVolume(volume);
  await using namespace = await openNamespace({ env, log, cell, db: new MemoryDb() });
  expect(await namespace.usage()).toEqual(sizes);
  await using references = await openReferences({
    env,
    log,
    cell: 'references',
    db: new MemoryDb(),
  });
  expect(await references.condemned()).toEqual([]);
}

describe('a change of engines', () => {
  it('moves everything, and leaves nothing behind that serves', async () => {
    const moved = await openBed();
    const metadata = await LocalMetadata.open(moved.options);
    await moved.move(await metadata.freeze(), moved.etcd.connect());
    await expect(metadata.references.condemned()).rejects.toMatchObject({ code: 'HF_CLOSED' });
    await expect(metadata.registry.compareAndSet('x', 0, utf8('late'))).rejects.toMatchObject({
      code: 'HF_FENCED',
    });
    await metadata[Symbol.asyncDispose]();
    await assertMoved(moved);
    await expect(LocalMetadata.open(moved.options)).rejects.toMatchObject({ code: 'HF_MOVED' });
  });

  it('ends at any request, and is finished by the next start', { timeout: 60_000 }, async () => {
    for (let countMax = 0; ; countMax++) {
      expect(countMax).toBeLessThan(REQUESTS_MAX);
      const moved = await openBed();
      const metadata = await LocalMetadata.open(moved.options);
      const kv = limited(moved.etcd.connect(), countMax);
      const hasEnded = await moved.move(await metadata.freeze(), kv).then(
        () => true,
        () => false,
      );
      await metadata[Symbol.asyncDispose]();
      if (hasEnded) break;
      const again = await LocalMetadata.open(moved.options).catch(() => undefined);
      if (again) {
        // Nothing was sealed: it goes on as if nothing had been.
        expect((await again.registry.list('volume/')).length).toBe(1);
        await again[Symbol.asyncDispose]();
        continue;
      }
      await using sealed = await LocalMetadata.openSealed(moved.options);
      expect(sealed.next.generation).toBe(GENERATION);
      expect(sealed.cluster.topology()).toEqual(moved.topology);
      await moved.move(sealed, moved.etcd.connect());
      await assertMoved(moved);
    }
  });
});
