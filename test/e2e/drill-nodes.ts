/**
 * Drills about many nodes: killed while they are used, a rack switched off, nodes that come, go and
 * come back. What was acknowledged is read byte for byte all the while, and what was deleted stays
 * deleted.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HealthView, PlaceView } from '../../src/api/index.ts';
import { errorCode, errorMessage, mapBounded } from '../../src/base/index.ts';
import { below, pick, seededRandom } from './content.ts';
import { type Bed, until } from './harness.ts';
import { type Book, digestByClient, putByClient } from './library.ts';
import { LoopbackCluster, type MemberPlan } from './loopback-cluster.ts';

const SCHEME = 'rs-4+2';
const TOLERANCE = 2;
const AT_ONCE = 8;
/** Above the size that is kept as copies: these are shards. */
const BOOK_BYTES = 70_000;
const MiB = 2 ** 20;

function plans(count: number, flagsOf: (number: number) => readonly string[] = () => []) {
  return Array.from({ length: count }, (_, i): MemberPlan => ({
    name: `n${i + 1}`,
    flags: flagsOf(i),
  }));
}

/** Puts books through several nodes in turns. */
export async function putBooks(
  cluster: LoopbackCluster,
  { label, count, through }: { label: string; count: number; through: readonly string[] },
): Promise<Book[]> {
  const drafts = Array.from({ length: count }, (_, i) => `${label}/${i}`);
  return await mapBounded(drafts, AT_ONCE, async (key, i) => {
    const client = cluster.client(through[i % through.length]!);
    const sizeBytes = BOOK_BYTES + (i % 7) * 1000;
    return await putByClient(client, { seed: key, key, fileName: `${i}.txt`, sizeBytes });
  });
}

/** Every book from some node, byte for byte. */
export async function checkBooks(
  cluster: LoopbackCluster,
  books: readonly Book[],
  through: readonly string[] = cluster.running,
): Promise<void> {
  await mapBounded(books, AT_ONCE, async ({ id, digest }, i) => {
    const name = through[i % through.length]!;
    const got = await digestByClient(cluster.client(name), id).catch((error: unknown) => {
      throw new Error(`${name} does not give ${id}: ${errorMessage(error)}`, { cause: error });
    });
    assert.equal(got, digest, `${id} through ${name}`);
  });
}

/** Nodes heal by themselves; who does not want to wait for that asks for it. */
export interface Patience {
  readonly asksForRepair?: boolean;
}

/** Waits until repair has nothing left to do. */
export async function healed(
  cluster: LoopbackCluster,
  { asksForRepair = false }: Patience,
): Promise<HealthView> {
  const client = cluster.client(cluster.home);
  let health: HealthView | undefined;
  const isHealed = async (): Promise<boolean> => {
    if (asksForRepair) await client.call('repair', {});
    health = await client.call('health', {});
    const { stripes, misplaced, unnamedChunks } = health;
    return stripes.degraded + stripes.lost + misplaced + unnamedChunks === 0;
  };
  await until('all stripes are whole and where they belong', isHealed, 180_000).catch((error) => {
    throw new Error(`${errorMessage(error)}: ${JSON.stringify(health)}`, { cause: error });
  });
  return health!;
}

export interface NodeKillPlan extends Patience {
  readonly seed: number;
  readonly nodeCount: number;
  readonly rounds: number;
  readonly lifeMsMax: number;
}

/**
 * Round after round as many nodes are killed as the scheme bears, while others put and get; the
 * home is left alone.
 * @returns what is worth printing.
 */
