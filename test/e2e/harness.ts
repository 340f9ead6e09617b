/**
 * A bed for tests with real processes: a folder of its own, nodes and commands started through
 * bin/holdfast.js in it, and what tests do to them from outside (kill, measure).
 *
 * Whatever a bed has started has ended, and its folder is gone, when it is disposed or when the
 * test process ends. Nothing of the user's is used: HOME lies in the bed, too.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import fs from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { DeviceView, HealthView, ObjectView } from '../../src/api/index.ts';
import { connect, type HoldfastClient } from '../../src/client/index.ts';

const PROGRAM = fileURLToPath(new URL('../../bin/holdfast.js', import.meta.url));

/** What a node prints last of all when it is up. */
const UP_LINE = 'It runs until Ctrl-C';
const UP_TIMEOUT_MS = 60_000;
/** A command that hangs is a defect; the longest ones of the large run stay below. */
const RUN_TIMEOUT_MS = 30 * 60_000;
const SAMPLE_MS = 20;

export interface Answer {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  /** The largest resident set that was seen, in bytes. */
  readonly peakBytes: number;
}

export interface RunOptions {
  /** Data directory, within the bed. */
  readonly data?: string;
  /** Where the command stands, within the bed. */
  readonly work?: string;
  readonly input?: Uint8Array | string;
  /** A file that takes standard output. */
  readonly outputFile?: string;
  /** Called with the process as soon as it runs. */
  readonly onStart?: (child: ChildProcess) => void;
}

export interface UpOptions {
  readonly data?: string;
  readonly stores?: readonly string[];
  readonly recover?: string;
  /** More of them. */
  readonly flags?: readonly string[];
  /** Joins the cluster of this token first. */
  readonly token?: string;
  /** The network namespace in which it runs; this process's own when left out. */
  readonly namespace?: string;
  /** More variables. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** What `health` says, and the exit code that it says it with. */
export type Health = HealthView & { readonly exitCode: number | null };

export class Bed implements AsyncDisposable {
  readonly folder: string;
  readonly #children = new Set<ChildProcess>();
  /** Of nodes in the background. */
  readonly #processIds = new Set<number>();
  readonly #onExit = () => this.#killAll();

  private constructor(folder: string) {
    this.folder = folder;
    process.on('exit', this.#onExit);
  }

  static async open(): Promise<Bed> {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'holdfast-e2e-'));
    await fs.mkdir(path.join(folder, 'home'));
    await fs.mkdir(path.join(folder, 'work'));
    return new Bed(folder);
  }

  path(...names: readonly string[]): string {
    return path.resolve(this.folder, ...names);
  }

  /** Paths of the stores that a first run makes. */
  firstStores(data = 'data'): string[] {
    return [1, 2, 3, 4, 5, 6].map((number) => this.path(data, 'stores', `disk-${number}`));
  }

