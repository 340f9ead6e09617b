/**
 * Aim: what a writer left half done goes, also when nobody of that name comes back, and also when
 * the home was away as the writer gave up. Method: whole cores over a network in memory, in virtual
 * time; chunks are counted on all stores.
 */
import { expect, it } from 'vitest';
import { errorCode } from '../../base/index.ts';
import { removeNode } from '../../cluster/index.ts';
import { contentChunks, openServingBed } from '../../../test/suites/cluster-bed.ts';
import { bytesOf, streamOf } from '../../../test/suites/store-bed.ts';

it('a node that was removed in the midst of a put leaves nothing', async () => {
  const bed = await openServingBed();
  const writer = bed.node(3);
  const others = bed.nodes.filter((node) => node !== writer);
  // It ends when its shards are durable, and nothing is committed.
  let killed: Promise<void> | undefined;
  const { metadata, volumes } = writer.up;
  const namespace = await metadata.openNamespace(volumes.ids()[0]!);
  namespace.commitObject = async () => {
    killed ??= bed.kill(writer);
    return await new Promise<never>(() => {});
  };
  void volumes.objects('v').put(streamOf(bytesOf(300_000)), { key: 'k' });
  await bed.eventually(() => expect(killed).toBeDefined());
  await killed;
  expect(await contentChunks(...others)).toBeGreaterThan(0);
  await bed.sleep(30_000);
  const { env } = bed;
  const { registry, cluster, references, repair } = bed.home.up;
  const endSession = async (node: string) => void (await references.openSession(node));
  const [members, grants] = [bed.members(), bed.grants()];
  await removeNode({ env, registry, cluster, members, grants, endSession }, writer.id);
  expect((await repair.collect({ graceMs: 0 })).strays).toBe(1);
  expect(await contentChunks(...others)).toBe(0);
  expect(await repair.repair()).toMatchObject({ skipped: 0, lost: 0 });
});

it('a put that failed as the home went is undone when the home is back', async () => {
  const bed = await openServingBed();
  let killed: Promise<void> | undefined;
  for (const store of bed.node(2).stores) {
    const put = store.put.bind(store);
    store.put = async (...args) => {
      killed ??= bed.kill(bed.home);
      await put(...args);
    };
  }
  const objects = bed.node(2).up.volumes.objects('v');
  const outcome = await objects.put(streamOf(bytesOf(300_000)), { key: 'k' }).catch(errorCode);
  expect(outcome).toBe('HF_UNAVAILABLE');
  await killed;
  expect(await contentChunks(...bed.nodes)).toBeGreaterThan(0);
  await bed.start(bed.home);
  await bed.eventually(async () => expect(await contentChunks(...bed.nodes)).toBe(0));
  expect(await bed.home.up.repair.repair()).toMatchObject({ skipped: 0, lost: 0 });
});