export async function killNodesDuringUse(bed: Bed, plan: NodeKillPlan): Promise<object> {
  const random = seededRandom(plan.seed);
  await using cluster = await LoopbackCluster.start(bed, plans(plan.nodeCount), { scheme: SCHEME });
  const residentMiB = Math.round(
    Math.max(...cluster.running.map((name) => cluster.process(name).residentBytes)) / MiB,
  );
  const books = await putBooks(cluster, { label: 'first', count: 10, through: cluster.running });
  const counts = { refusedPuts: 0, gets: 0 };
  for (let round = 0; round < plan.rounds; round += 1) {
    const others = cluster.running.filter((name) => name !== cluster.home);
    const victims = pick(random, { from: others, count: TOLERANCE });
    const users = others.filter((name) => !victims.includes(name)).slice(0, 2);
    await useWhileKilling(cluster, { books, counts, victims, users, round, plan, random });
    await checkBooks(cluster, books);
    await Promise.all(victims.map((name) => cluster.restart(name)));
    await cluster.settle();
  }
  await checkBooks(cluster, books);
  await healed(cluster, plan);
  await checkPowerCut(cluster, books);
  return { residentMiB, books: books.length, ...counts };
}

interface Use {
  readonly books: Book[];
  readonly counts: { refusedPuts: number; gets: number };
  readonly victims: readonly string[];
  /** Nodes that nobody kills. */
  readonly users: readonly string[];
  readonly round: number;
  readonly plan: NodeKillPlan;
  readonly random: () => number;
}

async function useWhileKilling(cluster: LoopbackCluster, use: Use): Promise<void> {
  const { victims, users, plan, random } = use;
  let isOver = false;
  const isGoingOn = (): boolean => !isOver;
  const doomed = victims[0]!;
  const workers = [
    ...[cluster.home, ...users].map((name) => putSteadily(cluster, { ...use, name, isGoingOn })),
    putSteadily(cluster, { ...use, name: doomed, isGoingOn, isDoomed: true }),
    ...users.map((name) => getSteadily(cluster, { ...use, name, isGoingOn })),
  ];
  const work = Promise.all(workers);
  work.catch(() => {}); // heard below
  for (const name of victims) {
    await sleep(below(random, plan.lifeMsMax));
    await cluster.kill(name);
  }
  await sleep(plan.lifeMsMax);
  isOver = true;
  await work;
}

interface Steady extends Use {
  readonly name: string;
  readonly isGoingOn: () => boolean;
  /** It is killed: its puts may fail any time. */
  readonly isDoomed?: boolean;
}

async function putSteadily(cluster: LoopbackCluster, steady: Steady): Promise<void> {
  const { books, counts, name, isGoingOn, isDoomed = false, round } = steady;
  const client = cluster.client(name);
  for (let count = 0; isGoingOn(); count += 1) {
    const key = `${name}/${round}/${count}`;
    // Copies, shards, and more than one stripe.
    const sizeBytes = [3000, BOOK_BYTES, 12 * MiB][count % 3]!;
    try {
      books.push(await putByClient(client, { seed: key, key, fileName: 'a book', sizeBytes }));
    } catch (error) {
      if (isDoomed) return;
      assert.ok(errorCode(error), `a put through ${name} fails plainly: ${errorMessage(error)}`);
      counts.refusedPuts += 1;
    }
  }
}

/** Not one of them fails. */
async function getSteadily(cluster: LoopbackCluster, steady: Steady): Promise<void> {
  const { books, counts, name, isGoingOn, random } = steady;
  while (isGoingOn()) {
    const book = books[below(random, books.length)]!;
    await checkBooks(cluster, [book], [name]);
    counts.gets += 1;
  }
}

/** All at once, the home too; and all come back. */
async function checkPowerCut(cluster: LoopbackCluster, books: readonly Book[]): Promise<void> {
  const names = cluster.running;
  await Promise.all(names.map((name) => cluster.kill(name)));
  await mapBounded(names, 3, (name) => cluster.restart(name));
  await cluster.settle();
  await checkBooks(cluster, books);
}

export interface RackPlan extends Patience {
  readonly bookCount: number;
}

const RACKS = ['r1', 'r2', 'r3'];

function inRacks(count: number): MemberPlan[] {
  return plans(count, (i) => ['--rack', RACKS[i % RACKS.length]!]);
}

