/** Programs of the system that mount and unmount: only they may, or know how, on every system. */
import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { HoldfastError } from '../../base/index.ts';

/** Messages in English, and no paths of the user's. */
const ENVIRONMENT = { LC_ALL: 'C', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

/** The number that a descriptor has within the program that gets it. */
export const PASSED = 3;

export interface Program {
  readonly name: string;
  readonly words: readonly string[];
  /** Descriptor that it gets as its number {@link PASSED}. */
  readonly descriptor?: number;
  readonly environment?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Starts a program; its complaints are read from what is returned. */
export function start({ name, words, descriptor, environment, signal }: Program): ChildProcess {
  const stdio: StdioOptions = ['ignore', 'ignore', 'pipe'];
  return spawn(name, words, {
    stdio: descriptor === undefined ? stdio : [...stdio, descriptor],
    env: { ...ENVIRONMENT, ...environment },
    signal,
    killSignal: 'SIGKILL',
  });
}

/** @throws HF_DENIED, HF_BUSY, HF_UNSUPPORTED (there is no such program), HF_IO, with its words. */
export async function run(program: Program): Promise<void> {
  await completed(program.name, start(program));
}

/** As {@link run}, of a program that was started. */
export async function completed(name: string, child: ChildProcess): Promise<void> {
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const complaint = text(child.stderr!);
  let status: number | null;
  try {
    status = await ended;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT')
      throw new HoldfastError('HF_IO', `${name}: ${message}`, { cause: error });
    throw new HoldfastError('HF_UNSUPPORTED', `${name} is not installed`, { cause: error });
  }
  if (status !== 0) throw programError(name, (await complaint).trim());
}

function programError(name: string, complaint: string): HoldfastError {
  const line = complaint.split('\n').at(-1) ?? '';
  const message = line.includes(name) ? line : `${name}: ${line || 'it failed'}`;
  if (/busy/iu.test(complaint)) return new HoldfastError('HF_BUSY', message);
  if (/permi|denied|superuser|allowed|no write access/iu.test(complaint)) {
    return new HoldfastError('HF_DENIED', message);
  }
  return new HoldfastError('HF_IO', message);
}
