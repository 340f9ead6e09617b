/**
 * Aim: an object that the tree has written in place reads as what was written last, holes as zeros;
 * what only the tree has made is found like one; and new inodes lie near to what they belong to.
 * Method: objects over a real volume cell and real stripes, written through the tree as a mount
 * does.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  errorCode,
  fromUtf8,
  hexId,
  LIMITS,
  type ObjectId,
  parseScheme,
  type Policy,
  schemeNumber,
  utf8,
  type VolumeId,
} from '../base/index.ts';
import { type VolumeKeys, volumeKeys } from '../crypto/index.ts';
import { MemoryDb } from '../db/index.ts';
import { realEnv } from '../env/index.ts';
import { MemoryLog } from '../log/index.ts';
import {
  type Inode,
  type Nearness,
  openVolumeCell,
  ROOT_INODE,
  slotNear,
  type VolumeCell,
  type VolumeRecord,
} from '../meta/index.ts';
import { RepairBed, rs42 } from '../../test/suites/repair-bed.ts';
import type { Repair } from '../repair/index.ts';
import { bytesOf, streamOf } from '../../test/suites/store-bed.ts';
import type { FileTree } from './file-tree.ts';
import { InodeTree } from './inode-tree.ts';
import type { ObjectStore } from './object-store.ts';
import { openFileTree } from './open-file-tree.ts';
import { openObjects } from './objects.ts';
import { StripeKeys } from './stripe-keys.ts';
import { prepareBytes } from './store-cut.ts';

const COPY = parseScheme('copy-2');
const env = realEnv();
const volume: VolumeRecord = {
  id: hexId<VolumeId>(env.random.bytes(16)),
  name: 'v',
  policy: [rs42],
  isDeduplicating: false,
  retention: undefined,
  createdAtMs: 0,
} as unknown as VolumeRecord;

let bed: RepairBed;
let cell: VolumeCell;
let keys: VolumeKeys;
let objects: ObjectStore;
let files: FileTree;
let repair: Repair;
let stripeKeys: StripeKeys;
/** Asked for inode numbers. */
let nears: (Nearness | undefined)[];

beforeEach(async () => {
  bed = await RepairBed.open(6);
  const log = new MemoryLog();
  cell = await openVolumeCell({ env, cell: 'v', log, db: new MemoryDb() });
  keys = volumeKeys(env.random.bytes(32));
  const session = await bed.references.openSession('n');
  const about = { env, volume: volume.id, keys };
  nears = [];
  const namespace: VolumeCell['namespace'] = {
    ...cell.namespace,
    allocateInodes: async (count, near) => {
      nears.push(near);
      return await cell.namespace.allocateInodes(count, near);
    },
  };
  const { references, stripes, cluster } = bed;
  const { tree, uploads } = cell;
  repair = bed.openRepair({
    volumes: () => [volume.id],
    namespaceOf: () => cell.namespace,
    treeOf: () => tree,
    uploadsOf: () => uploads,
  });
  const parts = { env, namespace, tree, references, stripes, cluster, repair, keys };
  objects = openObjects({ ...parts, session: () => session, volume: () => volume });
  files = openFileTree({ ...about, namespace, tree });
  stripeKeys = new StripeKeys(about);
});

