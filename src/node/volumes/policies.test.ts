/**
 * Aim: three remote copies and one local, on nodes of their own, also after there were too few
 * nodes for it; policies are applied and WORM is kept from any node. Method: whole cores over a
 * network in memory, in virtual time.
 */
import { describe, expect, it } from 'vitest';
import { type DeviceId, errorCode, type NodeId, parsePolicy } from '../../base/index.ts';
import { openVolumes } from '../../meta/index.ts';
import { get, openClusterBed, put } from '../../../test/suites/cluster-bed.ts';
import { bytesOf } from '../../../test/suites/store-bed.ts';
import type { Core } from '../index.ts';
import { thinVolumes } from '../warnings.ts';

/** The nodes that hold the first stripe of an object. */
async function holders(core: Core, key: string): Promise<(NodeId | undefined)[]> {
  const [stripe] = await Array.fromAsync(core.volumes.objects('v').where(key));
  const devices = stripe!.shards.flatMap(({ foundAt }): DeviceId[] => [...foundAt]);
  return devices.map((device) => core.cluster.nodeOf(device));
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => 'no error', errorCode);
}

const cas = { name: 'v', policy: parsePolicy('cas'), isDeduplicating: true };

describe('three remote copies and one local', () => {
  it('stand on four of eight nodes, the writer among them', async () => {
    const bed = await openClusterBed({ nodes: 8, storesPerNode: 2 });
    await bed.home.up.volumes.create(cas);
    for (const number of [1, 2, 3]) {
      const core = bed.node(number).up;
      await bed.eventually(() => expect(core.volumes.ids()).toHaveLength(1));
      for (let i = 0; i < 12; i++) {
        const key = `${number}/${i}`;
        // Also content that is no short one.
        expect(
          await put(core, key, i === 0 ? 200_000 + number : 1000 * number + i),
        ).toBeUndefined();
        const nodes = await holders(core, key);
        expect(nodes).toHaveLength(4);
        expect(new Set(nodes).size).toBe(4);
        expect(nodes).toContain(bed.node(number).id);
      }
    }
    // Repair finds nothing to do: the copy near its writer is where it belongs.
    const { stripes, misplaced } = await bed.home.up.repair.health();
    expect({ ...stripes, misplaced }).toEqual({ ok: 36, degraded: 0, lost: 0, misplaced: 0 });
    expect((await bed.home.up.repair.repair()).writtenBytes).toBe(0);
    for (const number of [1, 2, 3]) {
      for (let i = 0; i < 12; i++) {
        expect(await holders(bed.home.up, `${number}/${i}`)).toContain(bed.node(number).id);
      }
    }
  });

  it('are two on two nodes, said to be degraded, and four when there are four', async () => {
    const bed = await openClusterBed({ nodes: 2, storesPerNode: 1 });
    const core = bed.home.up;
    await core.volumes.create(cas);
    expect(thinVolumes(core)).toEqual([expect.stringContaining('near-4 on 4 nodes')]);
    expect(await put(core, 'k', 100_000)).toBe(1);
    expect(await holders(core, 'k')).toHaveLength(2);
    await bed.add();
    await bed.add();
    await bed.eventually(async () => {
      expect(new Set(await holders(core, 'k')).size).toBe(4);
    });
    expect(thinVolumes(core)).toEqual([]);
    const other = bed.node(2).up;
    await bed.eventually(() => expect(other.volumes.ids()).toHaveLength(1));
    expect(await get(other, 'k')).toEqual(Buffer.from(bytesOf(100_000, 100_000)));
  });
});

describe('a policy', () => {
  it('is applied while others read, and WORM is kept from every node', async () => {
    const bed = await openClusterBed({ nodes: 3 });
    const [maker, other] = [bed.home.up, bed.node(2).up];
    await maker.volumes.create({ ...cas, retention: { retentionMs: undefined } });
    await bed.eventually(() => expect(other.volumes.ids()).toHaveLength(1));
    for (let i = 1; i <= 5; i++) await put(maker, `${i}`, 70_000 * i);
    const policy = parsePolicy('rs-4+2');
    await other.volumes.setPolicy('v', { policy });
    const applied = other.volumes.applyPolicy('v', {});
    let isDone = false;
    void applied.finally(() => (isDone = true));
    for (let reads = 0; !isDone || reads < 5; reads++) {
      const i = 1 + (reads % 5);
      const content = Buffer.from(bytesOf(70_000 * i, 70_000 * i));
      expect(Buffer.compare(await get(maker, `${i}`), content)).toBe(0);
      await bed.sleep(1); // what is near is read in no time
    }
    expect(await applied).toEqual({ reencoded: 5, kept: 0, failed: 0 });
    for await (const info of maker.volumes.objects('v').list()) expect(info.policy).toEqual(policy);
    for (const { volumes } of [maker, other]) {
      expect(await codeOf(volumes.objects('v').remove('1'))).toBe('HF_WORM');
    }
    expect(await codeOf(put(other, '1', 5))).toBe('HF_WORM');
  });

  it('goes on after a restart only when the other nodes are there', async () => {
    const bed = await openClusterBed({ nodes: 4 });
    const { home } = bed;
    await home.up.volumes.create({ ...cas, policy: parsePolicy('copy-3') });
    for (let i = 1; i <= 20; i++) await put(home.up, `${i}`, 300_000 + i);
    const policy = parsePolicy('copy-4');
    await home.up.volumes.setPolicy('v', { policy });
    await openVolumes(home.up.registry).change('v', { reencodedBy: home.id });
    await bed.kill(home);
    await bed.start(home);
    await bed.eventually(async () => {
      expect((await home.up.volumes.list())[0]!.record.reencodedBy).toBeUndefined();
    });
    for (let i = 1; i <= 20; i++) {
      const nodes = await holders(home.up, `${i}`);
      expect([nodes.length, new Set(nodes).size]).toEqual([4, 4]);
    }
  });

  it('is not applied while some objects withstand, and is tried again', async () => {
    const bed = await openClusterBed({ nodes: 3 });
    const core = bed.home.up;
    await core.volumes.create({ ...cas, policy: parsePolicy('copy-3') });
    for (let i = 1; i <= 3; i++) await put(core, `${i}`, 300_000 + i);
    const policy = parsePolicy('rs-4+2');
    await core.volumes.setPolicy('v', { policy });
    const { stores, away } = bed.node(3);
    away.add(stores[0]!);
    await bed.sleep(10_000);
    expect(await core.volumes.applyPolicy('v', {})).toMatchObject({ reencoded: 0, failed: 3 });
    expect((await core.volumes.list())[0]!.record.reencodedBy).toBe(bed.home.id);
    for await (const info of core.volumes.objects('v').list()) {
      expect(info.policy).toEqual(parsePolicy('copy-3'));
    }
    away.clear();
    await bed.eventually(async () => {
      expect((await core.volumes.list())[0]!.record.reencodedBy).toBeUndefined();
    });
    for await (const info of core.volumes.objects('v').list()) expect(info.policy).toEqual(policy);
  });
});
