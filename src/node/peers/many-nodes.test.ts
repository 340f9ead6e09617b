/**
 * Aim: several nodes are one store: what one puts another reads, what one deletes is gone
 * everywhere, and who is away is missed for a while only. Method: whole cores over a network in
 * memory, in virtual time; nodes are killed and come back.
 */
import { describe, expect, it } from 'vitest';
import { errorCode, errorMessage, schemeNumber, stripeId } from '../../base/index.ts';
import { RemoteChunkStore } from '../../store/index.ts';
import { MemoryDb } from '../../db/index.ts';
import { contentOf, get, openClusterBed, put, volume } from '../../../test/suites/cluster-bed.ts';
import { bytesOf, rs42 } from '../../../test/suites/store-bed.ts';
import { LocalMetadata } from '../metadata/local-metadata.ts';

describe('several nodes', () => {
  it('read what one of them has put, with shards on all of them', async () => {
    const bed = await openClusterBed();
    await bed.home.up.volumes.create(volume);
    expect(await put(bed.home.up, 'a')).toBeUndefined();
    await bed.eventually(async () => expect(await get(bed.node(3).up, 'a')).toEqual(contentOf()));
    expect(await put(bed.node(2).up, 'b', 90_000)).toBeUndefined();
    expect(await get(bed.home.up, 'b')).toEqual(contentOf(90_000));
    for (const node of bed.nodes) expect(await node.chunkCount()).toBeGreaterThan(3);
    const { devices, levels } = bed.node(3).up.cluster.topology();
    expect([devices.length, levels.length]).toEqual([6, 6]);
  });

  it('open volumes that another one has made, and no node sees what was not granted', async () => {
    const bed = await openClusterBed({ nodes: 4 });
    const maker = bed.node(4).up;
    await maker.volumes.create(volume);
    await put(maker, 'a');
    for (const number of [1, 2, 3]) {
      const { volumes } = bed.node(number).up;
      await bed.eventually(() => expect(volumes.records.map(({ name }) => name)).toEqual(['v']));
      expect(await get(bed.node(number).up, 'a')).toEqual(contentOf());
    }
    const late = await bed.add();
    expect(late.up.volumes.locked).toEqual(['v']);
    const { id } = maker.volumes.records[0]!;
    const namespace = await late.up.metadata.openNamespace(id);
    expect(await namespace.usage().catch(errorCode)).toBe('HF_DENIED');
    expect(await late.up.repair.release(id, { inode: 5n }).catch(errorCode)).toBe('HF_DENIED');
    await bed.grants().grant(id, late.id, bed.home.keyring.volumes.get(id)!);
    await bed.eventually(async () => expect(await get(late.up, 'a')).toEqual(contentOf()));
    expect(late.up.volumes.locked).toEqual([]);
  });

  it('go on without one, and the deleted is gone from it too when it is back', async () => {
    const bed = await openClusterBed();
    await bed.home.up.volumes.create(volume);
    await put(bed.home.up, 'a');
    await put(bed.home.up, 'gone');
    await bed.kill(bed.node(3));
    expect(await get(bed.home.up, 'a')).toEqual(contentOf());
    await bed.eventually(() => expect(bed.node(2).up.stores()).toHaveLength(4));
    expect(await get(bed.node(2).up, 'a')).toEqual(contentOf());
    await bed.node(2).up.volumes.objects('v').remove('gone');
    await bed.start(bed.node(3));
    await bed.eventually(async () => {
      await bed.home.up.repair.collect({ graceMs: 0 });
      const { unnamedChunks, stripes } = await bed.home.up.repair.health();
      expect([unnamedChunks, stripes]).toEqual([0, { ok: 1, degraded: 0, lost: 0 }]);
    });
    expect(await get(bed.node(3).up, 'a')).toEqual(contentOf());
  });
});

