/** One seed, from nothing to the last check. */
import { checkAtEnd } from './checks.ts';
import { Contents } from './contents.ts';
import { runNemesis } from './nemesis.ts';
import { plant } from './planted.ts';
import type { Planted } from './planting.ts';
import { SeededRandom } from './random.ts';
import { textOf, VirtualTime } from './sim-env.ts';
import { Trace } from './trace.ts';
import { Workload } from './workload.ts';
import { Violation } from './violation.ts';
import { World } from './world.ts';

export interface RunOptions {
  readonly seed: number;
  readonly planted?: Planted['name'] | undefined;
  /** Machines at the beginning; drawn by the seed when left out. */
  readonly nodes?: number | undefined;
  readonly keepsTrace?: boolean | undefined;
}

export interface RunResult {
  readonly seed: number;
  /** What does not hold, in one line; `undefined` when all is well. */
  readonly failure: string | undefined;
  readonly digest: string;
  readonly eventCount: number;
  readonly trace: readonly string[];
  readonly virtualMs: number;
  readonly operations: number;
  readonly failedOperations: number;
  readonly crashes: number;
  readonly restarts: number;
  readonly heals: number;
  readonly lostDisks: number;
  readonly rot: number;
  readonly partitions: number;
  readonly machines: number;
}

export async function runSeed(options: RunOptions): Promise<RunResult> {
  const { seed, planted = 'none', keepsTrace = false } = options;
  const time = new VirtualTime();
  const trace = new Trace({ isKept: keepsTrace });
  const random = new SeededRandom(BigInt(seed)).fork('holdfast');
  const diskCounts = drawDisks(random, options.nodes);
  const world = new World({ time, random, trace, planted: plant(planted), diskCounts });
  const contents = new Contents(random.fork('contents'), random.between(4, 14));
  const workload = new Workload(world, contents);
  let failure: string | undefined;
  try {
    const running = () => runWorld({ time, world, workload, random });
    await time.run(() => Promise.race([running(), world.violated]));
  } catch (error) {
    failure = error instanceof Violation ? error.message : `${textOf(error)} ${stackOf(error)}`;
    trace.add(time.nowMs, 'checks', failure);
  }
  const { crashes, restarts, heals, lost, rot, partitions } = world.counts;
  return {
    seed,
    failure,
    digest: trace.digest,
    eventCount: trace.eventCount,
    trace: trace.lines,
    virtualMs: time.nowMs,
    operations: workload.operationCount,
    failedOperations: workload.failedCount,
    crashes,
    restarts,
    heals,
    lostDisks: lost,
    rot,
    partitions,
    machines: world.machines.length,
  };
}

/** One machine in half of the runs. Metadata stands on the disks of the first one alone. */
function drawDisks(random: SeededRandom, nodes: number | undefined): number[] {
  const one = random.between(6, 8);
  const own = random.fork('machines');
  const count = nodes ?? own.pick([1, 1, 1, 2, 3, 4, 5]);
  if (count === 1) return [one];
  const counts = [own.between(3, 5), ...Array.from({ length: count - 1 }, () => own.between(1, 3))];
  for (let i = 1; sum(counts) < 7; i = 1 + (i % (count - 1))) counts[i]! += 1;
  return counts;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? '') : '';
}

async function runWorld(parts: {
  time: VirtualTime;
  world: World;
  workload: Workload;
  random: SeededRandom;
}): Promise<void> {
  const { time, world, workload, random } = parts;
  const sleep = (ms: number) => time.sleep(ms);
  await world.start();
  const end = new AbortController();
  const nemesis = runNemesis({ world, random: random.fork('nemesis'), sleep, signal: end.signal });
  const clientCount = random.between(2, world.net ? 4 : 6);
  const pauseMs = random.pick(world.net ? [50, 500, 2000, 5000] : [1, 10, 50, 200]);
  const count = world.net ? random.between(8, 20) : random.between(10, 40);
  const clients = Array.from({ length: clientCount }, (_, i) =>
    workload.runClient(random.fork(`client-${i}`), { count, pauseMs, sleep }),
  );
  // Whoever finds a violation first ends the run; the others are left where they are.
  nemesis.catch(() => {});
  await Promise.race([Promise.all(clients), nemesis]);
  end.abort();
  await nemesis;
  await checkAtEnd(world, workload);
}

/** The first seed that finds a planted bug; `undefined` when none does. */
export async function findPlanted(
  planted: Planted['name'],
  seeds: { from: number; count: number; nodes?: number | undefined },
): Promise<RunResult | undefined> {
  for (let seed = seeds.from; seed < seeds.from + seeds.count; seed++) {
    const result = await runSeed({ seed, planted, nodes: seeds.nodes });
    if (result.failure !== undefined) return result;
  }
  return undefined;
}
