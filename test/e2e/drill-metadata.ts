/**
 * Drills about metadata that has no centre: it lies on all nodes, any of them may go, all copies of
 * a cell may go, and when the ring is lost for good there is a way to go on that says what is lost.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONTROL_SOCKET, type ObjectView } from '../../src/api/index.ts';
import { errorCode, errorMessage, mapBounded } from '../../src/base/index.ts';
import { connect } from '../../src/client/index.ts';
import { Ground } from '../consistency/cluster.ts';
import { type Bed, until } from './harness.ts';
import { type Book, digestByClient, putByClient } from './library.ts';

const AT_ONCE = 8;
const BOOK_BYTES = 1000;
/** Rows of a copy itself, which no other copy has. */
const LOCAL_SLOT = 0xffff;
/** No node shall have more of all rows than this. */
const SHARE_MAX = 0.6;
const MEMBERS_OF_CELL = 3;
/** Within this a write is refused when the ring is lost. */
const REFUSAL_MS_MAX = 15_000;
/** An etcd that has nobody to lead it any more takes a moment to say so. */
const LOST_MS = 5000;
const RESTORE = ['meta', 'restore', '--lost-for-good'];
const TRIES = 5;
const AGAIN_MS = 2000;

export interface MetadataPlan {
  readonly nodeCount: number;
  readonly directories: number;
  readonly objects: number;
  /** Killed in turn; all nodes when left out. */
  readonly kills?: number;
}

/** Spread over all nodes, none of which is needed, nor are all copies of a cell. */
export async function spreadMetadata(bed: Bed, plan: MetadataPlan): Promise<object> {
  await using ground = await Ground.open(bed, { nodeCount: plan.nodeCount, scheme: 'copy-3' });
  const books = await putInDirectories(ground, plan);
  const shares = rowShares(ground);
  const shareMax = Math.max(...shares.values());
  assert.ok(shareMax <= SHARE_MAX, `one node has ${shareMax} of all rows: ${text(shares)}`);
  for (const name of ground.running.slice(0, plan.kills)) {
    await ground.kill(name);
    await checkAll(ground, books, `without ${name}`);
    await ground.restart(name);
    await ground.heal();
  }
  const rebuilt = await loseCopies(ground, books);
  return { shareMax: round(shareMax), shareMin: round(Math.min(...shares.values())), rebuilt };
}

async function putInDirectories(
  ground: Ground,
  { directories, objects }: MetadataPlan,
): Promise<Book[]> {
  const drafts = Array.from({ length: objects }, (_, number) => ({
    seed: `book ${number}`,
    key: `d${number % directories}/book-${number}`,
    fileName: `${number}.txt`,
    sizeBytes: BOOK_BYTES,
  }));
  const { running } = ground;
  return await mapBounded(drafts, AT_ONCE, async (draft, number) => {
    const client = ground.client(running[number % running.length]!);
    return await patiently(() => putByClient(client, draft));
  });
}

/** Twelve nodes on a few cores miss each other's pings now and then, and take cells over. */
async function patiently(put: () => Promise<Book>): Promise<Book> {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await put();
    } catch (error) {
      if (errorCode(error) !== 'HF_UNAVAILABLE' || left === 1) throw error;
      await sleep(AGAIN_MS);
    }
  }
}

/** Every object is listed and comes back byte for byte, through some node. */
async function checkAll(ground: Ground, books: readonly Book[], when: string): Promise<void> {
  const { running } = ground;
  const expected = books.map(({ key }) => key!).toSorted();
  for (const name of running) {
    const listed = await listing(ground, name, when);
    assert.deepEqual(listed.toSorted(), expected, `${name} lists everything ${when}`);
  }
  await mapBounded(books, AT_ONCE, async ({ key, digest }, number) => {
    const name = running[number % running.length]!;
    const got = await digestByClient(ground.client(name), key!).catch((error: unknown) => {
      const message = `${name} does not give ${key} ${when}: ${errorMessage(error)}`;
      throw new Error(message, { cause: error });
    });
    assert.equal(got, digest, `${key} through ${name} ${when}`);
  });
}

