/**
 * Tells one process from every other one: an id alone is given out again. A *mark* is the id, and
 * when the process started, in which life of the machine.
 *
 * Source: proc_pid_stat(5): what is behind the name in brackets, which may hold anything; the state
 * is the first word of it, the start (in ticks since the machine's) the twentieth.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import * as v from 'valibot';
import type { Clock } from '../../env/index.ts';

const Mark = v.strictObject({
  pid: v.pipe(v.number(), v.safeInteger(), v.minValue(2)),
  start: v.string(),
});
export type ProcessMark = v.InferOutput<typeof Mark>;

const LOOK_MS = 50;

/** Of a process that runs now; `undefined` when it has ended. */
export async function markOf(pid: number): Promise<ProcessMark | undefined> {
  const start = await (process.platform === 'linux' ? startOnLinux(pid) : startElsewhere(pid));
  return start === undefined ? undefined : { pid, start };
}

async function startOnLinux(pid: number): Promise<string | undefined> {
  const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  const words = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (words[0] === 'Z' || words[0] === 'X') return undefined; // nobody has buried it yet
  const life = await fs.readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return `${life.trim()}/${words[19]}`;
}

async function startElsewhere(pid: number): Promise<string | undefined> {
  const command = promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)]);
  const { stdout } = await command.catch(() => ({ stdout: '' }));
  return stdout.trim() || undefined;
}

/** `undefined` for what is no mark. */
export function readMark(text: string): ProcessMark | undefined {
  try {
    return v.parse(Mark, JSON.parse(text));
  } catch {
    return undefined;
  }
}

/**
 * Ends that process and no other.
 * @param termMs after this it is killed.
 * @returns whether there was one to end.
 */
export async function endProcess(
  mark: ProcessMark,
  { clock, termMs }: { readonly clock: Clock; readonly termMs: number },
): Promise<boolean> {
  const isRunning = async (): Promise<boolean> => (await markOf(mark.pid))?.start === mark.start;
  if (!(await isRunning())) return false;
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    signalTo(mark.pid, signal);
    const untilMs = clock.monotonic() + termMs;
    while (clock.monotonic() < untilMs) {
      if (!(await isRunning())) return true;
      await clock.sleep(LOOK_MS);
    }
  }
  return true;
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}
