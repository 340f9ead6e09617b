/** A daemon for benches: on a fresh data directory, started and stopped as a user would. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const PROGRAM = path.resolve(import.meta.dirname, '../bin/holdfast.js');

export class BenchDaemon implements AsyncDisposable {
  readonly dataPath: string;
  readonly #process: ChildProcess;

  private constructor(dataPath: string, process: ChildProcess) {
    this.dataPath = dataPath;
    this.#process = process;
  }

  static async start(): Promise<BenchDaemon> {
    const dataPath = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-'));
    const child = spawn(process.execPath, [PROGRAM, 'up', '--data', dataPath], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // The first line of the welcome comes when the node serves.
    await once(child.stdout, 'data');
    child.stdout.resume();
    return new BenchDaemon(dataPath, child);
  }

  /** Runs one command of the command line; its standard output. */
  run(...args: readonly string[]): string {
    const all = [PROGRAM, ...args, '--data', this.dataPath];
    return execFileSync(process.execPath, all, { encoding: 'utf8' }).trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGTERM');
    await once(this.#process, 'exit');
    fs.rmSync(this.dataPath, { recursive: true });
  }
}

/** Makes reads come from the disk; without the right to, caches stay warm and that is said. */
export function dropCaches(): boolean {
  execFileSync('sync');
  try {
    fs.writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}
