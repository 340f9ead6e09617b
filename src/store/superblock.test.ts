/**
 * Aim: the superblock says what was written, stores of before still open, copies that a power cut
 * or a newer program left are judged right.
 * Method: copies written and changed by hand on a simulated device.
 */
import { describe, expect, it } from 'vitest';
import { testChunk, testEnv } from '../../test/suites/store-fixtures.ts';
import {
  asBuffer,
  bytesEqual,
  type ClusterId,
  type DeviceId,
  MiB,
  type NodeId,
  xxh64,
} from '../base/index.ts';
import { MemoryDevice, SimulatedDevice } from '../device/index.ts';
import { BLOCK_BYTES, SUPERBLOCK_BLOCKS } from './geometry.ts';
import { formatStore, openStore } from './index.ts';
import { readSuperblock, type Superblock, writeSuperblock } from './superblock.ts';

const clusterId = 'c'.repeat(32) as ClusterId;

const full: Superblock = {
  id: 'd'.repeat(32) as DeviceId,
  nodeId: 'e'.repeat(32) as NodeId,
  clusterId,
  label: 'große Platte',
  state: 'draining',
  seq: 7,
  sizeBytes: 16 * MiB,
  partitionBits: 3,
  journalStart: 2080,
  journalBlocks: 64,
  mark: { seq: 2 ** 40, block: 63, chain: 0xffff_ffff_ffff_fff1n },
  isClean: true,
  directory: [{ first: 3000, second: 3001, checksum: 5n }],
  chunkCount: 12,
  usedBlocks: 13,
  limits: { minBytes: 1, maxBytes: 2, hardMaxBytes: 2 ** 50 },
  mountEpoch: 3,
  formattedAtMs: 1_700_000_000_001,
  scrubbedAtMs: 1_700_000_000_002,
  bitmap: { start: 2 ** 35, blocks: 2 ** 31 + 1 },
  scrubCursor: 2 ** 36,
  damagedAtMs: 1_700_000_000_003,
};

/** Changes a copy where it lies and seals it again. */
async function change(
  device: SimulatedDevice,
  copy: number,
  edit: (block: Buffer) => void,
): Promise<void> {
  const memory = device.allocate(BLOCK_BYTES);
  const offset = SUPERBLOCK_BLOCKS[copy]! * BLOCK_BYTES;
  await device.read(memory, offset);
  const block = asBuffer(memory);
  edit(block);
  block.writeBigUInt64LE(xxh64(block.subarray(0, BLOCK_BYTES - 8)), BLOCK_BYTES - 8);
  await device.write([memory], offset);
  await device.flush();
}

describe('superblock', () => {
  it('gives back every field', async () => {
    const device = new MemoryDevice({ sizeBytes: 16 * MiB });
    await writeSuperblock(device, full);
    expect(await readSuperblock(device)).toEqual({ superblock: full, badCopies: 0 });
  });

  it('opens a store that was written before there was a bitmap, and gives it one', async () => {
    const env = testEnv({ sleeps: false });
    const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
    await formatStore({ env, device, clusterId });
    for (const copy of SUPERBLOCK_BLOCKS.keys()) {
      await change(device, copy, (block) => void block.fill(0, 200, 256));
    }
    const chunk = testChunk(1, 5000);
    {
      await using store = await openStore({ env, device });
      const described = await store.describe();
      expect(described.bitmap).toEqual({ start: 0, blocks: 0 });
      expect(described).toMatchObject({ scrubCursor: 0, damagedAtMs: 0 });
      await store.put(chunk.id, chunk.bytes, { generation: 0 });
      const used = (await store.usage()).usedBytes;
      expect(used % BLOCK_BYTES).toBe(0);
    }
    const { durable: media } = device.crashPoint();
    const again = await openStore({ env, device: new SimulatedDevice({ media }) });
    expect((await again.describe()).bitmap.blocks).toBe(1);
    expect(bytesEqual((await again.get(chunk.id))!, chunk.bytes)).toBe(true);
    await again[Symbol.asyncDispose]();
  });

  it('takes the newest copy, also when it is alone', async () => {
    const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
    await writeSuperblock(device, full);
    await change(device, 0, (block) => void block.writeBigUInt64LE(8n, 72));
    const { superblock, badCopies } = await readSuperblock(device);
    expect(superblock).toEqual({ ...full, seq: 8 });
    expect(badCopies).toBe(3);
  });

  it.each([
    ['a newer version', 8],
    ['a feature that is not known', 12],
  ])('refuses %s', async (_, at) => {
    const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
    await writeSuperblock(device, full);
    for (const copy of SUPERBLOCK_BLOCKS.keys()) {
      await change(device, copy, (block) => void block.writeUInt32LE(2, at));
    }
    await expect(readSuperblock(device)).rejects.toMatchObject({ code: 'HF_UNSUPPORTED' });
  });

  it('opens a store with compatible features that are not known', async () => {
    const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
    await writeSuperblock(device, full);
    for (const copy of SUPERBLOCK_BLOCKS.keys()) {
      await change(device, copy, (block) => void block.writeUInt32LE(2, 16));
    }
    expect((await readSuperblock(device)).superblock).toEqual(full);
  });
});
