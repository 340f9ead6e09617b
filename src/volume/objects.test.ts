/**
 * Aim: objects come back by id, key and address; what is replaced, removed or failed leaves
 * nothing; nobody below can read anything. Method: a whole core over memory stores, which fail when
 * told; the stores and the cells' databases are searched for what must not be there.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type ChunkId,
  chunkIdParts,
  errorCode,
  HoldfastError,
  KiB,
  METADATA_SCHEME_NUMBER,
  MiB,
  parsePolicy,
  parseScheme,
  toHex,
} from '../base/index.ts';
import type { MemoryChunkStore } from '../store/index.ts';
import { bytesOf, type Core, CoreBed, eventually, streamOf } from '../../test/suites/store-bed.ts';
import type { ListedFile, ListPage, ObjectStore, PutOptions, PutReport } from './index.ts';

interface Opened {
  readonly bed: CoreBed;
  readonly core: Core;
  readonly objects: ObjectStore;
  readonly put: (content: Uint8Array, options?: PutOptions) => Promise<PutReport>;
  readonly get: (
    reference: string,
    range?: { offset: number; lengthBytes: number },
  ) => Promise<Buffer>;
  readonly keys: (prefix?: string) => Promise<(string | undefined)[]>;
  /** That nothing of any object is left anywhere. */
  readonly expectNothing: () => Promise<void>;
}

const cleanup: Core[] = [];
afterEach(async () => {
  for (const core of cleanup.splice(0)) await core[Symbol.asyncDispose]();
});

async function open(
  options: { bed?: CoreBed; scheme?: string; isDeduplicating?: boolean } = {},
): Promise<Opened> {
  const { bed = new CoreBed(), scheme = 'rs-4+2', isDeduplicating = true } = options;
  const core = await bed.open();
  cleanup.push(core);
  await core.volumes.create({ name: 'v', policy: parsePolicy(scheme), isDeduplicating });
  const objects = core.volumes.objects('v');
  return {
    bed,
    core,
    objects,
    put: (content, putOptions) => objects.put(streamOf(content), putOptions),
    async get(reference, range) {
      const { bytes } = await objects.get(reference, range && { range });
      return Buffer.concat(await Array.fromAsync(bytes, (piece) => Buffer.from(piece)));
    },
    async keys(prefix) {
      return (await Array.fromAsync(objects.list(prefix))).map(({ key }) => key);
    },
    async expectNothing() {
      await eventually(async () => {
        expect(await stripeCount(bed)).toBe(0);
        expect(await Array.fromAsync(objects.list())).toEqual([]);
        const [status] = await core.volumes.list();
        expect(status).toMatchObject({ objectCount: 0, contentBytes: 0 });
        expect(await core.references.condemned()).toEqual([]);
        expect(await core.volumes.namespaceOf(status!.record.id)!.releases()).toEqual([]);
      });
    },
  };
}

/** Stripes of which any store holds anything. */
async function stripeCount({ bed }: CoreBed): Promise<number> {
  const stripes = new Set<string>();
  for (const store of bed.stores) {
    for await (const { id } of store.list()) {
      const { stripe, schemeNumber } = chunkIdParts(id);
      if (schemeNumber !== METADATA_SCHEME_NUMBER) stripes.add(toHex(stripe));
    }
  }
  return stripes.size;
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => 'no error', errorCode);
}

