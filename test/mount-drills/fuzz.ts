/**
 * Random calls against a model (fuzz.py), several files at once, each with a seed of its own.
 *
 * `fuzz`: all in one mount. `fuzz-across`: each file in turns in two mounts (close-to-open).
 */
import { fileURLToPath } from 'node:url';
import { mapBounded } from '../../src/base/index.ts';
import { need, runCommand, timed } from './commands.ts';
import type { Drill, Workload } from './drill.ts';

const PROGRAM = fileURLToPath(new URL('fuzz.py', import.meta.url));
const CALLS = 1_000_000;
const CALLS_PER_FILE = 10_000;
const AT_ONCE = 3;

export const fuzzOne: Workload = (drill) => fuzz(drill, [drill.mounts.directory]);

export const fuzzAcross: Workload = (drill) =>
  fuzz(
    drill,
    drill.mounts.points.map(({ directory }) => directory),
  );

async function fuzz(
  { seed, size = CALLS, say }: Drill,
  directories: readonly string[],
): Promise<object> {
  need('python3');
  const perFile = Math.min(size, CALLS_PER_FILE);
  const files = Array.from({ length: Math.ceil(size / perFile) }, (_, index) => seed + index);
  let faultCount = 0;
  const seconds = await timed(() =>
    mapBounded(files, AT_ONCE, async (own) => {
      if (faultCount > 0) return;
      const words = [PROGRAM, String(own), String(perFile), ...directories];
      const { exit, stdout, stderr } = await runCommand('python3', words);
      if (exit === 0) return say(`seed ${own}: ${stdout.trim()}`);
      faultCount += 1;
      say(`seed ${own} ended with ${exit}: ${stdout}${stderr}`);
    }),
  );
  if (faultCount > 0) {
    throw new Error(`${faultCount} files differ; repeat one with --seed S --size ${perFile}`);
  }
  const calls = files.length * perFile;
  return { calls, files: files.length, callsPerSecond: Math.round(calls / seconds) };
}
