/**
 * Aim: hybrids are read while any encoding is left and mended from one another; objects are stored
 * otherwise without ever being away; WORM volumes keep what they hold; secrets keep volumes apart.
 * Method: a whole core over memory stores; chunks are lost one encoding at a time; re-encoding is
 * broken at each of its steps, and the core opened again.
 */
import { afterEach, describe, expect, it } from 'vitest';
import {
  type ChunkId,
  chunkIdParts,
  errorCode,
  formatPolicy,
  HoldfastError,
  METADATA_SCHEME_NUMBER,
  MiB,
  parsePolicy,
  parseScheme,
  schemeNumber,
  toHex,
} from '../base/index.ts';
import { volumeKeys } from '../crypto/index.ts';
import type { Namespace, References, Tree } from '../meta/index.ts';
import type { MemoryChunkStore } from '../store/index.ts';
import { bytesOf, type Core, CoreBed, eventually, streamOf } from '../../test/suites/store-bed.ts';
import { openObjects } from './index.ts';
import type { ObjectStore, PutOptions } from './index.ts';

const DAY_MS = 86_400_000;

const cleanup: Core[] = [];
afterEach(async () => {
  for (const core of cleanup.splice(0)) await core[Symbol.asyncDispose]();
});

interface Opened {
  readonly bed: CoreBed;
  readonly core: Core;
  readonly objects: ObjectStore;
}

async function open(
  scheme: string,
  { bed = new CoreBed(8), ...about }: { bed?: CoreBed; isDeduplicating?: boolean } = {},
): Promise<Opened> {
  const core = await bed.open();
  cleanup.push(core);
  const policy = parsePolicy(scheme);
  await core.volumes.create({ name: 'v', policy, isDeduplicating: true, ...about });
  return { bed, core, objects: core.volumes.objects('v') };
}

async function put(objects: ObjectStore, content: Uint8Array, options?: PutOptions) {
  return await objects.put(streamOf(content), options);
}

async function read(objects: ObjectStore, reference: string, offset?: number): Promise<Buffer> {
  const { sizeBytes } = await objects.query(reference);
  const range = offset === undefined ? {} : { range: { offset, lengthBytes: sizeBytes - offset } };
  const { bytes } = await objects.get(reference, range);
  return Buffer.concat(await Array.fromAsync(bytes, (piece) => Buffer.from(piece)));
}

async function expectContent(objects: ObjectStore, reference: string, content: Uint8Array) {
  expect(Buffer.compare(await read(objects, reference), content)).toBe(0);
  const offset = Math.floor(content.length / 2);
  expect(Buffer.compare(await read(objects, reference, offset), content.subarray(offset))).toBe(0);
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(() => 'no error', errorCode);
}

async function chunksOf({ bed }: CoreBed): Promise<{ store: MemoryChunkStore; id: ChunkId }[]> {
  const chunks: { store: MemoryChunkStore; id: ChunkId }[] = [];
  for (const store of bed.stores) {
    for await (const { id } of store.list()) {
      if (chunkIdParts(id).schemeNumber !== METADATA_SCHEME_NUMBER) chunks.push({ store, id });
    }
  }
  return chunks;
}

/** Stripe and scheme of all that is stored. */
async function stripesOf(bed: CoreBed): Promise<string[]> {
  const names = (await chunksOf(bed)).map(({ id }) => {
    const { stripe, schemeNumber: number } = chunkIdParts(id);
    return `${toHex(stripe)}/${number}`;
  });
  return [...new Set(names)].toSorted();
}

/** Loses every shard of one encoding. */
async function lose(bed: CoreBed, scheme: string): Promise<number> {
  const number = schemeNumber(parseScheme(scheme));
  const lost = (await chunksOf(bed)).filter(({ id }) => chunkIdParts(id).schemeNumber === number);
  for (const { store, id } of lost) store.lose(id);
  return lost.length;
}