describe('put and get', () => {
  it('brings back every size, by id, key and address, and ranges of it', async () => {
    const { put, get, objects } = await open();
    const sizes = [0, 1, 4096, 65_535, 65_536, 10 * MiB, 10 * MiB + 1];
    for (const [index, size] of sizes.entries()) {
      const content = bytesOf(size, size);
      const { info, stripeCount } = await put(content, { key: `sizes/${index}` });
      expect(stripeCount).toBe(Math.ceil(size / (10 * MiB)));
      expect(info).toMatchObject({ sizeBytes: size, key: `sizes/${index}` });
      for (const reference of [info.id, `sizes/${index}`, info.address]) {
        expect(Buffer.compare(await get(reference), content), `${size}`).toBe(0);
        expect(await objects.query(reference)).toEqual(info);
      }
      for (const offset of [0, Math.floor(size / 2), Math.max(0, size - 5)]) {
        const lengthBytes = Math.min(100_000, size - offset);
        const wanted = content.subarray(offset, offset + lengthBytes);
        expect(Buffer.compare(await get(info.id, { offset, lengthBytes }), wanted)).toBe(0);
      }
      const beyond = get(info.id, { offset: size, lengthBytes: 1 });
      expect(await codeOf(beyond)).toBe('HF_BAD_ARGUMENT');
    }
  });

  it('names come back, equal content has one address, schemes are chosen', async () => {
    const { put, get } = await open();
    const names = { fileName: 'Übung 1.pdf', mediaType: 'application/pdf', key: 'a/b/ü' };
    const first = await put(bytesOf(70_000), names);
    expect(first.info).toMatchObject(names);
    const policy = parsePolicy('ida-3of5');
    const second = await put(bytesOf(70_000), { policy });
    expect(second.info).toMatchObject({ fileName: '', mediaType: '', key: undefined, policy });
    expect(second.info.address).toBe(first.info.address);
    expect(second.info.id).not.toBe(first.info.id);
    expect(await get(second.info.id)).toEqual(await get(first.info.address));
    const wide = { policy: parsePolicy('rs-5+2') };
    expect(await codeOf(put(bytesOf(1), wide))).toBe('HF_BAD_SCHEME');
  });

  it('an empty object is filled later, keeps its id and its key', async () => {
    const { objects, put, get, keys, expectNothing } = await open();
    const { id } = await objects.create();
    expect(await get(id)).toHaveLength(0);
    await put(bytesOf(5), { id });
    expect(await get(id)).toHaveLength(5);
    await put(bytesOf(6), { id, key: 'dir/named' });
    await put(bytesOf(7), { id });
    expect(await get('dir/named')).toHaveLength(7);
    expect(await keys()).toEqual(['dir/named']);
    expect(await codeOf(put(bytesOf(1), { id: id.replaceAll(/./g, '0') as typeof id }))).toBe(
      'HF_NOT_FOUND',
    );
    await objects.remove(id);
    await expectNothing();
  });

  it('many small objects at once, and the same key at once', async () => {
    const { put, get, keys, objects, expectNothing } = await open();
    const many = Array.from({ length: 200 }, (_, i) => bytesOf(i + 1, i));
    const reports = await Promise.all(
      many.map((bytes, i) => put(bytes, { key: `d${i % 7}/${i}` })),
    );
    for (const [i, { info }] of reports.entries())
      expect(await get(info.id)).toEqual(Buffer.from(many[i]!));
    expect(await keys()).toHaveLength(200);
    const racing = Array.from({ length: 20 }, (_, i) =>
      put(bytesOf(100, i + 1000), { key: 'race/x' }),
    );
    await Promise.all(racing);
    expect(await keys('race/')).toEqual(['race/x']);
    await Promise.all((await keys()).map((key) => objects.remove(key!)));
    await expectNothing();
  });
});

describe('keys', () => {
  it('are listed in their byte order, files beside directories of the same name', async () => {
    const { put, keys, get } = await open();
    const wanted = ['a', 'a-b', 'a/b', 'a/b/c', 'a/ä', 'a0', 'b/x', 'z'];
    for (const key of wanted.toReversed()) await put(Buffer.from(key), { key });
    await put(bytesOf(3));
    expect(await keys()).toEqual([...wanted, undefined]);
    expect(await keys('a/')).toEqual(['a/b', 'a/b/c', 'a/ä']);
    expect(await keys('a')).toEqual(['a', 'a-b', 'a/b', 'a/b/c', 'a/ä', 'a0']);
    expect(await keys('a/b/')).toEqual(['a/b/c']);
    expect(await keys('nowhere/')).toEqual([]);
    for (const key of wanted) expect(String(await get(key))).toBe(key);
  });

  it('directories vanish with their last object, also while others put', async () => {
    const { put, keys, objects, core } = await open();
    for (let round = 0; round < 10; round++) {
      await put(bytesOf(1), { key: 'a/b/c/first' });
      const [second] = await Promise.all([
        put(bytesOf(1), { key: 'a/b/c/second' }),
        objects.remove('a/b/c/first'),
      ]);
      expect(await keys()).toEqual(['a/b/c/second']);
      await objects.remove(second.info.id);
    }
    const [status] = await core.volumes.list();
    const namespace = core.volumes.namespaceOf(status!.record.id)!;
    expect(await namespace.list({ directory: 1n })).toEqual([]);
  });

  it('that cannot be are refused in one line, before anything is stored', async () => {
    const { put, expectNothing, objects } = await open();
    const bad = ['', '/a', 'a/', 'a//b', 'a/../b', '.', 'nul\0', 'x'.repeat(256), 'ä/'.repeat(600)];
    for (const key of bad) {
      const error = await put(bytesOf(10), { key }).catch((thrown: Error) => thrown);
      expect(errorCode(error)).toBe('HF_BAD_ARGUMENT');
      expect((error as Error).message).toMatch(/^".*" cannot be a key: .{5,60}$/s);
    }
    await put(bytesOf(10), { key: 'y'.repeat(255) });
    await objects.remove('y'.repeat(255));
    expect(await codeOf(objects.query('not there'))).toBe('HF_NOT_FOUND');
    await expectNothing();
  });
});

