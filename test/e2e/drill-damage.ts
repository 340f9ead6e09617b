/**
 * The drill about silent damage: single bytes of store files change, under a running node, a
 * stopped one and a killed one. What is damaged is never given out, is found, and is made good by
 * repair.
 *
 * Each round damages two stores, as much as the scheme bears: a flipped byte may cost its store the
 * whole chunk, or with the journal of a killed node all chunks since the last checkpoint.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import path from 'node:path';
import type { RepairView, ScrubView } from '../../src/api/index.ts';
import { below, flipByte, pick, seededRandom } from './content.ts';
import type { Bed, NodeProcess } from './harness.ts';
import { checkLibrary, checkListing, fillLibrary, type LibraryPlan } from './library.ts';

export interface DamagePlan extends LibraryPlan {
  readonly flipCount: number;
  readonly flipsPerStore: number;
}

const BLOCK_BYTES = 4096;
/** A sealed shard fills its blocks with what looks random; nothing else on a store does. */
const DISTINCT_BYTES_OF_SHARDS = 240;
/** As docs/formats/store.md has it: four superblocks, then the journal, then everything else. */
const SUPERBLOCKS = [0, 16, 2048, 2064];
const JOURNAL_BLOCK = 2080;
const TRIES_MAX = 10_000;

interface Spot {
  readonly file: string;
  readonly offset: number;
}

type Random = () => number;

export async function flipBytes(bed: Bed, plan: DamagePlan): Promise<void> {
  const random = seededRandom(plan.seed);
  let node = await bed.up();
  const books = await withClient(node, (client) => fillLibrary(bed, client, plan));
  node = await findsEveryOne(bed, node, random);
  const rounds = Math.ceil(plan.flipCount / plan.flipsPerStore / 2);
  for (let round = 0; round < rounds; round += 1) {
    node = await damage(bed, node, { round, random, flipsPerStore: plan.flipsPerStore });
    const check = () =>
      withClient(node, (client) => checkLibrary(bed, client, { books, byCommand: plan.byCommand }));
    // Every second time the reads are the first to meet it.
    if (round % 2 === 0) await check();
    else assert.ok(foundBy(await scrub(bed)) > 0, `round ${round}: scrub finds some of it`);
    await check();
    await makeWhole(bed, `round ${round}`);
    checkListing(await bed.list(), books);
  }
  await node.stop();
}

/** One byte in each of two stores, where a shard must lie: scrub names exactly these two. */
async function findsEveryOne(bed: Bed, node: NodeProcess, random: Random): Promise<NodeProcess> {
  for (const store of pick(random, { from: bed.firstStores(), count: 2 })) {
    const spot = await randomSpot(store, random, isOfShard);
    await flipByte(spot.file, spot.offset, 1 << below(random, 8));
  }
  const found = await scrub(bed);
  assert.equal(found.bad, 2, 'both flipped bits are found');
  await makeWhole(bed, 'two bits');
  return node;
}

/** @returns the node that runs afterwards: the same, or a new one. */
async function damage(
  bed: Bed,
  node: NodeProcess,
  { round, random, flipsPerStore }: { round: number; random: Random; flipsPerStore: number },
): Promise<NodeProcess> {
  const way = ['running', 'stopped', 'killed'][round % 3];
  if (way === 'stopped') await node.stop();
  if (way === 'killed') await node.kill();
  for (const store of pick(random, { from: bed.firstStores(), count: 2 })) {
    for (const spot of await spotsOf(store, random, flipsPerStore)) {
      await flipByte(spot.file, spot.offset, 1 + below(random, 255));
    }
  }
  return way === 'running' ? node : await bed.up();
}

/** One in a superblock, one in the journal, the others wherever something is written. */
async function spotsOf(store: string, random: Random, count: number): Promise<Spot[]> {
  const first = path.join(store, 'seg.00000');
  const superblock = SUPERBLOCKS[below(random, SUPERBLOCKS.length)]! * BLOCK_BYTES;
  const spots = [
    { file: first, offset: superblock + below(random, BLOCK_BYTES) },
    { file: first, offset: JOURNAL_BLOCK * BLOCK_BYTES + below(random, 64 * BLOCK_BYTES) },
  ];
  while (spots.length < count) spots.push(await randomSpot(store, random, isWritten));
  return spots.slice(0, count);
}

const isWritten = (block: Buffer) => block.some((byte) => byte !== 0);
const isOfShard = (block: Buffer) => new Set(block).size >= DISTINCT_BYTES_OF_SHARDS;

/** Somewhere in a block of this sort, behind the superblocks. */
async function randomSpot(
  store: string,
  random: Random,
  isWanted: (block: Buffer) => boolean,
): Promise<Spot> {
  const names = (await fs.readdir(store)).filter((name) => name.startsWith('seg.'));
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const file = path.join(store, names[below(random, names.length)]!);
    await using handle = await fs.open(file, 'r');
    const { size } = await handle.stat();
    const number = below(random, Math.floor(size / BLOCK_BYTES));
    if (file.endsWith('seg.00000') && SUPERBLOCKS.includes(number)) continue;
    const block = Buffer.alloc(BLOCK_BYTES);
    await handle.read(block, 0, BLOCK_BYTES, number * BLOCK_BYTES);
    if (isWanted(block)) return { file, offset: number * BLOCK_BYTES + below(random, BLOCK_BYTES) };
  }
  throw new Error(`${store} has no such block`);
}

async function scrub(bed: Bed): Promise<ScrubView> {
  const { stdout, stderr, exitCode } = await bed.run(['scrub', '--json']);
  assert.equal(stderr, '');
  const found = JSON.parse(stdout.toString()) as ScrubView;
  assert.equal(exitCode, found.bad > 0 || found.failedStores.length > 0 ? 1 : 0);
  return found;
}

function foundBy({ bad, mended, failedStores }: ScrubView): number {
  return bad + mended + failedStores.length;
}

/** After a repair all is well, and stays so when everything is read again. */
async function makeWhole(bed: Bed, when: string): Promise<void> {
  // What lies in the journal or an index is mended by reading it; what is bad then, by repair.
  await scrub(bed);
  const { lost } = await bed.json<RepairView>(['repair']);
  assert.equal(lost, 0, when);
  const found = await scrub(bed);
  assert.equal(foundBy(found), 0, `${when}: after repair scrub is clean: ${JSON.stringify(found)}`);
  const health = await bed.health();
  assert.equal(health.exitCode, 0, `${when}: ${JSON.stringify(health)}`);
  assert.equal(health.badChunks, 0);
}

async function withClient<Result>(
  node: NodeProcess,
  work: (client: ReturnType<NodeProcess['connect']>) => Promise<Result>,
): Promise<Result> {
  using client = node.connect();
  return await work(client);
}
