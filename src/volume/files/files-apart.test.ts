/**
 * Aim: nodes that write to one file at the same time keep each other's bytes, whatever units of
 * 4 KiB these share; what scattered writes leave is written together; a commit of which nobody
 * knows whether it was executed undoes nothing. Method: two nodes over one cell, which is told to
 * lose answers, or requests, or to execute them late.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorCode, HoldfastError, KiB, LIMITS, MiB } from '../../base/index.ts';
import type { ContentCommit, Tree } from '../../meta/index.ts';
import { FilesBed } from '../../../test/suites/files-bed.ts';
import { bytesOf } from '../../../test/suites/store-bed.ts';
import type { OpenFile, OpenFiles } from '../index.ts';
import type { FilesFault } from './files-context.ts';

const CELL_BYTES = 1000;
const CELLS = 40;
/** Cells of a file that stays beside its inode, and of one that grows out of it. */
const SMALL_CELL_BYTES = 50;
const GROWING_CELL_BYTES = 150;

let bed: FilesBed;

beforeEach(async () => {
  bed = await FilesBed.open();
});

afterEach(async () => {
  await bed[Symbol.asyncDispose]();
});

async function readAll(files: OpenFiles, inode: bigint): Promise<Uint8Array> {
  await using file = await files.open(inode);
  return await file.read({ offset: 0, lengthBytes: 1e8 });
}

/** Each node has every other cell, writes them in an order of its own, and syncs now and then. */
async function writeApart({
  fault,
  cellBytes = CELL_BYTES,
}: { fault?: FilesFault; cellBytes?: number } = {}): Promise<boolean> {
  const inode = await bed.make();
  const expected = Buffer.alloc(CELLS * cellBytes);
  bed.putTurns = 2;
  const work = async (index: number): Promise<void> => {
    await using file = await (await bed.node({ fault })).open(inode);
    for (let step = 0; step < 2 * CELLS; step++) {
      const cell = 2 * ((step * 7) % (CELLS / 2)) + index;
      const bytes = bytesOf(cellBytes, step * 2 + index);
      await file.write(cell * cellBytes, bytes);
      expected.set(bytes, cell * cellBytes);
      if (step % 3 === index) await file.sync();
    }
  };
  await Promise.all([work(0), work(1)]);
  return Buffer.compare(await readAll(await bed.node(), inode), expected) === 0;
}

