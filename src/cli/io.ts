/** What a command has to do with the world: streams, places, signals. Tests hand in their own. */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { type Clock, realEnv } from '../env/index.ts';

export interface Output extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export type Signal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** As much of `node` as `up` needs. */
export interface NodeModule {
  openNode(options: {
    dataPath: string;
    recoverKitText?: string | undefined;
    acceptsLoss?: boolean | undefined;
    storePaths?: readonly string[] | undefined;
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
  /** The node is large and only `up` needs it: loaded when asked for. */
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
    loadNode: () => import('../node/index.ts'),
  };
}

function packageVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
