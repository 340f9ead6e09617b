/**
 * The extent store on a disk of its own beside `fio` on the same disk, in turns, and a store of a
 * million chunks (store-mount.ts). Unfair to the store: a put counts when it is durable, a get is
 * verified and in random order, and the store shares one thread with the program that asks; fio
 * flushes nothing, checks nothing, and goes through the disk in order (reads of 4 KiB excepted).
 * Checkpoints that fall due are in the figures of the store.
 */
import { type ChunkId, GiB, KiB, MiB } from '../src/base/index.ts';
import type { ExtentStore } from '../src/store/index.ts';
import { freeBenchBytes, openBenchDisk } from './bench-disk.ts';
import { type FioJob, hasFio, runFio } from './fio.ts';
import { type Bench, type BenchRow, interleave, type Measure, rateRow } from './harness.ts';
import { formatBenchStore, type Load, openBenchStore, runGets, runPuts } from './store-load.ts';
import { MOUNT_DISK_BYTES, mountRows } from './store-mount.ts';

const DISK_BYTES = 6 * GiB;
/** Without the store of a million chunks. */
const SMALL_DISK_BYTES = 3 * GiB;

/** One kind of chunk: what is put and got, and what fio does beside it. */
interface Contest {
  readonly name: string;
  readonly load: Load;
  readonly jobs?: Readonly<Record<'put' | 'get', FioJob>>;
}

const CONTESTS: readonly Contest[] = [
  {
    name: '1 MiB, 16 in flight',
    load: { chunkBytes: MiB, count: 2048, inFlight: 16 },
    jobs: {
      put: { rw: 'write', blockBytes: MiB, depth: 16 },
      get: { rw: 'read', blockBytes: MiB, depth: 16 },
    },
  },
  {
    name: '1 MiB, 16 in flight, checked against its id',
    load: { chunkBytes: MiB, count: 512, inFlight: 16, isChecked: true },
  },
  {
    name: '64 KiB, 32 in flight',
    load: { chunkBytes: 64 * KiB, count: 12_000, inFlight: 32 },
    jobs: {
      put: { rw: 'write', blockBytes: 64 * KiB, depth: 32 },
      get: { rw: 'read', blockBytes: 64 * KiB, depth: 32 },
    },
  },
  {
    name: '4 KiB, 32 in flight',
    load: { chunkBytes: 4 * KiB, count: 40_000, inFlight: 32 },
    jobs: {
      put: { rw: 'write', blockBytes: 4 * KiB, depth: 32 },
      get: { rw: 'randread', blockBytes: 4 * KiB, depth: 32 },
    },
  },
  {
    name: '4 KiB, 256 in flight',
    load: { chunkBytes: 4 * KiB, count: 80_000, inFlight: 256 },
    jobs: {
      put: { rw: 'write', blockBytes: 4 * KiB, depth: 256 },
      get: { rw: 'randread', blockBytes: 4 * KiB, depth: 256 },
    },
  },
];

export const bench: Bench = async () => {
  const hasRoom = freeBenchBytes() > 2 * DISK_BYTES;
  using disk = openBenchDisk(hasRoom ? DISK_BYTES : SMALL_DISK_BYTES);
  console.error(`  on a ${disk.kind}`);
  const isCompared = hasFio();
  if (!isCompared) console.error('  fio is not installed: its rows are left out');
  const rows: BenchRow[] = [];
  for (const contest of CONTESTS) rows.push(...(await contestRows(disk.path, contest, isCompared)));
  if (hasRoom && DISK_BYTES >= MOUNT_DISK_BYTES) rows.push(...(await mountRows(disk.path)));
  else console.error('  there is no room for a million chunks: their rows are left out');
  return rows;
};

async function contestRows(
  path: string,
  { name, load, jobs }: Contest,
  isCompared: boolean,
): Promise<BenchRow[]> {
  let store: ExtentStore | undefined;
  let ids: readonly ChunkId[] = [];
  const competitors: Record<string, Measure> = {
    put: async () => {
      await formatBenchStore(path);
      store = await openBenchStore(path);
      const put = await runPuts(store, load);
      ids = put.ids;
      return put.rate;
    },
    get: async () => {
      const rate = await runGets(store!, ids, load);
      await store![Symbol.asyncDispose]();
      return rate;
    },
  };
  if (jobs && isCompared) {
    for (const job of Object.values(jobs)) competitors[job.rw] = () => runFio(path, job);
  }
  const figures = await interleave(competitors);
  const row = (what: 'put' | 'get'): BenchRow => {
    const ours = rated({ name: `${what} ${name}`, count: figures[what]!, load });
    const rw = jobs?.[what].rw;
    const theirs = rw && figures[rw];
    if (theirs === undefined) return ours;
    const peerValue = rated({ name, count: theirs, load }).value;
    return rateRow({ ...ours, peer: `fio ${rw}`, peerValue });
  };
  return jobs ? [row('put'), row('get')] : [row('put')];
}

/** Large chunks as bytes a second, small ones as their number. */
function rated(what: { name: string; count: number; load: Load }): BenchRow {
  const { name, count, load } = what;
  if (load.chunkBytes < 64 * KiB) return { name, value: count, unit: '1/s' };
  return { name, value: (count * load.chunkBytes) / 1e6, unit: 'MB/s' };
}
