/**
 * Aim: what the stores have of snapshots is found and put in order without etcd; nothing that was
 * not sealed with the key is taken, and a lost part shows. Method: snapshots of cells of a
 * simulated etcd, in a mirror in memory that says which records are lists.
 */
import { describe, expect, it } from 'vitest';
import { MemoryMirror } from '../../test/suites/memory-mirror.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, fromUtf8, utf8 } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import {
  EtcdLog,
  EtcdRegistry,
  MemoryEtcd,
  type MirrorRef,
  PoolSnapshots,
  registryIn,
  REGISTRY_CELL,
} from './index.ts';

const KEY = new Uint8Array(32).fill(1);

class Parts extends MemoryMirror {
  readonly #lists: MirrorRef[] = [];

  override async put(bytes: Uint8Array, kind: 'part' | 'list' = 'part'): Promise<MirrorRef> {
    const ref = await super.put(bytes);
    if (kind === 'list') this.#lists.push(ref);
    return ref;
  }

  async *lists() {
    for (const { id } of this.#lists) {
      const bytes = await this.get({ id });
      if (bytes) yield { id, bytes };
    }
  }
}

function open(metadataKey = KEY, env: Env = virtualEnv(1)) {
  const etcd = new MemoryEtcd({ env });
  const parts = new Parts();
  const place = { env, kv: etcd.connect(), prefix: 'p/', metadataKey, generation: 1 };
  const log = new EtcdLog({ ...place, parts });
  const pool = new PoolSnapshots({ env, parts, metadataKey });
  return { env, etcd, parts, place, log, pool };
}

async function* partsOf(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield utf8(text);
}

async function save(log: EtcdLog, cell: string, ...texts: readonly string[]): Promise<void> {
  const { epoch, lsn } = await log.seize(cell);
  await log.append(cell, { epoch, lsn: lsn + 1 }, utf8('entry'));
  await log.saveSnapshot(cell, { epoch, lsn: lsn + 1 }, partsOf(...texts));
  await log.trim(cell, lsn + 1);
}

describe('snapshots on the stores', () => {
  it('are found, the newest first, each whole', async () => {
    const { log, pool } = open();
    await save(log, 'a', 'a 1');
    await save(log, 'b', 'b 1', 'b 2');
    const { epoch, lsn } = await log.seize('b');
    await log.append('b', { epoch, lsn: lsn + 1 }, utf8('entry'));
    const position = { epoch, lsn: lsn + 1 };
    await log.saveSnapshot('b', position, partsOf('b 3'), { extends: lsn });
    const found = await pool.all();
    expect(found.map(({ cell, lsn: at }) => [cell, at])).toEqual([
      ['b', 2],
      ['a', 1],
      ['b', 1],
    ]);
    expect(await Array.fromAsync(found[0]!.parts, fromUtf8)).toEqual(['b 1', 'b 2', 'b 3']);
    await log.trim('b', 2);
    expect((await pool.all()).map(({ cell }) => cell)).toEqual(['b', 'a']);
  });

  it('count by epoch before lsn', async () => {
    const { log, parts, pool } = open();
    await save(log, 'a', 'older');
    const [first] = await pool.all();
    const kept = (await parts.get(first!.ref))!;
    await save(log, 'a', 'newer');
    await parts.put(kept, 'list');
    const epochs = (await pool.all()).map(({ epoch }) => epoch);
    expect(epochs).toEqual(epochs.toSorted((a, b) => b - a));
    expect(epochs.length).toBeGreaterThan(1);
  });

  it('go with their parts when the steward was fenced before etcd had them', async () => {
    const { log, parts, pool, place } = open();
    const { epoch } = await log.seize('a');
    await log.append('a', { epoch, lsn: 1 }, utf8('entry'));
    const other = new EtcdLog({ ...place, parts });
    async function* interrupted(): AsyncGenerator<Uint8Array> {
      yield utf8('part');
      await other.seize('a');
    }
    const saving = log.saveSnapshot('a', { epoch, lsn: 1 }, interrupted());
    expect(await saving.catch(errorCode)).toBe('HF_FENCED');
    expect(await pool.all()).toEqual([]);
    expect(await Array.fromAsync(parts.list())).toEqual([]);
  });

  it('show a part that is gone, or another in its place', async () => {
    const { log, parts, pool } = open();
    await save(log, 'a', 'one', 'two');
    const [found] = await pool.all();
    parts.lose(found!.partRefs[1]!);
    const read: string[] = [];
    const reading = (async () => {
      for await (const part of found!.parts) read.push(fromUtf8(part));
    })();
    expect(await reading.catch(errorCode)).toBe('HF_CORRUPT');
    expect(read).toEqual(['one']);
  });

  it('are not taken from who has not the key', async () => {
    const { log, parts, env } = open();
    await save(log, 'a', 'secret');
    const stranger = new PoolSnapshots({ env, parts, metadataKey: new Uint8Array(32) });
    expect(await stranger.all()).toEqual([]);
    await stranger.saveRegistry(9, { version: 5, rows: [] });
    await parts.put(utf8('no record'), 'list');
    const pool = new PoolSnapshots({ env, parts, metadataKey: KEY });
    expect((await pool.all()).map(({ cell }) => cell)).toEqual(['a']);
    for await (const { bytes } of parts.list()) {
      expect(Buffer.from(bytes).includes('secret')).toBe(false);
    }
  });
});

describe('copies of the registry', () => {
  it('have all rows with their versions, as of one moment', async () => {
    const { place, pool } = open();
    const registry = new EtcdRegistry(place);
    await registry.compareAndSet('one', 0, utf8('1'));
    const version = await registry.compareAndSet('two', 0, new Uint8Array(5_000_000));
    const copy = await registry.copied();
    await registry.compareAndSet('one', copy.rows[0]!.version, undefined);
    await pool.saveRegistry(1, copy);
    const [found] = await pool.all();
    expect(found!.cell).toBe(REGISTRY_CELL);
    const { rows, version: above } = await registryIn(found!);
    expect(rows.map(({ key }) => key)).toEqual(['one', 'two']);
    expect(rows[1]).toEqual(copy.rows[1]);
    expect(above).toBeGreaterThanOrEqual(version!);
    const later = await registry.copied();
    expect(later.rows.map(({ key }) => key)).toEqual(['two']);
    expect(later.version).toBeGreaterThan(above); // although no row that is left is newer
    await pool.saveRegistry(1, later);
    expect((await registryIn((await pool.all())[0]!)).rows).toHaveLength(1);
  });

  it('leave the seal out', async () => {
    const { place } = open();
    const registry = new EtcdRegistry(place);
    await registry.compareAndSet('one', 0, utf8('1'));
    await registry.seal({ generation: 2, where: 'there' });
    expect((await registry.copied()).rows.map(({ key }) => key)).toEqual(['one']);
  });
});
