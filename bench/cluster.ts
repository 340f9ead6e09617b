/**
 * Six nodes on loopback, a process and a store each: `put` of 1 GiB beside `cp` and `sync` of the
 * same file, `get` to /dev/null beside `cat`, both with cold caches; then a store is lost and made
 * again, in bytes of its shards a second. All nodes share this machine's cores and disk, so what is
 * stored is written one and a half times, and every byte passes TLS twice.
 *
 * Beside the rows it prints the processor seconds of each node on standard error.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { GiB } from '../src/base/index.ts';
import { Bed } from '../test/e2e/harness.ts';
import { LoopbackCluster } from '../test/e2e/loopback-cluster.ts';
import { stamp, writeRandom } from './content-file.ts';
import { dropCaches } from './daemon.ts';
import { type Bench, interleave, rateRow, seconds } from './harness.ts';

const TURNS = 3;
const NODE_COUNT = 6;
const MB = 1e6;
/** Three gibibytes with their parity, and what the stores keep for themselves. */
const CAPACITY_BYTES = 4 * GiB;

export const bench: Bench = async () => {
  await using bed = await Bed.open();
  const names = Array.from({ length: NODE_COUNT }, (_, i) => `n${i + 1}`);
  const plans = names.map((name) => ({ name, capacityBytes: CAPACITY_BYTES }));
  await using cluster = await LoopbackCluster.start(bed, plans, { scheme: 'rs-4+2' });
  const file = bed.path('work', 'content');
  writeRandom(file, GiB);
  const rate = (time: number): number => GiB / MB / time;
  const data = { data: names[1]! };
  const reader = { data: names[2]! };
  let id = '';
  const figures = await interleave(
    {
      put: async () => {
        // Fresh content each time: what is stored already would not travel.
        stamp(file);
        dropCaches();
        const work = async () => (id = await bed.ok(['put', file], data));
        return rate(await measured(cluster, 'put', work));
      },
      copy: async () => {
        dropCaches();
        const copy = `${file}.copy`;
        const time = await seconds(() => {
          execFileSync('cp', [file, copy]);
          execFileSync('sync', [copy]);
        });
        fs.rmSync(copy);
        return rate(time);
      },
      get: async () => {
        dropCaches();
        const work = () => bed.ok(['get', id, '-o', '/dev/null', '--force'], reader);
        const figure = rate(await measured(cluster, 'get', work));
        await bed.ok(['rm', id], data);
        return figure;
      },
      cat: async () => {
        dropCaches();
        return rate(await seconds(() => execFileSync('sh', ['-c', `cat "${file}" > /dev/null`])));
      },
    },
    { turns: TURNS },
  );
  await bed.ok(['put', file], data);
  const rebuilt = await rebuildRate(cluster, names.at(-1)!);
  const { put, copy, get, cat } = figures;
  const row = { unit: 'MB/s' };
  return [
    rateRow({ ...row, name: 'put 1 GiB, 6 nodes', value: put, peer: 'cp + sync', peerValue: copy }),
    rateRow({ ...row, name: 'get 1 GiB, 6 nodes', value: get, peer: 'cat', peerValue: cat }),
    { ...row, name: 'rebuild of a lost store', value: rebuilt },
  ];
};

/** Seconds that it takes; says what the nodes' processors have done meanwhile. */
async function measured(
  cluster: LoopbackCluster,
  what: string,
  work: () => Promise<unknown>,
): Promise<number> {
  const names = cluster.running.toSorted();
  const used = () => names.map((name) => cluster.process(name).processorSeconds);
  const before = used();
  const time = await seconds(work);
  const spent = used().map((after, i) => `${names[i]} ${(after - before[i]!).toFixed(1)}`);
  console.error(`  ${what}: ${time.toFixed(2)} s; processor seconds: ${spent.join(', ')}`);
  return time;
}

/** The node's store goes, and its shards are made again on a new one. */
async function rebuildRate(cluster: LoopbackCluster, name: string): Promise<number> {
  const client = cluster.client(name);
  const [store] = await client.call('device.list', {});
  await client.call('device.add', {
    path: cluster.bed.path(`${name}-new`),
    capacityBytes: CAPACITY_BYTES,
  });
  fs.rmSync(store!.path, { recursive: true });
  dropCaches();
  // Repair on the node itself writes the lost store off first.
  let writtenBytes = 0;
  const time = await measured(cluster, 'rebuild', async () => {
    ({ writtenBytes } = await client.call('repair', {}));
  });
  return writtenBytes / MB / time;
}
