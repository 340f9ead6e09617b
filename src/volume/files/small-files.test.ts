/**
 * Aim: a small file costs a commit and a look, no stripe and no reference; it goes over to stripes
 * and back with all its bytes, whoever forges them; what is overwritten or cut off is freed at
 * once. Method: nodes over one cell in memory, whose calls are counted, and altered rows.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorCode, KiB, LIMITS, MiB, parsePolicy } from '../../base/index.ts';
import type { Inode, InodeRecord, Namespace, References, Tree } from '../../meta/index.ts';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { bytesOf } from '../../../test/suites/store-bed.ts';
import type { OpenFile } from '../index.ts';

let bed: FilesBed;

beforeEach(async () => {
  bed = await FilesBed.open();
});

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

/** Names of what is asked, as it is asked. */
function heard<Api extends object>(api: Api, calls: string[]): Api {
  const methods = Object.entries(api).map(([name, method]) => [
    name,
    (...args: unknown[]) => {
      calls.push(name);
      return (method as (...given: unknown[]) => unknown)(...args);
    },
  ]);
  return { ...api, ...Object.fromEntries(methods) } as Api;
}

function heardParts(): {
  readonly calls: string[];
  readonly parts: { namespace: Namespace; tree: Tree; references: References };
} {
  const calls: string[] = [];
  const { namespace, tree } = bed.cell;
  const { references } = bed.bed;
  const parts = {
    namespace: heard(namespace, calls),
    tree: heard(tree, calls),
    references: heard(references, calls),
  };
  return { calls, parts };
}

async function read(inode: Inode): Promise<Buffer> {
  await using file = await (await bed.node()).open(inode);
  return Buffer.from(await contentOf(file));
}

async function contentOf(file: OpenFile): Promise<Uint8Array> {
  return await file.read({ offset: 0, lengthBytes: 1e7 });
}

async function isInline(inode: Inode): Promise<boolean> {
  const status = await bed.cell.tree.getAttributes(inode);
  const extents = await bed.cell.namespace.extents(inode);
  expect(extents.length === 0).toBe(status?.isInline || status?.storedBytes === 0);
  return status?.isInline ?? false;
}

async function chunkCount(): Promise<number> {
  let count = 0;
  for (const store of bed.bed.stores) count += (await bed.bed.held(store)).length;
  return count;
}

async function* streamOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