describe('a hybrid', () => {
  const content = bytesOf(12 * MiB + 12_345);

  it.each([true, false])('is read from what is left (deduplicating: %s)', async (dedup) => {
    const { bed, objects } = await open('rs-4+2,copy-2', { isDeduplicating: dedup });
    const { info } = await put(objects, content, { key: 'k' });
    expect(formatPolicy(info.policy)).toBe('rs-4+2,copy-2');
    expect(await objects.query('k')).toEqual(info);
    await expectContent(objects, 'k', content);
    for (const scheme of ['copy-2', 'rs-4+2']) {
      expect(await lose(bed, scheme)).toBeGreaterThan(0);
      await expectContent(objects, info.address, content);
      const { mended, lost } = await objects.mend('k');
      expect([mended > 0, lost]).toEqual([true, 0]);
      expect(await objects.mend('k')).toEqual({ mended: 0, lost: 0 });
    }
    await expectContent(objects, 'k', content);
    for (const scheme of ['copy-2', 'rs-4+2']) await lose(bed, scheme);
    expect(await codeOf(read(objects, 'k'))).toBe('HF_TOO_FEW_SHARDS');
    expect((await objects.mend('k')).lost).toBeGreaterThan(1);
  });

  it('is mended among others, and each stripe counts', async () => {
    const { bed, objects } = await open('rs-4+2,copy-2');
    for (const key of ['a', 'b', 'c', 'd']) {
      await put(objects, bytesOf(100_000 + key.charCodeAt(0)), { key });
    }
    await lose(bed, 'copy-2');
    expect(await objects.mendAll()).toEqual({ mended: 4, lost: 0 });
    expect(await objects.mendAll()).toEqual({ mended: 0, lost: 0 });
  });

  it('is mended by repair, where one encoding lost all', async () => {
    const { bed, core, objects } = await open('ida-3of5,copy-1');
    await put(objects, content, { key: 'k' });
    await eventually(async () => expect((await core.repair.health()).stripes.degraded).toBe(0));
    await lose(bed, 'copy-1');
    expect((await core.repair.health()).stripes.lost).toBeGreaterThan(0);
    expect((await core.repair.repair()).lost).toBe(0);
    expect((await core.repair.health()).stripes).toMatchObject({ degraded: 0, lost: 0 });
    await lose(bed, 'ida-3of5');
    await expectContent(objects, 'k', content);
  });

  it('says where each encoding lies, and leaves nothing when it goes', async () => {
    const { bed, objects } = await open('rs-4+2,near-3');
    await put(objects, content, { key: 'k' });
    const places = await Array.fromAsync(objects.where('k'));
    expect(new Set(places.map(({ encoding }) => encoding))).toEqual(new Set([0, 1]));
    for (const encoding of [0, 1]) {
      const ofOne = places.filter((place) => place.encoding === encoding);
      const sum = ofOne.reduce((bytes, { lengthBytes }) => bytes + lengthBytes, 0);
      expect(sum).toBe(content.length);
    }
    await objects.remove('k');
    expect(await stripesOf(bed)).toEqual([]);
  });

  it.each([0, 1, 1000, 65_536])('holds %i bytes', async (size) => {
    const { objects, bed } = await open('rs-4+2,copy-1');
    await put(objects, bytesOf(size), { key: 'k' });
    if (size > 0) await lose(bed, 'copy-1');
    await expectContent(objects, 'k', bytesOf(size));
    await objects.remove('k');
    expect(await stripesOf(bed)).toEqual([]);
  });
});