describe('two nodes that write at the same time', () => {
  it('keep each other’s bytes', async () => {
    expect(await writeApart()).toBe(true);
  });

  it('would not if they trusted what they had read', async () => {
    expect(await writeApart({ fault: 'trusts-edges' })).toBe(false);
  });

  it.each([SMALL_CELL_BYTES, GROWING_CELL_BYTES])(
    'keep those of files with cells of %i bytes, too',
    async (cellBytes) => {
      expect(await writeApart({ cellBytes })).toBe(true);
    },
  );

  it('would not if they trusted that nobody else has changed a small file', async () => {
    const fault = 'trusts-extents';
    expect(await writeApart({ fault, cellBytes: SMALL_CELL_BYTES })).toBe(false);
  });

  it.each<[FilesFault | undefined, boolean]>([
    [undefined, true],
    ['leaves-inline', false],
  ])(
    'keep what one has written while the other grows the file (fault %s)',
    async (fault, isKept) => {
      const inode = await bed.make();
      const [mine, theirs] = [await bed.node({ fault }), await bed.node({ fault })];
      await using file = await mine.open(inode);
      await file.write(0, bytesOf(1000, 1));
      await file.sync();
      await using other = await theirs.open(inode);
      await file.write(10, bytesOf(100, 2));
      await other.write(50_000, bytesOf(100, 3));
      await Promise.all([file.sync(), other.sync()]);
      const expected = Buffer.alloc(50_100);
      expected.set(bytesOf(1000, 1));
      expected.set(bytesOf(100, 2), 10);
      expected.set(bytesOf(100, 3), 50_000);
      const bytes = await readAll(await bed.node(), inode);
      expect(Buffer.compare(bytes, expected) === 0).toBe(isKept);
    },
  );

  it('have their turns, however many they are', async () => {
    const inode = await bed.make();
    const expected = Buffer.alloc(4000);
    const work = async (index: number): Promise<void> => {
      await using file = await (await bed.node()).open(inode);
      for (let step = 0; step < 60; step++) {
        const at = ((step * 7) % 20) * 200 + index * 50;
        const bytes = bytesOf(50, step * 4 + index);
        await file.write(at, bytes);
        expected.set(bytes, at);
        await file.sync();
      }
    };
    await Promise.all([0, 1, 2, 3].map(work));
    expect(Buffer.compare(await readAll(await bed.node(), inode), expected)).toBe(0);
    expect((await bed.cell.tree.getAttributes(inode))?.isInline).toBe(true);
  });

  it('keep each other’s bytes beside holes', async () => {
    const inode = await bed.make();
    const [mine, theirs] = [await bed.node(), await bed.node()];
    const expected = Buffer.from(bytesOf(100_000, 1));
    await using file = await mine.open(inode);
    await file.write(0, expected);
    await file.sync();
    await using other = await theirs.open(inode);
    await file.deallocate({ offset: 10_000, lengthBytes: 50_000 });
    expected.fill(0, 10_000, 60_000);
    await other.write(70_000, bytesOf(100, 2));
    expected.set(bytesOf(100, 2), 70_000);
    await Promise.all([file.sync(), other.sync()]);
    await file.write(30_000, bytesOf(100, 3));
    expected.set(bytesOf(100, 3), 30_000);
    await file.sync();
    expect(Buffer.compare(await readAll(await bed.node(), inode), expected)).toBe(0);
    const status = await bed.cell.tree.getAttributes(inode);
    expect(status!.storedBytes).toBeLessThanOrEqual(50_000 + 4096);
  });

  it('see small content that took the place of what they knew', async () => {
    const inode = await bed.make();
    const [mine, theirs] = [await bed.node(), await bed.node()];
    await using file = await mine.open(inode);
    await file.write(0, bytesOf(200_000, 1));
    await file.sync();
    await using other = await theirs.open(inode);
    await file.truncate(10);
    await file.write(100, bytesOf(900, 2));
    await file.sync();
    const expected = Buffer.alloc(1000);
    expected.set(bytesOf(10, 1));
    expected.set(bytesOf(900, 2), 100);
    const bytes = await other.read({ offset: 0, lengthBytes: 1e6 });
    expect(Buffer.compare(bytes, expected)).toBe(0);
  });

  it('see what the other one has written when a read fails for want of old stripes', async () => {
    const inode = await bed.make();
    const [mine, theirs] = [await bed.node(), await bed.node()];
    await using file = await mine.open(inode);
    await file.write(0, bytesOf(200_000, 1));
    await file.sync();
    await using other = await theirs.open(inode);
    await other.write(0, bytesOf(200_000, 2));
    await other.sync();
    await bed.repair.collect({ graceMs: 0 });
    const bytes = await file.read({ offset: 0, lengthBytes: 1e6 });
    expect(Buffer.compare(bytes, bytesOf(200_000, 2))).toBe(0);
  });
});

describe('a node that dies', () => {
  it('has stored what it synced, and leaves nothing of what it was storing', async () => {
    const inode = await bed.make();
    const file = await (await bed.node()).open(inode);
    await file.write(0, bytesOf(300_000, 1));
    await file.sync();
    bed.putTurns = Infinity;
    await file.write(100_000, bytesOf(50_000, 2));
    const late = file.sync().then(() => 'ok', errorCode);
    for (let turns = 0; turns < 10; turns++) await nextTurn();
    // Its next life, as far as the references know.
    await bed.bed.references.openSession('node 0');
    await bed.repair.collect({ graceMs: 0 });
    bed.putTurns = 0;
    expect(await late).toBe('HF_FENCED');
    const others = await bed.node();
    expect(Buffer.compare(await readAll(others, inode), bytesOf(300_000, 1))).toBe(0);
    await expect(file.close()).rejects.toThrow();
    await using left = await others.open(inode);
    await left.truncate(0);
    await bed.repair.collect({ graceMs: 0 });
    for (const store of bed.bed.stores) expect(await bed.bed.held(store)).toEqual([]);
  });
});

describe('scattered writes', () => {
  it('become few extents, at once or after a while', async () => {
    const inode = await bed.make();
    const files = await bed.node();
    const file = await files.open(inode);
    const expected = Buffer.from(bytesOf(4 * MiB, 1));
    await file.write(0, expected);
    await file.sync();
    const modified: bigint[] = [];
    const scatter = async (stride: number, isSynced: boolean): Promise<void> => {
      for (let at = 0; at < expected.length; at += stride) {
        const bytes = bytesOf(100, at + stride);
        await file.write(at, bytes);
        expected.set(bytes, at);
        if (isSynced) await file.sync();
      }
      await file.sync();
      modified.push(file.status.modifiedNs);
    };
    await scatter(16 * KiB, false);
    expect(await bed.cell.namespace.extents(inode)).toHaveLength(1);
    await scatter(50_000, true);
    await file.close();
    await files[Symbol.asyncDispose]();
    const { length } = await bed.cell.namespace.extents(inode);
    expect(length).toBeLessThan(LIMITS.extentsPerWindowMax);
    expect(Buffer.compare(await readAll(await bed.node(), inode), expected)).toBe(0);
    // What nobody wrote changes no time.
    const status = await bed.cell.tree.getAttributes(inode);
    expect(status!.modifiedNs).toBe(modified.at(-1));
  });
});

