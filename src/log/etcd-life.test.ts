/**
 * Aim: when a ring has been restored from what was left of it, etcd gives revisions a second time
 * that it has given before; nobody mistakes what it knew of the time that is lost for what is so
 * now. Method: a simulated etcd that is taken back, processes that went on, the same work again, so
 * that the same revisions come out.
 */
import { describe, expect, it } from 'vitest';
import { MemoryMirror } from '../../test/suites/memory-mirror.ts';
import { virtualEnv } from '../../test/suites/virtual-env.ts';
import { errorCode, fromUtf8, utf8 } from '../base/index.ts';
import { beginLife, EtcdDraft, EtcdLog, EtcdRegistry, MemoryEtcd } from './index.ts';

const CELL = 'cell-1';
const metadataKey = new Uint8Array(32).fill(1);

function bed() {
  const env = virtualEnv(1);
  const etcd = new MemoryEtcd({ env });
  const parts = new MemoryMirror();
  const place = (generation: number) => {
    const prefix = `test/${generation}/`;
    return { kv: etcd.connect(), prefix, metadataKey, generation, env, patienceMs: 500, parts };
  };
  return {
    etcd,
    place,
    process: (generation = 1) => ({
      log: new EtcdLog(place(generation)),
      registry: new EtcdRegistry(place(generation)),
    }),
    /** As the restored ring does before it lets anybody in. */
    restore: async (past: ReturnType<MemoryEtcd['save']>, life: number) => {
      etcd.restore(past);
      await beginLife(place(1), life);
    },
  };
}

async function* part(text: string): AsyncGenerator<Uint8Array> {
  yield utf8(text);
}

describe('a ring that was restored', () => {
  it('gives no version of the registry a second time', async () => {
    const { etcd, process, restore } = bed();
    const [before, after] = [process().registry, process().registry];
    const first = (await before.compareAndSet('k', 0, utf8('first')))!;
    const past = etcd.save();
    const lost = (await before.compareAndSet('k', first, utf8('lost')))!;
    await before.compareAndSet('other', 0, utf8('lost'));
    await restore(past, 2);
    const kept = (await after.get('k'))!;
    expect(kept).toMatchObject({ value: utf8('first') });
    expect(kept.version).toBeGreaterThan(lost);
    const again = (await after.compareAndSet('k', kept.version, utf8('again')))!;
    expect(again).toBeGreaterThan(kept.version);
    // Who knows what is lost, and nothing of the restoration, changes nothing by it.
    for (const version of [first, lost]) {
      expect(await before.compareAndSet('k', version, utf8('late'))).toBeUndefined();
    }
    expect((await before.get('k'))!.version).toBe(again);
    expect((await before.list('')).map(({ version }) => version)).toEqual([again]);
    expect(await before.compareAndSet('k', again, utf8('goes on'))).toBeGreaterThan(again);
  });

  it('knows versions of the life before for that, whoever reads first', async () => {
    const { etcd, process, restore } = bed();
    const { registry } = process();
    const first = (await registry.compareAndSet('k', 0, utf8('first')))!;
    await restore(etcd.save(), 2);
    expect(await registry.compareAndSet('k', first, utf8('late'))).toBeUndefined();
    const { version } = (await registry.get('k'))!;
    await restore(etcd.save(), 3);
    const other = process().registry;
    const next = (await other.get('k'))!;
    expect(next.version).toBeGreaterThan(version);
    // It has not heard of the third life when it is asked with a version of it.
    expect(await registry.compareAndSet('k', next.version, utf8('x'))).toBeGreaterThan(version);
  });

  it('fences a steward of before, and gives no epoch a second time', async () => {
    const { etcd, process, restore } = bed();
    const [before, after] = [process().log, process().log];
    const past = etcd.save();
    const { epoch } = await before.seize(CELL);
    expect(await before.append(CELL, { epoch, lsn: 1 }, utf8('lost'))).toBe('ok');
    await restore(past, 2);
    expect(await before.confirm(CELL, epoch)).toBe(false);
    const next = await after.seize(CELL);
    expect(await after.append(CELL, { epoch: next.epoch, lsn: 1 }, utf8('new'))).toBe('ok');
    expect(await before.confirm(CELL, epoch)).toBe(false);
    expect(await before.append(CELL, { epoch, lsn: 2 }, utf8('late'))).toBe('fenced');
    expect(await after.append(CELL, { epoch: next.epoch, lsn: 2 }, utf8('second'))).toBe('ok');

    const latest = etcd.save();
    const lost = await before.seize(CELL);
    await restore(latest, 3);
    const again = await before.seize(CELL);
    expect(again.epoch).toBeGreaterThan(lost.epoch);
    const texts = await Array.fromAsync(after.read(CELL, 1), ({ bytes }) => fromUtf8(bytes));
    expect(texts).toEqual(['new', 'second']);
  });

  it('lets a steward of before neither list a snapshot nor trim by what it knew', async () => {
    const { etcd, process, restore } = bed();
    const [before, after] = [process().log, process().log];
    const past = etcd.save();
    const { epoch } = await before.seize(CELL);
    for (const lsn of [1, 2]) await before.append(CELL, { epoch, lsn }, utf8('lost'));
    await restore(past, 2);
    const next = await after.seize(CELL);
    for (const lsn of [1, 2]) await after.append(CELL, { epoch: next.epoch, lsn }, utf8('new'));
    const saving = before.saveSnapshot(CELL, { epoch, lsn: 2 }, part('lost'));
    expect(await saving.catch(errorCode)).toBe('HF_FENCED');
    await before.trim(CELL, 2);
    expect(await after.head(CELL)).toMatchObject({ lsn: 2, trimmed: 0 });
    expect(await after.loadSnapshot(CELL)).toBeUndefined();
  });

  it('is begun once for each life, and never goes back to an earlier one', async () => {
    const { etcd, process, restore } = bed();
    const { registry } = process();
    await registry.compareAndSet('k', 0, utf8('v'));
    await restore(etcd.save(), 3);
    const { version } = (await registry.get('k'))!;
    for (const life of [3, 2]) await beginLife({ kv: etcd.connect(), env: virtualEnv(2) }, life);
    expect((await process().registry.get('k'))!.version).toBe(version);
  });

  it('is moved with versions that go on, and a maker of before makes nothing', async () => {
    const { etcd, process, place, restore } = bed();
    const { registry } = process();
    await registry.compareAndSet('k', 0, utf8('v'));
    const stale = new EtcdDraft(place(2));
    const past = etcd.save();
    await stale.start();
    await restore(past, 2);
    const draft = new EtcdDraft(place(2));
    await draft.start();
    const rows = await registry.list('');
    const { version } = rows[0]!;
    expect(await stale.open({ version, rows: [] }).catch(errorCode)).toBe('HF_FENCED');
    await draft.open({ version, rows });
    const next = (await process(2).registry.get('k'))!;
    expect(next.version).toBeGreaterThan(version);
  });
});