describe('re-encoding', () => {
  it('keeps id, key, times and address, and is whole by the new policy', async () => {
    const { bed, objects } = await open('near-4');
    const content = bytesOf(11 * MiB);
    const { info } = await put(objects, content, { key: 'dir/k', fileName: 'f' });
    bed.bed.nowMs += DAY_MS;
    for (const scheme of ['rs-4+2', 'ida-3of5,copy-1', 'copy-2']) {
      const policy = parsePolicy(scheme);
      expect(await objects.reencode('dir/k', policy)).toEqual({ ...info, policy });
      expect(await objects.query(info.address)).toEqual({ ...info, policy });
      await expectContent(objects, info.id, content);
      const numbers = new Set(policy.map(schemeNumber));
      await eventually(async () => {
        for (const { id } of await chunksOf(bed)) {
          expect(numbers.has(chunkIdParts(id).schemeNumber)).toBe(true);
        }
      });
    }
    expect(await Array.fromAsync(objects.list())).toHaveLength(1);
    expect(await codeOf(objects.reencode('none', parsePolicy('copy-2')))).toBe('HF_NOT_FOUND');
    const wide = parsePolicy('rs-8+2');
    expect(await codeOf(objects.reencode('dir/k', wide))).toBe('HF_BAD_SCHEME');
  });

  it('of a volume goes on where it was, and readers notice nothing', async () => {
    const { core, objects, bed } = await open('near-4');
    const contents = Array.from({ length: 12 }, (_, i) => bytesOf(1000 * 3 ** (i % 7), i + 1));
    for (const [i, content] of contents.entries()) await put(objects, content, { key: `${i}` });
    const large = bytesOf(33 * MiB, 99);
    await put(objects, large, { key: 'large' });
    const policy = parsePolicy('rs-4+2');
    // A reader in the middle of the large one.
    const { bytes } = await objects.get('large');
    const reading = bytes[Symbol.asyncIterator]();
    const pieces = [Buffer.from((await reading.next()).value as Uint8Array)];
    const end = new AbortController();
    const stopped = objects.reencodeAll(policy, {
      signal: end.signal,
      onProgress: ({ doneCount }) => {
        if (doneCount === 5) end.abort();
      },
    });
    expect(await codeOf(stopped)).toBe('HF_INTERRUPTED');
    const report = await objects.reencodeAll(policy);
    expect(report.reencoded + report.kept).toBe(13);
    expect([report.reencoded > 0, report.kept >= 4, report.failed]).toEqual([true, true, 0]);
    expect(await objects.reencodeAll(policy)).toEqual({ reencoded: 0, kept: 13, failed: 0 });
    await eventually(async () => expect((await core.references.condemned()).length).toBe(0));
    for (let next = await reading.next(); !next.done; next = await reading.next()) {
      pieces.push(Buffer.from(next.value));
    }
    expect(Buffer.compare(Buffer.concat(pieces), large)).toBe(0);
    for (const [i, content] of contents.entries()) await expectContent(objects, `${i}`, content);
    await eventually(async () => expect(await lose(bed, 'near-4')).toBe(0));
  });

  it('never takes less than all shards for an object that is whole', async () => {
    const { bed, core, objects } = await open('copy-3', { bed: new CoreBed(6) });
    const content = bytesOf(300_000);
    await put(objects, content, { key: 'k' });
    const [stripe] = await Array.fromAsync(objects.where('k'));
    const holders = stripe!.shards.flatMap(({ foundAt }) => foundAt);
    const idle = bed.bed.stores.find(({ id }) => !holders.includes(id))!;
    bed.bed.away.add(idle);
    const policy = parsePolicy('rs-4+2');
    expect(await codeOf(objects.reencode('k', policy))).toBe('HF_TOO_FEW_STORES');
    expect(await objects.reencodeAll(policy)).toEqual({ reencoded: 0, kept: 0, failed: 1 });
    expect(formatPolicy((await objects.query('k')).policy)).toBe('copy-3');
    expect((await Array.fromAsync(objects.where('k')))[0]!.spareCount).toBe(2);
    expect(await lose(bed, 'rs-4+2')).toBe(0);
    bed.bed.away.clear();
    expect(await objects.reencodeAll(policy)).toEqual({ reencoded: 1, kept: 0, failed: 0 });
    await expectContent(objects, 'k', content);
    expect((await core.repair.health()).stripes).toMatchObject({ ok: 1, degraded: 0 });
  });

  it('that loses against a put or a removal leaves what they made', async () => {
    const { bed, core } = await open('copy-2');
    const [status] = await core.volumes.list();
    const namespace = core.volumes.namespaceOf(status!.record.id)!;
    for (const what of ['put', 'remove'] as const) {
      const objects = core.volumes.objects('v');
      await put(objects, bytesOf(100_000, 1), { key: 'k' });
      const racing = await racingObjects(core, bed, {
        reencodeObject: async (request) => {
          if (what === 'put') await put(objects, bytesOf(100_000, 2), { key: 'k' });
          else await objects.remove('k');
          return await namespace.reencodeObject(request);
        },
      });
      const report = await racing.reencodeAll(parsePolicy('rs-3+1'));
      expect(report).toMatchObject({ reencoded: 0, failed: 0 });
      if (what === 'put') await expectContent(objects, 'k', bytesOf(100_000, 2));
      else expect(await codeOf(read(objects, 'k'))).toBe('HF_NOT_FOUND');
      await eventually(async () => expect(await lose(bed, 'rs-3+1')).toBe(0));
    }
  });

  const steps = ['add', 'stage', 'commit', 'after commit', 'confirm', 'release'] as const;

  it.each(steps)('broken at "%s" loses nothing, and the next run ends it', async (step) => {
    const bed = new CoreBed(8);
    const { core, objects } = await open('copy-3', { bed });
    const content = bytesOf(300_000);
    const { info } = await put(objects, content, { key: 'k' });
    const [status] = await core.volumes.list();
    const namespace = core.volumes.namespaceOf(status!.record.id)!;
    const fail = async (): Promise<never> => {
      throw new HoldfastError('HF_UNKNOWN_OUTCOME', `broken at ${step}`);
    };
    const broken = await racingObjects(
      core,
      bed,
      {
        ...(step === 'stage' && { allocateInodes: fail }),
        ...(step === 'commit' && { reencodeObject: fail }),
        ...(step === 'after commit' && {
          reencodeObject: async (request) => {
            await namespace.reencodeObject(request);
            return await fail();
          },
        }),
      },
      { ...(step === 'add' && { add: fail }), ...(step === 'confirm' && { confirm: fail }) },
      step === 'release' ? { release: fail, abandon: fail } : {},
    );
    const policy = parsePolicy('rs-4+2');
    await broken.reencode('k', policy).catch(() => {});
    await expectContent(objects, 'k', content);
    // As a crash: nothing is undone by who began it.
    await core[Symbol.asyncDispose]();
    const again = await bed.open();
    cleanup.splice(0, 1, again);
    const after = again.volumes.objects('v');
    await expectContent(after, 'k', content);
    expect((await after.reencodeAll(policy)).failed).toBe(0);
    expect(await after.query('k')).toEqual({ ...info, policy });
    await again.repair.collect({ graceMs: 0 });
    await expectContent(after, 'k', content);
    await eventually(async () => expect(await lose(bed, 'copy-3')).toBe(0));
    expect((await again.repair.health()).stripes).toMatchObject({ ok: 1, degraded: 0, lost: 0 });
    await after.remove('k');
    await again.repair.collect({ graceMs: 0 });
    expect(await stripesOf(bed)).toEqual([]);
  });

  it('of a volume goes on in the next life of its node', async () => {
    const bed = new CoreBed(8);
    const { core, objects } = await open('copy-3', { bed });
    for (let i = 0; i < 20; i++) await put(objects, bytesOf(70_000, i + 1), { key: `${i}` });
    const policy = parsePolicy('rs-4+2');
    await core.volumes.setPolicy('v', { policy });
    const end = new AbortController();
    const gone = core.volumes.applyPolicy('v', {
      signal: end.signal,
      onProgress: ({ doneCount }) => {
        if (doneCount === 3) end.abort();
      },
    });
    expect(await codeOf(gone)).toBe('HF_INTERRUPTED');
    expect((await core.volumes.list())[0]!.record.reencodedBy).toBeDefined();
    await core[Symbol.asyncDispose]();
    const again = await bed.open();
    cleanup.splice(0, 1, again);
    await eventually(async () => {
      expect((await again.volumes.list())[0]!.record.reencodedBy).toBeUndefined();
    });
    for await (const info of again.volumes.objects('v').list()) expect(info.policy).toEqual(policy);
  });
});

