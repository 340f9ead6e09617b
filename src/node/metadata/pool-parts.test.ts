/**
 * Aim: a part of a snapshot is on stores of three nodes, a large one in shards on more; it is
 * refused when fewer than half of the nodes take it, comes back whichever two nodes are lost, is
 * brought back to all its chunks by repair, and is nobody else's: neither a record of a log nor
 * content. Method: memory stores of several nodes that are lost, full, bad or drained.
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

/** Too long for copies where there are nodes enough. */
const LONG = Array.from({ length: 3 }, (_, i) =>
  new Uint8Array(300_000 + i).map((_byte, at) => (at * (i + 3)) >>> 4),
);

/** Quicker than comparing them element by element. */
function expectLong(bytes: Uint8Array | undefined, index = 0): void {
  expect(bytes && Buffer.compare(bytes, LONG[index]!)).toBe(0);
}

/** Nodes, k, n. */
const SHARDS: readonly (readonly [number, number, number])[] = [
  [3, 1, 3],
  [4, 1, 3],
  [5, 2, 4],
  [6, 3, 5],
  [7, 4, 6],
  [9, 4, 6],
];

describe('a long part', () => {
  it.each(SHARDS)('on %i nodes is any %i of %i chunks', async (nodeCount, k, n) => {
    const { bed, parts, loseNode, nodeOf } = openParts(nodeCount);
    const refs = [];
    for (const bytes of LONG) refs.push(await parts.put(bytes));
    const used = await Promise.all(bed.stores.map((store) => store.usage()));
    const chunkCount = used.reduce((sum, usage) => sum + usage.chunkCount, 0);
    expect(chunkCount).toBe(n * LONG.length);
    for (const held of await parts.census()) {
      expect(new Set(held.good.map(({ store }) => nodeOf(store.id))).size).toBe(n);
      expect(held.good[0]!.id.length).toBe(32);
      const size = (await held.good[0]!.store.get(held.good[0]!.id))!.length;
      expect(size).toBeLessThan(LONG.at(-1)!.length / k + 500);
    }
    for (let one = 0; one < nodeCount; one++) {
      for (let other = 0; other < one; other++) {
        loseNode(one);
        loseNode(other);
        for (const [i, ref] of refs.entries()) expectLong(await parts.get(ref), i);
        bed.away.clear();
      }
    }
    expect(await parts.repair()).toBe(0);
    await parts.remove(refs);
    expect(await bed.chunkCount()).toBe(0);
  });

  it('is not found with too few of its chunks', async () => {
    const { bed, parts, loseNode } = openParts(7);
    const ref = await parts.put(LONG[0]!);
    const [held] = await parts.census();
    for (const { store } of held!.good.slice(0, 3)) bed.away.add(store as never);
    for (let node = 0; node < 7; node++) loseNode(node);
    expect(await parts.get(ref)).toBeUndefined();
  });

  it('is mended where a chunk is lost or bad, on nodes that have none', async () => {
    const { bed, parts, nodeOf, loseNode } = openParts(7);
    const ref = await parts.put(LONG[0]!);
    const [held] = await parts.census();
    const [lost, bad] = held!.good;
    loseNode(Number(nodeOf(lost!.store.id).slice(1)));
    const holder = bed.stores.find(({ id }) => id === bad!.store.id)!;
    holder.flip(bad!.id, 400);
    await holder.get(bad!.id).catch(() => undefined);
    expect((await parts.census())[0]!.bad.map(({ id }) => id)).toEqual([bad!.id]);
    expect(await parts.repair()).toBe(1);
    expect(await parts.repair()).toBe(0);
    const [mended] = await parts.census();
    expect(mended!.bad).toEqual([]);
    const ids = new Set(mended!.good.map(({ id }) => Buffer.from(id).toString('hex')));
    expect(ids.size).toBe(6);
    expect(new Set(mended!.good.map(({ store }) => nodeOf(store.id))).size).toBe(6);
    expectLong(await parts.get(ref));
  });

  it('is put in fewer shards, or copies, where nodes refuse it', async () => {
    const { bed, parts, nodeOf, loseNode } = openParts(7);
    for (const store of bed.stores) {
      if (['n0', 'n1', 'n2'].includes(nodeOf(store.id))) store.fault = () => 'HF_NO_SPACE';
    }
    const ref = await parts.put(LONG[0]!);
    const [held, ...others] = await parts.census();
    expect(others).toEqual([]);
    expect(held!.good.length).toBe(4);
    for (const node of [3, 5]) loseNode(node);
    expectLong(await parts.get(ref));
  });

  it('has a chunk checked by its id, whatever was done to it', async () => {
    const { bed, parts } = openParts(5);
    await parts.put(LONG[0]!);
    const [held] = await parts.census();
    const [one, other] = held!.good;
    const chunk = (await one!.store.get(one!.id))!;
    const put = async (id: ChunkId, bytes: Uint8Array) =>
      await bed.stores[0]!.put(id, bytes, { generation: 2 });
    await put(one!.id, chunk);
    for (const at of [0, 8, 30, 500, chunk.length - 1]) {
      const bytes = new Uint8Array(chunk);
      bytes[at]! ^= 1;
      await expect(put(one!.id, bytes)).rejects.toMatchObject({ code: 'HF_CORRUPT' });
    }
    await expect(put(other!.id, chunk)).rejects.toMatchObject({ code: 'HF_CORRUPT' });
  });

  it('has no more shards than its length is worth', async () => {
    const { parts } = openParts(7);
    for (const [lengthBytes, count] of [
      [130_000, 3],
      [140_000, 4],
      [200_000, 5],
      [600_000, 6],
    ] as const) {
      const ref = await parts.put(new Uint8Array(lengthBytes));
      const [held] = await parts.census();
      expect(held!.good).toHaveLength(count);
      expect((await parts.get(ref))!.length).toBe(lengthBytes);
      await parts.remove([ref]);
    }
  });

  it('is listed as a list in copies, each once', async () => {
    const { parts, nodesWith } = openParts(7);
    await parts.put(LONG[0]!);
    const { id } = await parts.put(LONG[1]!, 'list');
    expect((await nodesWith(id)).size).toBe(3);
    const lists = await Array.fromAsync(parts.lists());
    expect(lists.map((list) => list.id)).toEqual([id]);
    expectLong(lists[0]!.bytes, 1);
  });
});