describe('a delete', () => {
  it('is taken from the home alone', async () => {
    const bed = await openClusterBed();
    await bed.home.up.volumes.create(volume);
    await put(bed.home.up, 'a');
    const store = bed
      .node(2)
      .up.stores()
      .find(({ id }) => id === bed.node(3).stores[0]!.id)!;
    const [entry] = await Array.fromAsync(store.list());
    const removal = store.remove(entry!.id, { generationMax: 9 });
    expect(await removal.catch(errorCode)).toBe('HF_DENIED');
    expect(await store.stat(entry!.id)).toBeDefined();
  });
});

describe('a node that is away', () => {
  it('is written off after its time, when there is room, and is back when it is', async () => {
    const bed = await openClusterBed({ nodes: 4, nodeGraceMs: 60_000 });
    await bed.home.up.volumes.create(volume);
    await put(bed.home.up, 'a');
    const stateOf = (number: number): string[] => {
      const { cluster } = bed.home.up;
      return cluster.devicesOf(bed.node(number).id).map(({ state }) => state);
    };
    const { epoch } = bed.home.up.cluster.topology();
    await bed.kill(bed.node(4));
    await bed.sleep(40_000);
    expect(bed.home.up.stores()).toHaveLength(6);
    expect(bed.home.up.cluster.topology().epoch).toBe(epoch);
    await bed.sleep(60_000);
    expect(stateOf(4)).toEqual(['out', 'out']);
    await bed.eventually(async () => {
      expect((await bed.home.up.repair.health()).stripes).toEqual({ ok: 1, degraded: 0, lost: 0 });
    });
    // Of six stores that are left none can be missed.
    await bed.kill(bed.node(3));
    await bed.sleep(100_000);
    expect(stateOf(3)).toEqual(['in', 'in']);
    await bed.start(bed.node(4));
    await bed.eventually(() => expect(stateOf(4)).toEqual(['in', 'in']));
    expect(await get(bed.node(2).up, 'a')).toEqual(contentOf());
  });

  it('states its devices anew when it was written off and never noticed', async () => {
    const bed = await openClusterBed({ nodes: 2 });
    const { cluster } = bed.home.up;
    await bed.sleep(5000);
    await cluster.setNodeDevices(bed.node(2).id, 'out');
    expect(bed.home.up.stores()).toHaveLength(2);
    await bed.eventually(() => {
      const states = cluster.devicesOf(bed.node(2).id).map(({ state }) => state);
      expect(states).toEqual(['in', 'in']);
      expect(bed.home.up.stores()).toHaveLength(4);
    });
  });
});

describe('without the home', () => {
  it('everything says so in one line and soon, and goes on when it is back', async () => {
    const bed = await openClusterBed();
    await bed.home.up.volumes.create(volume);
    await put(bed.home.up, 'a');
    const other = bed.node(2).up;
    await bed.eventually(async () => expect(await get(other, 'a')).toEqual(contentOf()));
    await bed.kill(bed.home);
    for (const work of [() => put(other, 'b'), () => get(other, 'a'), () => put(other, 'c')]) {
      const startMs = bed.env.clock.monotonic();
      const error: unknown = await work().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(errorCode(error)).toBe('HF_UNAVAILABLE');
      expect(errorMessage(error)).toMatch(/^[^\n]*carries the metadata, does not answer[^\n]*$/);
      expect(bed.env.clock.monotonic() - startMs).toBeLessThan(5000);
    }
    const third = bed.node(3);
    await bed.kill(third);
    expect(await bed.start(third).catch(errorCode)).toBe('HF_UNAVAILABLE');
    await bed.start(bed.home);
    await bed.eventually(async () => expect(await get(other, 'a')).toEqual(contentOf()));
    await bed.start(third);
    await bed.eventually(async () => expect(await put(other, 'b')).toBeUndefined());
  });

  it('a partition is noticed within five seconds too', async () => {
    const bed = await openClusterBed();
    await bed.home.up.volumes.create(volume);
    const other = bed.node(2).up;
    await bed.eventually(() => expect(other.volumes.records).toHaveLength(1));
    bed.net.partition((a, b) => a === bed.home.id || b === bed.home.id);
    for (let i = 0; i < 3; i++) {
      const startMs = bed.env.clock.monotonic();
      expect(await get(other, 'a').catch(errorCode)).toBe('HF_UNAVAILABLE');
      expect(bed.env.clock.monotonic() - startMs).toBeLessThan(5000);
    }
    bed.net.heal();
    await bed.eventually(async () => expect(await put(other, 'a')).toBeUndefined());
  });
});

