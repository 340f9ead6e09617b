/**
 * A store of a million chunks: what it takes to fill, to mount after it was closed and after it was
 * not, in memory, and to write a checkpoint of all its index. Its journal is as long as on a device
 * of 64 GiB; the chunks have 4 KiB, so that they fit.
 */
import { execFileSync } from 'node:child_process';
import { KiB, MiB } from '../src/base/index.ts';
import { type BenchRow, median } from './harness.ts';
import { formatBenchStore, openBenchStore, runPuts } from './store-load.ts';
import type { MountFigures } from './store-mounter.ts';

const CHUNKS = 1_000_000;
const JOURNAL_BLOCKS = (64 * MiB) / (4 * KiB);
const JOURNAL_RECORDS = 100_000;
const ROUNDS = 3;

/** Room that the chunks, their index and the journal take. */
export const MOUNT_DISK_BYTES: number = 5.5 * 1024 * MiB;

/** What is on the disk is lost. */
export async function mountRows(path: string): Promise<BenchRow[]> {
  await formatBenchStore(path, JOURNAL_BLOCKS);
  const rate = await fill(path);
  const closed = Array.from({ length: ROUNDS }, () => mountInChild(path));
  // Each is killed after its mount; the first has left the records that all replay.
  mountInChild(path, JOURNAL_RECORDS);
  const killed = Array.from({ length: ROUNDS }, () => mountInChild(path, 0));
  const closing = mountInChild(path);
  const of = (runs: readonly MountFigures[], key: keyof MountFigures): number =>
    median(runs.map((figures) => figures[key]));
  const { chunkCount } = closed[0]!;
  const memory = of(closed, 'memoryBytes') / chunkCount;
  return [
    { name: `put 4 KiB, 256 in flight, the first ${CHUNKS}`, value: rate, unit: '1/s' },
    { name: `mount ${chunkCount} chunks, closed`, value: of(closed, 'mountMs'), unit: 'ms' },
    {
      name: `mount, killed, ${JOURNAL_RECORDS} journal records`,
      value: of(killed, 'mountMs'),
      unit: 'ms',
    },
    { name: 'memory for each chunk', value: memory, unit: 'B' },
    { name: 'checkpoint of all partitions', value: closing.checkpointMs, unit: 'ms' },
    { name: 'the same, written', value: closing.checkpointBytes / 1e6, unit: 'MB' },
  ];
}

async function fill(path: string): Promise<number> {
  await using store = await openBenchStore(path);
  const { rate } = await runPuts(store, { chunkBytes: 4 * KiB, count: CHUNKS, inFlight: 256 });
  return rate;
}

/** @param puts then it is killed; left out: it closes the store. */
function mountInChild(path: string, puts?: number): MountFigures {
  const program = new URL('./store-mounter.ts', import.meta.url).pathname;
  const args = ['--expose-gc', program, path, ...(puts === undefined ? [] : [String(puts)])];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as MountFigures;
}
