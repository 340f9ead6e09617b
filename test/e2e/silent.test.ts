/**
 * Aim: a node that is cut off without a word (its connections stay, nothing comes) holds up nobody:
 * what is put meanwhile goes to others, long before the node counts as dead, and it comes back as
 * one of them. A node that was paused itself takes none of the others for silent. Method: real
 * processes on loopback, of which one is stopped by SIGSTOP.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { NodeView } from '../../src/api/index.ts';
import { checkBooks, healed, putBooks } from './drill-nodes.ts';
import { Bed, until } from './harness.ts';
import { putByClient } from './library.ts';
import { LoopbackCluster } from './loopback-cluster.ts';

const MiB = 2 ** 20;
const NAMES = ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'];
const VICTIM = 'n4';
/** Longer than a node may be silent. */
const PAUSE_MS = 4000;

let bed: Bed;
let cluster: LoopbackCluster;

beforeAll(async () => {
  bed = await Bed.open();
  const plans = NAMES.map((name) => ({ name, storeCount: 2 }));
  cluster = await LoopbackCluster.start(bed, plans, { scheme: 'rs-4+2' });
}, 120_000);

afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

async function stateOf(name: string, by: string): Promise<NodeView['state']> {
  const nodes = await cluster.client(by).call('peers.list', {});
  return nodes.find((node) => node.name === name)!.state;
}

function send(signal: NodeJS.Signals, name: string): void {
  cluster.process(name).child.kill(signal);
}

it('puts, gets and deletes go on before the node that is silent counts as dead', async () => {
  const books = await putBooks(cluster, { label: 'before', count: 6, through: ['n1', 'n2'] });
  const doomed = await putBooks(cluster, { label: 'doomed', count: 1, through: ['n1'] });
  send('SIGSTOP', VICTIM);
  try {
    const client = cluster.client('n1');
    for (const [number, sizeBytes] of [10 * MiB, 70_000, 1000].entries()) {
      const key = `while/${number}`;
      books.push(await putByClient(client, { seed: key, key, fileName: 'while.txt', sizeBytes }));
    }
    const others = NAMES.filter((name) => name !== VICTIM);
    await checkBooks(cluster, books, others);
    await client.call('object.remove', { reference: doomed[0]!.id });
    // No clock is asked: gossip gives a node at least LIMITS.suspectMs, ten seconds, to answer.
    expect(await stateOf(VICTIM, 'n1')).toMatch(/^(alive|suspect)$/);
    await until('it counts as dead', async () => (await stateOf(VICTIM, 'n1')) === 'dead');
  } finally {
    send('SIGCONT', VICTIM);
  }
  await cluster.settle();
  await checkBooks(cluster, books, [VICTIM]);
  await healed(cluster, { asksForRepair: true });
  await checkBooks(cluster, books);
});

it('a node that was paused itself blames nobody', async () => {
  const client = cluster.client('n1');
  const silences = async (): Promise<number> => {
    const metrics = await client.call('metrics', {});
    return metrics['net_silences'] ?? 0;
  };
  const before = await silences();
  expect(before).toBeGreaterThan(0); // of the test above
  const puts = Array.from({ length: 8 }, async (_, number) => {
    const key = `pause/${number}`;
    const sizeBytes = 10 * MiB;
    return await putByClient(client, { seed: key, key, fileName: 'pause.txt', sizeBytes });
  });
  send('SIGSTOP', 'n1');
  await sleep(PAUSE_MS);
  send('SIGCONT', 'n1');
  await checkBooks(cluster, await Promise.all(puts), ['n2']);
  expect(await silences()).toBe(before);
});
