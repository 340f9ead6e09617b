/**
 * Aim: a check names the block that is damaged and no other, writes nothing, and says what is lost;
 * repair mends all that has a second copy and marks the rest.
 * Method: two images with everything a store has, one cut off and one closed. In each trial one bit
 * is flipped, or one block made unreadable, at a place of which is known what lies there; the
 * finding is compared with it.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type TestChunk,
  testChunk,
  testEnv,
  testMetadata,
  TestRandom,
} from '../../test/suites/store-fixtures.ts';
import { type ClusterId, LIMITS, MiB, toHex } from '../base/index.ts';
import { type Media, SimulatedDevice } from '../device/index.ts';
import { BlockPairs } from './block-pairs.ts';
import { BufferPool } from './buffer-pool.ts';
import { readDirectory } from './directory.ts';
import { ExtentIo } from './extent-io.ts';
import { footerBytes } from './footer.ts';
import { PAGE_BYTES, SUPERBLOCK_BLOCKS } from './geometry.ts';
import { blockNumbers, readImage } from './index-image.ts';
import {
  type CheckFinding,
  type CheckReport,
  checkStore,
  formatStore,
  openStore,
  repairStore,
} from './index.ts';
import { JournalReader } from './journal-reader.ts';
import { mountStore } from './mount.ts';
import type { ChunkRecord } from './slot.ts';
import { readSuperblock, seedOf, type Superblock } from './superblock.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const { blockBytes } = LIMITS;

const chunks: readonly TestChunk[] = Array.from({ length: 60 }, (_, number) => {
  if (number % 10 === 1) return testMetadata(number, 500 + number * 100);
  return testChunk(number, number % 6 === 0 ? 70_000 + number * 3000 : 1 + number * 700);
});

/** A place that may be damaged, and what is to be found then. */
interface Spot {
  readonly where: CheckFinding['where'];
  /** Bytes of the device. */
  readonly from: number;
  readonly to: number;
  /** Blocks that the finding names. */
  readonly blocks: readonly number[];
  readonly isMended: boolean;
  readonly chunk?: string;
  readonly page?: number | undefined;
}

interface Image {
  readonly media: Media;
  readonly spots: readonly Spot[];
}

function wholeBlock(where: CheckFinding['where'], block: number): Spot {
  const from = block * blockBytes;
  return { where, from, to: from + blockBytes, blocks: [block], isMended: true };
}

async function indexSpots(device: SimulatedDevice, superblock: Superblock): Promise<Spot[]> {
  const pairs = new BlockPairs({ device, seed: seedOf(superblock.id) });
  const { directory, partitionBits } = superblock;
  const spots = directory.flatMap(({ first, second }) => [
    wholeBlock('directory', first),
    wholeBlock('directory', second),
  ]);
  for (const entry of await readDirectory(pairs, directory, 2 ** partitionBits)) {
    if (!entry || entry === 'lost') continue;
    const { image } = await readImage(pairs, entry);
    spots.push(...blockNumbers(image.extents).map((block) => wholeBlock('index', block)));
  }
  return spots;
}

/** All batches but the last: that may always be one that a power cut has torn. */
async function journalSpots(device: SimulatedDevice, superblock: Superblock): Promise<Spot[]> {
  const { journalStart: ringStart, journalBlocks: ringBlocks, id } = superblock;
  if (superblock.isClean) return [];
  const reader = new JournalReader({ device, ringStart, ringBlocks, seed: seedOf(id) });
  const spots: Spot[] = [];
  let { mark } = superblock;
  for (let step = await reader.next(mark); step; step = await reader.next(mark)) {
    const end = step.after.block === 0 ? ringBlocks : step.after.block;
    const first = ringStart + end - step.batch.blocks;
    const blocks = Array.from({ length: step.batch.blocks }, (_, at) => first + at);
    for (const block of blocks) {
      spots.push({ ...wholeBlock('journal', block), blocks, isMended: false });
    }
    mark = step.after;
  }
  return spots.slice(0, -1);
}