describe('a store of another node', () => {
  it('stays the same object while its node is away and back', async () => {
    const bed = await openClusterBed({ nodes: 2 });
    const { up } = bed.home;
    const before = up.peers()!.alive();
    const count = up.peers()!.changeCount;
    await bed.kill(bed.node(2));
    await bed.sleep(60_000);
    expect(up.peers()!.alive()).toEqual([]);
    expect(up.peers()!.changeCount).toBeGreaterThan(count);
    await bed.start(bed.node(2));
    await bed.eventually(() => expect(up.peers()!.alive()).toHaveLength(2));
    const after = up.peers()!.alive();
    expect(before.map((store) => after.includes(store))).toEqual([true, true]);
  });

  it('is set aside while it does not answer, though its node does', async () => {
    const bed = await openClusterBed({ nodes: 2 });
    const { up } = bed.home;
    const [store] = bed.node(2).stores;
    bed.node(2).away.add(store!);
    await bed.eventually(() => expect(up.stores().map(({ id }) => id)).not.toContain(store!.id));
    expect(up.stores()).toHaveLength(3);
    bed.node(2).away.clear();
    await bed.eventually(() => expect(up.stores()).toHaveLength(4));
  });

  it('goes with its device, and belongs to the node that has it', async () => {
    const bed = await openClusterBed({ nodes: 3 });
    const [disk] = bed.node(3).stores;
    bed.node(2).stores.push(disk!);
    const seen = bed
      .node(2)
      .up.stores()
      .map(({ id }) => id);
    expect(seen.length).toBe(new Set(seen).size);
    bed.node(3).away.add(disk!);
    const isMoved = (): void => {
      for (const { up } of bed.nodes) {
        expect(up.cluster.nodeOf(disk!.id)).toBe(bed.node(2).id);
        expect(up.stores()).toHaveLength(bed.storeCount - 1);
      }
    };
    await bed.eventually(isMoved);
    // The other node still has it in its list, and states that anew.
    bed.addStore(bed.node(3));
    for (let i = 0; i < 25; i++) {
      await bed.sleep(200);
      expect(bed.home.up.cluster.nodeOf(disk!.id)).toBe(bed.node(2).id);
    }
    await bed.eventually(isMoved);
  });
});

describe('the registry', () => {
  it('takes from a node without rights what each node must change, and nothing else', async () => {
    const bed = await openClusterBed({ nodes: 4 });
    await bed.home.up.volumes.create(volume);
    const { registry } = bed.node(4).up;
    const { id } = bed.home.up.volumes.records[0]!;
    const write = async (key: string) =>
      await registry.compareAndSet(key, 0, bytesOf(1)).then(() => 'taken', errorCode);
    const other = bed.node(3).id;
    for (const key of [
      'revocations',
      `member/${other}x`,
      'invitation/x',
      'home',
      'home2',
      `volume-secret/${id}/${bed.node(4).id}`,
    ]) {
      expect([key, await write(key)]).toEqual([key, 'HF_DENIED']);
    }
    const fresh = `volume-secret/${'12'.repeat(16)}/${bed.node(4).id}`;
    for (const key of ['layout/0/x', 'topology/node/x', fresh]) {
      expect([key, await write(key)]).toEqual([key, 'taken']);
    }
    const holder = bed.node(2).up.registry;
    const granting = holder.compareAndSet(`volume-secret/${id}/${other}x`, 0, bytesOf(1));
    expect(await granting.catch(errorCode)).not.toBe('HF_DENIED');
  });
});

