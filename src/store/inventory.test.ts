/**
 * Aim: counts, group counts and digests say what is in the index, whenever the digests are first
 * asked for, and while they are being worked out; blocks of what was replaced come back.
 * Method: random puts, marks and removals in batches, compared with a map and with an inventory
 * that is derived from the same index afterwards.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ChunkId, chunkId, groupOf, metadataChunkId, stripeId, toHex } from '../base/index.ts';
import { Allocator } from './allocator.ts';
import type { GroupDigest } from './chunk-store.ts';
import { IndexTable } from './index-table.ts';
import { Inventory } from './inventory.ts';
import { type ChunkRecord, SlotList } from './slot.ts';
import { Space } from './space.ts';

const DEVICE_BLOCKS = 2048;
const IDS = 48;

function idOf(number: number): ChunkId {
  const bytes = new Uint8Array(32).fill(number % 8 === 0 ? 0x2a : number * 5);
  bytes[9] = number;
  return number % 7 === 0 ? metadataChunkId(bytes) : chunkId(stripeId(bytes), 9, number % 3);
}

const ids = Array.from({ length: IDS }, (_, number) => idOf(number));

const step = fc.record({
  number: fc.nat(IDS - 1),
  what: fc.constantFrom('put', 'put', 'raise', 'bad', 'removed'),
  extentCount: fc.integer({ min: 1, max: 5 }),
});

function newInventory(index = new IndexTable(2)): Inventory {
  const space = new Space({
    allocator: new Allocator(DEVICE_BLOCKS),
    index,
    capacityBlocks: DEVICE_BLOCKS,
    hardMaxBytes: 0,
    directoryBlocks: 2,
    bitmapBlocks: 1,
  });
  return new Inventory({ index, space });
}

/** The record that a step leads to; `undefined` when there is nothing to do. */
function recordAfter(
  { space }: Inventory,
  present: ChunkRecord | undefined,
  { number, what, extentCount }: { number: number; what: string; extentCount: number },
): ChunkRecord | undefined {
  if (what === 'put') {
    expect(space.reserve(ids[number]!, extentCount)).toBe(0);
    const extents = Array.from({ length: extentCount }, () => space.takeRun(1)!);
    space.settle(ids[number]!);
    const times = { writtenAt: 1, verifiedAt: 1 };
    const lengthBytes = extentCount * 4096;
    return {
      id: ids[number]!,
      kind: 'live',
      lengthBytes,
      generation: 0,
      extents,
      checksum: 3n,
      ...times,
    };
  }
  if (!present) return undefined;
  if (what === 'raise') return { ...present, generation: present.generation + 1 };
  if (what === 'bad') return { ...present, kind: 'bad' };
  return { ...present, kind: 'removed', extents: [] };
}

const noTurn = async (): Promise<void> => {};

function sorted(digests: readonly GroupDigest[]): GroupDigest[] {
  const keyOf = ({ group, schemeNumber, shardIndex }: GroupDigest): number =>
    (group * 2 ** 16 + schemeNumber) * 2 ** 16 + shardIndex;
  return digests.toSorted((a, b) => keyOf(a) - keyOf(b));
}

describe('inventory', () => {
  it('counts and digests what is in the index', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { maxLength: 12 }), { maxLength: 12 }),
        fc.nat(12),
        async (batches, askedAfter) => {
          const inventory = newInventory();
          const model = new Map<string, ChunkRecord>();
          let asked: Promise<unknown> | undefined;
          for (const [round, steps] of batches.entries()) {
            // Goes on beside the batches: each turn lets the next of them be applied.
            if (round === askedAfter) asked = inventory.digests(noTurn);
            const list = new SlotList();
            const touched = new Set<number>();
            for (const each of steps) {
              if (touched.has(each.number)) continue;
              const key = toHex(ids[each.number]!);
              const record = recordAfter(inventory, model.get(key), each);
              if (!record) continue;
              touched.add(each.number);
              list.write(record);
              if (record.kind === 'removed') model.delete(key);
              else model.set(key, record);
            }
            inventory.apply(list.words);
            await Promise.resolve();
          }
          await asked;
          const records = [...model.values()];
          const bad = records.filter(({ kind }) => kind === 'bad');
          expect(inventory.chunkCount).toBe(records.length);
          expect(inventory.badChunkCount).toBe(bad.length);
          for (const id of ids) {
            const inGroup = records.filter((record) => groupOf(record.id) === groupOf(id));
            const listed = [...inventory.recordsOf(groupOf(id))].flat();
            expect(listed.length).toBe(inGroup.length);
          }
          const taken = records.flatMap(({ extents }) => extents).length;
          expect(DEVICE_BLOCKS - inventory.space.allocator.freeBlocks).toBe(taken);
          const derived = newInventory(inventory.index);
          derived.countAll();
          expect(derived.chunkCount).toBe(records.length);
          expect(derived.badChunkCount).toBe(bad.length);
          const digests = sorted(await inventory.digests(noTurn));
          expect(digests).toEqual(sorted(await derived.digests(noTurn)));
          const count = digests.reduce((sum, entry) => sum + entry.count, 0);
          expect(count).toBe(records.length - bad.length);
        },
      ),
      { numRuns: 60 },
    );
  });
});
