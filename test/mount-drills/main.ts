/**
 * Whether a mounted volume holds what a file system promises, with programs that people use.
 *
 *     npm run drill:mount -- --workload tar --size 5000         one node with six stores
 *     npm run drill:mount -- --workload tar --cluster 3         three nodes with two stores each
 *     npm run drill:mount -- --workload fuzz --nemesis stores   two of the six come and go
 *     npm run drill:mount -- --workload git --nemesis kill --cluster 3
 *     npm run drill:mount -- --workload pjdfstest --path DIR    a built copy of that suite
 *     npm run drill:mount                                       all, one after the other
 *     npm run drill:mount -- --workload tar --logs DIR          keeps the logs of the nodes there
 *
 * Real nodes, the kernel's own FUSE; needs root. What a workload needs and is not here (fio, gcc,
 * …) is SKIPPED, loudly. Each run has nodes of its own and leaves nothing behind.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { seededRandom } from '../e2e/content.ts';
import { Bed } from '../e2e/harness.ts';
import { cProject } from './c-project.ts';
import { Missing } from './commands.ts';
import type { Drill, Workload } from './drill.ts';
import { fillStores } from './full.ts';
import { fuzzAcross, fuzzOne } from './fuzz.ts';
import { gitHistory } from './git.ts';
import { readWithout } from './loss.ts';
import { mountObstacle, MountGround, type NodeCount } from './ground.ts';
import { killUnderWriters } from './kill.ts';
import { during, NEMESES, type NemesisName, nemesisObstacle } from './nemesis.ts';
import { npmInstall } from './npm.ts';
import { posixSuite } from './posix-suite.ts';
import { rsyncTwice } from './rsync.ts';
import { database, databaseAcross } from './sqlite.ts';
import { tarTree } from './tar.ts';
import { verifiedBlocks } from './fio.ts';

interface Entry {
  readonly run: Workload;
  readonly pointCount?: 1 | 2;
  /** Whether it is the trouble itself. */
  readonly isTrouble?: boolean;
  readonly storeMib?: number;
}

const WORKLOADS: Readonly<Record<string, Entry>> = {
  tar: { run: tarTree },
  git: { run: gitHistory },
  rsync: { run: rsyncTwice },
  sqlite: { run: database },
  'sqlite-across': { run: databaseAcross, pointCount: 2 },
  npm: { run: npmInstall },
  make: { run: cProject },
  fio: { run: verifiedBlocks },
  fuzz: { run: fuzzOne },
  'fuzz-across': { run: fuzzAcross, pointCount: 2 },
  enospc: { run: fillStores, isTrouble: true, storeMib: 64 },
  loss: { run: readWithout, isTrouble: true },
  kill: { run: killUnderWriters, isTrouble: true, pointCount: 2 },
  pjdfstest: { run: posixSuite },
};

interface Wanted {
  readonly workloads: readonly string[];
  readonly nemesis: NemesisName;
  readonly nodeCount: NodeCount;
  readonly seed: number;
  readonly scheme: string;
  readonly size: number | undefined;
  readonly path: string | undefined;
  readonly logs: string | undefined;
}

async function main(): Promise<void> {
  // Not the signal's own end: that would leave nodes and mounts behind.
  for (const end of ['SIGINT', 'SIGTERM'] as const) {
    process.on(end, () => {
      throw new Error(`ended by ${end}`);
    });
  }
  const wanted = readArguments();
  if (!wanted) {
    console.error(
      `drill:mount: takes --workload ${Object.keys(WORKLOADS).join('|')} [--cluster 1|3] ` +
        `[--nemesis ${NEMESES.join('|')}] [--scheme SCHEME] [--size N] [--seed S] ` +
        '[--path DIR] [--logs DIR]',
    );
    process.exitCode = 2;
    return;
  }
  for (const workload of wanted.workloads) await runWorkload(workload, wanted);
}

function readArguments(): Wanted | undefined {
  const { values } = parseArgs({
    options: {
      workload: { type: 'string' },
      nemesis: { type: 'string', default: 'none' },
      cluster: { type: 'string', default: '1' },
      scheme: { type: 'string', default: 'rs-4+2' },
      size: { type: 'string' },
      seed: { type: 'string', default: '1' },
      path: { type: 'string' },
      logs: { type: 'string' },
    },
  });
  const workloads = values.workload === undefined ? Object.keys(WORKLOADS) : [values.workload];
  const nemesis = NEMESES.find((name) => name === values.nemesis);
  const nodeCount = ([1, 3] as const).find((count) => String(count) === values.cluster);
  const seed = Number(values.seed);
  const size = values.size === undefined ? undefined : Number(values.size);
  const isSound = [seed, size ?? 1].every((number) => Number.isSafeInteger(number) && number > 0);
  const isKnown = workloads.every((name) => Object.hasOwn(WORKLOADS, name));
  if (!nemesis || !nodeCount || !isSound || !isKnown) return undefined;
  const { path: folder, logs, scheme } = values;
  return { workloads, nemesis, nodeCount, scheme, seed, size, path: folder, logs };
}

async function runWorkload(name: string, wanted: Wanted): Promise<void> {
  const { nemesis, nodeCount, seed } = wanted;
  const entry = WORKLOADS[name]!;
  const named = `${name}, cluster of ${nodeCount}, nemesis ${nemesis}, seed ${seed}`;
  const beganMs = performance.now();
  const seconds = (): string => `${((performance.now() - beganMs) / 1000).toFixed(1)} s`;
  const say = (line: string): void => console.log(`  ${seconds()}  ${line}`);
  const obstacle =
    mountObstacle(nodeCount) ??
    nemesisObstacle(nemesis, nodeCount) ??
    (entry.isTrouble && nemesis !== 'none' ? 'it is trouble enough by itself' : undefined);
  if (obstacle !== undefined) return console.log(`SKIPPED  ${named}: ${obstacle}`);
  try {
    const figures = await runOnce(entry, { name, wanted, say });
    console.log(`ok    ${named}  ${seconds()}  ${JSON.stringify(figures)}`);
  } catch (error) {
    if (error instanceof Missing) return console.log(`SKIPPED  ${named}: ${error.message}`);
    process.exitCode = 1;
    console.log(`FAIL  ${named}  ${seconds()}`);
    console.error(error);
  }
}

async function runOnce(
  { run, pointCount = 1, storeMib }: Entry,
  { name, wanted, say }: { name: string; wanted: Wanted; say: Drill['say'] },
): Promise<object> {
  const { nemesis, nodeCount, scheme, seed, logs } = wanted;
  await using bed = await Bed.open();
  const small = storeMib === undefined ? {} : { storeMib };
  await using mounts = await MountGround.open(bed, { nodeCount, pointCount, scheme, ...small });
  say('mounted');
  using _ = keeping(mounts, logs && path.join(logs, `${name}-${seed}`));
  const trouble = { name: nemesis, mounts, random: seededRandom(seed), say };
  const drill = { mounts, seed, size: wanted.size, path: wanted.path, say };
  const { result, troubles } = await during(trouble, () => run(drill));
  await mounts.assertWhole();
  return { ...result, ...(nemesis === 'none' ? {} : { troubles }) };
}

function keeping(mounts: MountGround, folder: string | undefined): Disposable {
  return { [Symbol.dispose]: () => void (folder && mounts.ground.keepLogs(folder)) };
}

await main();
