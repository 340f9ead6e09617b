/**
 * Aim: copies lie on as many nodes as there are, what is away counts as missing at once, and a
 * policy that wants more than there is spoils nothing for others. Method: whole cores over a
 * network in memory, in virtual time.
 */
import { describe, expect, it } from 'vitest';
import { type ClusterBed, openClusterBed } from '../../../test/suites/cluster-bed.ts';
import { bytesOf, streamOf } from '../../../test/suites/store-bed.ts';
import { errorCode, parsePolicy } from '../../base/index.ts';
import type { Core } from '../index.ts';
import { machineReport, thinVolumes } from '../warnings.ts';

async function create(core: Core, name: string, scheme: string): Promise<void> {
  await core.volumes.create({ name, policy: parsePolicy(scheme), isDeduplicating: true });
}

async function putMany(core: Core, volume: string, count: number): Promise<void> {
  for (let seed = 1; seed <= count; seed++) {
    await core.volumes.objects(volume).put(streamOf(bytesOf(70_000, seed)), { key: `${seed}` });
  }
}

/** How many nodes have a shard, for each stripe. */
async function nodeCounts(bed: ClusterBed, volume: string, count: number): Promise<number[]> {
  const counts: number[] = [];
  const { volumes, cluster } = bed.home.up;
  for (let seed = 1; seed <= count; seed++) {
    for (const { shards } of await Array.fromAsync(volumes.objects(volume).where(`${seed}`))) {
      const nodes = shards.flatMap(({ foundAt }) => foundAt.map((id) => cluster.nodeOf(id)));
      counts.push(new Set(nodes).size);
    }
  }
  return counts;
}

describe('near-4 on four nodes', () => {
  it('has a copy on each, whoever wrote it', async () => {
    const bed = await openClusterBed({ nodes: 4, storesPerNode: 3 });
    await create(bed.home.up, 'v', 'near-4');
    await create(bed.home.up, 'wide', 'rs-6+2');
    await putMany(bed.home.up, 'v', 8);
    await bed.eventually(() => void bed.node(3).up.volumes.objects('v'));
    for (let seed = 9; seed <= 12; seed++) {
      const objects = bed.node(3).up.volumes.objects('v');
      await objects.put(streamOf(bytesOf(70_000, seed)), { key: `${seed}` });
    }
    expect(new Set(await nodeCounts(bed, 'v', 12))).toEqual(new Set([4]));
  });

  it('is degraded as soon as nodes do not answer, and not misplaced', async () => {
    const bed = await openClusterBed({ nodes: 4, storesPerNode: 2 });
    await create(bed.home.up, 'v', 'near-4');
    await putMany(bed.home.up, 'v', 4);
    await bed.home.up.repair.repair();
    expect((await bed.home.up.repair.health()).stripes).toEqual({ ok: 4, degraded: 0, lost: 0 });
    await bed.kill(bed.node(3));
    await bed.kill(bed.node(4));
    const { stripes, misplaced } = await bed.home.up.repair.health();
    expect([stripes, misplaced]).toEqual([{ ok: 0, degraded: 4, lost: 0 }, 0]);
  });
});

describe('more copies than there are stores', () => {
  it('change nothing for other volumes, and are refused when they are far too many', async () => {
    const bed = await openClusterBed({ nodes: 3, storesPerNode: 2 });
    await create(bed.home.up, 'v', 'copy-3');
    await create(bed.home.up, 'many', 'copy-12');
    const { volumes, cluster } = bed.home.up;
    expect(cluster.layout().width).toBe(6);
    expect(machineReport(bed.home.up).relaxed.join()).not.toMatch(/12|add/);
    expect(thinVolumes(bed.home.up)).toEqual([expect.stringContaining('"many" wants 12 stores')]);
    const far = { name: 'x', policy: parsePolicy('near-100'), isDeduplicating: true };
    expect(await volumes.create(far).catch(errorCode)).toBe('HF_BAD_SCHEME');
    expect(volumes.records.map(({ name }) => name).toSorted()).toEqual(['many', 'v']);
    await putMany(bed.home.up, 'v', 4);
    expect(await nodeCounts(bed, 'v', 4)).toEqual([3, 3, 3, 3]);
    // With a store less every position that is needed is still there.
    await cluster.setDevices(
      cluster.devicesOf(bed.home.id).map((each, i) => (i === 0 ? { ...each, state: 'out' } : each)),
    );
    await bed.home.up.repair.repair();
    const { stripes, misplaced } = await bed.home.up.repair.health();
    expect([stripes, misplaced]).toEqual([{ ok: 4, degraded: 0, lost: 0 }, 0]);
  });
});

describe('a repair', () => {
  it('goes by what other nodes have stated just before', async () => {
    const bed = await openClusterBed({ nodes: 3, storesPerNode: 3 });
    await create(bed.home.up, 'v', 'copy-3');
    await putMany(bed.home.up, 'v', 8);
    const node = bed.node(2);
    const { cluster } = node.up;
    const [emptied, ...rest] = cluster.devicesOf(node.id);
    const store = node.stores.find(({ id }) => id === emptied!.id)!;
    expect((await store.usage()).chunkCount).toBeGreaterThan(0);
    await cluster.setDevices([{ ...emptied!, state: 'draining' }, ...rest]);
    await bed.home.up.repair.repair();
    expect((await store.usage()).chunkCount).toBe(0);
  });
});

describe('a policy that another node changes', () => {
  it('is known everywhere within a second', async () => {
    const bed = await openClusterBed({ nodes: 3, storesPerNode: 2 });
    await create(bed.home.up, 'v', 'copy-6');
    const other = bed.node(2).up.volumes;
    await bed.eventually(() => void other.objects('v'));
    await bed.home.up.volumes.setPolicy('v', { policy: parsePolicy('copy-2') });
    await bed.sleep(1000);
    expect(other.records.map(({ policy }) => policy)).toEqual([parsePolicy('copy-2')]);
  });
});