/** The volume's objects, with some operations of what is below replaced. */
async function racingObjects(
  core: Core,
  { bed, secrets }: CoreBed,
  namespaceParts: Partial<Namespace>,
  referenceParts: Partial<References> = {},
  repairParts: Partial<Core['repair']> = {},
): Promise<ObjectStore> {
  // A second writer of its own: the session of the core must not end.
  const session = await core.references.openSession('racer');
  const [record] = core.volumes.records;
  const namespace = core.volumes.namespaceOf(record!.id)!;
  return openObjects({
    env: bed.env,
    namespace: { ...namespace, ...namespaceParts },
    tree: {} as Tree, // nothing is listed, and has extended attributes
    references: { ...core.references, ...referenceParts },
    session: () => session,
    stripes: core.stripes,
    cluster: core.cluster,
    repair: { ...core.repair, ...repairParts },
    volume: () => record!,
    keys: volumeKeys(secrets.get(record!.id)!),
  });
}

describe('a WORM volume', () => {
  const retention = { retentionMs: DAY_MS };

  it('adds, and neither replaces nor removes before its time', async () => {
    const bed = new CoreBed(8);
    const core = await bed.open();
    cleanup.push(core);
    const about = { policy: parsePolicy('copy-3'), isDeduplicating: true };
    await core.volumes.create({ name: 'w', ...about, retention });
    const objects = core.volumes.objects('w');
    const content = bytesOf(100_000);
    const { info } = await put(objects, content, { key: 'k' });
    const before = await stripesOf(bed);
    expect(await codeOf(put(objects, bytesOf(5), { key: 'k' }))).toBe('HF_WORM');
    expect(await codeOf(put(objects, bytesOf(5), { key: 'k', mayReplace: false }))).toBe('HF_WORM');
    expect(await codeOf(put(objects, bytesOf(5), { id: info.id }))).toBe('HF_WORM');
    expect(await codeOf(objects.remove('k'))).toBe('HF_WORM');
    await eventually(async () => expect(await stripesOf(bed)).toEqual(before));
    await objects.reencode('k', parsePolicy('rs-4+2'));
    await expectContent(objects, 'k', content);
    await core[Symbol.asyncDispose]();
    const again = await bed.open();
    cleanup.splice(0, 1, again);
    const after = again.volumes.objects('w');
    bed.bed.nowMs += DAY_MS - 1;
    expect(await codeOf(after.remove('k'))).toBe('HF_WORM');
    bed.bed.nowMs += 1;
    await again.volumes.setPolicy('w', { retention: { retentionMs: 2 * DAY_MS } });
    expect(await codeOf(after.remove('k'))).toBe('HF_WORM');
    expect(await codeOf(again.volumes.setPolicy('w', { retention }))).toBe('HF_WORM');
    bed.bed.nowMs += DAY_MS;
    await after.remove('k');
    expect(await stripesOf(bed)).toEqual([]);
  });
});