afterEach(async () => {
  await objects[Symbol.asyncDispose]();
  await cell[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

async function inodeOf(path: string): Promise<Inode> {
  return BigInt((await files.status(path)).inode);
}

/** As a mount does, each encoding with the same content. */
async function write(inode: Inode, offset: number, bytes: Uint8Array, policy: Policy = [rs42]) {
  const { references, stripes } = bed;
  const number = await cell.namespace.allocateInodes(1, { inode });
  const holder = { volume: volume.id, inode: number };
  const session = await references.openSession('mount');
  const extents = [];
  for (const [encoding, scheme] of policy.entries()) {
    using prepared = await prepareBytes(stripes, bytes, { scheme, signal: undefined });
    const { stripe, schemeNumber: scheme_, chunkBytes, key } = prepared;
    const wanted = [{ stripe, schemeNumber: scheme_, chunkBytes }];
    const [added] = await references.add({ session, holder, stripes: wanted });
    await stripes.spread(prepared, { generation: added!.generation });
    const place = { encoding, offset, lengthBytes: bytes.length, stripe, schemeNumber: scheme_ };
    extents.push(stripeKeys.wrap(number, place, key));
  }
  const schemeNumbers = policy.map((scheme) => schemeNumber(scheme));
  const commit = { inode, write: number, extents, schemeNumbers, sizeBytes: 0, baseChange: 0n };
  await cell.tree.commitExtents(commit);
}

async function contentOf(key: string, range?: { offset: number; lengthBytes: number }) {
  const { bytes } = await objects.get(key, range && { range });
  const parts: Buffer[] = [];
  for await (const part of bytes) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

describe('an object that was written in place', () => {
  it('reads as what was written last, whatever is left of what stripe', async () => {
    const expected = Buffer.alloc(1_000_000);
    bytesOf(600_000, 1).forEach((byte, at) => (expected[at] = byte));
    await objects.put(streamOf(bytesOf(600_000, 1)), { key: 'a' });
    const inode = await inodeOf('a');
    for (const [offset, size] of [
      [100_000, 50_000],
      [120_000, 10],
      [0, 1],
      [590_000, 20_000],
      [900_000, 100_000], // a hole before it
    ] as const) {
      const bytes = bytesOf(size, offset + 7);
      await write(inode, offset, bytes);
      expected.set(bytes, offset);
    }
    expect(Buffer.compare(await contentOf('a'), expected)).toBe(0);
    for (const [offset, lengthBytes] of [
      [0, 2],
      [119_990, 50],
      [610_000, 290_000],
      [700_000, 250_001],
      [999_999, 1],
    ] as const) {
      const part = await contentOf('a', { offset, lengthBytes });
      expect(Buffer.compare(part, expected.subarray(offset, offset + lengthBytes))).toBe(0);
    }
    await cell.tree.setAttributes(inode, { sizeBytes: 50 });
    await cell.tree.setAttributes(inode, { sizeBytes: 2 * LIMITS.stripeBytesMax + 10 });
    const grown = await contentOf('a');
    expect(grown.length).toBe(2 * LIMITS.stripeBytesMax + 10);
    expect(Buffer.compare(grown.subarray(0, 50), expected.subarray(0, 50))).toBe(0);
    expect(grown.subarray(50).every((byte) => byte === 0)).toBe(true);
  });

  it('reads what only its first encoding has, and is mended where another one has it', async () => {
    const policy = [rs42, COPY] as const;
    await objects.put(streamOf(bytesOf(200_000, 1)), { key: 'a', policy });
    const inode = await inodeOf('a');
    await write(inode, 0, bytesOf(1000, 2));
    await write(inode, 50_000, bytesOf(80_000, 3), policy);
    const expected = Buffer.from(bytesOf(200_000, 1));
    expected.set(bytesOf(1000, 2), 0);
    expected.set(bytesOf(80_000, 3), 50_000);
    await cell.tree.setAttributes(inode, { sizeBytes: 130_000 });
    expect(Buffer.compare(await contentOf('a'), expected.subarray(0, 130_000))).toBe(0);
    // Of what was written whole in both encodings the first goes.
    const extents = await cell.namespace.extents(inode);
    const found = extents.find(({ encoding, offset }) => encoding === 0 && offset === 50_000)!;
    const lost = { ...found, chunkBytes: 0 };
    for (const store of (await bed.holders(lost)).slice(0, 3).flat()) {
      for (const { id } of await Array.fromAsync(store.list())) {
        if (Buffer.from(id).includes(Buffer.from(lost.stripe))) {
          await store.remove(id, { generationMax: 2 ** 24 - 1 });
        }
      }
    }
    expect(Buffer.compare(await contentOf('a'), expected.subarray(0, 130_000))).toBe(0);
    expect(await objects.mend('a')).toEqual({ mended: 1, lost: 0 });
  });

  it('stays as it is stored, is not what it was, and goes with all it holds', async () => {
    const content = bytesOf(100_000, 1);
    const { info } = await objects.put(streamOf(content), { key: 'a' });
    await write(await inodeOf('a'), 0, bytesOf(10, 2));
    expect(await objects.reencode('a', [COPY]).catch(errorCode)).toBe('HF_UNSUPPORTED');
    expect(await objects.reencodeAll([COPY])).toEqual({ reencoded: 0, kept: 1, failed: 0 });
    const again = objects.put(streamOf(content), { key: 'a', mayReplace: false });
    expect(await again.catch(errorCode)).toBe('HF_EXISTS');
    expect(await objects.query(info.address).catch(errorCode)).toBe('HF_NOT_FOUND');
    await objects.remove('a');
    await repair.collect({ graceMs: 1e9 });
    for (const store of bed.stores) expect(await bed.held(store)).toEqual([]);
  });
});

it('an object has its extended attributes still when it is re-encoded', async () => {
  await objects.put(streamOf(bytesOf(100_000, 1)), { key: 'a' });
  const { namespace, tree } = cell;
  const inodes = new InodeTree({ env, volume: volume.id, keys, namespace, tree });
  const wanted = { name: utf8('user.colour'), value: utf8('green') };
  await inodes.setXattr(await inodeOf('a'), wanted);
  const before = await inodeOf('a');
  await objects.reencode('a', [COPY]);
  const inode = await inodeOf('a');
  expect(inode).not.toBe(before);
  expect((await inodes.listXattrs(inode)).map((name) => fromUtf8(name))).toEqual(['user.colour']);
  expect(fromUtf8((await inodes.getXattr(inode, wanted.name))!)).toBe('green');
});

describe('what only the tree has made', () => {
  it('is listed when it is a file, by each name, and found by key and id', async () => {
    await files.makeFile('d', { mode: 0o600 });
    await files.makeDirectory('b');
    await files.makeSymlink('d', 'c');
    await files.link('d', 'b/second');
    await objects.put(streamOf(bytesOf(10, 1)), { key: 'a' });
    await write(await inodeOf('d'), 0, bytesOf(7, 2));
    const id = (await inodeOf('d')).toString(16).padStart(32, '0');
    const file = { id, address: '', sizeBytes: 7, mode: 0o600, policy: [rs42] };
    expect(await Array.fromAsync(objects.list())).toMatchObject([
      { key: 'a', mode: 0o644 },
      { key: 'b/second', ...file },
      { key: 'd', ...file },
    ]);
    expect(await objects.query('d')).toMatchObject({ id, sizeBytes: 7 });
    expect((await contentOf(id)).equals(bytesOf(7, 2))).toBe(true);
    expect(await Array.fromAsync(objects.where(id))).toMatchObject([{ lengthBytes: 7 }]);
    expect(await objects.reencode('d', [COPY]).catch(errorCode)).toBe('HF_UNSUPPORTED');
    expect(await objects.query('c').catch(errorCode)).toBe('HF_NOT_FOUND');
    expect((await cell.namespace.usage()).objectCount).toBe(2);
  });

  it('is removed by key or id, with all its names and all it holds', async () => {
    await files.makeDirectory('b');
    for (const isById of [false, true]) {
      await files.makeFile('file');
      await files.link('file', 'b/link');
      await write(await inodeOf('file'), 0, bytesOf(100_000, 2));
      const { id, key } = await objects.query('b/link');
      await objects.remove(isById ? id : key!);
      expect(await Array.fromAsync(objects.list())).toEqual([]);
    }
    await files.makeSymlink('b', 'link');
    await objects.remove('link');
    expect((await Array.fromAsync(files.list(''))).map(({ path }) => path)).toEqual(['b']);
    expect(await objects.remove('b').catch(errorCode)).toBe('HF_NOT_FOUND');
    const directory = (await inodeOf('b')).toString(16).padStart(32, '0');
    expect(await objects.remove(directory).catch(errorCode)).toBe('HF_NOT_FOUND');
    await repair.collect({ graceMs: 1e9 });
    for (const store of bed.stores) expect(await bed.held(store)).toEqual([]);
    expect(await cell.namespace.usage()).toEqual({ objectCount: 0, contentBytes: 0 });
  });

  it('gives owner and mode to what replaces it, and is replaced only when it may be', async () => {
    await files.makeFile('file', { mode: 0o4750, uid: 7, gid: 8 });
    await files.link('file', 'other');
    const put = (seed: number, mayReplace: boolean) =>
      objects.put(streamOf(bytesOf(10, seed)), { key: 'file', mayReplace });
    expect(await put(1, false).catch(errorCode)).toBe('HF_EXISTS');
    for (const seed of [2, 3]) {
      await put(seed, true);
      const status = await files.status('file');
      expect(status).toMatchObject({ mode: 0o750, uid: 7, gid: 8, linkCount: 1, sizeBytes: 10 });
      expect((await contentOf('file')).equals(bytesOf(10, seed))).toBe(true);
    }
    expect(await files.status('other')).toMatchObject({ mode: 0o4750, linkCount: 1, sizeBytes: 0 });
    await files.makeSymlink('file', 'link');
    await put(4, true);
    await objects.put(streamOf(bytesOf(10, 5)), { key: 'link' });
    expect(await files.status('link')).toMatchObject({ type: 'file', mode: 0o644, uid: 0 });
    expect((await contentOf('file')).equals(bytesOf(10, 4))).toBe(true);
  });

  it('has a key whatever its name is, and another name has another key', async () => {
    const names = [[0xff], [0xef, 0xbf, 0xbd], [0xef, 0xbb, 0xbf, 0x61], [0x61, 0xc3, 0xf0, 0x9f]];
    const tree = new InodeTree({
      env,
      volume: volume.id,
      keys,
      namespace: cell.namespace,
      tree: cell.tree,
    });
    const directory = await tree.root();
    const node = { type: 'file' as const, mode: 0o644, uid: 0, gid: 0 };
    for (const name of names) {
      await tree.makeNode({ directory, name: Uint8Array.from(name) }, node);
    }
    const listed = await Array.fromAsync(objects.list());
    expect(listed.map(({ key }) => key)).toEqual([
      'a\udcc3\udcf0\udc9f',
      '\ufeffa',
      '\ufffd',
      '\udcff',
    ]);
    for (const { key, id } of listed) {
      expect((await objects.query(key!)).id).toBe(id);
      expect((await files.status(key!)).inode).toBe(String(BigInt(`0x${id}`)));
    }
    expect(await objects.query('\udc00').catch(errorCode)).toBe('HF_BAD_ARGUMENT');
    await objects.remove('\udcff');
    await files.rename('\ufffd', '\udcff\udcfe');
    await objects.put(streamOf(bytesOf(10, 1)), { key: '\ud83d\ude00\udc80' });
    expect((await Array.fromAsync(files.list(''))).map(({ path }) => path)).toEqual([
      'a\udcc3\udcf0\udc9f',
      '\ufeffa',
      '\ud83d\ude00\udc80',
      '\udcff\udcfe',
    ]);
  });

  it('is given out by its key, holes and all', async () => {
    await files.makeFile('file');
    expect((await contentOf('file')).length).toBe(0);
    await write(await inodeOf('file'), 100_000, bytesOf(10, 3));
    const wanted = Buffer.concat([Buffer.alloc(100_000), bytesOf(10, 3)]);
    expect((await contentOf('file')).equals(wanted)).toBe(true);
  });
});

describe('new inodes', () => {
  const slot = (near: Nearness): number => slotNear(near);

  it('lie in the slot of their directory, also when it came after the first guess', async () => {
    await files.makeDirectory('a/b', { makesParents: true });
    const directory = await inodeOf('a/b');
    for (const key of ['a/b/1', 'a/b/2', 'new/1', 'new/2']) {
      await objects.put(streamOf(bytesOf(10, 1)), { key });
    }
    const [first, second] = [await inodeOf('a/b/1'), await inodeOf('a/b/2')];
    expect([first, second].map((inode) => slot({ inode }))).toEqual(
      [directory, directory].map((inode) => slot({ inode })),
    );
    expect(slot({ inode: await inodeOf('new/2') })).toBe(slot({ inode: await inodeOf('new') }));
    expect(nears[0]).toEqual({ inode: directory });
    await objects.reencode('a/b/1', [COPY]);
    expect(slot({ inode: await inodeOf('a/b/1') })).toBe(slot({ inode: directory }));
  });

  it('without a key in the slot of their id, many of them from one range', async () => {
    const made: { id: ObjectId; inode: Inode }[] = [];
    for (let index = 0; index < 20; index++) {
      const { id } = await objects.create();
      made.push({ id, inode: (await cell.namespace.object(id))!.inode });
    }
    for (const { id: objectId, inode } of made) expect(slot({ inode })).toBe(slot({ objectId }));
    expect(new Set(made.map(({ id }) => id)).size).toBe(20);
    expect(nears).toHaveLength(1);
    expect(await cell.namespace.entryOf(ROOT_INODE)).toBeUndefined();
  });

  it('come from few ranges, however many want them at once', async () => {
    const directories = ['x', 'y', 'z'];
    await Promise.all(directories.map((name) => files.makeDirectory(name)));
    const puts = Array.from({ length: 30 }, (_, index) =>
      objects.put(streamOf(bytesOf(10, index)), { key: `${directories[index % 3]}/${index}` }),
    );
    await Promise.all(puts);
    const slots = await Promise.all(
      directories.map(async (name) => slot({ inode: await inodeOf(name) })),
    );
    expect(nears.length).toBe(new Set(slots).size);
  });
});
