/**
 * Drills about lost disks (items: stores removed, data directory gone). Each says what must hold
 * with plain assertions, so that the quick tests and the large runs share them and differ in sizes
 * only.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { pick, seededRandom } from './content.ts';
import type { Bed, NodeProcess } from './harness.ts';
import { checkLibrary, checkListing, fillLibrary, type LibraryPlan } from './library.ts';

/** Three pairs of stores go one after the other, until none of the first six is left. */
export async function loseEveryStoreInPairs(bed: Bed, plan: LibraryPlan): Promise<void> {
  const random = seededRandom(plan.seed);
  const order = pick(random, { from: bed.firstStores(), count: 6 });
  const pairs = [order.slice(0, 2), order.slice(2, 4), order.slice(4, 6)];
  let node = await bed.up();
  let client = node.connect();
  const books = await fillLibrary(bed, client, plan);
  const whole = await bed.health();
  assert.equal(whole.exitCode, 0);
  assert.equal(whole.stripes.degraded + whole.stripes.lost, 0);

  for (const [round, pair] of pairs.entries()) {
    const isStopped = round === 0;
    if (isStopped) {
      client[Symbol.dispose]();
      await node.stop();
    }
    for (const store of pair) await fs.rm(store, { recursive: true });
    if (isStopped) {
      node = await bed.up();
      client = node.connect();
    }
    await checkLibrary(bed, client, { books, byCommand: plan.byCommand });
    await checkAtRisk(bed, pair);
    await replace(bed, pair, round);
  }
  await checkLibrary(bed, client, { books, byCommand: plan.byCommand });
  checkListing(await bed.list(), books);
  client[Symbol.dispose]();
  await node.stop();
}

async function checkAtRisk(bed: Bed, lost: readonly string[]): Promise<void> {
  const health = await bed.health();
  assert.equal(health.exitCode, 1, 'degraded is exit code 1');
  assert.ok(health.stripes.degraded > 0);
  assert.equal(health.stripes.lost, 0);
  const spares = Object.values(health.bySpare).reduce((sum, count) => sum + count, 0);
  assert.equal(spares, health.stripes.degraded, 'for each degraded stripe: how much more may go');
  assert.ok((health.bySpare['0'] ?? 0) > 0, 'the large file bears no further loss');
  const away = health.devices.filter(({ state }) => state !== 'active').map(({ path }) => path);
  assert.deepEqual(away.toSorted(), lost.toSorted());
  const printed = (await bed.run(['health'])).stdout.toString();
  for (const store of lost) assert.ok(printed.includes(store), `health names ${store}: ${printed}`);
}

/** New stores, repair, and the dead ones are forgotten. */
async function replace(bed: Bed, lost: readonly string[], round: number): Promise<void> {
  for (const number of lost.keys())
    await bed.ok(['dev', 'add', bed.path(`new-${round}-${number}`)]);
  await bed.ok(['repair']);
  const health = await bed.health();
  assert.equal(health.exitCode, 0, JSON.stringify(health));
  assert.equal(health.stripes.degraded + health.stripes.lost, 0);
  assert.equal(health.misplaced, 0);
  for (const store of lost) await bed.ok(['dev', 'remove', store]);
  assert.equal((await bed.devices()).length, 6);
}

/** The data directory goes; stores and recovery kit stay. Then again with two stores less. */
export async function recoverFromStores(bed: Bed, plan: LibraryPlan): Promise<void> {
  const stores = [1, 2, 3, 4, 5, 6].map((number) => bed.path(`disk-${number}`));
  const kit = bed.path('kit.txt');
  const first = await bed.up({ stores });
  const firstClient = first.connect();
  const books = await fillLibrary(bed, firstClient, plan);
  await bed.ok(['volume', 'create', 'photos', '--scheme', 'copy-3']);
  await bed.ok(['key', 'export', kit]);
  await bed.ok(['put', kit, '--name', 'a kit', '--volume', 'photos']);
  firstClient[Symbol.dispose]();
  await first.kill();

  const random = seededRandom(plan.seed);
  const rounds = [stores, pick(random, { from: stores, count: 4 })];
  for (const [round, left] of rounds.entries()) {
    await fs.rm(bed.path('data'), { recursive: true });
    for (const store of stores) if (!left.includes(store)) await fs.rm(store, { recursive: true });
    const node = await bed.up({ recover: kit, stores: left });
    await checkRecovered(bed, node, { books, byCommand: plan.byCommand });
    const id = await bed.ok(['put', '-', '--name', `after/${round}`], { input: 'still writable' });
    assert.equal(await bed.ok(['get', id, '-o', '-']), 'still writable');
    await bed.ok(['rm', id]);
    await node.kill();
  }
}

async function checkRecovered(
  bed: Bed,
  node: NodeProcess,
  library: Parameters<typeof checkLibrary>[2],
): Promise<void> {
  using client = node.connect();
  checkListing(await bed.list(), library.books);
  await checkLibrary(bed, client, library);
  const photos = await bed.json<{ key: string }[]>(['ls', '--volume', 'photos']);
  assert.deepEqual(
    photos.map(({ key }) => key),
    ['a kit'],
  );
  const kit = await fs.readFile(bed.path('kit.txt'), 'utf8');
  const { stdout } = await bed.run(['get', 'a kit', '--volume', 'photos', '-o', '-']);
  assert.equal(stdout.toString(), kit);
}
