/**
 * Aim: of the metadata in the pool goes what nothing names, and never a part that a list names: not
 * when a list cannot be read, not while a part is young or was only just seen, not when clocks of
 * stores differ. Method: snapshots of several cells in a simulated etcd, their parts and litter on
 * memory stores; planted faults in what the collector is told, which the same checks notice.
 */
import { describe, expect, it } from 'vitest';
import { StoreBed } from '../../../test/suites/store-bed.ts';
import {
  type ChunkId,
  type DeviceId,
  errorCode,
  HoldfastError,
  LIMITS,
  type NodeId,
  utf8,
} from '../../base/index.ts';
import { EtcdLog, MemoryEtcd, PoolSnapshots } from '../../log/index.ts';
import type { ChunkStore } from '../../store/index.ts';
import { PartCollector, type PartCollectorOptions } from './part-collector.ts';
import { PoolParts } from './pool-parts.ts';
import { Quorum } from './quorum.ts';
import { StoreMirror } from './store-mirror.ts';

const CELLS = ['references', 'volume-1', 'volume-1-2', 'volume-2'];
const DAY_MS = LIMITS.unnamedChunkGraceMs;

type ToldLog = PartCollectorOptions['log'];

async function openBed() {
  const bed = new StoreBed(6);
  const { env } = bed;
  const indexOf = new Map(bed.stores.map(({ id }, index) => [id, index]));
  const nodeOf = (id: DeviceId) => `n${indexOf.get(id)! % 3}` as NodeId;
  const stores = bed.alive;
  const parts = new PoolParts({ stores, nodeOf, nodeCount: () => 3, tolerance: 2 });
  const kv = new MemoryEtcd({ env }).connect();
  const place = { env, kv, prefix: 'p/', metadataKey: new Uint8Array(32).fill(1), generation: 1 };
  const log = new EtcdLog({ ...place, parts });
  const pool = new PoolSnapshots({ ...place, parts });
  const save = async (cell: string, ...bytes: string[]): Promise<void> => {
    const { epoch, lsn } = await log.seize(cell);
    await log.append(cell, { epoch, lsn: lsn + 1 }, utf8('entry'));
    const all = async function* () {
      for (const one of bytes) yield utf8(one);
    };
    await log.saveSnapshot(cell, { epoch, lsn: lsn + 1 }, all());
  };
  for (const cell of CELLS) await save(cell, `${cell} one`, `${cell} two`);
  const loaded = async (cell: string): Promise<string[] | undefined> => {
    const { parts: all } = (await log.loadSnapshot(cell))!;
    const read = await Array.fromAsync(all).catch(() => undefined);
    return read?.map((one) => Buffer.from(one).toString());
  };
  const areWhole = async (): Promise<boolean> => {
    const found = await Promise.all(CELLS.map(loaded));
    return found.every((one, i) => one?.join() === `${CELLS[i]} one,${CELLS[i]} two`);
  };
  /** Two looks at the same time. */
  const collect = async (told: ToldLog = log) => {
    const collector = new PartCollector({ env, parts, log: told, generation: 1, pool, stores });
    const first = await collector.collect();
    const { partCount, recordCount } = await collector.collect();
    return { partCount: partCount + first.partCount, recordCount: first.recordCount + recordCount };
  };
  const pass = (ms: number): void => void (bed.nowMs += ms);
  return { bed, env, parts, stores, log, pool, save, areWhole, collect, pass };
}

