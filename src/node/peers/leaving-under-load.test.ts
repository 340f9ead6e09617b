/**
 * Aim: a node leaves with nothing that anybody wants, also when puts for it are under way; it does
 * not stay for what nobody wants; and one that may not leave goes on as before. Method: whole cores
 * over a network in memory, in virtual time; the stores of the one that leaves are slow.
 */
import { describe, expect, it } from 'vitest';
import { type DeviceId, errorCode, HoldfastError } from '../../base/index.ts';
import { leaveCluster } from '../../cluster/index.ts';
import type { DeviceState } from '../../placement/index.ts';
import {
  type BedNode,
  type ClusterBed,
  contentChunks,
  openServingBed,
} from '../../../test/suites/cluster-bed.ts';
import { bytesOf, rs42, streamOf } from '../../../test/suites/store-bed.ts';
import { leave, type LeaveOptions } from './leaving.ts';

/** The stores of a node as a StoreSet has them. */
function storeSet(node: BedNode): LeaveOptions['stores'] {
  const states = new Map<DeviceId, DeviceState>(node.stores.map(({ id }) => [id, 'in']));
  const devices = node.devices.bind(node);
  const now = () => devices().map((each) => ({ ...each, state: states.get(each.id)! }));
  // What the node states by itself is the same.
  node.devices = now as typeof node.devices;
  const setState = async (): Promise<void> => {};
  const slots = node.stores.map(({ id }) => ({
    id,
    open: { store: { state: 'active' as const, setState } },
    get state() {
      return states.get(id)!;
    },
  }));
  return {
    alive: node.alive,
    devices: now,
    setState: (id: DeviceId, state: DeviceState) => void states.set(id, state),
    slots,
  } as unknown as LeaveOptions['stores'];
}

function optionsOf(bed: ClusterBed, node: BedNode): LeaveOptions {
  const { env, home } = bed;
  const { registry, cluster, references } = home.up;
  const endSession = async (id: string) => void (await references.openSession(id));
  const removal = { registry, cluster, members: bed.members(), grants: bed.grants(), endSession };
  return {
    env,
    self: node.id,
    core: node.up,
    stores: storeSet(node),
    refusePutsBefore: (epoch) => node.serving!.refusePutsBefore(epoch),
    takeOut: () => leaveCluster({ env, ...removal }, node.id),
  };
}

async function statesOf({ home }: ClusterBed, node: BedNode): Promise<string[]> {
  await home.up.cluster.refresh();
  return home.up.cluster.devicesOf(node.id).map(({ state }) => state);
}

describe('a node that leaves', () => {
  it.each([2, 3])('takes nothing with it that node %i was putting', async (number) => {
    const bed = await openServingBed();
    const leaver = bed.node(3);
    for (const store of leaver.stores) {
      const put = store.put.bind(store);
      store.put = async (...args) => {
        await bed.sleep(300);
        await put(...args);
      };
    }
    const objects = bed.node(number).up.volumes.objects('v');
    const puts = Array.from({ length: 20 }, (_, i) =>
      objects.put(streamOf(bytesOf(300_000, i + 1)), { key: `${i}` }),
    );
    await bed.sleep(100);
    await leave(optionsOf(bed, leaver), {});
    const settled = await Promise.allSettled(puts);
    expect(await contentChunks(leaver)).toBe(0);
    await bed.kill(leaver);
    const isStored = settled.map(({ status }) => status === 'fulfilled');
    // Who leaves may not end what it has begun itself.
    if (number !== 3) expect(isStored).not.toContain(false);
    const { stripes } = await bed.home.up.repair.health();
    expect(stripes).toMatchObject({ degraded: 0, lost: 0 });
    expect(stripes.ok).toBeGreaterThanOrEqual(isStored.filter(Boolean).length);
  });

  it('does not stay for chunks that nothing names', async () => {
    const bed = await openServingBed();
    const leaver = bed.node(3);
    await bed.home.up.volumes.objects('v').put(streamOf(bytesOf(300_000)), { key: 'k' });
    // What a crashed writer left.
    const { stripes } = bed.home.up;
    const buffer = await stripes.lease(rs42);
    buffer.content.set(bytesOf(200_000, 9));
    using prepared = await stripes.prepare(buffer, 200_000, { scheme: rs42 });
    await stripes.spread(prepared, { generation: 1 });
    const named = await contentChunks(leaver);
    const { movedChunks } = await leave(optionsOf(bed, leaver), {});
    const left = await contentChunks(leaver);
    expect(left).toBeGreaterThan(0);
    expect(movedChunks).toBe(named - left);
    expect(await statesOf(bed, leaver)).toEqual(['out', 'out']);
    expect((await bed.home.up.repair.health()).stripes).toMatchObject({ degraded: 0, lost: 0 });
  });

  it('takes shards again when the home does not let it go', async () => {
    const bed = await openServingBed();
    const leaver = bed.node(3);
    const takeOut = async (): Promise<never> => {
      expect(await statesOf(bed, leaver)).toEqual(['draining', 'draining']);
      throw new HoldfastError('HF_TIMEOUT');
    };
    const options = optionsOf(bed, leaver);
    expect(await leave({ ...options, takeOut }, {}).catch(errorCode)).toBe('HF_TIMEOUT');
    // A request of before comes late: by now it takes shards.
    expect(await options.takeOut().then(() => 'out', errorCode)).toBe('HF_BUSY');
    expect(await statesOf(bed, leaver)).toEqual(['in', 'in']);
    await leave(options, {});
    expect(await statesOf(bed, leaver)).toEqual(['out', 'out']);
  });
});
