/**
 * Whether real nodes keep what they promise to clients side by side, while there is trouble.
 *
 *     npm run consistency -- --workload names --runs 3 --seed 7 --nemesis kill
 *     npm run consistency -- --workload names --logs DIR   keeps the logs of the nodes there
 *     npm run consistency -- --workload names --doubt      a refusal is no promise
 *     npm run consistency -- --workload stalls             how long nothing is acknowledged
 *
 * Workloads: register, set, names, tangle (their files say what they check); nemeses: kill, pause,
 * partition, layout, clock; none when left out. Each run has five nodes of its own.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Bed } from '../e2e/harness.ts';
import { Ground, ringObstacle } from './cluster.ts';
import { NEMESES, nemesisObstacle, type NemesisName } from './nemesis.ts';
import { runOnce, type RunReport, WORKLOADS, type WorkloadName } from './runs.ts';
import { assertShort, measureStalls, WAYS } from './stalls.ts';

const NODES = 5;

interface Wanted {
  readonly workload: WorkloadName | 'stalls';
  readonly nemesis: NemesisName | undefined;
  readonly runs: number;
  readonly seed: number;
  readonly seconds: number;
  readonly believes: boolean;
  /** A folder that takes the logs of the nodes. */
  readonly logs: string | undefined;
}

async function main(): Promise<void> {
  // Not the signal's own end: that would leave the nodes behind.
  for (const end of ['SIGINT', 'SIGTERM'] as const) {
    process.on(end, () => {
      throw new Error(`ended by ${end}`);
    });
  }
  const wanted = readArguments();
  if (!wanted) {
    const workloads = [...WORKLOADS, 'stalls'].join('|');
    console.error(
      `consistency: takes --workload ${workloads} [--runs N] [--seed S] [--seconds T] ` +
        `[--nemesis ${NEMESES.join('|')}]`,
    );
    process.exitCode = 2;
    return;
  }
  const obstacle = ringObstacle();
  if (obstacle !== undefined) return console.log(`SKIPPED: ${obstacle}`);
  for (let run = 0; run < wanted.runs; run += 1) {
    await runSeed({ ...wanted, seed: wanted.seed + run });
  }
}

function readArguments(): Wanted | undefined {
  const { values } = parseArgs({
    options: {
      workload: { type: 'string', default: '' },
      nemesis: { type: 'string' },
      runs: { type: 'string', default: '1' },
      seed: { type: 'string', default: '1' },
      seconds: { type: 'string', default: '40' },
      doubt: { type: 'boolean', default: false },
      logs: { type: 'string' },
    },
  });
  const workload = [...WORKLOADS, 'stalls' as const].find((name) => name === values.workload);
  const nemesis = NEMESES.find((name) => name === values.nemesis);
  const [runs, seed, seconds] = [values.runs, values.seed, values.seconds].map(Number) as [
    number,
    number,
    number,
  ];
  const isSound = [runs, seed, seconds].every((number) => Number.isSafeInteger(number));
  if (!workload || !isSound || (values.nemesis !== undefined && !nemesis)) return undefined;
  const { logs, doubt } = values;
  return { workload, nemesis, runs, seed, seconds, believes: !doubt, logs };
}

async function runSeed(wanted: Wanted): Promise<void> {
  const { workload, nemesis, seed, seconds, believes, logs } = wanted;
  const named = [workload, nemesis ?? 'no nemesis', `seed ${seed}`].join(', ');
  const begunMs = performance.now();
  const say = (line: string): void =>
    console.log(`  ${((performance.now() - begunMs) / 1000).toFixed(1)} s  ${line}`);
  try {
    await using bed = await Bed.open();
    const storesPerNode = nemesis === 'layout' ? 2 : 1;
    await using ground = await Ground.open(bed, { nodeCount: NODES, storesPerNode });
    using _ = keeping(ground, logs && path.join(logs, `${workload}-${seed}`));
    say(`the nodes are up; in the ring: ${(await ground.ringMembers()).join(' ')}`);
    const obstacle = nemesis && nemesisObstacle(nemesis, ground);
    if (obstacle !== undefined) return console.log(`SKIPPED  ${named}: ${obstacle}`);
    if (workload === 'stalls') {
      const way = WAYS.find((one) => one === nemesis);
      const stalls = await measureStalls(ground, { say, way });
      assertShort(stalls);
      console.log(`ok    ${named}`);
      return;
    }
    printReport(named, await runOnce(ground, { workload, nemesis, seed, seconds, believes, say }));
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAIL  ${named}`);
    console.error(error);
  }
}

function keeping(ground: Ground, folder: string | undefined): Disposable {
  return { [Symbol.dispose]: () => void (folder && ground.keepLogs(folder)) };
}

function printReport(named: string, { faults, troubles, outcomes, figures }: RunReport): void {
  const rest = JSON.stringify({ troubles, ...figures, outcomes });
  console.log(`${faults.length === 0 ? 'ok   ' : 'FAIL '} ${named}  ${rest}`);
  for (const fault of faults) console.log(fault);
  if (faults.length > 0) process.exitCode = 1;
}

await main();
