/**
 * Crash states and rot trials for as long as asked, from the seeds on that are asked for.
 *
 *     npm run crash                              seeds 1 to 20
 *     npm run crash -- --seconds 600             for so long; --from 1000 begins elsewhere
 *     npm run crash -- --seeds 100 --fault NAME  with a planted fault, which has to be found
 *     npm run crash -- --seed 7 --moment 31      one seed, one moment of it
 *     npm run crash -- --rot 10000               so many single bits, and a tenth of other damage
 *
 * It ends with 1 when a promise did not hold, after printing the command that shows it again.
 */
import { parseArgs } from 'node:util';
import { enumerate, type Violation } from './enumerate.ts';
import { PLANTED_FAULTS, type PlantedFault } from './planted-faults.ts';
import { profileOf } from './profiles.ts';
import { DAMAGES, runTrial } from './rot.ts';
import { makeRotImage, type RotImage, ZONES } from './rot-image.ts';

const PROGRESS_MS = 2000;
/** Of one seed or zone; more of the same helps nobody. */
const PRINTED_MAX = 5;

const startMs = performance.now();

function seconds(): number {
  return (performance.now() - startMs) / 1000;
}

/** Prints at most one line in a while. */
class Progress {
  #lastMs: number = performance.now();

  tell(line: () => string): void {
    if (performance.now() - this.#lastMs < PROGRESS_MS) return;
    this.#lastMs = performance.now();
    console.log(line());
  }
}

interface CrashPlan {
  readonly seeds: Iterable<number>;
  readonly untilSeconds: number;
  readonly moment: number | undefined;
  readonly plantedFault: PlantedFault | undefined;
}

async function crash({ seeds, untilSeconds, moment, plantedFault }: CrashPlan): Promise<void> {
  const progress = new Progress();
  let states = 0;
  let seedCount = 0;
  let failed = 0;
  for (const seed of seeds) {
    if (seconds() >= untilSeconds) break;
    seedCount += 1;
    const { violations } = await enumerate({
      seed,
      moment,
      plantedFault,
      onState: (found) => {
        states += 1;
        progress.tell(() => `seed ${seed}: ${rate(states, 'states')}`);
        // A planted fault is found or not; how often does not matter.
        return seconds() >= untilSeconds || (plantedFault !== undefined && found.length > 0);
      },
    });
    if (violations.length === 0) continue;
    failed += 1;
    report(violations, plantedFault);
  }
  console.log(`${seedCount} seeds, ${failed} with violations; ${rate(states, 'states')}`);
  if (failed > 0) process.exitCode = 1;
}

function rate(count: number, what: string): string {
  return `${count} ${what} in ${seconds().toFixed(0)} s, ${(count / seconds()).toFixed(0)}/s`;
}

function report(violations: readonly Violation[], fault: PlantedFault | undefined): void {
  const { seed } = violations[0]!;
  console.log(`seed ${seed} (${profileOf(seed).name}): ${violations.length} violations`);
  for (const { moment, state, what } of violations.slice(0, PRINTED_MAX)) {
    console.log(`  ${what}\n    moment ${moment}: ${state}`);
  }
  const suffix = fault ? ` --fault ${fault}` : '';
  console.log(`  npm run crash -- --seed ${seed} --moment ${violations[0]!.moment}${suffix}`);
}

async function rot(count: number, from: number): Promise<void> {
  const image = await makeRotImage();
  for (const damage of DAMAGES) {
    const perZone = Math.ceil((damage === 'bit' ? count : count / 10) / ZONES.length);
    for (const zone of ZONES) await rotZone(image, { damage, zone, from, count: perZone });
  }
}

async function rotZone(
  image: RotImage,
  plan: Pick<Parameters<typeof runTrial>[1], 'damage' | 'zone'> & { from: number; count: number },
): Promise<void> {
  const { damage, zone, from, count } = plan;
  let bad = 0;
  let reported = 0;
  let failed = 0;
  for (let trial = from; trial < from + count; trial++) {
    const result = await runTrial(image, { damage, zone, trial });
    bad += Number(result.badCount > 0);
    reported += Number(result.isDamageReported);
    if (result.violations.length === 0) continue;
    failed += 1;
    process.exitCode = 1;
    if (failed > PRINTED_MAX) continue;
    console.log(`${result.description}: ${result.violations.join('; ')}`);
    console.log(`  npm run crash -- --rot 1 --from ${trial}`);
  }
  const outcome = `${bad} cost a chunk, ${reported} were reported as damage, ${failed} failed`;
  console.log(`${damage} in ${zone}: ${count} trials, ${outcome}; ${seconds().toFixed(0)} s`);
}

function* numbers(from: number, count: number): Generator<number> {
  for (let number = from; number < from + count; number++) yield number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string' },
      seeds: { type: 'string' },
      seed: { type: 'string' },
      moment: { type: 'string' },
      from: { type: 'string', default: '1' },
      fault: { type: 'string' },
      rot: { type: 'string' },
    },
  });
  const plantedFault = PLANTED_FAULTS.find((name) => name === values.fault);
  const { fault, moment, seed, from, ...rest } = values;
  const given = [moment, seed, from, ...Object.values(rest)].filter((each) => each !== undefined);
  if (given.some((each) => !/^\d+$/.test(each)) || (fault !== undefined && !plantedFault)) {
    console.error(`crash: options take numbers, and --fault one of ${PLANTED_FAULTS.join(', ')}`);
    process.exitCode = 2;
    return;
  }
  if (rest.rot !== undefined) return await rot(Number(rest.rot), Number(from));
  const seedCount = Number(rest.seeds ?? (rest.seconds === undefined ? 20 : Infinity));
  await crash({
    seeds: seed === undefined ? numbers(Number(from), seedCount) : [Number(seed)],
    untilSeconds: Number(rest.seconds ?? Infinity),
    moment: moment === undefined ? undefined : Number(moment),
    plantedFault,
  });
}

await main();