function chunkSpots(record: ChunkRecord): Spot[] {
  const { extents, lengthBytes, id } = record;
  const blocks = blockNumbers(extents);
  const chunk = toHex(id);
  const isMended = false;
  const isLarge = footerBytes(lengthBytes) > 0;
  const spots = blocks.flatMap((block, at): Spot[] => {
    const length = Math.min(lengthBytes - at * blockBytes, blockBytes);
    if (length <= 0) return [];
    const from = block * blockBytes;
    const page = Math.floor((at * blockBytes) / PAGE_BYTES);
    const pageBlocks = blocks
      .filter((_, index) => index * blockBytes < lengthBytes)
      .filter((_, index) => Math.floor((index * blockBytes) / PAGE_BYTES) === page);
    return [{ where: 'chunk', from, to: from + length, blocks: pageBlocks, isMended, chunk, page }];
  });
  if (!isLarge) return spots;
  const to = (blocks.at(-1)! + 1) * blockBytes;
  const from = to - footerBytes(lengthBytes);
  return [...spots, { where: 'chunk', from, to, blocks: [blocks.at(-1)!], isMended, chunk }];
}

async function spotsOf(device: SimulatedDevice): Promise<Spot[]> {
  const { superblock } = await readSuperblock(device);
  const io = new ExtentIo(device, new BufferPool(device));
  const { inventory } = await mountStore({ device, io, plantedFault: undefined });
  const { index } = inventory;
  const records = [...index.partitions.keys()].flatMap((number) => [...index.recordsOf(number)]);
  const { start, blocks } = superblock.bitmap;
  const bitmap = Array.from({ length: blocks }, (_, at) => wholeBlock('bitmap', start + at));
  return [
    ...SUPERBLOCK_BLOCKS.map((block) => wholeBlock('superblock', block)),
    ...(await indexSpots(device, superblock)),
    ...(await journalSpots(device, superblock)),
    ...(superblock.isClean ? bitmap : []),
    ...records.flatMap(chunkSpots),
  ];
}

async function makeImage(isClosed: boolean): Promise<Image> {
  const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
  const env = testEnv();
  await formatStore({ env, device, clusterId, journalBlocks: 64, partitionBits: 2 });
  const store = await openStore({ env, device });
  // Free room in pieces, so that some large chunks are scattered.
  for (const { id, bytes } of chunks) await store.put(id, bytes, { generation: 0 });
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  if (isClosed) await store[Symbol.asyncDispose]();
  const { durable: media } = device.crashPoint();
  return { media, spots: await spotsOf(new SimulatedDevice({ media })) };
}

async function check(device: SimulatedDevice): Promise<CheckReport> {
  const before = device.pending.length;
  const report = await checkStore({ env: testEnv(), device });
  expect(device.pending.length).toBe(before);
  return report;
}

function blocksIn({ ranges }: CheckFinding): number[] {
  return ranges.flatMap(({ block, blocks, offsetBytes, lengthBytes }) => {
    expect([offsetBytes, lengthBytes]).toEqual([block * blockBytes, blocks * blockBytes]);
    return Array.from({ length: blocks }, (_, at) => block + at);
  });
}

function expectFinding(report: CheckReport, spot: Spot, blocks: readonly number[]): void {
  expect(report.findings).toHaveLength(1);
  const finding = report.findings[0]!;
  expect({
    where: finding.where,
    blocks: blocksIn(finding),
    isMended: finding.isMended,
    chunk: finding.chunkId && toHex(finding.chunkId),
    page: finding.page,
  }).toEqual({
    where: spot.where,
    blocks,
    isMended: spot.isMended,
    chunk: spot.chunk,
    page: spot.page,
  });
}

