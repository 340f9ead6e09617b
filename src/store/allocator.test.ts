/**
 * Aim: blocks are handed out once, counted right, and found while there are any.
 * Method: random takes and releases compared with a set of blocks.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../base/index.ts';
import { Allocator, type Extent } from './allocator.ts';
import { BITMAP_BLOCK_BITS } from './geometry.ts';

const BLOCKS = 300;

const step = fc.record({
  blocks: fc.integer({ min: 1, max: 70 }),
  extentsMax: fc.constantFrom(1, 3, Infinity),
  released: fc.nat(1000),
  isTake: fc.boolean(),
});

describe('allocator', () => {
  it('takes and gives back as a set of blocks would', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const allocator = new Allocator(BLOCKS);
        const taken = new Set<number>();
        const held: Extent[][] = [];
        const each = (extents: readonly Extent[], work: (block: number) => void): void => {
          for (const { start, blocks } of extents) {
            for (let block = start; block < start + blocks; block++) work(block);
          }
        };
        for (const { blocks, extentsMax, released, isTake } of steps) {
          if (isTake) {
            const extents = allocator.takeExtents(blocks, extentsMax);
            // Any blocks do where any number of extents is allowed.
            if (!extents) expect(extentsMax < Infinity || blocks > BLOCKS - taken.size).toBe(true);
            if (!extents) continue;
            expect(extents.length).toBeLessThanOrEqual(extentsMax);
            expect(extents.reduce((sum, extent) => sum + extent.blocks, 0)).toBe(blocks);
            each(extents, (block) => {
              expect(block >= 0 && block < BLOCKS && !taken.has(block)).toBe(true);
              taken.add(block);
            });
            held.push(extents);
          } else {
            const [extents] = held.splice(released % Math.max(held.length, 1), 1);
            if (!extents) continue;
            for (const extent of extents) allocator.release(extent);
            each(extents, (block) => taken.delete(block));
            expect(allocator.areFree(extents)).toBe(true);
          }
          expect(allocator.freeBlocks).toBe(BLOCKS - taken.size);
        }
        for (let block = 0; block < BLOCKS; block++) {
          expect(allocator.isFree({ start: block, blocks: 1 })).toBe(!taken.has(block));
        }
      }),
      { numRuns: 100 },
    );
  });

  it('finds a bug of ours: blocks taken or given back twice, or outside', () => {
    const allocator = new Allocator(100);
    allocator.take({ start: 30, blocks: 40 });
    expect(() => allocator.take({ start: 69, blocks: 2 })).toThrow(AssertionError);
    expect(() => allocator.release({ start: 29, blocks: 2 })).toThrow(AssertionError);
    expect(() => allocator.take({ start: 99, blocks: 2 })).toThrow(AssertionError);
    expect(allocator.areFree([{ start: 99, blocks: 2 }])).toBe(false);
  });

  it('shrinks by what is free at its end, and begins to search at its start again', () => {
    const allocator = new Allocator(200);
    for (const start of [0, 40]) allocator.take({ start, blocks: 10 });
    allocator.take({ start: 130, blocks: 3 });
    expect(allocator.takenEnd).toBe(133);
    expect(() => allocator.shrink(132)).toThrow(AssertionError);
    allocator.release({ start: 130, blocks: 3 });
    expect(allocator.takeRun(20)).toEqual({ start: 10, blocks: 20 });
    expect(allocator.takenEnd).toBe(50);
    allocator.shrink(101);
    expect([allocator.totalBlocks, allocator.freeBlocks]).toEqual([101, 61]);
    expect(allocator.takeRun(52)).toBeUndefined();
    expect(allocator.takeRun(10)).toEqual({ start: 30, blocks: 10 });
    expect(allocator.takeRun(51)).toEqual({ start: 50, blocks: 51 });
    allocator.grow(150);
    expect(allocator.takeRun(49)).toEqual({ start: 101, blocks: 49 });
    expect(new Allocator(64).takenEnd).toBe(0);
  });

  it('remembers which blocks of the stored bitmap have become stale, and what goes there', () => {
    const bits = BITMAP_BLOCK_BITS;
    const allocator = new Allocator(3 * bits + 40);
    expect(allocator.takeStale()).toEqual([0, 1, 2, 3]);
    expect(allocator.takeStale()).toEqual([]);
    allocator.take({ start: 2 * bits - 1, blocks: 2 });
    expect(allocator.takeStale()).toEqual([1, 2]);
    expect(allocator.bitsOf(1).at(-1)).toBe(2 ** 31);
    expect(allocator.bitsOf(2)[0]).toBe(1);
    // Past the end everything is taken.
    expect([...allocator.bitsOf(3).subarray(0, 4)]).toEqual([
      0,
      0xffff_ff00,
      2 ** 32 - 1,
      2 ** 32 - 1,
    ]);
    allocator.grow(3 * bits + 50);
    expect(allocator.takeStale()).toEqual([3]);
    allocator.markAllStale();
    expect(allocator.takeStale()).toEqual([0, 1, 2, 3]);
  });

  it('grows', () => {
    const allocator = new Allocator(70);
    expect(allocator.takeRun(70)).toEqual({ start: 0, blocks: 70 });
    expect(allocator.takeRun(1)).toBeUndefined();
    allocator.grow(101);
    expect(allocator.freeBlocks).toBe(31);
    expect(allocator.takeRun(31)).toEqual({ start: 70, blocks: 31 });
  });
});
