/**
 * The store that rots in trials: small chunks, large ones with footers, scattered ones, chunks that
 * were removed and put again, an index in images and more of it in the journal. It was sealed by
 * the idle seal and not closed.
 *
 * - *zone*: blocks of one kind. *owner*: the chunk that a block belongs to.
 */
import { type ClusterId, errorCode, MiB, toHex } from '../../src/base/index.ts';
import { type Media, SimulatedDevice } from '../../src/device/index.ts';
import {
  type ExtentStore,
  formatStore,
  openStore,
  type StoreDescription,
} from '../../src/store/index.ts';
import { type TestChunk, testChunk, testEnv, testMetadata } from '../suites/store-fixtures.ts';
import { readIndex, type Run } from './format-reader.ts';

const clusterId = 'c'.repeat(32) as ClusterId;
const BLOCK_BYTES = 4096;
const SMALL_CHUNK_BYTES = 65_536;
const SUPERBLOCKS: readonly number[] = [0, 16, 2048, 2064];

const CHUNKS = 60;
/** Chunks that fill the device for a while, so that later ones are scattered. */
const FILLER_BYTES = 15 * BLOCK_BYTES;
const SCATTERED = 3;

export const ZONES = [
  'superblocks',
  'directory',
  'maps',
  'pages',
  'journal',
  'bitmap',
  'data',
  'footers',
  'anywhere',
] as const;
export type Zone = (typeof ZONES)[number];

export interface RotImage {
  readonly media: Media;
  /** What the media were like earlier: blocks that a lost write would leave. */
  readonly earlier: readonly Media[];
  readonly description: StoreDescription;
  readonly chunks: readonly TestChunk[];
  /** Acknowledged, by the hex of the id. */
  readonly generations: ReadonlyMap<string, number>;
  readonly removed: readonly TestChunk[];
  readonly zones: Readonly<Record<Zone, readonly number[]>>;
  /** Hex of the id of the chunk that a block belongs to. */
  readonly owners: ReadonlyMap<number, string>;
  readonly scattered: number;
}

/** Puts and removes, and remembers what holds. */
class Maker {
  readonly chunks = new Set<TestChunk>();
  readonly removed = new Set<TestChunk>();
  readonly generations = new Map<string, number>();
  readonly #store: ExtentStore;

  constructor(store: ExtentStore) {
    this.#store = store;
  }

  async put(chunk: TestChunk, generation = 1): Promise<void> {
    await this.#store.put(chunk.id, chunk.bytes, { generation, isVerified: true });
    this.generations.set(toHex(chunk.id), generation);
    this.chunks.add(chunk);
    this.removed.delete(chunk);
  }

  async remove(chunk: TestChunk): Promise<void> {
    await this.#store.remove(chunk.id, { generationMax: 1000 });
    this.chunks.delete(chunk);
    this.removed.add(chunk);
  }
}

export async function makeRotImage(): Promise<RotImage> {
  const device = new SimulatedDevice({ sizeBytes: 16 * MiB });
  const env = testEnv();
  await formatStore({ env, device, clusterId, journalBlocks: 64, partitionBits: 2 });
  const store = await openStore({ env, device });
  const maker = new Maker(store);
  const earlier: Media[] = [];
  await scatter(maker);
  earlier.push(device.crashPoint().durable);
  for (let number = 0; number < CHUNKS; number++) {
    await maker.put(mixedChunk(number));
    if (number % 20 === 19) earlier.push(device.crashPoint().durable);
  }
  await fillJournal(store, maker);
  // The idle seal comes by itself (here a sleep takes no time).
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  const description = await store.describe();
  const { durable: media } = device.crashPoint();
  const { chunks, removed, generations } = maker;
  return {
    media,
    earlier,
    description,
    chunks: [...chunks],
    removed: [...removed],
    generations,
    ...(await placesOf(media, description)),
  };
}

/** Leaves chunks of several extents each: there is room between fillers only when they come. */
async function scatter(maker: Maker): Promise<void> {
  const large = testChunk(5000, 9 * MiB);
  await maker.put(large);
  const fillers = await fill(maker, (number) => testChunk(5001 + number, FILLER_BYTES));
  // Metadata may take what is kept from shards.
  const others = await fill(maker, (number) => testMetadata(5501 + number, FILLER_BYTES));
  for (const filler of fillers.filter((_, index) => index % 2 === 0)) await maker.remove(filler);
  for (let number = 0; number < SCATTERED; number++) {
    await maker.put(testChunk(6000 + number, 150_000 + number * 9999));
  }
  for (const filler of fillers.filter((_, index) => index % 2 === 1)) await maker.remove(filler);
  for (const filler of [...others, large]) await maker.remove(filler);
}