describe('check', () => {
  let images: Image[];

  beforeAll(async () => {
    images = [await makeImage(false), await makeImage(true)];
  });

  /** Spots of one kind, from both images in turn. */
  function pick(where: Spot['where'], random: TestRandom): { media: Media; spot: Spot } {
    const all = images.flatMap(({ media, spots }) =>
      spots.filter((spot) => spot.where === where).map((spot) => ({ media, spot })),
    );
    return all[random.below(all.length)]!;
  }

  const TRIALS = [
    ['superblock', 40],
    ['directory', 30],
    ['index', 80],
    ['journal', 60],
    ['bitmap', 20],
    ['chunk', 150],
  ] as const;

  it('finds nothing in a store that is whole, and counts what it looked at', async () => {
    for (const [at, { media }] of images.entries()) {
      const report = await check(new SimulatedDevice({ media }));
      expect(report).toMatchObject({ findings: [], notes: [], clusterId, isClean: at === 1 });
      const { totals } = report;
      expect(totals).toMatchObject({ superblocks: 4, chunks: chunks.length, badChunks: 0 });
      expect(totals.indexBlocks).toBeGreaterThan(8);
      expect(totals.journalBatches > 4).toBe(at === 0);
      expect(totals.bitmapBlocks > 0).toBe(at === 1);
    }
  });

  it.each(TRIALS)('finds a bit that has rotted: %s', async (where, count) => {
    const random = new TestRandom(where.length);
    for (let trial = 0; trial < count; trial++) {
      const { media, spot } = pick(where, random);
      const device = new SimulatedDevice({ media });
      device.flipBit(spot.from + random.below(spot.to - spot.from), random.below(8));
      expectFinding(await check(device), spot, spot.blocks);
    }
  });

  it.each(TRIALS)('finds a block that cannot be read: %s', async (where, count) => {
    const random = new TestRandom(where.length + 1);
    for (let trial = 0; trial < count / 4; trial++) {
      const { media, spot } = pick(where, random);
      const device = new SimulatedDevice({ media });
      const offset = Math.floor(spot.from / blockBytes) * blockBytes;
      device.fault = (operation) =>
        operation.kind === 'read' &&
        operation.offset <= offset &&
        offset < operation.offset + operation.lengthBytes
          ? 'HF_IO'
          : undefined;
      const report = await check(device);
      const finding = report.findings[0]!;
      expect(report.findings).toHaveLength(1);
      const blocks = where === 'journal' ? spot.blocks : [offset / blockBytes];
      expect(finding).toMatchObject({ where: spot.where, isMended: spot.isMended });
      expect(blocksIn(finding)).toEqual(blocks);
    }
  });

  it('lists everything when much is damaged, and repair mends what it can', async () => {
    for (const { media, spots } of images) {
      const device = new SimulatedDevice({ media });
      const damaged = [
        ...spots.filter(({ where }) => where === 'superblock').slice(1, 4),
        ...spots.filter(({ where }) => where === 'directory').slice(0, 1),
        ...spots.filter(({ where }) => where === 'index').slice(2, 4),
        ...spots.filter(({ where }) => where === 'bitmap').slice(0, 1),
        ...spots.filter(({ chunk }) => chunk === toHex(chunks[12]!.id)).slice(0, 1),
        ...spots.filter(({ chunk }) => chunk === toHex(chunks[13]!.id)).slice(0, 1),
      ];
      for (const { from } of damaged) device.flipBit(from + 1, 3);
      const { findings, totals } = await check(device);
      expect(new Set(findings.flatMap(blocksIn))).toEqual(
        new Set(damaged.flatMap(({ blocks }) => blocks)),
      );
      expect(findings).toHaveLength(damaged.length);
      expect(totals.badChunks).toBe(2);
      const report = await repairStore({ env: testEnv(), device });
      expect(report.damage).toEqual([]);
      const bad = report.scrub.findings.filter(({ kind }) => kind === 'bad-chunk');
      expect(bad).toHaveLength(2);
      const after = await check(new SimulatedDevice({ media: device.crashPoint().durable }));
      expect(after.findings).toHaveLength(2);
      expect(new Set(after.findings.map(({ chunkId }) => toHex(chunkId!)))).toEqual(
        new Set([12, 13].map((number) => toHex(chunks[number]!.id))),
      );
      for (const { what } of after.findings) expect(what).toMatch(/is marked bad/);
    }
  });

  it('names a chunk whose blocks another has since its removal was lost', async () => {
    const { media, removed, at } = await reusedBlocks();
    expect((await check(new SimulatedDevice({ media }))).findings).toEqual([]);
    const device = new SimulatedDevice({ media });
    device.flipBit(at * blockBytes + 70, 1);
    const { findings } = await check(device);
    expect(findings.map(({ where }) => where)).toEqual(['journal', 'space']);
    expect(blocksIn(findings[0]!)).toEqual([at]);
    expect(toHex(findings[1]!.chunkId!)).toBe(toHex(removed.id));
  });

  it('names a batch that a power cut has torn, but not as damage', async () => {
    const { media } = images[0]!;
    const device = new SimulatedDevice({ media });
    const last = await headOf(device);
    device.flipBit(last * blockBytes + 3000, 1);
    const { findings, notes } = await check(device);
    expect(findings).toEqual([]);
    expect(notes).toEqual([expect.stringContaining(`block ${last} of the device`)]);
  });

  it('says what is wrong with each superblock when none is good', async () => {
    const device = new SimulatedDevice({ media: images[0]!.media });
    device.flipBit(0, 1);
    for (const block of SUPERBLOCK_BLOCKS.slice(1, 3)) device.flipBit(block * blockBytes + 99, 1);
    const offset = SUPERBLOCK_BLOCKS[3] * blockBytes;
    device.fault = (operation) => (operation.offset === offset ? 'HF_IO' : undefined);
    const { findings, mountError, id } = await check(device);
    expect([id, mountError]).toEqual([undefined, 'no copy of the superblock is good']);
    expect(findings.map(({ what, isMended }) => [what, isMended])).toEqual([
      ['copy 0: it is not a superblock', false],
      ['copy 1: its checksum does not match', false],
      ['copy 2: its checksum does not match', false],
      ['copy 3: it cannot be read', false],
    ]);
  });

  it('checks what it can of a store that is larger than its device', async () => {
    const media = images[1]!.media.fork();
    media.shrink(12 * MiB);
    const { mountError, findings } = await check(new SimulatedDevice({ media }));
    expect(mountError).toMatch(/smaller/);
    expect(findings.every(({ where }) => where === 'index' || where === 'directory')).toBe(true);
  });

  it('is interrupted by its signal', async () => {
    const device = new SimulatedDevice({ media: images[0]!.media });
    const options = { env: testEnv(), device, signal: AbortSignal.abort() };
    await expect(checkStore(options)).rejects.toMatchObject({ code: 'HF_INTERRUPTED' });
  });
});

