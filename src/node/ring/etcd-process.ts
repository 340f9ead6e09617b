/**
 * A real etcd of this machine, in its folder (ring-folder.ts). It is a child that a terminal's
 * signals do not reach: the node stops it. Its words go into a file without passing through the
 * node, so that it runs on when the node is killed. The next life of the node finds such an
 * *orphan* by its mark and ends it; it never ends another process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { assert, errorMessage, HoldfastError, mapBounded, MiB, utf8 } from '../../base/index.ts';
import type { Env } from '../../env/index.ts';
import type { EtcdMachine, EtcdProcess } from '../../log/index.ts';
import { endProcess, markOf, type ProcessMark, readMark } from './process-mark.ts';
import type { RingFolder } from './ring-folder.ts';

const CONFIGURATION = 'etcd.json';
const PID_FILE = 'etcd.pid';
const LOG_FILE = 'etcd.log';
const LOG_BYTES_MAX = 8 * MiB;
/** Of what it said last, to say why it has ended. */
const LAST_WORDS_BYTES = 2048;
const ORPHAN_TERM_MS = 5000;
const PROCESSES_AT_ONCE = 16;

/** The etcd that is installed. @param searchPath folders, as PATH has them. */
export function findEtcd(searchPath: string): string | undefined {
  const folders = searchPath.split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  return folders.map((folder) => path.join(folder, 'etcd')).find((file) => existsSync(file));
}

export interface EtcdProgramOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly folder: RingFolder;
  /** Path of the program; `undefined`: none is installed. */
  readonly program: string | undefined;
  /** On which it will listen: one that was killed has left them, and they would be in its way. */
  readonly sockets: readonly string[];
}

export class EtcdProgram implements EtcdMachine {
  readonly #options: EtcdProgramOptions;
  #child: ChildProcess | undefined;

  constructor(options: EtcdProgramOptions) {
    this.#options = options;
  }

  /** Of the process that runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Asks it to end; who supervises it starts it again. */
  end(): void {
    this.#child?.kill('SIGTERM');
  }

  async start(configuration: string): Promise<EtcdProcess> {
    const { folder, program, sockets } = this.#options;
    assert(!this.#child, 'one etcd runs in a folder');
    if (program === undefined) {
      throw new HoldfastError('HF_NOT_FOUND', 'no etcd is installed (package etcd-server)');
    }
    await folder.write(CONFIGURATION, utf8(configuration));
    for (const name of sockets) await fs.rm(folder.file(name), { force: true });
    const { child, exit } = await this.#spawn(program);
    this.#child = child;
    try {
      const mark = await markOf(child.pid!);
      if (mark) await folder.write(PID_FILE, utf8(JSON.stringify(mark)));
    } catch (error) {
      // Without its mark the next life of this node would not find it.
      child.kill('SIGKILL');
      await exit;
      this.#child = undefined;
      throw error;
    }
    const ended = exit.then(async (how) => {
      const words = await this.#lastWords();
      await fs.rm(folder.file(PID_FILE), { force: true }).catch(() => {});
      this.#child = undefined;
      return [how, words].filter(Boolean).join(': ');
    });
    return { ended, kill: (signal) => void child.kill(signal) };
  }

  async #spawn(program: string): Promise<{ child: ChildProcess; exit: Promise<string> }> {
    const { folder } = this.#options;
    await using log = await fs.open(folder.file(LOG_FILE), 'a', 0o600);
    const child = spawn(program, ['--config-file', CONFIGURATION], {
      cwd: folder.path,
      stdio: ['ignore', 'ignore', log.fd],
      detached: true,
      // Variables named ETCD_… would override the configuration.
      env: {},
    });
    const exit = new Promise<string>((resolve) => {
      child.once('exit', (code, signal) => resolve(String(signal ?? code)));
    });
    try {
      await once(child, 'spawn');
    } catch (error) {
      const message = `${program} does not start: ${errorMessage(error)}`;
      throw new HoldfastError('HF_NOT_FOUND', message, { cause: error });
    }
    return { child, exit };
  }

  async clear(): Promise<void> {
    await this.#options.folder.clearData();
  }

  /** Bytes of memory that it has; `undefined` when it does not run, or that cannot be told here. */
  async memoryBytes(): Promise<number | undefined> {
    const { pid } = this;
    if (pid === undefined) return undefined;
    const status = await fs.readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    // Its file is mapped into memory: what is read of it there can be let go of at any time.
    const kib = /^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  }

  /** etcd holds its file open, so what it said is copied away; a line may be lost by it. */
  async rotateLog(bytesMax: number = LOG_BYTES_MAX): Promise<void> {
    const file = this.#options.folder.file(LOG_FILE);
    const size = await fs.stat(file).then(
      (stat) => stat.size,
      () => 0,
    );
    if (size <= bytesMax) return;
    // Without room for the copy it must be let go of all the more.
    await fs.copyFile(file, `${file}.1`).catch(() => {});
    await fs.truncate(file);
  }

  async #lastWords(): Promise<string> {
    try {
      await using log = await fs.open(this.#options.folder.file(LOG_FILE), 'r');
      const { size } = await log.stat();
      const buffer = Buffer.alloc(Math.min(size, LAST_WORDS_BYTES));
      await log.read(buffer, 0, buffer.length, size - buffer.length);
      return messageOf(buffer.toString('utf8').trimEnd().split('\n').at(-1) ?? '');
    } catch {
      return '';
    }
  }
}

/** Ends the etcd that an earlier life of this node has left running. @throws HF_IO. */
export async function endOrphan(
  folder: RingFolder,
  env: Pick<Env, 'clock' | 'log'>,
): Promise<void> {
  const file = folder.file(PID_FILE);
  const text = await fs.readFile(file, 'utf8').catch(() => '');
  const known = readMark(text);
  const marks = [...(known ? [known] : []), ...(await unmarkedIn(folder))];
  for (const mark of marks) {
    const ended = await endProcess(mark, { clock: env.clock, termMs: ORPHAN_TERM_MS });
    if (ended) env.log.warn('an etcd of an earlier life of this node was ended', { pid: mark.pid });
  }
  await fs.rm(file, { force: true });
}

/**
 * An etcd of this folder whose mark was not written yet when the node was killed: it would keep its
 * files locked for ever. Only where the machine tells of processes (Linux).
 */
async function unmarkedIn(folder: RingFolder): Promise<ProcessMark[]> {
  const here = await fs.realpath(folder.path);
  const names = await fs.readdir('/proc').catch(() => []);
  const marks = await mapBounded(
    names.filter((name) => /^[1-9]\d*$/.test(name)),
    PROCESSES_AT_ONCE,
    async (name) => {
      const place = await fs.readlink(`/proc/${name}/cwd`).catch(() => undefined);
      if (place !== here) return undefined;
      const words = await fs.readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
      const isOurs = words.split('\0').slice(1, 3).join(' ') === `--config-file ${CONFIGURATION}`;
      return isOurs ? await markOf(Number(name)) : undefined;
    },
  );
  return marks.filter((mark) => mark !== undefined);
}

/** etcd's lines are JSON; panics are not. */
function messageOf(line: string): string {
  try {
    const { msg, error } = JSON.parse(line) as Record<string, unknown>;
    return [msg, error].filter((part) => typeof part === 'string').join(': ');
  } catch {
    return line.slice(0, 200);
  }
}
