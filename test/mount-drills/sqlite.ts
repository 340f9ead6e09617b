/**
 * A SQLite database in the mount, used by several processes at once; some of them are killed on the
 * way. Nothing that was committed is missing, amounts add up, and the database finds itself sound.
 *
 * `sqlite`: processes in one mount, with a write-ahead log and its shared memory.
 * `sqlite-across`: processes in two mounts, with a rollback journal: locks hold between nodes.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { mapBounded } from '../../src/base/index.ts';
import { ok, timed } from './commands.ts';
import type { Drill, Workload } from './drill.ts';
import type { Point } from './ground.ts';

const CLIENT = fileURLToPath(new URL('sqlite-client.ts', import.meta.url));
const TRANSACTIONS = 300;
const FILE = 'accounts.sqlite';
/** Of four clients the last is killed after a quarter of its transactions. */
const CLIENTS = 4;

interface Counts {
  readonly integrity: string;
  readonly sum: number;
  readonly counts: readonly { readonly who: string; readonly count: number }[];
}

export const database: Workload = (drill) => useTogether(drill, 'wal');
export const databaseAcross: Workload = (drill) => useTogether(drill, 'delete');

async function useTogether(
  { mounts, seed, size = TRANSACTIONS, say }: Drill,
  journal: 'wal' | 'delete',
): Promise<object> {
  const { points } = mounts;
  const fileAt = ({ directory }: Point): string => path.join(directory, FILE);
  await ok(process.execPath, [CLIENT, 'make', fileAt(points[0]!), journal]);
  const clients = Array.from({ length: CLIENTS }, (_, index) => index);
  let committed: number[] = [];
  const seconds = await timed(async () => {
    committed = await mapBounded(clients, CLIENTS, async (index) => {
      const file = fileAt(points[index % points.length]!);
      const words = ['use', file, journal, `client-${index}`, String(size), String(seed + index)];
      return await commits(words, index === CLIENTS - 1 ? Math.ceil(size / 4) : size);
    });
  });
  say(`${committed.join(' + ')} transactions in ${seconds} s`);
  for (const point of points) checkCounts(await countsAt(fileAt(point)), committed, size);
  for (const point of points) await mounts.remount(point);
  for (const point of points) checkCounts(await countsAt(fileAt(point)), committed, size);
  const total = committed.reduce((sum, count) => sum + count, 0);
  return { transactions: total, perSecond: Math.round(total / seconds) };
}

/** Kills the client once it has told of so many, unless it ends with them. @returns how many. */
async function commits(words: readonly string[], countMax: number): Promise<number> {
  const child = spawn(process.execPath, [CLIENT, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [told, stderr, isKilled] = ['', '', false];
  const count = (): number => told.split('\n').length - 1;
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  child.stdout.on('data', (text: Buffer) => {
    told += text.toString();
    if (count() < countMax || countMax === Number(words[4])) return;
    isKilled = true;
    child.kill('SIGKILL');
  });
  const [exitCode, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (exitCode !== 0 && !isKilled) throw new Error(`${words[3]}: ${exitCode ?? signal}: ${stderr}`);
  return count();
}

async function countsAt(file: string): Promise<Counts> {
  return JSON.parse(await ok(process.execPath, [CLIENT, 'check', file])) as Counts;
}

function checkCounts(found: Counts, committed: readonly number[], size: number): void {
  assert.equal(found.integrity, 'ok');
  assert.equal(found.sum, 0, 'amounts add up');
  for (const [index, told] of committed.entries()) {
    const who = `client-${index}`;
    const count = found.counts.find((row) => row.who === who)?.count ?? 0;
    // The one that was killed may have committed another that it did not tell of.
    const isFine = count === told || (told < size && count === told + 1);
    assert.ok(isFine, `${who} was told of ${told} commits, and there are ${count}`);
  }
}