/** Two nodes in each of three racks: any rack may go, that of the home excepted. */
export async function loseRacks(bed: Bed, plan: RackPlan): Promise<void> {
  await using cluster = await LoopbackCluster.start(bed, inRacks(6), { scheme: SCHEME });
  await checkRacks(cluster, {
    ...plan,
    // Of the racks without the home: n2 and n5, n3 and n6.
    racks: [
      ['n2', 'n5'],
      ['n3', 'n6'],
    ],
    switchOff: async (names) => {
      await Promise.all(names.map((name) => cluster.kill(name)));
    },
    switchOn: async (names) => {
      await Promise.all(names.map((name) => cluster.restart(name)));
    },
  });
}

export interface RackCheck extends RackPlan {
  readonly racks: readonly (readonly string[])[];
  readonly switchOff: (names: readonly string[]) => Promise<void>;
  readonly switchOn: (names: readonly string[]) => Promise<void>;
}

export async function checkRacks(cluster: LoopbackCluster, check: RackCheck): Promise<void> {
  const { bookCount, racks, switchOff, switchOn } = check;
  const books = await putBooks(cluster, {
    label: 'racks',
    count: bookCount,
    through: cluster.running,
  });
  await checkSurvivesRack(cluster, books, check);
  for (const rack of racks) {
    const left = cluster.running.filter((name) => !rack.includes(name));
    await switchOff(rack);
    await checkBooks(cluster, books, left);
    const put = putBooks(cluster, { label: `refused/${rack.join()}`, count: 1, through: left });
    assert.equal(await put.then(() => 'stored', errorCode), 'HF_TOO_FEW_STORES', 'no spare shard');
    await checkBooks(cluster, books, left);
    await switchOn(rack);
    await cluster.settle();
  }
  await checkBooks(cluster, books);
  await healed(cluster, check);
}

/** `where` shows two shards in each rack, `health` says that one rack may go. */
async function checkSurvivesRack(
  cluster: LoopbackCluster,
  books: readonly Book[],
  patience: Patience,
): Promise<void> {
  const health = await healed(cluster, patience);
  assert.ok(health.survives.some(({ level, count }) => level === 'rack' && count === 1));
  for (const book of books) {
    const places = await placesOf(cluster, book);
    for (const { shards, stores, relaxed } of places) {
      const racks = shards.map(({ foundAt }) => stores[foundAt[0]!]!.domains['rack']!);
      assert.deepEqual(racks.toSorted(), ['r1', 'r1', 'r2', 'r2', 'r3', 'r3']);
      assert.deepEqual(relaxed, []);
    }
  }
}

async function placesOf(cluster: LoopbackCluster, { id }: Book): Promise<PlaceView[]> {
  const places: PlaceView[] = [];
  await cluster
    .client(cluster.home)
    .call('object.where', { reference: id }, { onItem: (place) => void places.push(place) });
  return places;
}

export interface ChangePlan extends Patience {
  readonly bookCount: number;
  /** Largest less smallest number of shards on a store, as part of the mean. */
  readonly spreadMax: number;
}

/**
 * A node comes, one is away while files are deleted, one leaves, one is lost for good; everything
 * is readable throughout.
 * @returns what is worth printing.
 */
export async function changeNodes(bed: Bed, plan: ChangePlan): Promise<object> {
  await using cluster = await LoopbackCluster.start(bed, plans(6), { scheme: SCHEME });
  const through = cluster.running;
  const books = await putBooks(cluster, { label: 'books', count: plan.bookCount, through });

  await cluster.join({ name: 'n7' });
  await whileReading(cluster, books, async () => {
    await cluster.settle();
    await healed(cluster, plan);
  });
  const spread = await spreadOf(cluster, books);
  assert.ok(spread < plan.spreadMax, `use of the stores differs by ${spread} of the mean`);

  const kept = await checkDeletesWhileAway(cluster, { books, away: 'n4', ...plan });

  await whileReading(cluster, kept, () => cluster.leave('n5'));
  await cluster.settle();
  await checkBooks(cluster, kept);
  const { stripes } = await healed(cluster, plan);
  assert.equal(stripes.degraded + stripes.lost, 0);

  await cluster.join({ name: 'n8' });
  await cluster.settle();
  await healed(cluster, plan);
  await loseForGood(cluster, { books: kept, lost: 'n3', ...plan });
  return { books: books.length, spread: Number(spread.toFixed(3)) };
}