describe('space', () => {
  it('is free again when objects are replaced or removed', async () => {
    const { bed, put, objects, expectNothing } = await open();
    await put(bytesOf(300_000, 1), { key: 'k' });
    await put(bytesOf(300_000, 2), { key: 'k' });
    await eventually(async () => expect(await stripeCount(bed)).toBe(1));
    await put(bytesOf(300_000, 2), { key: 'other' });
    await objects.remove('k');
    expect(await stripeCount(bed)).toBe(1);
    await objects.remove('other');
    expect(await stripeCount(bed)).toBe(0);
    await expectNothing();
  });

  it('is shared by equal content of a volume that deduplicates, and of no other', async () => {
    for (const isDeduplicating of [true, false]) {
      const { put, core, get } = await open({ isDeduplicating });
      const content = bytesOf(10 * MiB + 1000);
      const first = await put(content, { key: 'first' });
      expect(first).toMatchObject({ stripeCount: 2, knownStripes: 0, degradedTo: undefined });
      await eventually(async () => expect((await core.repair.health()).stripes.ok).toBe(2));
      const second = await put(content, { key: 'second' });
      expect(second.knownStripes).toBe(isDeduplicating ? 2 : 0);
      await core.volumes.objects('v').remove('first');
      expect(Buffer.compare(await get('second'), content)).toBe(0);
    }
  });

  it('is not promised for known content that lost shards: they are put again', async () => {
    const { bed, core, put, objects } = await open();
    const content = bytesOf(100_000);
    bed.bed.away.add(bed.bed.stores[0]!);
    expect(await put(content)).toMatchObject({ degradedTo: 1 });
    await eventually(async () => expect((await core.repair.health()).stripes.degraded).toBe(1));
    expect(await put(content)).toMatchObject({ degradedTo: 1, knownStripes: 0 });
    bed.bed.away.clear();
    const { info, ...report } = await put(content);
    expect(report).toEqual({ degradedTo: undefined, knownStripes: 0, stripeCount: 1 });
    for await (const { spareCount } of objects.where(info.id)) expect(spareCount).toBe(2);
    expect(await put(content)).toMatchObject({ knownStripes: 1 });
  });

  it('is not promised for known content with two shards on one store', async () => {
    const { bed, core, put } = await open();
    const content = bytesOf(100_000);
    await put(content);
    await eventually(async () => expect((await core.repair.health()).stripes.ok).toBe(1));
    const held: { store: MemoryChunkStore; id: ChunkId }[] = [];
    for (const store of bed.bed.stores) {
      for await (const { id } of store.list()) {
        if (chunkIdParts(id).schemeNumber !== METADATA_SCHEME_NUMBER) held.push({ store, id });
      }
    }
    const [from, to] = held;
    await to!.store.put(from!.id, (await from!.store.get(from!.id))!, { generation: 1 });
    from!.store.lose(from!.id);
    expect(await put(content)).toMatchObject({ degradedTo: undefined, knownStripes: 0 });
    expect((await core.repair.health()).stripes).toEqual({ ok: 1, degraded: 0, lost: 0 });
    expect(await put(content)).toMatchObject({ knownStripes: 1 });
  });

  it('of one stripe that is in an object twice is kept until the object goes', async () => {
    const { put, get, objects, expectNothing } = await open();
    const content = new Uint8Array(20 * MiB).fill(3);
    const { info } = await put(content);
    expect(Buffer.compare(await get(info.id), content)).toBe(0);
    await objects.remove(info.id);
    await expectNothing();
  });
});

