/**
 * The mount beside GlusterFS and MooseFS: one thread writes and reads 1 GiB, and makes, stats,
 * reads and removes 2,000 files of 4 KiB; all systems on this machine and one disk, all up at once,
 * in turns. Before each cold step the client is mounted anew and the caches of the machine are
 * dropped; servers (a node is one, too) keep running and what they remember themselves.
 *
 * Unfair: the systems do not promise the same. What each has done by the time it answers is printed
 * with the figures on standard error, and lines of the table say what was left to do. Needs root.
 */
import { execFile, execFileSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { dropCaches } from './daemon.ts';
import { type Bench, formatTable } from './harness.ts';
import { type Figures, rowsOf, type SystemFigures, tableOf } from './mount-figures.ts';
import { openPeer } from './mount-peers.ts';
import { type MountedSystem, openDisk, openHoldfast } from './mount-systems.ts';

const TURNS = 3;
const WORK = path.join(import.meta.dirname, 'mount-work.ts');
/** An fsync of each takes so long that fewer have to do. */
const FULL = { mebibytes: 1024, fileCount: 2000, syncedCount: 500 };
/** Of the turn that does not count. */
const SMALL = { mebibytes: 64, fileCount: 200, syncedCount: 50 };
/** What a removal leaves to be done later is not to be in the figures of who comes next. */
const REST_MS = 2000;

type Size = typeof FULL;

const SYSTEMS: Readonly<Record<string, () => Promise<MountedSystem | undefined>>> = {
  'one-node': () => openHoldfast(1),
  'three-nodes': () => openHoldfast(3),
  glusterfs: () => openPeer('GlusterFS'),
  moosefs: () => openPeer('MooseFS'),
  disk: async () => openDisk(),
};

export const bench: Bench = async () => await compare(Object.keys(SYSTEMS));

async function compare(names: readonly string[]) {
  if (process.getuid?.() !== 0) {
    console.error('bench mount: SKIPPED: only root can mount, and drop caches');
    return [];
  }
  using interrupted = interruption();
  const { signal } = interrupted;
  await using stack = new AsyncDisposableStack();
  const systems: MountedSystem[] = [];
  for (const name of names) {
    signal.throwIfAborted();
    const system = await SYSTEMS[name]!();
    if (system) systems.push(stack.use(system));
  }
  const measured = new Map(systems.map((system) => [system, [] as Figures[]]));
  for (let turn = 0; turn <= TURNS; turn += 1) {
    for (const [system, rounds] of measured) {
      const start = performance.now();
      const figures = await round(system, turn === 0 ? SMALL : FULL, signal);
      if (turn > 0) rounds.push(figures);
      const seconds = Math.round((performance.now() - start) / 1000);
      console.error(`  turn ${turn}, ${system.name}, ${seconds} s: ${shown(figures)}`);
    }
  }
  const all = Array.from(measured, ([{ name, isOurs }, rounds]) => ({ name, isOurs, rounds }));
  if (systems.length > 0) report(systems, all);
  return rowsOf(all);
}

/** Aborted by Ctrl-C or `kill`, so that what has been started is ended in order. */
function interruption(): { readonly signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.once(signal, abort);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const signal of signals) process.off(signal, abort);
    },
  };
}

/** In a new directory, which is gone afterwards. */
async function round(
  system: MountedSystem,
  { mebibytes, fileCount, syncedCount }: Size,
  signal: AbortSignal,
): Promise<Figures> {
  const folder = path.join(system.directory, 'bench');
  const [large, small, synced] = ['large', 'small', 'synced'].map((name) =>
    path.join(folder, name),
  );
  const command = async (...words: readonly string[]) =>
    await run([...system.within, ...words], signal);
  const work = async (step: string, place: string, count: number) =>
    JSON.parse(await command(process.execPath, WORK, step, place, String(count))) as Figures;
  const cold = async () => {
    await system.remount();
    dropCaches();
  };
  await command('mkdir', '-p', small!, synced!);
  dropCaches();
  const figures: Figures[] = [await work('write', large!, mebibytes)];
  await cold();
  figures.push(await work('read', large!, mebibytes));
  dropCaches();
  figures.push(await work('create', small!, fileCount), { beneath: syncBeneath() });
  for (const step of ['stat', 'readSmall']) {
    await cold();
    figures.push(await work(step, small!, fileCount));
  }
  figures.push(await work('unlink', small!, fileCount));
  dropCaches();
  figures.push(await work('createSynced', synced!, syncedCount));
  await command('rm', '-r', folder);
  await sleep(REST_MS, undefined, { signal });
  return Object.assign({}, ...figures) as Figures;
}

/** Milliseconds until the disk under all of them has what it was given. */
function syncBeneath(): number {
  const start = performance.now();
  execFileSync('sync', ['--file-system', os.tmpdir()]);
  return performance.now() - start;
}

async function run([program, ...args]: readonly string[], signal: AbortSignal): Promise<string> {
  const { stdout } = await promisify(execFile)(program!, args, { cwd: '/', signal });
  return stdout;
}

function report(systems: readonly MountedSystem[], all: readonly SystemFigures[]): void {
  console.error(`\n${tableOf(all)}\n`);
  for (const { name, durability } of systems) console.error(`${name}: ${durability}\n`);
}

function shown(figures: Figures): string {
  return Object.entries(figures)
    .map(([key, value]) => `${key} ${value.toFixed(value < 10 ? 1 : 0)}`)
    .join(', ');
}

if (import.meta.main) {
  const asked = process.argv.slice(2);
  console.log(formatTable(await compare(asked.length === 0 ? Object.keys(SYSTEMS) : asked)));
}