/** Reads one after the other until the work is done. */
async function whileReading(
  cluster: LoopbackCluster,
  books: readonly Book[],
  work: () => Promise<void>,
): Promise<void> {
  let isOver = false;
  const reading = (async () => {
    for (let i = 0; !isOver; i += 1) await checkBooks(cluster, [books[i % books.length]!], ['n2']);
  })();
  reading.catch(() => {}); // heard below
  try {
    await work();
  } finally {
    isOver = true;
  }
  await reading;
}

/** How unequally the shards lie: largest less smallest, as part of the mean. */
async function spreadOf(cluster: LoopbackCluster, books: readonly Book[]): Promise<number> {
  const counts = new Map<string, number>();
  await mapBounded(books, AT_ONCE, async (book) => {
    for (const { shards } of await placesOf(cluster, book)) {
      for (const store of shards.flatMap(({ foundAt }) => foundAt)) {
        counts.set(store, (counts.get(store) ?? 0) + 1);
      }
    }
  });
  const values = [...counts.values()];
  assert.equal(values.length, cluster.running.length, 'every store has shards');
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return (Math.max(...values) - Math.min(...values)) / mean;
}

/** Every second book goes while a node is away. @returns the others. */
async function checkDeletesWhileAway(
  cluster: LoopbackCluster,
  { books, away, ...patience }: { books: readonly Book[]; away: string } & Patience,
): Promise<Book[]> {
  const chunksBefore = await chunkCount(cluster, away);
  await cluster.kill(away);
  const kept = books.filter((_, i) => i % 2 === 0);
  const gone = books.filter((_, i) => i % 2 === 1);
  await mapBounded(gone, AT_ONCE, async ({ id }, i) => {
    await cluster.client(i % 2 === 0 ? 'n2' : cluster.home).call('object.remove', {
      reference: id,
    });
  });
  await checkBooks(cluster, kept);
  await cluster.restart(away);
  await cluster.settle();
  await healed(cluster, patience);
  const chunksAfter = await chunkCount(cluster, away);
  assert.ok(
    chunksAfter < chunksBefore * 0.7,
    `${away} had ${chunksBefore} chunks and has ${chunksAfter}: what was deleted is let go`,
  );
  for (const name of cluster.running) {
    for (const { id } of gone.slice(0, 5)) {
      const code = await digestByClient(cluster.client(name), id).then(() => 'there', errorCode);
      assert.equal(code, 'HF_NOT_FOUND', `${id} was deleted and is back on ${name}`);
    }
  }
  await checkBooks(cluster, kept);
  return kept;
}

async function chunkCount(cluster: LoopbackCluster, name: string): Promise<number> {
  const client = cluster.client(name);
  const devices = await client.call('device.list', {});
  const details = await mapBounded(devices, AT_ONCE, ({ id }) =>
    client.call('device.query', { device: id }),
  );
  return details.reduce((sum, device) => sum + device.chunkCount, 0);
}

/** Killed, its disk gone, taken out of the cluster: what it held is made again. */
async function loseForGood(
  cluster: LoopbackCluster,
  { books, lost: name, ...patience }: { books: readonly Book[]; lost: string } & Patience,
): Promise<void> {
  const { bed, home } = cluster;
  await cluster.kill(name);
  await fs.rm(bed.path(name), { recursive: true });
  await fs.rm(bed.path(`${name}-store-1`), { recursive: true });
  await checkBooks(cluster, books);
  await until(`${name} is dead`, async () => {
    const nodes = await cluster.client(home).call('peers.list', {});
    return nodes.some((node) => node.name === name && node.state === 'dead');
  });
  await cluster.remove(name);
  await cluster.settle();
  await healed(cluster, patience);
  await checkBooks(cluster, books);
}
