/** A process that runs seeds for `main.ts`: batch by batch, until it is let go. */
import type { PlantName } from './planting.ts';
import { runSeed } from './run.ts';

export interface Batch {
  readonly from: number;
  readonly count: number;
  readonly plant?: PlantName | undefined;
}

export interface BatchResult {
  readonly seeds: number;
  readonly calls: number;
  readonly events: number;
  readonly virtualMs: number;
  readonly cpuMs: number;
  readonly failures: readonly { readonly seed: number; readonly failure: string }[];
}

async function runBatch({ from, count, plant }: Batch): Promise<BatchResult> {
  const total = { seeds: count, calls: 0, events: 0, virtualMs: 0 };
  const before = process.cpuUsage();
  const failures: { seed: number; failure: string }[] = [];
  for (let seed = from; seed < from + count; seed++) {
    const { failure, calls, events, virtualMs } = await runSeed(seed, { plant });
    total.calls += calls;
    total.events += events;
    total.virtualMs += virtualMs;
    if (failure !== undefined) failures.push({ seed, failure });
  }
  const { user, system } = process.cpuUsage(before);
  return { ...total, cpuMs: (user + system) / 1000, failures };
}

if (process.connected) {
  // Errors are answers here, by the thousand; a replay shows where one came from.
  Error.stackTraceLimit = 0;
  process.on('message', (batch: Batch) => {
    void runBatch(batch).then((result) => process.send?.(result));
  });
}