describe('PartCollector', () => {
  it('lets go of old parts that no list names, at the second look', async () => {
    const { bed, env, parts, stores, log, pool, areWhole, pass } = await openBed();
    const litter = await parts.put(utf8('litter'));
    const before = await bed.chunkCount();
    const collector = new PartCollector({ env, parts, log, generation: 1, pool, stores });
    for (let looks = 0; looks < 3; looks++) expect((await collector.collect()).partCount).toBe(0);
    pass(DAY_MS + 1000);
    const young = await parts.put(utf8('young'));
    const later = new PartCollector({ env, parts, log, generation: 1, pool, stores });
    expect((await later.collect()).partCount).toBe(0);
    expect((await later.collect()).partCount).toBe(1);
    expect(await parts.get(litter)).toBeUndefined();
    expect(await parts.get(young)).toBeDefined();
    expect(await bed.chunkCount()).toBe(before);
    expect(await areWhole()).toBe(true);
  });

  it('keeps what was written by a store whose clock is slow', async () => {
    const { bed, parts, collect, pass } = await openBed();
    pass(DAY_MS + 1000);
    const { id } = await parts.put(utf8('being saved'));
    const holds = (store: ChunkStore) => store.stat(id as ChunkId);
    const held = await Promise.all(bed.stores.map(holds));
    const slow = bed.stores.find((_, index) => held[index])!;
    const chunk = (await slow.get(id as ChunkId))!;
    await slow.remove(id as ChunkId, { generationMax: 1 });
    pass(-3 * DAY_MS);
    await slow.put(id as ChunkId, chunk, { generation: 1 });
    pass(3 * DAY_MS);
    expect((await collect()).partCount).toBe(0);
    expect(await parts.get({ id })).toBeDefined();
  });

  it('keeps the newest copy of the registry, and lets older ones go', async () => {
    const { bed, pool, collect, pass } = await openBed();
    const before = await bed.chunkCount();
    await pool.saveRegistry(1, { version: 5, rows: [] });
    await pool.saveRegistry(1, { version: 6, rows: [] });
    await pool.saveRegistry(2, { version: 9, rows: [] }); // of a generation that is not open
    pass(DAY_MS + 1000);
    expect((await collect()).partCount).toBe(4);
    expect(
      (await pool.all()).filter(({ cell }) => cell === 'registry').map((one) => one.lsn),
    ).toEqual([6]);
    expect(await bed.chunkCount()).toBe(before + 2 * 3);
  });

  it('lets nothing go while a list cannot be read', async () => {
    const { bed, parts, log, areWhole, collect, pass } = await openBed();
    await parts.put(utf8('litter'));
    pass(DAY_MS + 1000);
    const before = await bed.chunkCount();
    for (const code of ['HF_CORRUPT', 'HF_UNAVAILABLE'] as const) {
      const failing: ToldLog = {
        cellIds: () => log.cellIds(),
        async snapshotParts(cell) {
          if (cell === CELLS[3]) throw new HoldfastError(code);
          return await log.snapshotParts(cell);
        },
      };
      expect(await collect(failing).catch(errorCode)).toBe(code);
    }
    expect(await bed.chunkCount()).toBe(before);
    expect(await areWhole()).toBe(true);
  });

  it.each(CELLS)('notices, in this test, a list of %s that was forgotten', async (forgotten) => {
    const { log, areWhole, collect, pass } = await openBed();
    pass(DAY_MS + 1000);
    const forgetful: ToldLog = {
      snapshotParts: (cell) => log.snapshotParts(cell),
      async *cellIds() {
        for await (const cell of log.cellIds()) if (cell !== forgotten) yield cell;
      },
    };
    expect((await collect()).partCount).toBe(0);
    expect(await areWhole()).toBe(true);
    expect((await collect(forgetful)).partCount).toBe(3);
    expect(await areWhole()).toBe(false);
  });

  it('lets the log of one node go, a day after its end, once all is in the pool', async () => {
    const { bed, parts, log, save, areWhole, collect, pass } = await openBed();
    const quorum = new Quorum(bed.devices(), 2);
    const mirror = new StoreMirror({ stores: bed.alive, tolerance: 2, quorum });
    await mirror.put(utf8('record'));
    pass(DAY_MS);
    await mirror.put(utf8('seal'));
    pass(DAY_MS);
    expect((await collect()).recordCount).toBe(0); // the seal is not older than a day
    pass(1000);
    await log.seize('volume-3'); // has no snapshot yet
    expect((await collect()).recordCount).toBe(0);
    await save('volume-3', 'x');
    expect((await collect()).recordCount).toBe(6);
    expect(await Array.fromAsync(mirror.list())).toEqual([]);
    expect(await areWhole()).toBe(true);
    expect(await parts.repair()).toBe(0);
  });
});
