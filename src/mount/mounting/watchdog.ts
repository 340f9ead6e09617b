/**
 * A process that outlives ours: after a crash every access to a mount would fail with ENOTCONN
 * until somebody unmounts it, so a shell waits at a pipe that only we hold. When we say so, it
 * ends; when we are gone without a word, it takes the mount out of sight. Signals do not stop it:
 * a service manager sends them to whatever a crash has left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { detachProgram } from './attach.ts';

/** $1 and on: what is to be run. `read` fails at the end of the pipe. */
const SCRIPT = 'trap "" HUP INT TERM; read word || exec "$@"';
const FAREWELL = 'unmounted\n';

export class Watchdog {
  readonly #shell: ChildProcess;

  constructor(mountpoint: string) {
    const { name, words } = detachProgram(mountpoint, true);
    this.#shell = spawn('/bin/sh', ['-c', SCRIPT, 'holdfast-watchdog', name, ...words], {
      stdio: ['pipe', 'ignore', 'ignore'],
      cwd: '/',
      detached: true,
    });
    this.#shell.on('error', () => undefined); // there is no shell: then there is no watchdog
    this.#shell.stdin?.on('error', () => undefined);
    this.#shell.unref();
  }

  /** The mount is gone in good order. Resolves when nobody watches any more. */
  async dismiss(): Promise<void> {
    const { exitCode, signalCode, pid, stdin } = this.#shell;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    this.#shell.ref();
    const ended = new Promise((resolve) => this.#shell.once('exit', resolve));
    stdin?.end(FAREWELL);
    await ended;
  }
}