describe('a commit without an answer', () => {
  type Loss = 'answer' | 'request' | 'late';

  /** @param loss what becomes of the first commit with extents. */
  function losing(loss: Loss): { tree: Tree; late: () => Promise<unknown> } {
    let isLost = false;
    let late: ContentCommit | undefined;
    const tree: Tree = {
      ...bed.cell.tree,
      commitExtents: async (commit) => {
        const isContent = commit.inline !== undefined || commit.extents.length > 0;
        if (isLost || !isContent) return await bed.cell.tree.commitExtents(commit);
        isLost = true;
        if (loss === 'answer') await bed.cell.tree.commitExtents(commit);
        if (loss === 'late') late = commit;
        throw new HoldfastError('HF_UNKNOWN_OUTCOME');
      },
    };
    return { tree, late: async () => late && (await bed.cell.tree.commitExtents(late)) };
  }

  async function synced(file: OpenFile): Promise<unknown> {
    return await file.sync().then(() => 'ok', errorCode);
  }

  it.each<[Loss, string]>([
    ['answer', 'ok'],
    ['request', 'HF_UNKNOWN_OUTCOME'],
    ['late', 'HF_UNKNOWN_OUTCOME'],
  ])('because the %s is lost', async (loss, outcome) => {
    const { tree, late } = losing(loss);
    const inode = await bed.make();
    const files = await bed.node({ tree });
    const file = await files.open(inode);
    await file.write(0, bytesOf(10_000, 1));
    expect(await synced(file)).toBe(outcome);
    await file.write(100, bytesOf(500, 2));
    expect(await synced(file)).toBe('ok');
    const refused = await late().then(() => undefined, errorCode);
    expect(refused).toBe(loss === 'late' ? 'HF_FENCED' : undefined);
    await file.close();
    const expected = Buffer.from(bytesOf(10_000, 1));
    expected.set(bytesOf(500, 2), 100);
    expect(Buffer.compare(await readAll(await bed.node(), inode), expected)).toBe(0);
    await files[Symbol.asyncDispose]();
    await bed.repair.collect({ graceMs: 0 });
    expect(Buffer.compare(await readAll(await bed.node(), inode), expected)).toBe(0);
  });

  it.each<[Loss, string]>([
    ['answer', 'ok'],
    ['request', 'HF_UNKNOWN_OUTCOME'],
    ['late', 'HF_UNKNOWN_OUTCOME'],
  ])('of a small file, because the %s is lost', async (loss, outcome) => {
    const { tree, late } = losing(loss);
    const inode = await bed.make();
    const files = await bed.node({ tree });
    const file = await files.open(inode);
    await file.write(0, bytesOf(1000, 1));
    expect(await synced(file)).toBe(outcome);
    await file.write(100, bytesOf(50, 2));
    expect(await synced(file)).toBe('ok');
    await file.truncate(120);
    const refused = await late().then(() => undefined, errorCode);
    expect(refused).toBe(loss === 'late' ? 'HF_BUSY' : undefined);
    await file.close();
    const expected = Buffer.from(bytesOf(120, 1));
    expected.set(bytesOf(50, 2).subarray(0, 20), 100);
    expect(Buffer.compare(await readAll(await bed.node(), inode), expected)).toBe(0);
  });

  it('that comes after the file was read anew, and before the next one, is seen', async () => {
    const { tree, late } = losing('late');
    const inode = await bed.make();
    const file = await (await bed.node({ tree })).open(inode);
    await file.write(0, bytesOf(1000, 1));
    expect(await synced(file)).toBe('HF_UNKNOWN_OUTCOME');
    await late();
    await file.write(500, bytesOf(5000, 2));
    expect(await synced(file)).toBe('ok');
    await file.close();
    const expected = Buffer.concat([bytesOf(500, 1), bytesOf(5000, 2)]);
    expect(Buffer.compare(await readAll(await bed.node(), inode), expected)).toBe(0);
  });
});