describe('a failed put leaves nothing', () => {
  const content = bytesOf(25 * MiB);

  it('when its stream fails', async () => {
    const { objects, expectNothing } = await open();
    async function* failing() {
      yield content.subarray(0, 15 * MiB);
      throw new Error('the sender went away');
    }
    await expect(objects.put(failing(), { key: 'x' })).rejects.toThrow('the sender went away');
    await expectNothing();
  });

  it('when stores are full', async () => {
    const bed = new CoreBed(6, 5 * MiB);
    const { put, expectNothing, get, objects } = await open({ bed });
    expect(await codeOf(put(content, { key: 'x' }))).toBe('HF_NO_SPACE');
    await expectNothing();
    await put(content.subarray(0, 5 * MiB), { key: 'smaller' });
    expect(await get('smaller')).toHaveLength(5 * MiB);
    await objects.remove('smaller');
    await expectNothing();
  });

  it('full stores can be emptied again, also by the next life of the node', async () => {
    const bed = new CoreBed(6, 1_000_000);
    const { put, core } = await open({ bed });
    const stored: string[] = [];
    for (let i = 0, refusals = 0; refusals < 10; i++) {
      const code = await codeOf(put(bytesOf(3000, i), { key: `${i}` }));
      if (code === 'no error') stored.push(`${i}`);
      else expect(code).toBe('HF_NO_SPACE');
      if (code !== 'no error') refusals += 1;
    }
    expect(stored.length).toBeGreaterThan(100);
    await core[Symbol.asyncDispose]();
    const again = await bed.open();
    cleanup.splice(0, 1, again);
    const objects = again.volumes.objects('v');
    for (const key of stored) await objects.remove(key);
    expect(await stripeCount(bed)).toBe(0);
    await objects.put(streamOf(bytesOf(3000)), { key: 'fits again' });
  });

  it('when too few stores are alive, and degraded puts say so', async () => {
    const { bed, put, get, expectNothing, objects } = await open();
    const { stores, away } = bed.bed;
    away.add(stores[0]!);
    expect((await put(bytesOf(100_000), { key: 'x' })).degradedTo).toBe(1);
    away.add(stores[1]!);
    expect(await codeOf(put(content))).toBe('HF_TOO_FEW_STORES');
    expect(await get('x')).toHaveLength(100_000);
    away.clear();
    await objects.remove('x');
    await expectNothing();
  });

  it('when it is given up', async () => {
    const { objects, expectNothing } = await open();
    const end = new AbortController();
    async function* slow() {
      for (let i = 0; i < 3; i++) {
        yield content.subarray(0, 8 * MiB);
        await nextTurn();
      }
      end.abort();
      yield content.subarray(0, 12 * MiB);
    }
    const { signal } = end;
    expect(await codeOf(objects.put(slow(), { signal }))).toBe('HF_INTERRUPTED');
    await expectNothing();
    const { info } = await objects.put(streamOf(content));
    expect(await codeOf(objects.get(info.id, { signal }))).toBe('HF_INTERRUPTED');
  });
});

describe('streams', () => {
  it('are read and written in bounded memory, and readers may stop early', async () => {
    const { objects, put, get, core } = await open();
    const content = bytesOf(32 * MiB);
    const { info } = await put(content);
    for (let i = 0; i < 3; i++) {
      const { bytes } = await objects.get(info.id);
      for await (const piece of bytes) {
        expect(Buffer.compare(piece, content.subarray(0, piece.length))).toBe(0);
        break;
      }
    }
    const leases = await Promise.all(
      Array.from({ length: 3 }, () => core.stripes.lease(parseScheme('rs-4+2'))),
    );
    for (const lease of leases) lease[Symbol.dispose]();
    expect(Buffer.compare(await get(info.id), content)).toBe(0);
  });

  it('from one object to others end, however many at once', async () => {
    const { objects, put } = await open();
    const content = bytesOf(21 * MiB);
    await put(content, { key: 'source' });
    const copies = Array.from({ length: 6 }, async (_, i) => {
      const { bytes } = await objects.get('source');
      return await objects.put(bytes, { key: `copy/${i}` });
    });
    const { address } = await objects.query('source');
    for (const { info } of await Promise.all(copies)) expect(info.address).toBe(address);
  });
});