/** A full store in which a chunk was removed and another put in its place; `at` has the removal. */
async function reusedBlocks(): Promise<{ media: Media; removed: TestChunk; at: number }> {
  const formatted = new SimulatedDevice({ sizeBytes: 16 * MiB });
  const env = testEnv({ sleeps: false });
  await formatStore({ env, device: formatted, clusterId, journalBlocks: 64, partitionBits: 0 });
  const first = await openStore({ env, device: formatted });
  const fill = Array.from({ length: 100 }, (_, number) => testChunk(number, 110_000));
  for (const { id, bytes } of fill) await first.put(id, bytes, { generation: 0 });
  await first[Symbol.asyncDispose]();
  const device = new SimulatedDevice({ media: formatted.crashPoint().durable });
  const store = await openStore({ env, device });
  const removed = fill[0]!;
  await store.remove(removed.id, { generationMax: 0 });
  const at = await headOf(device);
  for (let number = 200; number < 203; number++) {
    const { id, bytes } = testChunk(number, 110_000);
    await store.put(id, bytes, { generation: 0 });
  }
  return { media: device.crashPoint().durable, removed, at };
}

/** Block of the device with the last batch of the journal. */
async function headOf(device: SimulatedDevice): Promise<number> {
  const { superblock } = await readSuperblock(device);
  const { journalStart: ringStart, journalBlocks: ringBlocks, id } = superblock;
  const reader = new JournalReader({ device, ringStart, ringBlocks, seed: seedOf(id) });
  let { mark } = superblock;
  let head = ringStart + mark.block;
  for (let step = await reader.next(mark); step; step = await reader.next(mark)) {
    const end = step.after.block === 0 ? ringBlocks : step.after.block;
    head = ringStart + end - step.batch.blocks;
    mark = step.after;
  }
  return head;
}
