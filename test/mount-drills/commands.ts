/**
 * Commands that work in a mount. Each has an end: one that goes on for longer than it may is
 * killed and is a fault, for nothing in a mount may hang. What a drill needs and this machine does
 * not have ends the drill with {@link Missing}; it is skipped then, and says so.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

/** An hour; a call into a mount fails after a minute by itself. */
const COMMAND_MS_MAX = 60 * 60_000;
const LAST_CHARACTERS = 4000;

export class Missing extends Error {}

export interface CommandOptions {
  readonly cwd?: string;
  readonly input?: string;
  readonly msMax?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** Called with each line of standard output. */
  readonly onLine?: (line: string) => void;
}

export interface Ended {
  /** Of a process that was killed: its signal. */
  readonly exit: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs it to its end, whatever that is. */
export async function runCommand(
  program: string,
  words: readonly string[],
  options: CommandOptions = {},
): Promise<Ended> {
  const { cwd, input = '', msMax = COMMAND_MS_MAX, environment = {}, onLine } = options;
  const child = spawn(program, words, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, LC_ALL: 'C', ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '', line: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.stdout += text;
    if (!onLine) return;
    const lines = (said.line + text).split('\n');
    said.line = lines.pop()!;
    for (const line of lines) onLine(line);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  child.stdin.on('error', () => {}); // one that has ended does not read
  child.stdin.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), msMax);
  try {
    const exit = await new Promise<Ended['exit']>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(signal ?? code));
    });
    return { exit, stdout: said.stdout, stderr: said.stderr };
  } finally {
    clearTimeout(timer);
  }
}

/** @returns standard output. @throws with what it said last, unless it ends well. */
export async function ok(
  program: string,
  words: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { exit, stdout, stderr } = await runCommand(program, words, options);
  if (exit === 0) return stdout;
  const said = `${stderr.slice(-LAST_CHARACTERS)}\n${stdout.slice(-LAST_CHARACTERS)}`;
  throw new Error(`${program} ${words.join(' ')}: ended with ${exit}: ${said}`);
}

/** @throws {Missing} unless all these programs are there. */
export function need(...programs: readonly string[]): void {
  const missing = programs.filter((program) => !isThere(program));
  if (missing.length > 0) throw new Missing(`needs ${missing.join(', ')}`);
}

export function isThere(program: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter);
  return folders.some((folder) => existsSync(path.join(folder, program)));
}

/** How long the work takes, in seconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return Math.round((performance.now() - startMs) / 100) / 10;
}
