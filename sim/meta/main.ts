/**
 * npm run sim:meta -- [--seed N | --seeds N] [--from M] [--threads T] [--plant NAME]
 *   [--trace] [--no-shrink]
 *
 * Metadata under seeds: cells on machines that crash, pause, lose each other and their log's
 * answers. A seed that fails is made smaller and printed with the one command that repeats it.
 */
import { fork } from 'node:child_process';
import { parseArgs } from 'node:util';
import { PLANT_NAMES } from './planting.ts';
import { regressions } from './regressions.ts';
import { runSeed } from './run.ts';
import { shrink } from './shrink.ts';
import type { Batch, BatchResult } from './worker.ts';

const BATCH_SEEDS = 100;
/** Nearly all that is made lives for a turn or two: room for it spares collections. */
const WORKER_FLAGS = ['--max-semi-space-size=64'];
/** Of many failures the first ones are enough. */
const FAILURES_PRINTED = 10;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '2000' },
    from: { type: 'string', default: '1' },
    threads: { type: 'string', default: '1' },
    plant: { type: 'string' },
    trace: { type: 'boolean', default: false },
    'no-shrink': { type: 'boolean', default: false },
  },
});
const plant = PLANT_NAMES.find((name) => name === values.plant);
if (values.plant !== undefined && !plant) {
  throw new Error(`--plant is one of ${PLANT_NAMES.join(', ')}`);
}

if (values.seed === undefined) await runMany();
else await replay(Number(values.seed));

async function replay(seed: number): Promise<void> {
  const keepsTrace = values.trace;
  const result = await runSeed(seed, { plant, keepsTrace });
  if (result.failure === undefined) {
    console.log(`seed ${seed}: all is well; ${result.calls} calls, ${result.events} events`);
    return;
  }
  process.exitCode = 1;
  const small = values['no-shrink']
    ? result
    : await shrink(result, (plan) => runSeed(seed, { plant, plan, keepsTrace }));
  console.log(`seed ${seed}: ${result.failure}`);
  console.log(`made smaller: ${small.failure}`);
  const { clients: _clients, troubles: _troubles, slots, ...rest } = small.plan;
  console.log(JSON.stringify({ ...rest, slots: Object.fromEntries(slots) }));
  for (const line of small.notes) console.log(line);
  for (const line of small.history) console.log(line);
}

async function runMany(): Promise<void> {
  const startMs = performance.now();
  const total = { seeds: 0, calls: 0, events: 0, virtualMs: 0, cpuMs: 0, failed: 0 };
  const batches = batchesOf(Number(values.from), Number(values.seeds));
  const runners = Array.from({ length: Number(values.threads) }, inAnotherProcess);
  const work = async (runner: Runner): Promise<void> => {
    for (const batch of batches) add(total, await runner.run(batch));
    runner.end();
  };
  await Promise.all(runners.map(work));
  const seconds = (performance.now() - startMs) / 1000;
  const rate = total.seeds / seconds;
  console.log(
    `${total.seeds} seeds from ${values.from}: ${total.failed} failed; ${total.calls} calls, ` +
      `${total.events} events, ${Math.round(total.virtualMs / 3_600_000)} virtual hours; ` +
      `${rate.toFixed(0)} seeds/s on ${values.threads} threads, ` +
      `${((total.seeds * 1000) / total.cpuMs).toFixed(0)} a CPU second`,
  );
}

function* batchesOf(from: number, count: number): Generator<Batch> {
  if (!plant) for (const { seed } of regressions) yield { from: seed, count: 1 };
  for (let done = 0; done < count; done += BATCH_SEEDS) {
    yield { from: from + done, count: Math.min(BATCH_SEEDS, count - done), plant };
  }
}

interface Runner {
  run(batch: Batch): Promise<BatchResult>;
  end(): void;
}

function inAnotherProcess(): Runner {
  const child = fork(new URL('./worker.ts', import.meta.url), { execArgv: WORKER_FLAGS });
  const ended = new Promise<never>((_, reject) => {
    child.once('exit', (code) => reject(new Error(`a worker ended with code ${code}`)));
  });
  ended.catch(() => {}); // it may end when it is let go
  const answer = (batch: Batch): Promise<BatchResult> =>
    new Promise((resolve) => {
      child.once('message', (result: BatchResult) => resolve(result));
      child.send(batch);
    });
  return {
    run: (batch) => Promise.race([answer(batch), ended]),
    end: () => child.disconnect(),
  };
}

type Counts = Omit<BatchResult, 'failures'>;

interface Total extends Record<keyof Counts, number> {
  failed: number;
}

function add(total: Total, result: BatchResult): void {
  total.seeds += result.seeds;
  total.calls += result.calls;
  total.events += result.events;
  total.virtualMs += result.virtualMs;
  total.cpuMs += result.cpuMs;
  for (const { seed, failure } of result.failures) {
    process.exitCode = 1;
    total.failed += 1;
    if (total.failed > FAILURES_PRINTED) continue;
    console.log(`seed ${seed}: ${failure}`);
    console.log(`  npm run sim:meta -- --seed ${seed}${plant ? ` --plant ${plant}` : ''}`);
  }
}
