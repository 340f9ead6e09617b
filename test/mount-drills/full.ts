/**
 * Stores that are full: each lies on a file system in memory of few MiB. Writing and fsync say
 * ENOSPC, never anything else and never late; what is there can be read, renamed and removed; and
 * when something was removed, there is space again.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { until } from '../e2e/harness.ts';
import { need, ok, runCommand } from './commands.ts';
import type { Drill } from './drill.ts';

const PROGRAM = fileURLToPath(new URL('full.py', import.meta.url));
const ROUNDS = 3;
const AGAIN_BYTES = 8_000_000;
/** Space of removed files comes back when they are collected, which is no promise about seconds. */
const FREED_MS_MAX = 120_000;
const NO_SPACE = 3;
/** So long after its start a cell cannot know who else has open what is removed. */
const START_MS = 40_000;

export async function fillStores({ mounts, size = ROUNDS, say }: Drill): Promise<object> {
  need('python3');
  const { directory } = mounts;
  const full = async (what: string, ...more: string[]) =>
    await ok('python3', [PROGRAM, what, directory, ...more]);
  await full('keep');
  const started = sleep(START_MS);
  const rounds: object[] = [];
  for (let round = 0; round < size; round += 1) {
    const figures = JSON.parse(await full('fill', String(round))) as { synced: number };
    say(`round ${round}: ${JSON.stringify(figures)}`);
    assert.ok(figures.synced > 0);
    await full('check');
    await mounts.remount(mounts.points[0]!);
    await full('check');
    await started;
    await fs.rm(path.join(directory, 'large'));
    await fs.rm(path.join(directory, 'small renamed'), { recursive: true });
    const startMs = performance.now();
    const hasSpace = async () => {
      const words = [PROGRAM, 'write', directory, String(AGAIN_BYTES)];
      const { exit, stderr } = await runCommand('python3', words);
      assert.ok(exit === 0 || exit === NO_SPACE, `ended with ${exit}: ${stderr}`);
      return exit === 0;
    };
    await until('there is space again', hasSpace, FREED_MS_MAX);
    const freedMs = Math.round(performance.now() - startMs);
    rounds.push({ ...figures, freedMs });
  }
  return { rounds };
}