/** What a node lists as soon as it can. */
async function listing(ground: Ground, name: string, when: string): Promise<string[]> {
  let listed: string[] = [];
  let reason = '';
  const isListed = async (): Promise<boolean> => {
    try {
      listed = await keysOf(ground, name);
      return true;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      reason = `${errorCode(error)}: ${errorMessage(error)}`;
      return false;
    }
  };
  await until(`the names are there ${when}`, isListed).catch((error: unknown) => {
    throw new Error(`${errorMessage(error)}; ${name} says ${reason}`, { cause: error });
  });
  return listed;
}

async function keysOf(ground: Ground, name: string): Promise<string[]> {
  const keys: string[] = [];
  const onItem = ({ key }: ObjectView): void => {
    if (key !== null) keys.push(key);
  };
  await ground.client(name).call('object.list', { prefix: 'd' }, { onItem });
  return keys;
}

/** Of all rows of the cluster, the part of which a node has a copy. */
function rowShares(ground: Ground): Map<string, number> {
  const rowsOf = new Map<string, number>();
  const copies = ground.running.map((name) => {
    const counts = ground.cellsOn(name).map((cell) => {
      const count = rowCount(ground.bed.path(name, 'cells', `${cell}.sqlite`));
      rowsOf.set(cell, Math.max(count, rowsOf.get(cell) ?? 0));
      return count;
    });
    return { name, count: counts.reduce((sum, count) => sum + count, 0) };
  });
  const all = [...rowsOf.values()].reduce((sum, count) => sum + count, 0);
  return new Map(copies.map(({ name, count }) => [name, count / all]));
}

function rowCount(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true, timeout: 5000 });
  try {
    const own = Buffer.alloc(2);
    own.writeUInt16BE(LOCAL_SLOT);
    const { count } = database.prepare('SELECT count(*) AS count FROM kv WHERE k < ?').get(own)!;
    return Number(count);
  } finally {
    database.close();
  }
}

/** All copies of the largest cell are deleted at once; the pool and the log bring it back. */
async function loseCopies(ground: Ground, books: readonly Book[]): Promise<object> {
  await ground.rest();
  const { cell, holders, rows } = largestCell(ground);
  assert.ok(holders.length <= MEMBERS_OF_CELL, `${cell} is on ${holders.join(' ')}`);
  for (const name of holders) await ground.kill(name);
  for (const name of holders) {
    const file = ground.bed.path(name, 'cells', `${cell}.sqlite`);
    for (const end of ['', '-wal', '-shm']) await fs.rm(file + end, { force: true });
  }
  const begunMs = performance.now();
  for (const name of holders) await ground.restart(name);
  await checkAll(ground, books, `after all copies of ${cell} were deleted`);
  const seconds = round((performance.now() - begunMs) / 1000);
  await ground.heal();
  return { rows, holders: holders.length, seconds };
}

function largestCell(ground: Ground): { cell: string; holders: string[]; rows: number } {
  const cells = new Map<string, { holders: string[]; rows: number }>();
  for (const name of ground.running) {
    for (const cell of ground.cellsOn(name).filter((one) => one.startsWith('volume-'))) {
      const known = cells.get(cell) ?? { holders: [], rows: 0 };
      const rows = rowCount(ground.bed.path(name, 'cells', `${cell}.sqlite`));
      cells.set(cell, { holders: [...known.holders, name], rows: Math.max(rows, known.rows) });
    }
  }
  const [largest] = [...cells].toSorted(([, a], [, b]) => b.rows - a.rows);
  assert.ok(largest, 'some node has a cell');
  return { cell: largest[0], ...largest[1] };
}

/**
 * Most members of the ring are down, and what their etcds had is lost for good: writes are refused
 * and say why, reads go on; the command restores the ring from what is left and says what is lost;
 * the nodes come back without their part in it. With four nodes the ring has three, and no cell
 * loses all of its copies with two of them.
 */