describe('a small file', () => {
  it('is opened, written and read with one question each', async () => {
    const inode = await bed.make();
    const { calls, parts } = heardParts();
    const node = await bed.node(parts);
    const file = await node.open(inode);
    await file.write(0, bytesOf(LIMITS.inlineBytesMax, 1));
    await file.close();
    expect(calls).toEqual(['getAttributes', 'commitExtents']);
    calls.length = 0;
    const other = heardParts();
    await using again = await (await bed.node(other.parts)).open(inode);
    expect(Buffer.compare(await contentOf(again), bytesOf(LIMITS.inlineBytesMax, 1))).toBe(0);
    expect(other.calls).toEqual(['getAttributes']);
    expect(await isInline(inode)).toBe(true);
    expect(await chunkCount()).toBe(0);
  });

  it('is committed as far as it was taken, though more is written meanwhile', async () => {
    const sizes: number[] = [];
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const tree: Tree = {
      ...bed.cell.tree,
      commitExtents: async (commit) => {
        sizes.push(commit.sizeBytes);
        await gate;
        return await bed.cell.tree.commitExtents(commit);
      },
    };
    const inode = await bed.make();
    const file = await (await bed.node({ tree })).open(inode);
    await file.truncate(50);
    const synced = [file.sync()];
    await nextTurn();
    await file.write(0, bytesOf(100, 1));
    synced.push(file.sync());
    await nextTurn();
    await file.write(200, bytesOf(100, 2));
    open();
    await Promise.all(synced);
    await file.close();
    expect(sizes.slice(0, 2)).toEqual([50, 100]);
    const expected = Buffer.concat([bytesOf(100, 1), Buffer.alloc(100), bytesOf(100, 2)]);
    expect(Buffer.compare(await read(inode), expected)).toBe(0);
  });

  it('goes over to stripes when it grows, and back when it is cut and written to', async () => {
    const inode = await bed.make();
    const file = await (await bed.node()).open(inode);
    const expected = Buffer.alloc(20 * KiB);
    const write = async (at: number, lengthBytes: number): Promise<void> => {
      await file.write(at, bytesOf(lengthBytes, at));
      expected.set(bytesOf(lengthBytes, at), at);
      await file.sync();
      const size = file.status.sizeBytes;
      expect(Buffer.compare(await read(inode), expected.subarray(0, size))).toBe(0);
    };
    await write(0, 4000);
    expect(await isInline(inode)).toBe(true);
    await write(4000, 1000);
    expect(await isInline(inode)).toBe(false);
    await file.truncate(100);
    expected.fill(0, 100);
    expect(await isInline(inode)).toBe(false);
    await write(50, 1000);
    expect(await isInline(inode)).toBe(true);
    await file.truncate(10);
    await file.truncate(2000);
    expected.fill(0, 10);
    await file.sync();
    expect(await bed.cell.tree.getAttributes(inode)).toMatchObject({
      sizeBytes: 2000,
      storedBytes: 10,
      isInline: true,
    });
    expect(Buffer.compare(await read(inode), expected.subarray(0, 2000))).toBe(0);
    // Nothing of what comes now meets what is inline.
    await write(19_000, 1000);
    expect(await isInline(inode)).toBe(false);
    await file.truncate(0);
    expect(await isInline(inode)).toBe(false);
    await file.close();
  });

  it('is copied, has no holes, and is got as an object would be', async () => {
    const files = await bed.node();
    const inode = await bed.make();
    const [source, target] = [await files.open(inode), await files.open(await bed.make())];
    await source.write(0, bytesOf(1000, 1));
    expect(await target.copyFrom(source, { offset: 100, lengthBytes: 5000 }, 50)).toBe(900);
    await source.deallocate({ offset: 500, lengthBytes: 100 });
    await Promise.all([source.close(), target.close()]);
    const expected = Buffer.from(bytesOf(1000, 1));
    const copied = Buffer.concat([Buffer.alloc(50), expected.subarray(100)]);
    expected.fill(0, 500, 600);
    expect(Buffer.compare(await read(inode), expected)).toBe(0);
    expect(Buffer.compare(await read(target.inode), copied)).toBe(0);
    await using again = await files.open(inode);
    expect(await again.seekHole(0)).toBe(1000);
    expect(await again.seekData(0)).toBe(0);
  });

  it('that was put is got as it is then, and by whoever reads it while it changes', async () => {
    await using objects = await bed.objects();
    const { info } = await objects.put(streamOf(bytesOf(9000, 1)), { key: 'a' });
    const { inode } = (await bed.cell.namespace.object(info.id))!;
    const file = await (await bed.node()).open(inode);
    await file.truncate(1000);
    await file.write(100, bytesOf(50, 2));
    await file.truncate(900);
    await file.truncate(1000);
    await file.close();
    expect(await isInline(inode)).toBe(true);
    const expected = Buffer.from(bytesOf(1000, 1));
    expected.set(bytesOf(50, 2), 100);
    expected.fill(0, 900);
    const got = async (range: { offset: number; lengthBytes: number }): Promise<Buffer> => {
      const { bytes } = await objects.get('a', { range });
      return Buffer.concat(await Array.fromAsync(bytes, (each) => Buffer.from(each)));
    };
    for (const [offset, end] of [
      [0, 1000],
      [120, 130],
      [800, 950],
      [950, 960],
      [5, 5],
    ] as const) {
      const range = { offset, lengthBytes: end - offset };
      expect(Buffer.compare(await got(range), expected.subarray(offset, end))).toBe(0);
    }
    expect(await Array.fromAsync(objects.where('a'))).toEqual([]);
    expect(await objects.mend('a')).toEqual({ mended: 0, lost: 0 });
    expect(await bed.repair.health()).toMatchObject({ stripes: { degraded: 0, lost: 0 } });
    await objects.remove('a');
    await bed.repair.collect({ graceMs: 0 });
    expect(await chunkCount()).toBe(0);
  });

  it('is refused when its content was made for another one, or altered', async () => {
    const [one, two] = [await bed.make(), await bed.make()];
    const files = await bed.node();
    for (const inode of [one, two]) {
      await using file = await files.open(inode);
      await file.write(0, bytesOf(100, Number(inode & 0xffn)));
    }
    const forged = async (change: (inline: Uint8Array) => Uint8Array): Promise<unknown> => {
      const tree: Tree = {
        ...bed.cell.tree,
        getAttributes: async (inode, options) => {
          const status = await bed.cell.tree.getAttributes(inode, options);
          if (!status?.inline) return status;
          return { ...status, inline: { ...status.inline, sealed: change(status.inline.sealed) } };
        },
      };
      await using file = await (await bed.node({ tree })).open(one);
      return await contentOf(file).then(() => 'ok', errorCode);
    };
    expect(await forged((sealed) => sealed)).toBe('ok');
    const { inline } = (await bed.cell.tree.getAttributes(two, {
      withContent: true,
    })) as InodeRecord;
    expect(await forged(() => inline!.sealed)).toBe('HF_FORGED');
    expect(await forged((sealed) => sealed.with(20, sealed[20]! ^ 1))).toBe('HF_FORGED');
    expect(await forged((sealed) => sealed.subarray(0, -1))).toBe('HF_FORGED');
  });

  it('is stored in stripes in a protected volume, and of a hybrid beside its inode', async () => {
    const inode = await bed.make();
    bed.volume = { ...bed.volume, policy: parsePolicy('rs-4+2,copy-2') };
    const file = await (await bed.node()).open(inode);
    await file.write(0, bytesOf(100, 1));
    await file.sync();
    expect(await isInline(inode)).toBe(true);
    await file.write(5000, bytesOf(100, 2));
    await file.close();
    const extents = await bed.cell.namespace.extents(inode);
    expect(new Set(extents.map(({ encoding }) => encoding))).toEqual(new Set([0, 1]));
    const kept = await FilesBed.open({ retention: { retentionMs: undefined } });
    await using log = await (await kept.node()).open(await kept.make());
    for (let index = 0; index < 3; index++) {
      await log.write(index * 100, bytesOf(100, index));
      await log.sync();
    }
    expect((await kept.cell.namespace.extents(log.inode)).length).toBe(3);
    await log.close();
    await kept[Symbol.asyncDispose]();
  });
});

