/**
 * Aim: a bit that rots anywhere never gives wrong bytes, never costs a second chunk, and no chunk
 * goes missing unless the mount says that some may be.
 * Method: one image with everything a store has (images, journal, small, large and scattered
 * chunks), sealed and not closed. One bit is flipped in each trial, by turns in the superblocks,
 * the index images, the journal and anywhere; then the store is opened and every chunk read.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type TestChunk,
  testChunk,
  testEnv,
  TestRandom,
} from '../../test/suites/store-fixtures.ts';
import { bytesEqual, type ClusterId, errorCode, LIMITS, MiB } from '../base/index.ts';
import { type Media, SimulatedDevice } from '../device/index.ts';
import { BlockPairs } from './block-pairs.ts';
import { readDirectory } from './directory.ts';
import { SUPERBLOCK_BLOCKS } from './geometry.ts';
import { readImage } from './index-image.ts';
import { type ExtentStore, formatStore, openStore, type StoreDescription } from './index.ts';
import { seedOf } from './superblock.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const { blockBytes } = LIMITS;
const CHUNKS = 70;

const chunks: readonly TestChunk[] = Array.from({ length: CHUNKS }, (_, number) =>
  testChunk(number, number % 12 === 0 ? 70_000 + number * 1000 : 1 + ((number * 977) % 20_000)),
);

interface Image {
  readonly media: Media;
  readonly description: StoreDescription;
  /** Blocks of each zone. */
  readonly zones: Readonly<Record<'superblocks' | 'images' | 'journal' | 'anywhere', number[]>>;
}

async function open(device: SimulatedDevice): Promise<ExtentStore> {
  return await openStore({ env: testEnv({ sleeps: false }), device });
}

function blocksFrom(start: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => start + index);
}

/** Blocks of the directory and of all images, both copies. */
async function imageBlocksOf(device: SimulatedDevice, from: StoreDescription): Promise<number[]> {
  const pairs = new BlockPairs({ device, seed: seedOf(from.id) });
  const blocks = from.directory.flatMap(({ first, second }) => [first, second]);
  for (const entry of await readDirectory(pairs, from.directory, 2 ** from.partitionBits)) {
    if (!entry || entry === 'lost') continue;
    const { image } = await readImage(pairs, entry);
    for (const extent of image.extents) blocks.push(...blocksFrom(extent.start, extent.blocks));
  }
  return blocks;
}

async function makeImage(): Promise<Image> {
  const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
  const env = testEnv();
  await formatStore({ env, device, clusterId, journalBlocks: 64, partitionBits: 2 });
  const store = await openStore({ env, device });
  for (const { id, bytes } of chunks) {
    await store.put(id, bytes, { generation: 0 });
  }
  // The idle seal comes by itself (here a sleep takes no time), and so may a checkpoint.
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  const description = await store.describe();
  const { journalStart, mark, journalUsedBlocks, sizeBytes } = description;
  const { durable: media } = device.crashPoint();
  return {
    media,
    description,
    zones: {
      superblocks: [...SUPERBLOCK_BLOCKS],
      images: await imageBlocksOf(device, description),
      journal: blocksFrom(0, journalUsedBlocks + 2).map(
        (block) => journalStart + ((mark.block + block) % description.journalBlocks),
      ),
      anywhere: blocksFrom(0, sizeBytes / blockBytes),
    },
  };
}

interface Seen {
  good: number;
  bad: number;
  missing: number;
  damage: readonly string[];
}

async function readAll(store: ExtentStore): Promise<Seen> {
  const seen: Seen = { good: 0, bad: 0, missing: 0, damage: (await store.describe()).damage };
  for (const [number, { id, bytes }] of chunks.entries()) {
    try {
      const read = await store.get(id);
      if (!read) seen.missing += 1;
      else if (bytesEqual(read, bytes)) seen.good += 1;
      else throw new Error(`chunk ${number} has wrong bytes`);
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT') throw error;
      seen.bad += 1;
    }
  }
  return seen;
}

describe('extent store, rot', () => {
  let image: Image;

  beforeAll(async () => {
    image = await makeImage();
  });

  /** Flips one bit in each of so many trials. @returns what was seen in each. */
  async function trials(zone: keyof Image['zones'], count: number): Promise<Seen[]> {
    const random = new TestRandom(zone.length);
    const blocks = image.zones[zone];
    const all: Seen[] = [];
    for (let trial = 0; trial < count; trial++) {
      const device = new SimulatedDevice({ media: image.media });
      const offset = blocks[random.below(blocks.length)]! * blockBytes + random.below(blockBytes);
      device.flipBit(offset, random.below(8));
      const store = await open(device);
      all.push(await readAll(store));
    }
    return all;
  }

  it('has an image with all that can rot', () => {
    expect(image.description.directory.length).toBeGreaterThan(0);
    expect(image.zones.images.length).toBeGreaterThan(8);
    expect(image.description.journalUsedBlocks).toBeGreaterThan(4);
  });

  it('loses nothing to a bit of a superblock or an index image', async () => {
    for (const seen of [...(await trials('superblocks', 60)), ...(await trials('images', 120))]) {
      expect(seen).toEqual({ good: CHUNKS, bad: 0, missing: 0, damage: [] });
    }
  });

  it('loses nothing silently to a bit of the journal', async () => {
    const all = await trials('journal', 120);
    for (const { bad, missing, damage } of all) {
      expect(bad).toBe(0);
      if (missing > 0) expect(damage.length).toBeGreaterThan(0);
    }
    // The test bites: some bits do cost a batch, and the mount says so.
    expect(all.some(({ missing }) => missing > 0)).toBe(true);
  });

  it('loses at most the chunk whose bit it was', async () => {
    const all = await trials('anywhere', 150);
    for (const { good, bad, missing, damage } of all) {
      expect(bad).toBeLessThanOrEqual(1);
      if (damage.length === 0) expect(good + bad).toBe(CHUNKS);
      expect(good + bad + missing).toBe(CHUNKS);
    }
    expect(all.some(({ bad }) => bad === 1)).toBe(true);
  });

  it('goes on after a gap, and mounts without damage the next time', async () => {
    for (const block of image.zones.journal.slice(0, 6)) {
      const device = new SimulatedDevice({ media: image.media });
      device.flipBit(block * blockBytes + 99, 1);
      const store = await open(device);
      const seen = await readAll(store);
      expect(seen.damage.length).toBeGreaterThan(0);
      for (const { id, bytes } of chunks) {
        await store.put(id, bytes, { generation: 1 });
      }
      const again = await open(new SimulatedDevice({ media: device.powerOff().durable }));
      expect(await readAll(again)).toEqual({ good: CHUNKS, bad: 0, missing: 0, damage: [] });
    }
  });
});
