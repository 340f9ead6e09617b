/**
 * Aim: a core comes back from its stores alone, goes on with some of them away, and refuses to go
 * on where the end of the log may be away too. Method: cores opened again and again over the same
 * memory stores with fresh databases.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { errorCode, parsePolicy, parseScheme } from '../base/index.ts';
import { MemoryDb } from '../db/index.ts';
import { bytesOf, CoreBed, eventually, rs42, streamOf } from '../../test/suites/store-bed.ts';
import type { HomeCore as Core } from './index.ts';
import { machineReport } from './warnings.ts';

const cleanup: Core[] = [];
afterEach(async () => {
  for (const core of cleanup.splice(0)) await core[Symbol.asyncDispose]();
});

async function open(bed: CoreBed, options: Parameters<CoreBed['open']>[0] = {}): Promise<Core> {
  const core = await bed.open(options);
  cleanup.push(core);
  return core;
}

async function close(): Promise<void> {
  for (const core of cleanup.splice(0)) await core[Symbol.asyncDispose]();
}

async function put(core: Core, key: string, size = 1000): Promise<void> {
  await core.volumes.objects('v').put(streamOf(bytesOf(size, size)), { key });
}

async function contents(core: Core): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  const objects = core.volumes.objects('v');
  for await (const { key = '', sizeBytes } of objects.list()) {
    const { bytes } = await objects.get(key);
    const content = Buffer.concat(await Array.fromAsync(bytes));
    expect(Buffer.compare(content, bytesOf(sizeBytes, sizeBytes))).toBe(0);
    found[key] = sizeBytes;
  }
  return found;
}

async function openCodeOf(bed: CoreBed): Promise<string | undefined> {
  return await open(bed).then(() => 'opened', errorCode);
}

describe('openCore', () => {
  it('brings everything back from the stores and the keys', async () => {
    const bed = new CoreBed(6);
    let core = await open(bed);
    await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
    const expected: Record<string, number> = {};
    for (let life = 0; life < 4; life++) {
      for (let i = 0; i < 5; i++) {
        await put(core, `${life}/${i}`, 60_000 + 3000 * i);
        expected[`${life}/${i}`] = 60_000 + 3000 * i;
      }
      await core.volumes.objects('v').remove(`${life}/3`);
      delete expected[`${life}/3`];
      await close();
      core = await open(bed);
      expect(await contents(core)).toEqual(expected);
      const [status] = await core.volumes.list();
      expect(status).toMatchObject({ objectCount: Object.keys(expected).length });
      await eventually(async () => expect((await core.repair.health()).unnamedChunks).toBe(0));
    }
    // That it is one machine is not said.
    expect(machineReport(core)).toMatchObject({
      survives: [
        { level: 'disk', count: 2 },
        { level: 'device', count: 2 },
      ],
      relaxed: [],
    });
  });

  it('goes on while two stores are away, and takes them back as they were', async () => {
    const bed = new CoreBed(6);
    let core = await open(bed);
    await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
    await put(core, 'before');
    const before = core.cluster.topology().devices;
    await close();
    bed.bed.away.add(bed.bed.stores[1]!).add(bed.bed.stores[4]!);
    core = await open(bed, {
      // As a store set knows stores that it could not open.
      devices: bed.bed.stores.map((store) => {
        const unknown = bed.bed.away.has(store) && { weightBytes: 1, labels: ['?', '?'] };
        return { ...bed.bed.deviceOf(store), ...unknown };
      }),
    });
    expect(core.cluster.topology().devices).toEqual(before);
    expect(await contents(core)).toEqual({ before: 1000 });
    expect(await put(core, 'meanwhile').catch(errorCode)).toBeUndefined();
    await close();
    bed.bed.away.clear();
    core = await open(bed);
    expect(await contents(core)).toEqual({ before: 1000, meanwhile: 1000 });
    expect(core.cluster.topology().devices).toEqual(before);
  });

  it('refuses while more are away, writes nothing, and opens when they are back', async () => {
    const bed = new CoreBed(6);
    const core = await open(bed);
    await core.volumes.create({
      name: 'v',
      policy: [parseScheme('copy-3')],
      isDeduplicating: true,
    });
    for (let i = 0; i < 10; i++) await put(core, `${i}`, 100 + i);
    await close();
    const { away, stores } = bed.bed;
    for (const hidden of [
      [0, 1, 2],
      [3, 4, 5],
      [1, 2, 3, 4],
      [0, 1, 2, 3, 4],
    ]) {
      for (const index of hidden) away.add(stores[index]!);
      const held = await bed.bed.chunkCount();
      expect(await openCodeOf(bed)).toBe('HF_TOO_FEW_STORES');
      expect(await bed.bed.chunkCount()).toBe(held);
      away.clear();
    }
    for (const store of stores) away.add(store);
    expect(await openCodeOf(bed)).toBe('HF_TOO_FEW_STORES');
    away.clear();
    expect(Object.keys(await contents(await open(bed)))).toHaveLength(10);
  });

  it('does not wait for stores that were written off, or that the node lists no more', async () => {
    const bed = new CoreBed(8);
    let core = await open(bed);
    await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
    await put(core, 'k');
    for (const store of bed.bed.stores.slice(0, 2)) {
      bed.bed.away.add(store);
      await core.cluster.setDevices([bed.bed.deviceOf(store, 'out')]);
    }
    await core.repair.repair();
    await close();
    for (const store of bed.bed.stores.slice(2, 4)) bed.bed.away.add(store);
    core = await open(bed);
    await core.repair.repair();
    await close();
    const devices = bed.bed.devices().slice(4);
    core = await open(bed, { devices });
    const out = core.cluster.topology().devices.filter(({ state }) => state === 'out');
    expect(out).toHaveLength(4);
    expect(await contents(core)).toEqual({ k: 1000 });
  });

  it('does not fork when different stores are here at different starts', async () => {
    const bed = new CoreBed(3);
    const { away, stores } = bed.bed;
    let core = await open(bed);
    await core.volumes.create({
      name: 'v',
      policy: [parseScheme('copy-3')],
      isDeduplicating: true,
    });
    await put(core, 'a', 1000);
    await close();
    away.add(stores[2]!);
    core = await open(bed);
    await put(core, 'b', 1001);
    await core.volumes.objects('v').remove('a');
    await close();
    away.clear();
    away.add(stores[0]!).add(stores[1]!);
    const held = await bed.bed.chunkCount();
    const refused = bed.open({ nameOf: (id) => `store ${id.slice(0, 2)}` });
    await expect(refused).rejects.toMatchObject({
      code: 'HF_TOO_FEW_STORES',
      message: expect.stringContaining('store 01, store 02'),
    });
    expect(await bed.bed.chunkCount()).toBe(held);
    away.clear();
    expect(await contents(await open(bed))).toEqual({ b: 1001 });
  });

  it('writes stores off only while most are here, and changes nothing on fewer', async () => {
    const bed = new CoreBed(6);
    const { away, stores } = bed.bed;
    let core = await open(bed);
    await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
    await put(core, 'a');
    for (const store of stores.slice(0, 4)) away.add(store);
    const out = stores.slice(0, 4).map((store) => bed.bed.deviceOf(store, 'out'));
    expect(await core.cluster.setDevices(out).catch(errorCode)).toBe('HF_TOO_FEW_STORES');
    expect(core.cluster.topology().devices.every(({ state }) => state === 'in')).toBe(true);
    const removing = () => core.volumes.objects('v').remove('a').catch(errorCode);
    expect(await removing()).toBe('HF_UNKNOWN_OUTCOME');
    expect(await removing()).toBe('HF_TOO_FEW_STORES');
    for (const store of stores.slice(0, 2)) away.delete(store);
    await core.cluster.setDevices(out.slice(2));
    await close();
    core = await open(bed);
    const states = core.cluster.topology().devices.map(({ state }) => state);
    expect(states.filter((state) => state === 'in')).toHaveLength(4);
  });

  it('works on two stores, and writes nothing with one of them', async () => {
    const bed = new CoreBed(2);
    const { away, stores } = bed.bed;
    const core = await open(bed);
    await core.volumes.create({
      name: 'v',
      policy: [parseScheme('copy-2')],
      isDeduplicating: true,
    });
    await put(core, 'a');
    away.add(stores[0]!);
    expect(await core.volumes.objects('v').remove('a').catch(errorCode)).toBe('HF_UNKNOWN_OUTCOME');
    await close();
    expect(await openCodeOf(bed)).toBe('HF_TOO_FEW_STORES');
    away.clear();
    expect(await openCodeOf(bed)).toBe('opened');
  });

  it('bears the loss of one disk of three, however many stores it has', async () => {
    const bed = new CoreBed(9);
    const { away, stores } = bed.bed;
    const devices = stores.map((store, index) => ({
      ...bed.bed.deviceOf(store),
      labels: ['server', `disk-${index % 3}`],
    }));
    const core = await open(bed, { devices });
    await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
    for (let i = 0; i < 5; i++) await put(core, `${i}`, 100 + i);
    await close();
    for (const lost of [0, 1, 2]) {
      away.clear();
      for (const [index, store] of stores.entries()) if (index % 3 === lost) away.add(store);
      expect(Object.keys(await contents(await open(bed, { devices })))).toHaveLength(5);
      await close();
    }
  });

  it('recovers from what was found within the tolerance, from less only when told', async () => {
    const bed = new CoreBed(6);
    const { away, stores } = bed.bed;
    let core = await open(bed);
    await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
    for (let i = 0; i < 5; i++) await put(core, `${i}`, 100 + i);
    await core.metadata.mend();
    await close();
    const recover = (count: number, acceptsLoss: boolean) => {
      away.clear();
      for (const store of stores.slice(count)) away.add(store);
      const devices = stores.slice(0, count).map((store) => bed.bed.deviceOf(store));
      return open(bed, { devices, recovery: { acceptsLoss } });
    };
    const refusal = await recover(3, false).catch(errorCode);
    expect(['HF_TOO_FEW_STORES', 'HF_CORRUPT']).toContain(refusal);
    expect(await recover(0, false).catch(errorCode)).toBe('HF_TOO_FEW_STORES');
    core = await recover(4, false);
    expect(Object.keys(await contents(core))).toHaveLength(5);
    await close();
    // All that there is, is now on four: two of them are half.
    expect(await recover(2, false).catch(errorCode)).not.toBeUndefined();
    const forced = await recover(3, true);
    expect(forced.cluster.topology().devices.filter(({ state }) => state === 'in')).toHaveLength(3);
  });

  it('seizes nothing when a database is ahead of the log', async () => {
    const bed = new CoreBed(3);
    const databases = new Map<string, MemoryDb>();
    const openDb = async (cell: string) => {
      const db = databases.get(cell)?.crash() ?? new MemoryDb();
      databases.set(cell, db);
      return db;
    };
    const core = await open(bed, { openDb });
    await core.volumes.create({
      name: 'v',
      policy: [parseScheme('copy-3')],
      isDeduplicating: true,
    });
    await put(core, 'a');
    await close();
    const emptied = new CoreBed(3); // the same stores, and nothing on them
    expect(await emptied.open({ openDb }).catch(errorCode)).toBe('HF_CORRUPT');
    expect(await emptied.bed.chunkCount()).toBe(0);
  });

  it('needs the right keys', async () => {
    const bed = new CoreBed(6);
    const core = await open(bed);
    await core.volumes.create({ name: 'v', policy: [rs42], isDeduplicating: true });
    await close();
    const metadataKey = new Uint8Array(32).fill(1);
    expect(await open(bed, { metadataKey }).catch(errorCode)).toBe('HF_WRONG_KEY');
    const without = await open(bed, { secrets: { get: () => undefined, add: async () => {} } });
    expect(await without.volumes.list()).toEqual([]);
    expect(() => without.volumes.objects('v')).toThrow(/does not hold the keys of volume "v"/);
  });
});

describe('VolumeSet', () => {
  it('makes, lists and changes volumes, and refuses what cannot be', async () => {
    const bed = new CoreBed(6);
    const { volumes } = await open(bed);
    const about = { isDeduplicating: true };
    const made = await volumes.create({ name: 'photos', ...about });
    expect(made).toMatchObject({ record: { name: 'photos', policy: [rs42] }, objectCount: 0 });
    for (const name of ['', 'Photos', 'a b', '-x', 'x'.repeat(64), '../x']) {
      const creating = volumes.create({ name, ...about });
      await expect(creating).rejects.toMatchObject({ code: 'HF_BAD_ARGUMENT' });
    }
    const again = volumes.create({ name: 'photos', ...about });
    await expect(again).rejects.toMatchObject({ code: 'HF_EXISTS' });
    const wide = { name: 'wide', isDeduplicating: true, policy: parsePolicy('rs-10+4') };
    await expect(volumes.create(wide)).rejects.toMatchObject({ code: 'HF_BAD_SCHEME' });
    const policy = parsePolicy('rs-3+2');
    expect((await volumes.setPolicy('photos', { policy })).record.policy).toEqual(policy);
    await expect(volumes.setPolicy('none', { policy })).rejects.toMatchObject({
      code: 'HF_NOT_FOUND',
    });
    const racing = await Promise.allSettled(
      ['twin', 'twin'].map((name) => volumes.create({ name, ...about })),
    );
    expect(racing.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    await close();
    const { volumes: reopened } = await open(bed);
    const names = (await reopened.list()).map(({ record }) => record.name);
    expect(names.toSorted()).toEqual(['photos', 'twin']);
    const { info } = await reopened.objects('photos').put(streamOf(bytesOf(70_000)));
    expect(info.policy).toEqual(policy);
  });
});