describe('holes', () => {
  it('take no space, are told by seeks, and are written to again', async () => {
    const inode = await bed.make();
    const file = await (await bed.node()).open(inode);
    await file.write(0, bytesOf(400_000, 1));
    await file.sync();
    const before = await chunkCount();
    await file.write(100_000, bytesOf(100, 2));
    await file.deallocate({ offset: 50_000, lengthBytes: 300_000 });
    await file.write(200_000, bytesOf(10, 3));
    await file.sync();
    const expected = Buffer.from(bytesOf(400_000, 1));
    expected.fill(0, 50_000, 350_000);
    expected.set(bytesOf(10, 3), 200_000);
    expect(Buffer.compare(await read(inode), expected)).toBe(0);
    const status = await bed.cell.tree.getAttributes(inode);
    expect(status!.storedBytes).toBe(100_000 + 4096);
    await using other = await (await bed.node()).open(inode);
    for (const each of [file, other]) {
      expect(await each.seekHole(0)).toBe(50_000);
      expect(await each.seekData(50_000)).toBe(196_608);
      expect(await each.seekHole(200_000)).toBe(196_608 + 4096);
    }
    await file.deallocate({ offset: 0, lengthBytes: 1e9 });
    await file.close();
    expect((await bed.cell.tree.getAttributes(inode))!.storedBytes).toBe(0);
    expect((await read(inode)).every((byte) => byte === 0)).toBe(true);
    await bed.repair.collect({ graceMs: 0 });
    expect(before).toBeGreaterThan(0);
    expect(await chunkCount()).toBe(0);
  });
});

describe('scattered writes beside a hole', () => {
  it('are written together without it', async () => {
    const inode = await bed.make();
    const file = await (await bed.node()).open(inode);
    const expected = Buffer.from(bytesOf(3 * MiB, 1));
    await file.write(0, expected);
    await file.sync();
    await file.deallocate({ offset: MiB, lengthBytes: MiB });
    expected.fill(0, MiB, 2 * MiB);
    for (let at = 0; at < MiB; at += 12 * KiB) {
      await file.write(at, bytesOf(100, at));
      expected.set(bytesOf(100, at), at);
    }
    await file.close();
    expect(Buffer.compare(await read(inode), expected)).toBe(0);
    expect((await bed.cell.tree.getAttributes(inode))!.storedBytes).toBe(2 * MiB);
    expect((await bed.cell.namespace.extents(inode)).length).toBeLessThan(5);
  });
});

describe('what is overwritten or cut off', () => {
  const releasing = { releaseLoose: async (inode: Inode) => await release(inode) };
  const release = async (inode: Inode): Promise<void> =>
    await bed.repair.releaseLoose(bed.volume.id, inode);

  it('is freed at once, without the collector', async () => {
    const inode = await bed.make();
    const files = await bed.node(releasing);
    const file = await files.open(inode);
    await file.write(0, bytesOf(100_000, 0));
    await file.sync();
    const once = await chunkCount();
    for (let times = 1; times <= 20; times++) {
      await file.write(0, bytesOf(100_000, times));
      await file.sync();
    }
    await file.close();
    await files[Symbol.asyncDispose]();
    expect(Buffer.compare(await read(inode), bytesOf(100_000, 20))).toBe(0);
    expect(await chunkCount()).toBe(once);
  });

  it('also when it is cut, a hole, or goes beside its inode; shared stripes stay', async () => {
    const inode = await bed.make();
    const files = await bed.node(releasing);
    const file = await files.open(inode);
    const copy = await files.open(await bed.make());
    await file.write(0, bytesOf(100_000, 1));
    expect(await copy.copyFrom(file, { offset: 0, lengthBytes: 100_000 }, 0)).toBe(100_000);
    await copy.close();
    const once = await chunkCount();
    await file.truncate(100);
    await file.write(0, bytesOf(100, 2));
    await file.close();
    expect(await isInline(inode)).toBe(true);
    const cut = await files.open(await bed.make());
    await cut.write(0, bytesOf(200_000, 3));
    await cut.sync();
    await cut.truncate(0);
    await cut.close();
    await files[Symbol.asyncDispose]();
    expect(await chunkCount()).toBe(once);
    expect(Buffer.compare(await read(copy.inode), bytesOf(100_000, 1))).toBe(0);
    const others = await bed.node(releasing);
    const again = await others.open(copy.inode);
    await again.deallocate({ offset: 0, lengthBytes: 100_000 });
    await again.close();
    await others[Symbol.asyncDispose]();
    expect(await chunkCount()).toBe(0);
  });
});
