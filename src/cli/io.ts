/** What a command has to do with the world: streams, places, signals. Tests hand in their own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { ClusterId, DeviceId } from '../base/index.ts';
import { type Clock, realEnv } from '../env/index.ts';

export interface Output extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export type Signal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** What a command says of a node towards others; what is left out stays as it is. */
export interface NodeChanges {
  readonly listen?: readonly string[] | undefined;
  readonly advertise?: readonly string[] | undefined;
  readonly name?: string | undefined;
  readonly labels?: Readonly<Record<string, string | undefined>> | undefined;
  readonly beacon?: boolean | undefined;
  readonly awayGraceMs?: number | undefined;
  readonly disks?: boolean | undefined;
  readonly metadata?: boolean | undefined;
}

/** As much of `node` as commands need. */
export interface NodeModule {
  /** Makes a data directory that of a member; resolves when that is durable. */
  joinNode(options: { dataPath: string; token: string; config?: NodeChanges }): Promise<unknown>;
  readKnownStores(
    dataPath: string,
  ): Promise<
    | { readonly clusterId: ClusterId; readonly idAt: (where: string) => DeviceId | undefined }
    | undefined
  >;
  openNode(options: {
    dataPath: string;
    recoverKitText?: string | undefined;
    acceptsLoss?: boolean | undefined;
    storePaths?: readonly string[] | undefined;
    listen?: { readonly host: string; readonly port: number } | undefined;
    config?: NodeChanges | undefined;
    /** Folders of programs, as PATH has them. */
    searchPath?: string | undefined;
    threadCount?: number | undefined;
  }): Promise<
    AsyncDisposable & {
      readonly isFirstRun: boolean;
      readonly welcome: readonly string[];
      readonly stopped: Promise<void>;
      stop(): void;
    }
  >;
}

export interface DetachedProcess {
  readonly processId: number;
  /** Resolves when it has ended. */
  readonly ended: Promise<unknown>;
}

export interface Io {
  readonly version: string;
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly homePath: string;
  readonly workPath: string;
  readonly clock: Clock;
  /** Unpredictable hexadecimal digits, for names of temporary files. */
  uniqueName(): string;
  /** Calls `listener` for each signal until the function that it gives is called. */
  onSignal(listener: (signal: Signal) => void): () => void;
  /** Ends this process as the signal would have, had nobody listened. */
  die(signal: Signal): void;
  /** Runs a command on its own: it outlives us, and prints to the end of a file. */
  startDetached(args: readonly string[], outputFile: string): Promise<DetachedProcess>;
  /** The node is large and few commands need it: loaded when asked for. */
  loadNode(): Promise<NodeModule>;
}

const SIGNALS: readonly Signal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

export function processIo(): Io {
  const { clock, random } = realEnv();
  return {
    version: packageVersion(),
    // Made when it is asked for: most commands leave it alone.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    variables: process.env,
    homePath: os.homedir(),
    workPath: process.cwd(),
    clock,
    uniqueName: () => Buffer.from(random.bytes(8)).toString('hex'),
    onSignal(listener) {
      for (const signal of SIGNALS) process.on(signal, listener);
      return () => {
        for (const signal of SIGNALS) process.off(signal, listener);
      };
    },
    die(signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    },
    startDetached,
    loadNode: () => import('../node/index.ts'),
  };
}

async function startDetached(
  args: readonly string[],
  outputFile: string,
): Promise<DetachedProcess> {
  const program = fileURLToPath(new URL('../../bin/holdfast.js', import.meta.url));
  await using output = await fs.open(outputFile, 'a', 0o600);
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
  });
  const ended = once(child, 'exit');
  ended.catch(() => {}); // whoever waits for it is told
  await once(child, 'spawn');
  child.unref();
  return { processId: child.pid!, ended };
}

function packageVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
