/**
 * Aim: what is written to open files is read back, here at once, elsewhere after close and open; it
 * becomes few extents; memory stays bounded; failures are told once to everybody and lose nothing
 * before the last close. Method: open files of several "nodes" over a real cell and real stripes in
 * memory, whose stores fail when told.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  errorCode,
  HoldfastError,
  KiB,
  LIMITS,
  MiB,
  parsePolicy,
  toHex,
} from '../../base/index.ts';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { bytesOf, eventually, streamOf } from '../../../test/suites/store-bed.ts';
import type { OpenFile, OpenFiles } from '../index.ts';

let bed: FilesBed;
let node: OpenFiles;

beforeEach(async () => {
  bed = await FilesBed.open();
  node = await bed.node();
});

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

const codeOf = (work: Promise<unknown>): Promise<unknown> => work.then(() => 'ok', errorCode);

async function contentOf(file: OpenFile, offset = 0, lengthBytes = 1e9): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let at = offset; at < offset + lengthBytes;) {
    const range = { offset: at, lengthBytes: Math.min(MiB, offset + lengthBytes - at) };
    const bytes = await file.read(range);
    if (bytes.length === 0) break;
    pieces.push(Buffer.from(bytes));
    at += bytes.length;
  }
  return Buffer.concat(pieces);
}

function expectSame(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  expect(Buffer.compare(actual, expected)).toBe(0);
}

async function writeAll(file: OpenFile, bytes: Uint8Array, stepBytes = MiB): Promise<void> {
  for (let at = 0; at < bytes.length; at += stepBytes) {
    await file.write(at, bytes.subarray(at, at + stepBytes));
  }
}

async function extentsOf(file: OpenFile) {
  return await bed.cell.namespace.extents(file.inode);
}

async function stripesOf(file: OpenFile): Promise<string[]> {
  return (await extentsOf(file)).map(({ stripe }) => toHex(stripe));
}

describe('what is written', () => {
  it('is read at once, becomes full stripes, and is read by others when it is closed', async () => {
    const inode = await bed.make();
    const content = bytesOf(23 * MiB + 777, 1);
    const file = await node.open(inode);
    await writeAll(file, content);
    expectSame(await contentOf(file), content);
    expect(file.status.sizeBytes).toBe(content.length);
    await file.close();
    const other = await (await bed.node()).open(inode);
    expectSame(await contentOf(other), content);
    expect((await extentsOf(other)).map(({ lengthBytes }) => lengthBytes)).toEqual([
      10 * MiB,
      10 * MiB,
      3 * MiB + 777,
    ]);
  });

  it('in small steps becomes one extent', async () => {
    const content = bytesOf(200_000, 2);
    const file = await node.open(await bed.make());
    await writeAll(file, content, 333);
    await file.sync();
    expect(await extentsOf(file)).toHaveLength(1);
    expectSame(await contentOf(file), content);
    expect(node.memory.usedBytes).toBe(0);
  });

  it('overwrites units of 4 KiB, not stripes, and is one again when it is scattered', async () => {
    const expected = Buffer.from(bytesOf(2 * MiB, 3));
    const file = await node.open(await bed.make());
    await writeAll(file, expected);
    await file.sync();
    const change = bytesOf(10, 4);
    await file.write(70_000, change);
    expected.set(change, 70_000);
    await file.sync();
    expect((await extentsOf(file)).map(({ lengthBytes }) => lengthBytes)).toEqual([
      68 * KiB,
      4 * KiB,
      2 * MiB - 72 * KiB,
    ]);
    for (let index = 0; index < 40; index++) {
      await file.write(index * 40_000, change);
      expected.set(change, index * 40_000);
      await file.sync();
    }
    await file.close();
    await node[Symbol.asyncDispose]();
    const again = await (await bed.node()).open(file.inode);
    expect((await extentsOf(again)).length).toBeLessThan(40);
    expectSame(await contentOf(again), expected);
  });

  it('keeps to its memory, and goes on when some of it became content', async () => {
    const small = await bed.node({ dirtyBytesMax: 4 * MiB });
    const file = await small.open(await bed.make());
    const expected = Buffer.alloc(15 * MiB);
    for (let index = 0; index < 150; index++) {
      const at = ((index * 7919) % 150) * 100_000;
      const bytes = bytesOf(50_000, index);
      await file.write(at, bytes);
      expected.set(bytes, at);
    }
    const size = file.status.sizeBytes;
    expectSame(await contentOf(file), expected.subarray(0, size));
    expect(small.memory.peakBytes).toBeLessThanOrEqual(4 * MiB);
    await file.close();
    expect(small.memory.usedBytes).toBe(0);
    expectSame(await contentOf(await node.open(file.inode)), expected.subarray(0, size));
  });

  it('becomes content by itself after a while', async () => {
    const file = await node.open(await bed.make());
    await file.write(0, bytesOf(1000, 1));
    await bed.bed.env.clock.sleep(2 * LIMITS.dirtyAgeMsMax);
    const others = await bed.node();
    await eventually(async () => {
      await using other = await others.open(file.inode);
      expectSame(await contentOf(other), bytesOf(1000, 1));
    });
  });

  it('keeps its time, or the one that was set', async () => {
    const file = await node.open(await bed.make());
    await file.write(0, bytesOf(10, 1));
    const { modifiedNs } = file.status;
    await file.sync();
    expect((await bed.cell.tree.getAttributes(file.inode))!.modifiedNs).toBe(modifiedNs);
    await file.write(0, bytesOf(10, 2));
    await bed.cell.tree.setAttributes(file.inode, { modifiedNs: 12_345n });
    file.setModified(12_345n);
    await file.close();
    expect((await bed.cell.tree.getAttributes(file.inode))!.modifiedNs).toBe(12_345n);
  });

  it('is stored in each encoding of a hybrid, and read from the other one', async () => {
    bed.volume = { ...bed.volume, policy: parsePolicy('rs-4+2,copy-2') };
    const file = await node.open(await bed.make());
    const content = Buffer.from(bytesOf(300_000, 1));
    await writeAll(file, content);
    await file.sync();
    await file.write(100_000, bytesOf(5000, 2));
    content.set(bytesOf(5000, 2), 100_000);
    await file.close();
    const extents = await extentsOf(file);
    const [first, second] = [0, 1].map((wanted) =>
      extents.filter(({ encoding }) => encoding === wanted),
    );
    expect(first!.length).toBe(second!.length);
    const other = await (await bed.node()).open(file.inode);
    expectSame(await contentOf(other), content);
  });
});

describe('a file', () => {
  it('grows with a hole, is cut, and shows nothing of what was behind', async () => {
    const file = await node.open(await bed.make());
    await writeAll(file, bytesOf(300_000, 1));
    await file.sync();
    await file.write(400_000, bytesOf(10, 2));
    await file.truncate(1000);
    await file.truncate(500_000);
    const expected = Buffer.alloc(500_000);
    expected.set(bytesOf(1000, 1).subarray(0, 1000));
    expected.set(bytesOf(300_000, 1).subarray(0, 1000));
    expectSame(await contentOf(file), expected);
    await file.close();
    expectSame(await contentOf(await (await bed.node()).open(file.inode)), expected);
  });

  it('has holes where nothing was written or where they were made', async () => {
    const file = await node.open(await bed.make());
    await file.write(100 * MiB, bytesOf(100_000, 1));
    expect(await file.seekData(0)).toBe(100 * MiB);
    expect(await file.seekHole(0)).toBe(0);
    expect(await file.seekHole(100 * MiB)).toBe(100 * MiB + 100_000);
    await file.sync();
    expect(await file.seekData(5)).toBe(100 * MiB);
    await file.deallocate({ offset: 100 * MiB + 10_000, lengthBytes: 50_000 });
    expect(await file.seekHole(100 * MiB)).toBe(100 * MiB + 10_000);
    expect(await file.seekData(100 * MiB + 20_000)).toBe(100 * MiB + 60_000);
    expect(await file.seekData(100 * MiB + 100_000)).toBeUndefined();
    const expected = Buffer.from(bytesOf(100_000, 1)).fill(0, 10_000, 60_000);
    expectSame(await contentOf(file, 100 * MiB), expected);
    await file.close();
    const other = await (await bed.node()).open(file.inode);
    expectSame(await contentOf(other, 100 * MiB), expected);
    expect(other.status.sizeBytes).toBe(100 * MiB + 100_000);
  });

  it('is copied from another one', async () => {
    const [source, target] = [await node.open(await bed.make()), await node.open(await bed.make())];
    const content = bytesOf(25 * MiB, 5);
    await writeAll(source, content);
    const copied = await target.copyFrom(source, { offset: 0, lengthBytes: 1e9 }, 5);
    expect(copied).toBe(25 * MiB);
    expect(await stripesOf(target)).toEqual(await stripesOf(source));
    expectSame((await contentOf(target)).subarray(5), content);
    await target.close();
    await source.truncate(0);
    await source.close();
    await bed.repair.collect({ graceMs: 0 });
    const other = await (await bed.node()).open(target.inode);
    expectSame((await contentOf(other)).subarray(5), content);
  });

  it('that is open twice on a node has one content', async () => {
    const inode = await bed.make();
    const [one, two] = [await node.open(inode), await node.open(inode)];
    await one.write(0, bytesOf(100, 1));
    expectSame(await contentOf(two), bytesOf(100, 1));
    await two.write(50, bytesOf(100, 2));
    await one.close();
    expect(two.status.sizeBytes).toBe(150);
    expectSame((await contentOf(two)).subarray(50), bytesOf(100, 2));
  });

  it.each([
    ['in stripes', 5000, 1],
    ['beside its inode', 100, 0],
  ])(
    '%s is read as others left it when opened again, else as known',
    async (_, sizeBytes, looks) => {
      const inode = await bed.make();
      let asked = 0;
      const { namespace } = bed.cell;
      const counted = {
        ...namespace,
        extents: async (...given: Parameters<typeof namespace.extents>) => {
          asked += 1;
          return await namespace.extents(...given);
        },
      };
      const watched = await bed.node({ namespace: counted });
      const other = await bed.node();
      const [mine, theirs] = [await watched.open(inode), await other.open(inode)];
      await mine.write(0, bytesOf(sizeBytes, 1));
      await mine.close();
      await theirs.write(50, bytesOf(sizeBytes, 2));
      await theirs.close();
      const expected = Buffer.concat([bytesOf(50, 1), bytesOf(sizeBytes, 2)]);
      for (let times = 0; times < 3; times++) {
        await using again = await watched.open(inode);
        expectSame(await contentOf(again), expected);
      }
      expect(asked).toBe(looks);
    },
  );

  it('that was put as an object is written in place, and got as it is then', async () => {
    await using objects = await bed.objects();
    const content = Buffer.from(bytesOf(300_000, 1));
    const { info } = await objects.put(streamOf(content), { key: 'a' });
    const { inode } = (await bed.cell.namespace.object(info.id))!;
    const file = await node.open(inode);
    expectSame(await contentOf(file), content);
    await file.write(1000, bytesOf(500, 2));
    content.set(bytesOf(500, 2), 1000);
    await file.sync();
    const { bytes } = await objects.get('a');
    expectSame(Buffer.concat(await Array.fromAsync(bytes, (each) => Buffer.from(each))), content);
    await objects.put(streamOf(bytesOf(10, 3)), { key: 'a' });
    await file.write(0, bytesOf(10, 4));
    expect(await codeOf(file.sync())).toBe('HF_NOT_FOUND');
    expect(await codeOf(file.close())).toBe('HF_NOT_FOUND');
    expect(node.memory.usedBytes).toBe(0);
  });

  it('that two nodes write to has the bytes of the one or the other', async () => {
    const inode = await bed.make();
    const other = await bed.node();
    const [mine, theirs] = [await node.open(inode), await other.open(inode)];
    // Within one unit of 4 KiB: neither may bring back what was there before the other.
    await mine.write(0, Buffer.alloc(4096, 'a'));
    await mine.sync();
    await mine.write(0, Buffer.alloc(1000, 'b'));
    await theirs.write(2000, Buffer.alloc(1000, 'c'));
    await Promise.all([mine.sync(), theirs.sync()]);
    const expected = Buffer.alloc(4096, 'a').fill('b', 0, 1000).fill('c', 2000, 3000);
    expectSame(await contentOf(await (await bed.node()).open(inode)), expected);
  });
});

describe('what cannot be stored', () => {
  const full = new HoldfastError('HF_NO_SPACE');

  it('is told to everybody once, stays readable, and is stored when that can be', async () => {
    const inode = await bed.make();
    const [one, two] = [await node.open(inode), await node.open(inode)];
    await one.write(0, bytesOf(100_000, 1));
    bed.putError = full;
    expect(await codeOf(one.sync())).toBe('HF_NO_SPACE');
    expectSame(await contentOf(two), bytesOf(100_000, 1));
    expect(await codeOf(two.write(0, bytesOf(10, 9)))).toBe('HF_NO_SPACE');
    // It is known by now, so a write fails itself.
    expect(await codeOf(two.write(0, bytesOf(10, 9)))).toBe('HF_NO_SPACE');
    bed.putError = undefined;
    await one.sync();
    await two.close();
    await one.close();
    expectSame(await contentOf(await (await bed.node()).open(inode)), bytesOf(100_000, 1));
    await bed.repair.collect({ graceMs: 0 });
    expectSame(await contentOf(await (await bed.node()).open(inode)), bytesOf(100_000, 1));
  });

  it('does not stop who waits for memory for ever', async () => {
    const small = await bed.node({ dirtyBytesMax: 2 * MiB });
    const file = await small.open(await bed.make());
    bed.putError = full;
    const writes: Promise<unknown>[] = [];
    for (let at = 0; at < 8; at++) writes.push(codeOf(file.write(at * MiB, bytesOf(500_000, at))));
    expect(await Promise.all(writes)).toContain('HF_NO_SPACE');
    expect(await codeOf(file.close())).toBe('HF_NO_SPACE');
    expect(small.memory.usedBytes).toBe(0);
    bed.putError = undefined;
    expect((await small.open(file.inode)).status.sizeBytes).toBe(0);
  });

  it('for a while only makes writers wait, and is told to nobody', async () => {
    const reasons = new Set<unknown>();
    const onWaiting = (reason?: unknown): unknown => reasons.add(errorCode(reason) ?? 'stored');
    const small = await bed.node({ dirtyBytesMax: 4 * MiB, onWaiting });
    const file = await small.open(await bed.make());
    bed.putError = new HoldfastError('HF_UNAVAILABLE');
    const later = bed.bed.env.clock.sleep(LIMITS.stuckWriteMsMax / 2);
    const content = bytesOf(12 * MiB, 1);
    const written = writeAll(file, content);
    await later;
    bed.putError = undefined;
    await written;
    await file.close();
    expect([...reasons]).toEqual(['HF_TOO_FEW_STORES', 'stored']);
    expectSame(await contentOf(await node.open(file.inode)), content);
    const other = await small.open(await bed.make());
    bed.putError = new HoldfastError('HF_UNAVAILABLE');
    expect(await codeOf(writeAll(other, content))).not.toBe('ok');
    await expect(other.close()).rejects.toThrow();
  });

  it('is not even tried where it is known that there is no room', async () => {
    const known = await bed.node({ roomBytes: () => 1000 });
    const file = await known.open(await bed.make());
    await file.write(0, bytesOf(100, 1));
    expect(await codeOf(file.write(100, bytesOf(1000, 1)))).toBe('HF_NO_SPACE');
  });

  it('when stores are away is read, and can be overwritten even beside what is lost', async () => {
    const file = await node.open(await bed.make());
    await writeAll(file, bytesOf(300_000, 1));
    await file.close();
    const [first, second, third] = bed.bed.stores;
    bed.bed.away.add(first!);
    bed.bed.away.add(second!);
    const reader = await (await bed.node()).open(file.inode);
    expectSame(await contentOf(reader), bytesOf(300_000, 1));
    bed.bed.away.add(third!);
    const late = await (await bed.node()).open(file.inode);
    expect(await codeOf(late.read({ offset: 0, lengthBytes: 300_000 }))).toBe('HF_TOO_FEW_SHARDS');
    bed.bed.away.delete(third!);
    expectSame(await contentOf(late), bytesOf(300_000, 1));
  });
});

describe('a protected volume', () => {
  it('takes what is added and nothing else', async () => {
    await bed[Symbol.asyncDispose]();
    bed = await FilesBed.open({ retention: { retentionMs: undefined } });
    const file = await (await bed.node()).open(await bed.make());
    await file.write(0, bytesOf(1000, 1));
    await file.sync();
    await file.write(1000, bytesOf(1000, 2));
    await file.sync();
    expect(await codeOf(file.write(500, bytesOf(10, 3)))).toBe('HF_WORM');
    expect(await codeOf(file.truncate(10))).toBe('HF_WORM');
    const expected = Buffer.concat([bytesOf(1000, 1), bytesOf(1000, 2)]);
    expectSame(await contentOf(file), expected);
    await file.close();
    bed.volume = { ...bed.volume, retention: undefined };
  });
});