export async function loseRing(bed: Bed, { nodeCount }: { nodeCount: number }): Promise<object> {
  await using ground = await Ground.open(bed, { nodeCount, scheme: 'copy-4' });
  const books = await putInDirectories(ground, { nodeCount, directories: 10, objects: 100 });
  await ground.rest();
  const members = await ground.ringMembers();
  const lost = members.slice(0, Math.floor(members.length / 2) + 1);
  const witnesses = members.filter((name) => !lost.includes(name));
  const [witness] = witnesses;
  assert.ok(witness, 'one member is left');
  for (const name of lost) {
    await ground.kill(name);
    await fs.rm(bed.path(name, 'ring'), { recursive: true });
  }
  await sleep(LOST_MS);
  const outside = ground.running.find((name) => name !== witness)!;
  const refusals = await checkRefusals(ground, [witness, outside]);
  const readErrors = await readWithoutRing(ground, books, outside);
  const said = await restoreRing(bed, witnesses);
  const restoredAtMs = performance.now();
  await mapBounded(lost, AT_ONCE, (name) => ground.restart(name));
  await until('names can be made again', async () => {
    return await makeDirectory(ground, outside, `after-${Math.round(performance.now())}`).then(
      () => true,
      () => false,
    );
  });
  const writableAfterMs = Math.round(performance.now() - restoredAtMs);
  await checkAll(ground, books, 'after the ring was restored');
  const result = { members, lost, refusals, said, writableAfterMs, readErrors };
  const goesOn = Object.keys(readErrors).length === 0;
  assert.ok(goesOn, `reads stop without the ring: ${JSON.stringify(result)}`);
  return result;
}

/** Who has less of the ring than another one says so. @returns what was said, of each one asked. */
async function restoreRing(bed: Bed, witnesses: readonly string[]): Promise<string[]> {
  const said: string[] = [];
  for (const data of witnesses) {
    const { exitCode, stdout, stderr } = await bed.run(RESTORE, { data });
    said.push(`${data}: ${(stdout.toString() || stderr).trim()}`);
    if (exitCode === 0) return said;
    assert.match(stderr, /has heard more of the ring/);
  }
  throw new Error(`nobody restores the ring of ${witnesses.join(' ')}: ${said.join('; ')}`);
}

async function makeDirectory(ground: Ground, name: string, path: string): Promise<void> {
  await ground.client(name).call('tree.makeDirectory', { path });
}

/** @returns what each of the nodes says. */
async function checkRefusals(ground: Ground, names: readonly string[]): Promise<string[]> {
  return await mapBounded(names, AT_ONCE, async (name) => {
    const begunMs = performance.now();
    const error = await makeDirectory(ground, name, `refused-by-${name}`).then(
      () => undefined,
      (problem: unknown) => problem,
    );
    const tookMs = Math.round(performance.now() - begunMs);
    const code = errorCode(error);
    assert.ok(error !== undefined, `${name} writes without a ring`);
    assert.match(code ?? '', /^HF_(UNAVAILABLE|UNKNOWN_OUTCOME)$/, errorMessage(error));
    assert.ok(tookMs <= REFUSAL_MS_MAX, `${name} says no after ${tookMs} ms`);
    return `${name} after ${tookMs} ms: ${code}: ${errorMessage(error)}`;
  });
}

/** @returns how often each error came. */
async function readWithoutRing(
  ground: Ground,
  books: readonly Book[],
  name: string,
): Promise<Readonly<Record<string, number>>> {
  const errors: Record<string, number> = {};
  using client = connect({ socketPath: ground.bed.path(name, CONTROL_SOCKET) }); // old names do
  await mapBounded(books.slice(0, AT_ONCE), AT_ONCE, async ({ key }) => {
    await digestByClient(client, key!).catch((error: unknown) => {
      const code = errorCode(error) ?? String(error);
      errors[code] = (errors[code] ?? 0) + 1;
    });
  });
  return errors;
}

function text(shares: ReadonlyMap<string, number>): string {
  return Array.from(shares, ([name, share]) => `${name} ${round(share)}`).join(', ');
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