it('volumes with different secrets share no stripe of the same file', async () => {
  const bed = new CoreBed(8);
  const core = await bed.open();
  cleanup.push(core);
  const seen: string[][] = [];
  const addresses = new Set<string>();
  for (const [name, isDeduplicating] of [
    ['a', true],
    ['b', true],
    ['c', false],
  ] as const) {
    await core.volumes.create({ name, policy: parsePolicy('rs-4+2,copy-1'), isDeduplicating });
    const before = new Set(await stripesOf(bed));
    const { info } = await put(core.volumes.objects(name), bytesOf(200_000), { key: 'same' });
    addresses.add(info.address);
    seen.push((await stripesOf(bed)).filter((stripe) => !before.has(stripe)));
  }
  expect(seen.map(({ length }) => length)).toEqual([2, 2, 2]);
  expect(addresses.size).toBe(1);
});

describe('too few stores', () => {
  it('take copies, degraded, and have them all when stores come', async () => {
    const bed = new CoreBed(2);
    const { core, objects } = await open('cas', { bed });
    const content = bytesOf(100_000);
    expect((await put(objects, content, { key: 'k' })).degradedTo).toBe(1);
    const [stripe] = await Array.fromAsync(objects.where('k'));
    expect(stripe!.shards.filter(({ foundAt }) => foundAt.length > 0)).toHaveLength(2);
    for (let i = 0; i < 2; i++) bed.bed.addStore();
    await core.cluster.setDevices(bed.bed.devices());
    await core.repair.repair();
    const [healed] = await Array.fromAsync(objects.where('k'));
    const holders = new Set(healed!.shards.flatMap(({ foundAt }) => foundAt));
    expect([holders.size, healed!.spareCount]).toEqual([4, 3]);
    const wide = put(objects, content, { policy: parsePolicy('rs-4+2') });
    expect(await codeOf(wide)).toBe('HF_BAD_SCHEME');
  });
});