describe('secrecy', () => {
  it('neither content nor keys nor file names are readable below', async () => {
    const { bed, put, core } = await open();
    const secret = 'marzipan-pinguin';
    const content = Buffer.from(secret.repeat(20_000));
    await put(content, { key: `${secret}/${secret}`, fileName: secret, mediaType: secret });
    await put(content.subarray(0, 5000), { key: secret });
    const { info } = await put(bytesOf(10), { key: `${secret}/twin` });
    const hidden = [secret, secret.slice(0, 8), info.address, 'marzipan'];
    const isReadable = (bytes: Uint8Array): boolean => {
      const hex = toHex(bytes);
      return hidden.some(
        (text) => hex.includes(Buffer.from(text).toString('hex')) || hex.includes(text),
      );
    };
    expect(isReadable(content)).toBe(true);
    await core[Symbol.asyncDispose]();
    cleanup.length = 0;
    let looked = 0;
    for (const store of bed.bed.stores) {
      for await (const { id } of store.list()) {
        looked += 1;
        expect(isReadable((await store.get(id))!)).toBe(false);
      }
    }
    for (const db of bed.databases.map((each) => each.crash())) {
      const to = new Uint8Array(64).fill(0xff);
      for (const { key, value } of db.range({ from: new Uint8Array(), to })) {
        looked += 1;
        expect(isReadable(key) || isReadable(value)).toBe(false);
      }
    }
    expect(looked).toBeGreaterThan(40);
  });
});

describe('where', () => {
  it('says where each stripe lies', async () => {
    const { bed, put, objects } = await open();
    await put(bytesOf(10 * MiB + 10 * KiB), { key: 'k' });
    bed.bed.away.add(bed.bed.stores[3]!);
    const places = await Array.fromAsync(objects.where('k'));
    expect(places.map(({ offset, lengthBytes }) => [offset, lengthBytes])).toEqual([
      [0, 10 * MiB],
      [10 * MiB, 10 * KiB],
    ]);
    expect(places.map(({ scheme, shards }) => [scheme.n, shards.length])).toEqual([
      [6, 6],
      [3, 3],
    ]);
    expect(places[0]!.spareCount).toBe(1);
  });
});

it('an object that is listed is what query says', async () => {
  const { put, objects } = await open();
  const infos: ListedFile[] = [];
  for (const key of ['x/1', 'x/2', undefined]) {
    const { info } = await put(bytesOf(9), { key, fileName: 'f' });
    infos.push({ ...info, mode: 0o644, modifiedAtMs: info.createdAtMs });
  }
  expect(await Array.fromAsync(objects.list())).toEqual(infos);
});

it('a list comes in pages, by keys and then by ids', async () => {
  const { put, objects } = await open();
  for (const key of ['a', 'a-b', 'a/b', 'a/c/d', 'a/ä', 'b/x']) await put(bytesOf(9), { key });
  for (let count = 0; count < 3; count++) await put(bytesOf(9));
  const all = await Array.fromAsync(objects.list());
  expect(all).toHaveLength(9);
  for (const limit of [1, 2, 4, 9]) {
    const seen: ListedFile[] = [];
    for (let page: ListPage = {}; ;) {
      const found = await Array.fromAsync(objects.list('', { ...page, limit }));
      seen.push(...found);
      const last = found.at(-1);
      if (!last) break;
      page = last.key === undefined ? { afterId: last.id } : { after: last.key };
    }
    expect(seen, `${limit} at once`).toEqual(all);
  }
  const after = async (key: string, prefix = '') =>
    (await Array.fromAsync(objects.list(prefix, { after: key }))).map(({ key: found }) => found);
  expect(await after('a/c', 'a')).toEqual(['a/c/d', 'a/ä']);
  expect((await after('a/c/d0')).slice(0, 2)).toEqual(['a/ä', 'b/x']);
  expect(await after('c', 'b')).toEqual([]);
});

it('is removed though its references have to wait for the collector', async () => {
  const bed = new CoreBed();
  let isAway = false;
  const core = await bed.open({
    wrapReferences: (references) => ({
      ...references,
      release: async (...asked) => {
        if (isAway) throw new HoldfastError('HF_UNAVAILABLE', 'the home is away');
        return await references.release(...asked);
      },
    }),
  });
  cleanup.push(core);
  await core.volumes.create({ name: 'v', isDeduplicating: true });
  const objects = core.volumes.objects('v');
  const { info } = await objects.put(streamOf(bytesOf(100_000)));
  isAway = true;
  expect((await objects.remove(info.id)).id).toBe(info.id);
  expect(await objects.query(info.id).catch(errorCode)).toBe('HF_NOT_FOUND');
  isAway = false;
  expect(await stripeCount(bed)).toBeGreaterThan(0);
  await core.repair.collect({ graceMs: 0 });
  expect(await stripeCount(bed)).toBe(0);
});