/** Puts chunks until there is no room. */
async function fill(maker: Maker, chunkOf: (number: number) => TestChunk): Promise<TestChunk[]> {
  const chunks: TestChunk[] = [];
  try {
    for (;;) {
      const chunk = chunkOf(chunks.length);
      await maker.put(chunk);
      chunks.push(chunk);
    }
  } catch (error) {
    if (errorCode(error) !== 'HF_NO_SPACE') throw error;
    return chunks;
  }
}

function mixedChunk(number: number): TestChunk {
  if (number % 6 === 0) return testChunk(number, 70_000 + number * 500);
  const lengthBytes = 1 + ((number * 977) % 20_000);
  return number % 5 === 0 ? testMetadata(number, lengthBytes) : testChunk(number, lengthBytes);
}

/** Puts, removes and raises generations until a good part of the index is in the journal only. */
async function fillJournal(store: ExtentStore, maker: Maker): Promise<void> {
  for (let step = 0; step < 200; step++) {
    const { journalUsedBlocks } = await store.describe();
    if (step > 30 && journalUsedBlocks > 16 && journalUsedBlocks < 28) return;
    const chunks = [...maker.chunks].slice(SCATTERED);
    const victim = chunks[(step * 7) % chunks.length]!;
    if (step % 3 === 0) await maker.remove(victim);
    else if (step % 3 === 1) await maker.put(mixedChunk(CHUNKS + step));
    else await maker.put(victim, 2 + step);
  }
  throw new Error('the journal is never partly full');
}

async function placesOf(
  media: Media,
  description: StoreDescription,
): Promise<Pick<RotImage, 'zones' | 'owners' | 'scattered'>> {
  const { journalStart, journalBlocks, mark, journalUsedBlocks, bitmap } = description;
  const { directory, maps, pages } = readIndex(media, description);
  const chunks = await chunksOf(media);
  const owners = new Map<number, string>();
  const data: number[] = [];
  const footers: number[] = [];
  for (const [id, { runs, lengthBytes }] of chunks) {
    const blocks = runs.flatMap(blocksOf);
    for (const block of blocks) owners.set(block, id);
    const hasFooter = lengthBytes > SMALL_CHUNK_BYTES;
    data.push(...(hasFooter ? blocks.slice(0, -1) : blocks));
    if (hasFooter) footers.push(blocks.at(-1)!);
  }
  const journal = Array.from(
    { length: journalUsedBlocks + 2 },
    (_, index) => journalStart + ((mark.block + index) % journalBlocks),
  );
  const zones = {
    superblocks: SUPERBLOCKS,
    directory,
    maps,
    pages,
    journal,
    bitmap: blocksOf(bitmap),
    data,
    footers,
    anywhere: blocksOf({ start: 0, blocks: media.sizeBytes / BLOCK_BYTES }),
  };
  const scattered = [...chunks.values()].filter(({ runs }) => runs.length > 1).length;
  return { zones, owners, scattered };
}

function blocksOf({ start, blocks }: Run): number[] {
  return Array.from({ length: blocks }, (_, index) => start + index);
}

/** Where all chunks are: in a copy that was closed, the images name every one. */
async function chunksOf(
  media: Media,
): Promise<Map<string, { readonly runs: readonly Run[]; readonly lengthBytes: number }>> {
  const device = new SimulatedDevice({ media });
  const store = await openStore({ env: testEnv({ sleeps: false }), device });
  const lengths = new Map<string, number>();
  for await (const { id, lengthBytes } of store.list()) lengths.set(toHex(id), lengthBytes);
  await store[Symbol.asyncDispose]();
  const closed = device.crashPoint().durable;
  const again = await openStore({
    env: testEnv({ sleeps: false }),
    device: new SimulatedDevice({ media: closed }),
  });
  const { chunks } = readIndex(closed, await again.describe());
  return new Map(
    [...chunks].map(([id, runs]) => [id, { runs, lengthBytes: lengths.get(id)! }] as const),
  );
}
