/** npm run sim -- [--seed N | --seeds N | --minutes M] [--from N] [--nodes N] [--planted NAME] */
import { parseArgs } from 'node:util';
import { BORNE, PLANTED_IN_CLUSTER, PLANTED_NAMES } from './planting.ts';
import { regressions } from './regressions.ts';
import { type RunOptions, runSeed, type RunResult } from './run.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '100' },
    minutes: { type: 'string' },
    from: { type: 'string', default: '1' },
    nodes: { type: 'string' },
    planted: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});
const names = [...PLANTED_NAMES, ...PLANTED_IN_CLUSTER, ...BORNE];
const planted = names.find((name) => name === values.planted);
if (values.planted !== undefined && !planted) {
  throw new Error(`--planted is one of ${names.join(', ')}`);
}

const nodes = values.nodes === undefined ? undefined : Number(values.nodes);
if (nodes !== undefined && !(nodes >= 1 && nodes <= 6)) throw new Error('--nodes is 1 to 6');

if (values.seed === undefined) await runMany();
else await replay(Number(values.seed));

async function replay(seed: number): Promise<void> {
  const result = await runSeed({ seed, planted, nodes, keepsTrace: true });
  if (result.failure !== undefined || values.trace) {
    for (const line of result.trace) console.log(line);
  }
  report(result);
  console.log(
    `digest ${result.digest}, ${result.eventCount} events, ${result.operations} operations`,
  );
}

async function runMany(): Promise<void> {
  const from = Number(values.from);
  const count = values.minutes === undefined ? Number(values.seeds) : Infinity;
  const startMs = performance.now();
  const endMs = values.minutes === undefined ? Infinity : startMs + Number(values.minutes) * 60_000;
  const total = {
    seeds: 0,
    failed: 0,
    operations: 0,
    crashes: 0,
    lost: 0,
    rot: 0,
    partitions: 0,
    virtualMs: 0,
  };
  function* seeds(): Generator<Pick<RunOptions, 'seed' | 'nodes'>> {
    if (!planted && nodes === undefined) yield* regressions;
    for (let i = 0; i < count && performance.now() < endMs; i++) yield { seed: from + i, nodes };
  }
  for (const each of seeds()) {
    const result = await runSeed({ ...each, planted });
    report(result);
    total.seeds += 1;
    total.failed += result.failure === undefined ? 0 : 1;
    total.operations += result.operations;
    total.crashes += result.crashes;
    total.lost += result.lostDisks;
    total.rot += result.rot;
    total.partitions += result.partitions;
    total.virtualMs += result.virtualMs;
  }
  const seconds = (performance.now() - startMs) / 1000;
  const virtualHours = Math.round(total.virtualMs / 3_600_000);
  console.log(
    `${total.seeds} seeds from ${from}: ${total.failed} failed; ${total.operations} operations, ` +
      `${total.crashes} crashes, ${total.partitions} partitions, ${total.lost} disks lost, ` +
      `${total.rot} rotten, ` +
      `${virtualHours} virtual hours; ${(total.seeds / seconds).toFixed(1)} seeds/s`,
  );
}

function report({ seed, failure }: RunResult): void {
  if (failure === undefined) return;
  process.exitCode = 1;
  console.log(`seed ${seed}: ${failure}`);
  const suffix = (nodes ? ` --nodes ${nodes}` : '') + (planted ? ` --planted ${planted}` : '');
  console.log(`  npm run sim -- --seed ${seed}${suffix}`);
}
