/**
 * The drill about sudden ends: the node is killed at random moments while several writers put and
 * remove. What was acknowledged holds, and what was not leaves nothing behind.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode } from '../../src/base/index.ts';
import type { HoldfastClient } from '../../src/client/index.ts';
import { below, digestOf, seededContent, seededRandom } from './content.ts';
import type { Bed, NodeProcess } from './harness.ts';
import { type Book, checkListing, digestByClient, putByClient } from './library.ts';

export interface KillPlan {
  readonly seed: number;
  readonly rounds: number;
  readonly writerCount: number;
  readonly lifeMsMax: number;
}

/** What the writers have been told; `wanted` is what they asked for and got no answer to. */
interface Ledger {
  readonly stored: Map<string, Book>;
  readonly removed: Set<string>;
  /** Digests of contents whose put was under way, by file name. */
  readonly putting: Map<string, string>;
  /** Ids whose removal was under way. */
  readonly removing: Set<string>;
}

const LARGE_BYTES = 3_000_000;
/**
 * What the cells keep of their log until the next snapshot, in all copies, and the index images.
 */
const METADATA_BYTES = 40 * 2 ** 20;

export async function killDuringPuts(bed: Bed, plan: KillPlan): Promise<void> {
  const random = seededRandom(plan.seed);
  const ledger: Ledger = {
    stored: new Map(),
    removed: new Set(),
    putting: new Map(),
    removing: new Set(),
  };
  let node = await bed.up();
  const usedAtStart = await bed.usedBytes();
  for (let round = 0; round < plan.rounds; round += 1) {
    await writeUntilKilled(node, ledger, { ...plan, round, random });
    node = await bed.up();
    using client = node.connect();
    await checkLedger(bed, client, ledger);
  }
  assert.ok(ledger.stored.size > plan.rounds, 'something was acknowledged');
  await checkNothingLeft(bed, node, { ledger, usedAtStart });
  await node.stop();
}

async function writeUntilKilled(
  node: NodeProcess,
  ledger: Ledger,
  plan: KillPlan & { round: number; random: () => number },
): Promise<void> {
  const { writerCount, round, random, lifeMsMax } = plan;
  using client = node.connect();
  const writers = Array.from({ length: writerCount }, (_, writer) =>
    write(client, ledger, { name: `${plan.seed}-${round}-${writer}` }),
  );
  await sleep(below(random, lifeMsMax));
  await node.kill();
  for (const error of await Promise.all(writers)) {
    const code = errorCode(error) ?? String(error);
    assert.match(code, /^HF_(NOT_RUNNING|UNKNOWN_OUTCOME|IO)$/, 'a writer learns that it is gone');
  }
}

/** Puts and removes until that fails. @returns why it failed. */
async function write(
  client: HoldfastClient,
  ledger: Ledger,
  { name }: { name: string },
): Promise<unknown> {
  const { stored, removed, putting, removing } = ledger;
  const random = seededRandom(Number.parseInt(name.replaceAll('-', ''), 10));
  for (let count = 0; ; count += 1) {
    const seed = `${name}-${count}`;
    const sizeBytes = below(random, random() < 0.3 ? LARGE_BYTES : 20_000);
    const draft = { seed, fileName: seed, key: `kills/${seed}`, sizeBytes };
    try {
      putting.set(seed, await digestOf(seededContent(seed, sizeBytes)));
      const book = await putByClient(client, draft);
      stored.set(book.id, book);
      putting.delete(seed);
      if (count % 3 !== 2) continue;
      removing.add(book.id);
      await client.call('object.remove', { reference: book.id });
      stored.delete(book.id);
      removed.add(book.id);
      removing.delete(book.id);
    } catch (error) {
      return error;
    }
  }
}

/** Settles what was under way: whole or not there, never a part. */
async function checkLedger(bed: Bed, client: HoldfastClient, ledger: Ledger): Promise<void> {
  const { stored, removed, putting, removing } = ledger;
  const listed = await bed.list();
  const ids = new Set(listed.map(({ id }) => id));
  for (const id of removed) assert.ok(!ids.has(id), `${id} was removed and is back`);
  for (const id of removing) if (!ids.has(id)) stored.delete(id);
  for (const { id, key, fileName, sizeBytes } of listed) {
    const digest = putting.get(fileName);
    if (digest !== undefined) stored.set(id, { id, key, fileName, sizeBytes, digest });
  }
  putting.clear();
  removing.clear();
  checkListing(listed, [...stored.values()]);
  for (const { id, key, digest } of stored.values()) {
    assert.equal(await digestByClient(client, key ?? id), digest, `${key} is whole`);
  }
}

async function checkNothingLeft(
  bed: Bed,
  node: NodeProcess,
  { ledger, usedAtStart }: { ledger: Ledger; usedAtStart: number },
): Promise<void> {
  await bed.ok(['repair']);
  const collected = await bed.health();
  assert.equal(collected.unnamedChunks, 0, 'repair collects what nothing names');
  assert.equal(collected.exitCode, 0, JSON.stringify(collected));
  const usedWhenFull = await bed.usedBytes();
  const contents = [...ledger.stored.values()];
  const contentBytes = contents.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  using client = node.connect();
  for (const { id } of contents) await client.call('object.remove', { reference: id });
  const usedAtEnd = await bed.usedBytes();
  assert.ok(usedWhenFull - usedAtEnd >= contentBytes, 'rm frees at once at least the contents');
  assert.ok(
    usedAtEnd - usedAtStart < METADATA_BYTES,
    `used ${usedAtStart} bytes at the start, ${usedWhenFull} when full, ${usedAtEnd} at the end`,
  );
  const empty = await bed.health();
  assert.deepEqual(empty.stripes, { ok: 0, degraded: 0, lost: 0 });
  assert.equal(empty.unnamedChunks, 0);
}
