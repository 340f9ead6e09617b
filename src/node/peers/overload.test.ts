/**
 * Aim: a node that has more to do than it can at once counts as alive: what is put meanwhile is
 * acknowledged in full, and stands on more nodes than the writer's; what is handed off because a
 * node is gone bears the loss of another one. Method: a cluster in memory with slow stores.
 */
import { afterEach, expect, it } from 'vitest';
import { ClusterBed, type ClusterBedOptions, volume } from '../../../test/suites/cluster-bed.ts';
import { bytesOf, streamOf } from '../../../test/suites/store-bed.ts';

const PUT_MS = 20;

let bed: ClusterBed;

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

async function open(options: ClusterBedOptions = {}): Promise<void> {
  bed = await ClusterBed.open(options);
  await bed.home.up.volumes.create(volume);
  await bed.eventually(() => expect(bed.node(2).up.volumes.records.length).toBe(1));
}

it('puts many objects at once, and none of them only on the node that wrote them', async () => {
  await open();
  for (const each of bed.nodes.flatMap(({ stores }) => stores)) {
    const put = each.put.bind(each);
    each.put = async (...args) => {
      await bed.env.clock.sleep(PUT_MS);
      await put(...args);
    };
  }
  const objects = bed.node(2).up.volumes.objects(volume.name);
  const puts = Array.from({ length: 400 }, async (_, i) => {
    const { degradedTo } = await objects.put(streamOf(bytesOf(5000, i + 1)), { key: `k${i}` });
    return degradedTo;
  });
  expect(new Set(await Promise.all(puts))).toEqual(new Set([undefined]));
  await bed.kill(bed.node(2));
  await bed.sleep(60_000);
  const { stripes } = await bed.home.up.repair.health();
  expect(stripes).toMatchObject({ lost: 0 });
});

it('hands off to servers that bear the loss of another one', async () => {
  await open({ nodes: 4, storesPerNode: 3 });
  await bed.kill(bed.node(4));
  await bed.sleep(60_000);
  const objects = bed.home.up.volumes.objects(volume.name);
  for (let i = 0; i < 40; i++) {
    const { degradedTo } = await objects.put(streamOf(bytesOf(140_000, i + 1)), { key: `k${i}` });
    expect(degradedTo).toBeUndefined();
  }
  await bed.kill(bed.node(2));
  await bed.sleep(30_000);
  const { stripes } = await bed.home.up.repair.health();
  expect(stripes).toMatchObject({ lost: 0 });
});
