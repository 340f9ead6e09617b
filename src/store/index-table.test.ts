/**
 * Aim: the index holds what was applied, whatever the order, also when homes collide and records
 * have continuations; its goal never falls behind its table.
 * Method: random records and removals over few ids with equal leading bytes, compared with a map.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ChunkId, LIMITS, toHex } from '../base/index.ts';
import { imageBlocks } from './index-image.ts';
import { IndexTable } from './index-table.ts';
import { recordsOf } from './journal.ts';
import { type ChunkRecord, encodeRecord, SlotList, slotsFor } from './slot.ts';

/** Ids that share their home slot, but for the last byte. */
function idOf(number: number): ChunkId {
  const id = new Uint8Array(32).fill(7);
  id[0] = number % 4 === 0 ? 255 : 7;
  id[20] = number % 16;
  id[31] = Math.floor(number / 16);
  return id as ChunkId;
}

function recordOf(number: number, extentCount: number, generation: number): ChunkRecord {
  return {
    id: idOf(number),
    kind: generation % 3 === 0 ? 'bad' : 'live',
    lengthBytes: number * 1000 + 1,
    generation,
    extents: Array.from({ length: extentCount }, (_, index) => ({
      start: 2 ** 33 * index + number,
      blocks: index + 1,
    })),
    checksum: BigInt(number) * 0x1234_5678_9abcn,
    writtenAt: 1_700_000_000,
    verifiedAt: 1_700_000_001,
  };
}

const step = fc.record({
  number: fc.nat(79),
  extentCount: fc.integer({ min: 0, max: LIMITS.extentsPerChunkMax }),
  generation: fc.nat(0xff_ffff),
});

describe('index table', () => {
  it('holds what a map would hold', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const index = new IndexTable(1);
        const model = new Map<string, ChunkRecord>();
        for (const { number, extentCount, generation } of steps) {
          const record = recordOf(number, extentCount, generation);
          if (extentCount === 0) {
            index.apply(encodeRecord({ ...record, kind: 'removed' }));
            model.delete(toHex(record.id));
          } else {
            index.apply(encodeRecord(record));
            model.set(toHex(record.id), record);
          }
        }
        for (let number = 0; number < 80; number++) {
          expect(index.find(idOf(number))).toEqual(model.get(toHex(idOf(number))));
        }
        const all = [0, 1].flatMap((partition) => index.recordsOf(partition));
        expect(new Map(all.map((record) => [toHex(record.id), record]))).toEqual(model);
        const slots = [...model.values()].map(({ extents }) => slotsFor(extents.length));
        const usedSlots = index.partitions.reduce((sum, each) => sum + each.usedSlots, 0);
        expect(usedSlots).toBe(slots.reduce((sum, count) => sum + count, 0));
        const blocks = index.partitions.map(({ words }) => imageBlocks(words.length / 16));
        expect(index.goalBlocks).toBe(blocks.reduce((sum, count) => sum + count, 0));
      }),
      { numRuns: 60 },
    );
  });

  it('raises its goal with what is planned, and takes it back', () => {
    const index = new IndexTable(0);
    for (let number = 0; number < 47; number++) {
      index.apply(encodeRecord(recordOf(number, 1, 1)));
    }
    const before = index.goalBlocks;
    index.plan(idOf(50), 2);
    expect(index.goalBlocks).toBeGreaterThan(before);
    index.unplan(idOf(50), 2);
    expect(index.goalBlocks).toBe(before);
  });

  it('keeps the order of extents when a table grows whose end a record had crossed', () => {
    const index = new IndexTable(0);
    const record = recordOf(1, LIMITS.extentsPerChunkMax, 1);
    const id = new Uint8Array(32).fill(9) as ChunkId;
    // Home slot 61 of 64: the third continuation is at the start of the table.
    id.set([61, 0, 0, 0], 4);
    id[31] = 0;
    index.apply(encodeRecord({ ...record, id }));
    for (let number = 0; number < 60; number++) index.apply(encodeRecord(recordOf(number, 1, 1)));
    expect(index.partitions[0]!.words.length / 16).toBe(128);
    expect(index.find(id)).toEqual({ ...record, id });
  });

  it('takes records from the middle of a list, as a journal has them', () => {
    const index = new IndexTable(0);
    const list = new SlotList();
    const records = [recordOf(1, 9, 4), recordOf(2, 1, 3), recordOf(3, 16, 1)];
    for (const record of records) list.write(record);
    for (const at of recordsOf(list.words)) index.apply(list.words, at);
    for (const record of records) expect(index.find(record.id)).toEqual(record);
  });
});
