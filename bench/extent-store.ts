/**
 * The extent store on a disk of its own beside `fio` on the same disk, in turns. Unfair to the
 * store: a put is durable when it counts, a get is verified and in random order, both share one
 * thread with the program that asks; fio flushes nothing, checks nothing, and writes and reads in
 * order (reads of 4 KiB excepted). Checkpoints that fall due are in the figures.
 */
import type { ChunkId } from '../src/base/index.ts';
import { GiB, KiB, MiB } from '../src/base/index.ts';
import type { ExtentStore } from '../src/store/index.ts';
import { freeBenchBytes, openBenchDisk } from './bench-disk.ts';
import { type FioJob, hasFio, runFio } from './fio.ts';
import { type Bench, type BenchRow, interleave, type Measure, rateRow } from './harness.ts';
import { formatBenchStore, type Load, openBenchStore, runGets, runPuts } from './store-load.ts';

const DISK_BYTES = 6 * GiB;
const SMALL_DISK_BYTES = 3 * GiB;

/** One kind of chunk: what is put and got, and what fio does beside it. */
interface Contest {
  readonly name: string;
  readonly load: Load;
  readonly write?: FioJob;
  readonly read?: FioJob;
}

const CONTESTS: readonly Contest[] = [
  {
    name: '1 MiB, 16 in flight',
    load: { chunkBytes: MiB, count: 2048, inFlight: 16 },
    write: { rw: 'write', blockBytes: MiB, depth: 16 },
    read: { rw: 'read', blockBytes: MiB, depth: 16 },
  },
  {
    name: '1 MiB, 16 in flight, checked against its id',
    load: { chunkBytes: MiB, count: 1024, inFlight: 16, isChecked: true },
  },
  {
    name: '64 KiB, 32 in flight',
    load: { chunkBytes: 64 * KiB, count: 24_000, inFlight: 32 },
    write: { rw: 'write', blockBytes: 64 * KiB, depth: 32 },
    read: { rw: 'read', blockBytes: 64 * KiB, depth: 32 },
  },
  {
    name: '4 KiB, 32 in flight',
    load: { chunkBytes: 4 * KiB, count: 60_000, inFlight: 32 },
    write: { rw: 'write', blockBytes: 4 * KiB, depth: 32 },
    read: { rw: 'randread', blockBytes: 4 * KiB, depth: 32 },
  },
  {
    name: '4 KiB, 256 in flight',
    load: { chunkBytes: 4 * KiB, count: 100_000, inFlight: 256 },
    write: { rw: 'write', blockBytes: 4 * KiB, depth: 256 },
    read: { rw: 'randread', blockBytes: 4 * KiB, depth: 256 },
  },
];

/** MB/s from this size on, else operations a second. */
const RATE_BYTES_MIN = 64 * KiB;

export const bench: Bench = async () => {
  const sizeBytes = freeBenchBytes() > 2 * DISK_BYTES ? DISK_BYTES : SMALL_DISK_BYTES;
  using disk = openBenchDisk(sizeBytes);
  console.error(`  on a ${disk.kind} of ${sizeBytes / GiB} GiB`);
  const isCompared = hasFio();
  if (!isCompared) console.error('  fio is not installed: nothing to compare with');
  const rows: BenchRow[] = [];
  for (const contest of CONTESTS) rows.push(...(await contestRows(disk.path, contest, isCompared)));
  return rows;
};

async function contestRows(
  path: string,
  { name, load, write, read }: Contest,
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
  const job = (fioJob: FioJob): Measure => () => runFio(path, fioJob);
  if (isCompared && write) competitors['write'] = job(write);
  if (isCompared && read) competitors['read'] = job(read);
  const figures = await interleave(competitors);
  const isRate = load.chunkBytes >= RATE_BYTES_MIN;
  const row = (what: 'put' | 'get', peer: 'write' | 'read'): BenchRow => {
    const scaled = (count: number): number => (isRate ? (count * load.chunkBytes) / 1e6 : count);
    const unit = isRate ? 'MB/s' : '1/s';
    const ours = { name: `${what} ${name}`, value: scaled(figures[what]!), unit };
    const theirs = figures[peer];
    if (theirs === undefined) return ours;
    return rateRow({ ...ours, peer: `fio ${peer}`, peerValue: scaled(theirs) });
  };
  return [row('put', 'write'), row('get', 'read')];
}
