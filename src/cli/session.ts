/**
 * One run of a command: where it prints, which node it talks to, when it is to stop. Commands print
 * through it and nowhere else: results on standard output, everything else on standard error.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CONTROL_SOCKET, CONTROL_TOKEN } from '../api/index.ts';
import { HoldfastError } from '../base/index.ts';
import { connect, type HoldfastClient, type NodeAddress } from '../client/index.ts';
import { type Address, addressText } from './address.ts';
import type { Io, Output, Signal } from './io.ts';

/** What takes longer is not left without a word. */
const SLOW_MS = 1500;

export interface GlobalOptions {
  readonly data?: string | undefined;
  readonly json?: boolean | undefined;
  /** As `ConnectOptions.isStrict`. */
  readonly strict?: boolean | undefined;
  /** Where the node listens, if not on the socket of its data directory. */
  readonly address?: Address | undefined;
}

export class Session implements Disposable {
  readonly io: Io;
  readonly dataPath: string;
  readonly isJson: boolean;
  /** Aborted by the first signal, and when nobody reads what is printed. */
  readonly signal: AbortSignal;
  readonly #stack = new DisposableStack();
  readonly #deafen: () => void;
  readonly #address: Address | undefined;
  readonly #isStrict: boolean;
  #client: HoldfastClient | undefined;

  constructor(io: Io, { data, json, strict, address }: GlobalOptions) {
    const { HOLDFAST_DATA } = io.variables;
    this.io = io;
    this.dataPath = path.resolve(
      io.workPath,
      data ?? (HOLDFAST_DATA || path.join(io.homePath, '.holdfast')),
    );
    this.isJson = json ?? false;
    this.#address = address;
    this.#isStrict = strict ?? false;
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
    this.#client ??= this.#stack.use(connect(this.#nodeAddress(), { isStrict: this.#isStrict }));
    return this.#client;
  }

  /** @throws HF_NOT_RUNNING when the node has never listened on an address; HF_DENIED. */
  #nodeAddress(): NodeAddress {
    if (!this.#address) return { socketPath: this.socketPath };
    try {
      const token = readFileSync(path.join(this.dataPath, CONTROL_TOKEN), 'utf8').trim();
      return { ...this.#address, token };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      const where = addressText(this.#address);
      const message = `${this.dataPath} has no token for ${where}: its node has never listened`;
      throw new HoldfastError('HF_NOT_RUNNING', message, { cause: error });
    }
  }

  /** Signals go to `listener` from now on, and abort nothing. */
  takeSignals(listener: (signal: Signal) => void): void {
    this.#deafen();
    this.#stack.defer(this.io.onSignal(listener));
  }

  /** A path as the user's shell means it. @throws HF_BAD_ARGUMENT for ''. */
  resolve(file: string): string {
    if (file === '') throw new HoldfastError('HF_BAD_ARGUMENT', "'' is no path");
    return path.resolve(this.io.workPath, file);
  }

  /** A path as it is shown to the user. */
  relative(file: string): string {
    return path.relative(this.io.workPath, file);
  }

  print(...lines: readonly string[]): void {
    this.io.stdout.write(lines.map((line) => `${line}\n`).join(''));
  }

  /** For people: what is no result. */
  note(...lines: readonly string[]): void {
    this.io.stderr.write(lines.map((line) => `${line}\n`).join(''));
  }

  /** For people: what is under way, once that takes a while; until the result is disposed. */
  sayWhenSlow(text: string): Disposable {
    const over = new AbortController();
    const say = (): void => {
      if (!over.signal.aborted && !this.isJson) this.note(`holdfast: ${text}`);
    };
    this.io.clock.sleep(SLOW_MS, over).then(say, () => {});
    return { [Symbol.dispose]: () => over.abort() };
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