describe('the reference slots', () => {
  it('take from others what writers need, for the volumes that they hold', async () => {
    const bed = await openClusterBed({ nodes: 4 });
    await bed.home.up.volumes.create(volume);
    const { id } = bed.home.up.volumes.records[0]!;
    const stripe = stripeId(bytesOf(28));
    const holder = { volume: id, inode: 9n };
    const wanted = { stripe, schemeNumber: schemeNumber(rs42), chunkBytes: 8192 };
    const answers = async (number: number) => {
      const { references } = bed.node(number).up;
      const session = await references.openSession(bed.node(number).id);
      const asked = [
        references.openSession(bed.home.id),
        references.add({ session, holder, stripes: [wanted] }),
        references.confirm(holder, [stripe]),
        references.release(holder, [stripe]),
        references.condemned(),
        references.setWholeEpoch(1, 9),
      ];
      return await Promise.all(asked.map((each) => each.then(() => 'answered', errorCode)));
    };
    const [no, yes] = ['HF_DENIED', 'answered'];
    expect(await answers(2)).toEqual([no, yes, yes, no, no, no]);
    expect(await answers(4)).toEqual([no, no, no, no, no, no]);
  });
});

describe('a group that is whole', () => {
  it('takes no shards by an older layout, on whichever node', async () => {
    const bed = await openClusterBed();
    await bed.home.up.volumes.create(volume);
    await put(bed.home.up, 'a');
    await bed.home.up.repair.repair();
    const { epoch } = bed.home.up.cluster.topology();
    const target = bed.node(3).stores[0]!;
    const [entry] = await Array.fromAsync(target.list());
    const chunk = await target.get(entry!.id);
    const { network } = bed.node(2);
    const putBy = async (old: number) => {
      const about = { clock: bed.env.clock, network: network!, node: bed.node(3).id };
      const store = new RemoteChunkStore({ ...about, id: target.id, epoch: () => old });
      return await store.put(entry!.id, chunk!, { generation: 1 }).then(() => 'taken', errorCode);
    };
    expect(await putBy(epoch)).toBe('taken');
    expect(await putBy(epoch - 1)).toBe('HF_OLD_EPOCH');
  });
});

describe('a home that was recovered', () => {
  it('is followed by the others, though it is another node', async () => {
    const bed = await openClusterBed();
    await bed.home.up.volumes.create(volume);
    await put(bed.home.up, 'a');
    const other = bed.node(2).up;
    await bed.eventually(async () => expect(await get(other, 'a')).toEqual(contentOf()));
    const before = bed.home.id;
    await bed.kill(bed.home);
    await bed.recover();
    expect(bed.home.id).not.toBe(before);
    await bed.eventually(() => expect(other.stores()).toHaveLength(6));
    await bed.eventually(async () => expect(await put(other, 'b', 90_000)).toBeUndefined());
    expect(await get(bed.home.up, 'b')).toEqual(contentOf(90_000));
    expect(await get(other, 'a')).toEqual(contentOf());
    await other.volumes.objects('v').remove('a');
    expect(other.cluster.devicesOf(before)).toEqual([]);
  });
});

describe('a second home', () => {
  it('is refused, and takes over when the cluster is recovered', async () => {
    const bed = await openClusterBed({ nodes: 2, storesPerNode: 4 });
    await bed.home.up.volumes.create(volume);
    const { home, env } = bed;
    await bed.kill(home);
    const nodeId = 'ab'.repeat(16) as typeof home.id;
    const options = {
      env,
      nodeId,
      stores: home.alive,
      devices: home.devices(),
      tolerance: 2,
      metadataKey: home.keyring.metadataKey!,
      openDb: async () => new MemoryDb(),
    };
    expect(await LocalMetadata.open(options).catch(errorCode)).toBe('HF_FENCED');
    home.away.add(home.stores[3]!);
    const found = {
      ...options,
      devices: home.devices().slice(0, 3),
      recovery: { acceptsLoss: false },
    };
    await using recovered = await LocalMetadata.open(found);
    expect(recovered.volumes()).toHaveLength(1);
    const statesOf = (node: typeof home.id) =>
      recovered.cluster.devicesOf(node).map(({ state }) => state);
    expect(statesOf(nodeId)).toEqual(['in', 'in', 'in']);
    expect(statesOf(home.id)).toEqual(['out']);
    expect(statesOf(bed.node(2).id)).toEqual(['in', 'in', 'in', 'in']);
  });
});