  /** Starts a process in the bed; it is killed with the bed. */
  spawn(
    args: readonly string[],
    options: {
      readonly work?: string;
      readonly outputFd?: number;
      readonly namespace?: string | undefined;
      readonly environment?: Readonly<Record<string, string>>;
    } = {},
  ): ChildProcess {
    const { HOLDFAST_DATA: _, ...environment } = process.env;
    const { namespace } = options;
    const within = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace];
    const [program, ...rest] = [...within, process.execPath, PROGRAM, ...args];
    const child = spawn(program!, rest, {
      cwd: this.path(options.work ?? 'work'),
      env: { ...environment, HOME: this.path('home'), ...options.environment },
      stdio: ['pipe', options.outputFd ?? 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** Starts a node and waits until it serves. @throws what it printed, when it ends instead. */
  async up(options: UpOptions = {}): Promise<NodeProcess> {
    const { data = 'data', stores = [], recover, flags = [], token, namespace } = options;
    const { environment = {} } = options;
    const args = [
      ...(token === undefined ? ['up'] : ['join', '-']),
      '--data',
      this.path(data),
      ...flags,
      ...(recover === undefined ? [] : ['--recover', recover]),
      ...(stores.length === 0 ? [] : ['--store', ...stores]),
    ];
    const child = this.spawn(args, { namespace, environment });
    child.stdin?.on('error', () => {}); // one that has ended does not read
    if (token !== undefined) child.stdin?.end(token);
    return await NodeProcess.whenUp(child, this.path(data, 'control.sock'));
  }

  /** Starts a node in the background, as `srv_start` does; it is killed with the bed. */
  async startServer(port: number, options: RunOptions = {}): Promise<void> {
    const args = ['srv_start', '-s', '127.0.0.1', '-p', String(port)];
    const { processId } = await this.json<{ processId: number }>(args, options);
    this.#processIds.add(processId);
  }

  /** Runs one command to its end, whatever that is. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<Answer> {
    const { data = 'data', work, input = '', outputFile, onStart } = options;
    await using output = outputFile === undefined ? undefined : await fs.open(outputFile, 'w');
    const child = this.spawn([...args, '--data', this.path(data)], {
      ...(work === undefined ? {} : { work }),
      ...(output === undefined ? {} : { outputFd: output.fd }),
    });
    onStart?.(child);
    child.stdin?.on('error', () => {}); // a command that refuses does not read to the end
    child.stdin?.end(input);
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    const watch = watchPeak(child);
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_TIMEOUT_MS);
    const [exitCode, signal] = (await once(child, 'close')) as [number | null, Answer['signal']];
    clearTimeout(timer);
    const peakBytes = watch.stop();
    return {
      exitCode,
      signal,
      stdout: Buffer.concat(stdout),
      stderr: Buffer.concat(stderr).toString(),
      peakBytes,
    };
  }

  /** @returns standard output. @throws when the command fails. */
  async ok(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(args, options);
    if (exitCode === 0) return stdout.toString().trimEnd();
    throw new Error(`holdfast ${args.join(' ')}: exit ${exitCode}: ${stderr}`);
  }

  async json<Result>(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return JSON.parse(await this.ok([...args, '--json'], options)) as Result;
  }

  async devices(options: RunOptions = {}): Promise<DeviceView[]> {
    return await this.json<DeviceView[]>(['dev', 'list'], options);
  }

  /** Bytes that are used on all stores together. */
  async usedBytes(options: RunOptions = {}): Promise<number> {
    const devices = await this.devices(options);
    return devices.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  }

  async list(options: RunOptions = {}): Promise<ObjectView[]> {
    return await this.json<ObjectView[]>(['ls'], options);
  }

  async health(options: RunOptions = {}): Promise<Health> {
    const { stdout, stderr, exitCode } = await this.run(['health', '--json'], options);
    if (stdout.length === 0) throw new Error(`health: exit ${exitCode}: ${stderr}`);
    return { ...(JSON.parse(stdout.toString()) as HealthView), exitCode };
  }

  /** Kills what still runs. */
  async stopAll(): Promise<void> {
    const ends = [...this.#children].map((child) => once(child, 'exit'));
    for (const child of this.#children) child.kill('SIGKILL');
    for (const processId of this.#processIds) kill(processId);
    await Promise.all(ends);
    this.#killRings();
  }

  /** An etcd outlives a node that is killed, until the node is started again. */
  #killRings(): void {
    for (const data of readdirSync(this.folder)) {
      const processId = ringProcess(this.path(data));
      if (processId !== undefined) kill(processId);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAll();
    await fs.rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    process.off('exit', this.#onExit);
  }

  /** Also when the test process ends in a hurry, so this cannot wait. */
  #killAll(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const processId of this.#processIds) kill(processId);
    if (existsSync(this.folder)) this.#killRings();
    if (this.#children.size + this.#processIds.size > 0)
      rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A node in a process of its own. */
export class NodeProcess {
  readonly child: ChildProcess;
  readonly #socketPath: string;
  readonly #stdout: readonly Buffer[];
  readonly #stderr: readonly Buffer[];
  readonly #exit: Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }>;

  private constructor(child: ChildProcess, socketPath: string) {
    this.child = child;
    this.#socketPath = socketPath;
    this.#stdout = collect(child.stdout);
    this.#stderr = collect(child.stderr);
    this.#exit = once(child, 'close').then(([exitCode, signal]) => ({ exitCode, signal }));
  }

  static async whenUp(child: ChildProcess, socketPath: string): Promise<NodeProcess> {
    const node = new NodeProcess(child, socketPath);
    const untilMs = performance.now() + UP_TIMEOUT_MS;
    while (!node.stdout.includes(UP_LINE)) {
      if (child.exitCode !== null || child.signalCode !== null) {
        await node.#exit;
        throw new Error(`up: exit ${child.exitCode ?? child.signalCode}: ${node.stderr}`);
      }
      if (performance.now() > untilMs) {
        throw new Error(`the node is not up: ${node.stdout} ${node.stderr}`);
      }
      await sleep(SAMPLE_MS);
    }
    return node;
  }

  get stdout(): string {
    return Buffer.concat(this.#stdout).toString();
  }

  get stderr(): string {
    return Buffer.concat(this.#stderr).toString();
  }

  /** The largest resident set of the node so far, in bytes. */
  get peakBytes(): number {
    return statusBytes(this.child, 'VmHWM');
  }

  /** What is resident of it now, in bytes. */
  get residentBytes(): number {
    return statusBytes(this.child, 'VmRSS');
  }

  /** Seconds of processor time that the node has used. */
  get processorSeconds(): number {
    return processorSeconds(this.child);
  }

  /** A client in this process; the caller disposes it. */
  connect(): HoldfastClient {
    return connect({ socketPath: this.#socketPath });
  }

  /** Resolves when the node has ended. */
  async ended(): Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }> {
    return await this.#exit;
  }

  /** The end that nobody can prepare for. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.#exit;
  }

  /** Asks the node to stop and waits. @throws when it does not end well. */
  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    const { exitCode, signal } = await this.#exit;
    if (exitCode !== 0)
      throw new Error(`the node ended with ${exitCode ?? signal}: ${this.stderr}`);
  }
}

/** The etcd that runs on a data directory, whether its node lives or not. */
export function ringProcess(dataPath: string): number | undefined {
  const folder = path.join(dataPath, 'ring');
  try {
    const { pid } = JSON.parse(readFileSync(path.join(folder, 'etcd.pid'), 'utf8')) as {
      readonly pid: number;
    };
    return readlinkSync(`/proc/${pid}/cwd`) === folder ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Unless it has ended. */
function kill(processId: number): void {
  try {
    process.kill(processId, 'SIGKILL');
  } catch {}
}

/** A port of this machine that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function collect(stream: NodeJS.ReadableStream | null): Buffer[] {
  const pieces: Buffer[] = [];
  stream?.on('data', (piece: Buffer) => pieces.push(piece));
  return pieces;
}

function watchPeak(child: ChildProcess): { stop(): number } {
  let peakBytes = 0;
  const look = () => {
    peakBytes = Math.max(peakBytes, statusBytes(child, 'VmHWM'));
  };
  const timer = setInterval(look, SAMPLE_MS);
  return {
    stop() {
      clearInterval(timer);
      return peakBytes;
    },
  };
}

/**
 * A line of /proc/PID/status in bytes; 0 when the process has ended. VmHWM is the kernel's own mark
 * of the largest resident set, so only the last moments can be missed.
 */
function statusBytes({ pid }: ChildProcess, name: 'VmRSS' | 'VmHWM'): number {
  const status = readProcess(pid, 'status');
  const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  return Number(kib ?? 0) * 1024;
}

/** Of user and kernel; proc(5) counts them in hundredths. */
function processorSeconds({ pid }: ChildProcess): number {
  // The second field, the program's name, may have spaces; it ends with the last parenthesis.
  const fields = readProcess(pid, 'stat')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100;
}

/** Empty when it has ended. */
function readProcess(pid: number | undefined, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return '';
  }
}

/** Waits until a condition holds. @throws after a generous time. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  msMax = 90_000,
): Promise<void> {
  const endMs = performance.now() + msMax;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`it never came to pass: ${what}`);
    await sleep(100);
  }
}
