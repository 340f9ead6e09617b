/**
 * Aim: each chunk that a batch has staged is where its record says, padded with zeros, and nowhere
 * else; whatever the free space looks like, whether memory is aligned, and when staging began.
 * Method: random chunks on a device whose free space is in random pieces; what the records name is
 * read back. A device that fails.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ChunkId, chunkId, errorCode, HoldfastError, stripeId } from '../base/index.ts';
import { MemoryDevice } from '../device/index.ts';
import { Allocator } from './allocator.ts';
import { Batch } from './batch.ts';
import { BufferPool } from './buffer-pool.ts';
import { BLOCK_BYTES, blocksFor, SMALL_CHUNK_BYTES } from './geometry.ts';
import { IndexTable } from './index-table.ts';
import { recordsOf } from './journal.ts';
import { decodeRecord, SLOT_WORDS } from './slot.ts';
import { Space } from './space.ts';

const DEVICE_BLOCKS = 4096;

/** @param holes blocks that are free between two that are taken, again and again. */
function newBed(holes: readonly number[] = []) {
  const device = new MemoryDevice({ sizeBytes: DEVICE_BLOCKS * BLOCK_BYTES });
  const allocator = new Allocator(DEVICE_BLOCKS);
  for (let at = 0, next = 0; holes.length > 0; at += 1, next += 1) {
    at += holes[next % holes.length]!;
    if (at >= DEVICE_BLOCKS) break;
    allocator.take({ start: at, blocks: 1 });
  }
  const space = new Space({
    allocator,
    index: new IndexTable(0),
    capacityBlocks: DEVICE_BLOCKS,
    hardMaxBytes: 0,
    directoryBlocks: 2,
    bitmapBlocks: 1,
  });
  const pool = new BufferPool(device);
  // Memory that was used before: what is not written over would show.
  for (const lent of Array.from({ length: 20 }, () => pool.lend(64))) {
    lent.bytes.fill(0xee);
    lent[Symbol.dispose]();
  }
  const batch = new Batch({ device, space, pool, slotsMax: 16_000 });
  return { device, allocator, space, batch };
}

function idOf(number: number): ChunkId {
  return chunkId(stripeId(new Uint8Array(28).fill(number)), 7, number);
}

function chunkOf(number: number, lengthBytes: number, isAligned: boolean): Uint8Array {
  const maxByteLength = lengthBytes + 1;
  const buffer = isAligned
    ? new ArrayBuffer(lengthBytes, { maxByteLength })
    : new ArrayBuffer(lengthBytes);
  return new Uint8Array(buffer, 0, lengthBytes).fill(number + 1);
}

const sizes = fc.oneof(
  fc.constantFrom(1, BLOCK_BYTES, 4 * BLOCK_BYTES, SMALL_CHUNK_BYTES),
  fc.integer({ min: 1, max: SMALL_CHUNK_BYTES }),
);
const chunks = fc.array(fc.record({ lengthBytes: sizes, isAligned: fc.boolean() }), {
  minLength: 1,
  maxLength: 40,
});

describe('batch', () => {
  it('writes each chunk where its record says', async () => {
    await fc.assert(
      fc.asyncProperty(
        chunks,
        fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 200 })), { maxLength: 4 }),
        fc.nat(40),
        async (wanted, holes, beganAfter) => {
          const { device, allocator, space, batch } = newBed(holes);
          const freeBlocks = allocator.freeBlocks;
          const put = wanted.map(({ lengthBytes, isAligned }, number) => ({
            id: idOf(number),
            chunk: chunkOf(number, lengthBytes, isAligned),
          }));
          for (const [number, { id, chunk }] of put.entries()) {
            if (number === beganAfter) batch.begin();
            expect(space.reserve(id, blocksFor(chunk.length))).toBe(0);
            const staged = { id, chunk, generation: number, checksum: 5n, writtenAt: 7 };
            expect(batch.add({ staged })).toBe(true);
          }
          if (beganAfter >= put.length) batch.begin();
          const words = batch.close();
          await batch.written();
          batch.succeed();
          await batch.done;
          const records = [...recordsOf(words)].map((at) => decodeRecord(words, at)!);
          expect(records).toHaveLength(put.length);
          for (const { id, lengthBytes, generation, extents } of records) {
            const { chunk } = put[generation]!;
            expect([id, lengthBytes]).toEqual([put[generation]!.id, chunk.length]);
            const parts: Buffer[] = [];
            for (const { start, blocks } of extents) {
              const part = Buffer.alloc(blocks * BLOCK_BYTES);
              await device.read(part, start * BLOCK_BYTES);
              parts.push(part);
            }
            const padded = Buffer.alloc(blocksFor(chunk.length) * BLOCK_BYTES);
            padded.set(chunk);
            expect(Buffer.concat(parts).equals(padded)).toBe(true);
          }
          // Blocks are taken once each, which the allocator asserts, and no others are.
          const taken = put.reduce((sum, { chunk }) => sum + blocksFor(chunk.length), 0);
          expect(freeBlocks - allocator.freeBlocks).toBe(taken);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('takes records and kinds, and refuses what is more than a journal takes', () => {
    const { batch } = newBed();
    const record = new Uint32Array(2 * SLOT_WORDS).fill(3);
    expect(batch.add({ kind: 2 })).toBe(true);
    expect(batch.add({ record })).toBe(true);
    expect(batch.add({ kind: 1 })).toBe(true);
    expect(batch.add({ record: new Uint32Array(16_000 * SLOT_WORDS) })).toBe(false);
    batch.begin();
    expect(batch.kind).toBe(2);
    expect([...batch.close()]).toEqual([...record]);
  });

  it('refuses more bytes than may be staged', () => {
    const { batch, space } = newBed();
    const chunk = chunkOf(1, SMALL_CHUNK_BYTES, false);
    const add = (number: number): boolean => {
      space.reserve(idOf(number), blocksFor(chunk.length));
      const times = { generation: 0, checksum: 0n, writtenAt: 0 };
      return batch.add({ staged: { id: idOf(number), chunk, ...times } });
    };
    let count = 0;
    while (add(count)) count += 1;
    expect(count).toBe(64);
  });

  it('tells whoever waits of a write that failed', async () => {
    const { device, space, batch } = newBed();
    device.write = async () => {
      throw new HoldfastError('HF_IO');
    };
    batch.begin();
    space.reserve(idOf(1), 1);
    const times = { generation: 0, checksum: 0n, writtenAt: 0 };
    batch.add({ staged: { id: idOf(1), chunk: chunkOf(1, 100, false), ...times } });
    batch.close();
    const failure = await batch.written().catch(errorCode);
    expect(failure).toBe('HF_IO');
    batch.fail(new HoldfastError('HF_DEVICE_FAILED'));
    expect(await batch.done.catch(errorCode)).toBe('HF_DEVICE_FAILED');
  });
});
