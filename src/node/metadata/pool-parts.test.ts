/**
 * Aim: a part of a snapshot is on stores of three nodes, is refused when fewer than half of the
 * nodes take it, comes back while one copy is good, is brought back to its copies by repair, and is
 * nobody else's: neither a record of a log nor content. Method: memory stores of several nodes that
 * are lost, full, bad or drained.
 */
import { describe, expect, it } from 'vitest';
import {
  type ChunkId,
  chunkIdParts,
  type DeviceId,
  groupOf,
  isMetadataScheme,
  METADATA_GROUP,
  type NodeId,
  utf8,
} from '../../base/index.ts';
import { StoreBed } from '../../../test/suites/store-bed.ts';
import { PoolParts } from './pool-parts.ts';
import { Quorum } from './quorum.ts';
import { StoreMirror } from './store-mirror.ts';

const STORES_PER_NODE = 2;

function openParts(nodeCount: number) {
  const bed = new StoreBed(nodeCount * STORES_PER_NODE);
  const indexOf = new Map(bed.stores.map(({ id }, index) => [id as DeviceId, index]));
  const nodeOf = (id: DeviceId) => `n${Math.floor(indexOf.get(id)! / STORES_PER_NODE)}` as NodeId;
  const leaving = new Set<DeviceId>();
  const isLeaving = (id: DeviceId) => leaving.has(id);
  const stores = bed.alive;
  const parts = new PoolParts({
    stores,
    nodeOf,
    nodeCount: () => nodeCount,
    tolerance: 2,
    isLeaving,
  });
  const nodesWith = async (id: Uint8Array): Promise<Set<NodeId>> => {
    const entries = await Promise.all(bed.stores.map((store) => store.stat(id as ChunkId)));
    const good = bed.stores.filter((_, index) => entries[index]?.isGood);
    return new Set(good.map((store) => nodeOf(store.id)));
  };
  const loseNode = (node: number): void => {
    const own = bed.stores.slice(node * STORES_PER_NODE, (node + 1) * STORES_PER_NODE);
    for (const store of own) bed.away.add(store);
  };
  return { bed, parts, leaving, nodeOf, nodesWith, loseNode };
}

const PARTS = Array.from({ length: 20 }, (_, i) => utf8(`part ${i}`));

describe('PoolParts', () => {
  it('puts copies on three nodes, and survives the loss of any two', async () => {
    const { bed, parts, nodesWith, loseNode } = openParts(5);
    const refs = [];
    for (const bytes of PARTS) refs.push(await parts.put(bytes));
    for (const { id } of refs) expect((await nodesWith(id)).size).toBe(3);
    for (let one = 0; one < 5; one++) {
      for (let other = 0; other < one; other++) {
        loseNode(one);
        loseNode(other);
        for (const [i, ref] of refs.entries()) expect(await parts.get(ref)).toEqual(PARTS[i]);
        bed.away.clear();
      }
    }
    await parts.remove(refs);
    expect(await bed.chunkCount()).toBe(0);
    expect(await parts.get(refs[0]!)).toBeUndefined();
  });

  it('is content with more than half of the nodes, and refuses fewer', async () => {
    const { parts, nodesWith, loseNode } = openParts(3);
    loseNode(0);
    expect((await nodesWith((await parts.put(PARTS[0]!)).id)).size).toBe(2);
    loseNode(1);
    await expect(parts.put(PARTS[1]!)).rejects.toMatchObject({ code: 'HF_TOO_FEW_STORES' });
    const single = openParts(1);
    expect((await single.nodesWith((await single.parts.put(PARTS[0]!)).id)).size).toBe(1);
  });

  it('passes over stores that fail, and says when they are full', async () => {
    const { bed, parts, nodesWith } = openParts(3);
    for (let node = 0; node < 3; node++) bed.stores[node * 2]!.fault = () => 'HF_DEVICE_FAILED';
    expect((await nodesWith((await parts.put(PARTS[0]!)).id)).size).toBe(3);
    for (const store of bed.stores) store.fault = () => 'HF_NO_SPACE';
    await expect(parts.put(PARTS[1]!)).rejects.toMatchObject({ code: 'HF_NO_SPACE' });
  });

  it('brings parts back to their copies, and off stores that are drained', async () => {
    const { bed, parts, leaving, nodeOf, nodesWith, loseNode } = openParts(4);
    const refs = [];
    for (const bytes of PARTS) refs.push(await parts.put(bytes));
    expect(await parts.repair()).toBe(0);
    loseNode(0);
    expect(await parts.repair()).toBeGreaterThan(0);
    for (const { id } of refs) {
      const left = [...(await nodesWith(id))].filter((node) => node !== 'n0');
      expect(left).toHaveLength(3);
    }
    bed.away.clear();
    for (const store of bed.stores) if (nodeOf(store.id) === 'n1') leaving.add(store.id);
    await parts.repair();
    for (const { id } of refs) expect((await nodesWith(id)).size).toBeGreaterThanOrEqual(3);
    loseNode(1);
    for (const [i, ref] of refs.entries()) expect(await parts.get(ref)).toEqual(PARTS[i]);
    expect(await parts.repair()).toBe(0);
  });

  it('keeps its chunks from being taken for records of a log, or for content', async () => {
    const { bed, parts } = openParts(3);
    const { id } = await parts.put(PARTS[0]!);
    const { schemeNumber } = chunkIdParts(id as ChunkId);
    expect(isMetadataScheme(schemeNumber)).toBe(true);
    expect(groupOf(id as ChunkId)).toBe(METADATA_GROUP);
    const quorum = new Quorum(bed.devices(), 2);
    const mirror = new StoreMirror({ stores: bed.alive, tolerance: 2, quorum });
    expect(await Array.fromAsync(mirror.list())).toEqual([]);
    const record = await mirror.put(PARTS[0]!);
    await parts.remove([{ id }]);
    expect(await mirror.get(record)).toEqual(PARTS[0]);
    expect(await parts.repair()).toBe(0);
  });
});
