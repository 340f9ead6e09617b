/**
 * Aim: nodes agree whatever ways they have to each other, and bad wires slow or break requests but
 * never make them lie; who holds shards learns nothing from them. Method: real processes on
 * loopback, of which some are reached through a proxy that delays what passes, or flips bits of it.
 */
import fs from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { errorCode } from '../../src/base/index.ts';
import { WireProxy } from '../suites/wire-proxy.ts';
import { filesUnder } from './content.ts';
import { checkBooks, putBooks } from './drill-nodes.ts';
import { Bed, freePort, until } from './harness.ts';
import { LoopbackCluster, type MemberPlan } from './loopback-cluster.ts';
import { plaintextsIn, SECRETS } from './plaintexts.ts';

const SCHEME = 'rs-4+2';

it('nodes with TLS alone, WebSocket alone and both are one cluster', async () => {
  await using bed = await Bed.open();
  const [tls, wss] = [`tls://127.0.0.1:${await freePort()}`, `wss://127.0.0.1:${await freePort()}`];
  const both = [`tls://127.0.0.1:${await freePort()}`, `wss://127.0.0.1:${await freePort()}`];
  const plans: MemberPlan[] = [
    { name: 'a', listen: [tls] },
    { name: 'b', listen: [wss] },
    { name: 'c', listen: both },
  ];
  await using cluster = await LoopbackCluster.start(bed, plans, { scheme: 'copy-3' });
  for (const name of ['a', 'b', 'c']) {
    const books = await putBooks(cluster, { label: name, count: 3, through: [name] });
    for (const reader of ['a', 'b', 'c']) await checkBooks(cluster, books, [reader]);
  }
});

/** Twice as long as a node that is well stays unheard at most. */
const UNHEARD_MS = 10_000;

describe('over a bad wire', () => {
  /**
   * Six nodes; the way between n1 and n2 leads through the proxy of n2: n1 takes no connections, so
   * each link that it has is one that it has dialled.
   */
  async function open(stack: AsyncDisposableStack) {
    const bed = stack.use(await Bed.open());
    const ports = await Promise.all([freePort(), freePort()]);
    const [first, second] = await Promise.all(
      ports.map((port) => WireProxy.open({ host: '127.0.0.1', port })),
    );
    for (const proxy of [first!, second!]) stack.use(proxy);
    const behind = (index: number, proxy: WireProxy): Partial<MemberPlan> => ({
      listen: [`tls://127.0.0.1:${ports[index]}`],
      flags: ['--advertise', `tls://127.0.0.1:${proxy.port}`],
    });
    const plans: MemberPlan[] = [
      { name: 'n1', ...behind(0, first!) },
      { name: 'n2', ...behind(1, second!) },
      ...[3, 4, 5, 6].map((number) => ({ name: `n${number}` })),
    ];
    const cluster = stack.use(await LoopbackCluster.start(bed, plans, { scheme: SCHEME }));
    const books = await putBooks(cluster, { label: 'books', count: 12, through: ['n1'] });
    first!.faults.isSilent = true;
    first!.cut();
    await checkBooks(cluster, books, ['n1']);
    await cluster.settle();
    return { cluster, books, wire: second! };
  }

  it('one holder that is two seconds late does not slow a get beyond one', async () => {
    await using stack = new AsyncDisposableStack();
    const { cluster, books, wire } = await open(stack);
    wire.faults.delayMs = 2000;
    const times: number[] = [];
    for (const book of books) {
      const startMs = performance.now();
      await checkBooks(cluster, [book], ['n1']);
      times.push(performance.now() - startMs);
    }
    expect(Math.max(...times)).toBeLessThan(1000);
    await until('n1 notices that n2 is late', async () => {
      const nodes = await cluster.client('n1').call('peers.list', {});
      const late = nodes.find(({ name }) => name === 'n2')!;
      // Others hear it in time, and say so: to n1 it may stay alive.
      const { state, rttMs, heardMsAgo } = late;
      return state !== 'alive' || (rttMs ?? 0) > 1000 || (heardMsAgo ?? 0) > UNHEARD_MS;
    });
  });

  it('flipped bits never become content', async () => {
    await using stack = new AsyncDisposableStack();
    const { cluster, books, wire } = await open(stack);
    wire.faults.flipEveryBytes = 30_000;
    const stored = [...books];
    for (let round = 0; round < 6; round += 1) {
      await checkBooks(cluster, books, ['n1']);
      const put = putBooks(cluster, { label: `round/${round}`, count: 2, through: ['n1'] });
      await put.then(
        (more) => stored.push(...more),
        (error: unknown) => expect(errorCode(error)).toMatch(/^HF_/),
      );
    }
    expect(wire.flipCount).toBeGreaterThan(5);
    wire.faults.flipEveryBytes = 0;
    await cluster.settle();
    await checkBooks(cluster, stored, ['n1', 'n3']);
  });
});

it('who holds shards sees neither content nor name nor type, and gets nothing', async () => {
  await using bed = await Bed.open();
  // The first three have the keys of every volume.
  const holders = ['a', 'b', 'c'];
  const strangers = ['d', 'e', 'f'];
  const plans = holders.map((name) => ({ name, storeCount: 2 }));
  await using cluster = await LoopbackCluster.start(bed, plans, { scheme: SCHEME });
  for (const name of strangers) await cluster.join({ name, storeCount: 2, isGranted: false });
  await cluster.settle();
  for (const { fileName, key, content } of SECRETS) {
    await fs.writeFile(bed.path('work', fileName), content);
    await bed.ok(['put', fileName, '--name', key], { data: 'a' });
    expect((await bed.run(['get', key, '-o', '-'], { data: 'b' })).stdout.equals(content)).toBe(
      true,
    );
  }
  for (const name of strangers) {
    const { exitCode, stdout, stderr } = await bed.run(['get', 'geheim/bild', '-o', '-'], {
      data: name,
    });
    expect([exitCode, stdout.length], stderr).toEqual([9, 0]);
    expect(await cluster.client(name).call('object.list', {}).catch(errorCode)).toBe(
      'HF_WRONG_KEY',
    );
  }
  for (const name of [...holders, ...strangers]) {
    const stores = [1, 2].map((number) => bed.path(`${name}-store-${number}`));
    const files = (await Promise.all([bed.path(name), ...stores].map(filesUnder))).flat();
    expect(files.length).toBeGreaterThan(4);
    expect(await plaintextsIn(files), name).toEqual([]);
  }
});
