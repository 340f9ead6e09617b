/**
 * Aim: numbers are near to what they are asked for, none comes twice, few questions are asked, and
 * what is remembered stays bounded. Method: cells that count, with many that ask at once, and that
 * fail now and then.
 */
import { describe, expect, it } from 'vitest';
import { errorCode, HoldfastError, type ObjectId } from '../base/index.ts';
import { realEnv } from '../env/index.ts';
import { type Inode, slotNear } from '../meta/index.ts';
import { InodeSource } from './inode-source.ts';
import { parseKey } from './keys.ts';

/** One inode of each slot. */
function inSlot(slot: number): Inode {
  return BigInt(slot) << 52n;
}

class Cells {
  readonly next = new Map<number, bigint>();
  calls = 0;
  isDown = false;
  /** By path. */
  readonly directories = new Map<string, Inode>();
  looked = 0;
  readonly source = new InodeSource({
    env: realEnv(),
    namespace: {
      allocateInodes: async (count, near) => {
        this.calls += 1;
        await Promise.resolve();
        if (this.isDown) throw new HoldfastError('HF_UNAVAILABLE');
        const slot = slotNear(near);
        const first = this.next.get(slot) ?? 2n;
        this.next.set(slot, first + BigInt(count));
        return inSlot(slot) + first;
      },
    },
    tree: {
      nearestDirectory: async (names) => {
        this.looked += 1;
        return this.directories.get(names.join('')) ?? 1n;
      },
    },
  });
}

describe('inode numbers', () => {
  it('come from one range for many that ask at once, each once', async () => {
    const cells = new Cells();
    const taken = await Promise.all(
      Array.from({ length: 1500 }, (_, index) => cells.source.take({ inode: inSlot(index % 2) })),
    );
    expect(new Set(taken).size).toBe(1500);
    taken.forEach((inode, index) => expect(slotNear({ inode })).toBe(index % 2));
    expect(cells.calls).toBe(2);
  });

  it('can be asked for again when the cell did not answer', async () => {
    const cells = new Cells();
    cells.isDown = true;
    const asked = [1, 2].map(() => cells.source.take({ inode: 1n }).catch(errorCode));
    expect(await Promise.all(asked)).toEqual(['HF_UNAVAILABLE', 'HF_UNAVAILABLE']);
    cells.isDown = false;
    expect(await cells.source.take({ inode: 1n })).toBe(2n);
  });

  it('of slots that were not used for long are given up', async () => {
    const cells = new Cells();
    for (let slot = 0; slot < 300; slot++) {
      await cells.source.take({ inode: inSlot(slot) });
      await cells.source.take({ inode: inSlot(0) });
    }
    expect(cells.calls).toBe(300);
    await cells.source.take({ inode: inSlot(299) });
    await cells.source.take({ inode: inSlot(0) });
    expect(cells.calls).toBe(300);
    await cells.source.take({ inode: inSlot(1) });
    expect(cells.calls).toBe(301);
  });

  it('are near a directory as it was learnt last, and looked for once', async () => {
    const cells = new Cells();
    const path = parseKey('a/b/c');
    cells.directories.set('a/b/', inSlot(5));
    const slots: number[] = [];
    const put = async (): Promise<void> => {
      slots.push(slotNear({ inode: await cells.source.takeFor(path, '' as ObjectId) }));
    };
    await put();
    cells.source.learn(path, inSlot(7));
    await put();
    await put();
    expect(slots).toEqual([5, 7, 7]);
    expect(cells.looked).toBe(1);
  });
});

describe('ids of objects without a key', () => {
  it('are of one slot for as long as its range lasts, and differ', () => {
    const { source } = new Cells();
    const ids = Array.from({ length: 2048 }, () => source.newId());
    expect(new Set(ids).size).toBe(2048);
    expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true);
    const slots = ids.map((objectId) => slotNear({ objectId }));
    expect(new Set(slots.slice(0, 1024)).size).toBe(1);
    expect(new Set(slots).size).toBeLessThanOrEqual(2);
  });
});
