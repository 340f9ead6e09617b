/**
 * One run of a command: where it prints, which node it talks to, when it is to stop. Commands print
 * through it and nowhere else: results on standard output, everything else on standard error.
 */
import path from 'node:path';
import { CONTROL_SOCKET } from '../api/index.ts';
import { connect, type HoldfastClient } from '../client/index.ts';
import type { Io, Output, Signal } from './io.ts';

export interface GlobalOptions {
  readonly data?: string;
  readonly json?: boolean;
}

export class Session implements Disposable {
  readonly io: Io;
  readonly dataPath: string;
  readonly isJson: boolean;
  /** Aborted by the first signal, and when nobody reads what is printed. */
  readonly signal: AbortSignal;
  readonly #stack = new DisposableStack();
  readonly #deafen: () => void;
  #client: HoldfastClient | undefined;

  constructor(io: Io, { data, json }: GlobalOptions) {
    const { HOLDFAST_DATA } = io.variables;
    this.io = io;
    this.dataPath = path.resolve(
      io.workPath,
      data ?? (HOLDFAST_DATA || path.join(io.homePath, '.holdfast')),
    );
    this.isJson = json ?? false;
    const stop = new AbortController();
    this.signal = stop.signal;
    const deafen = io.onSignal((signal) => {
      // The second one finds nobody who listens, and ends the process.
      deafen();
      stop.abort(signal);
    });
    this.#deafen = deafen;
    this.#stack.defer(deafen);
    const unread = (error: NodeJS.ErrnoException) => stop.abort(error);
    io.stdout.on('error', unread);
    this.#stack.defer(() => io.stdout.off('error', unread));
  }

  get socketPath(): string {
    return path.join(this.dataPath, CONTROL_SOCKET);
  }

  get client(): HoldfastClient {
    this.#client ??= this.#stack.use(connect({ socketPath: this.socketPath }));
    return this.#client;
  }

  /** Signals go to `listener` from now on, and abort nothing. */
  takeSignals(listener: (signal: Signal) => void): void {
    this.#deafen();
    this.#stack.defer(this.io.onSignal(listener));
  }

  /** A path as the user's shell means it. */
  resolve(file: string): string {
    return path.resolve(this.io.workPath, file);
  }

  print(...lines: readonly string[]): void {
    this.io.stdout.write(lines.map((line) => `${line}\n`).join(''));
  }

  /** For people: what is no result. */
  note(...lines: readonly string[]): void {
    this.io.stderr.write(lines.map((line) => `${line}\n`).join(''));
  }

  /** The value as JSON when that is asked for, else the lines. */
  show(value: unknown, lines: () => readonly string[]): void {
    if (this.isJson) this.print(JSON.stringify(value));
    else this.print(...lines());
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** Writes and waits until it is taken. @throws the stream's own error. */
export function writeTo(output: Output, bytes: Uint8Array | string): Promise<void> {
  return new Promise((resolve, reject) => {
    output.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

/** Whether the reader of our output has gone, which is no fault of ours. */
export function isBrokenPipe(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 'EPIPE';
}
