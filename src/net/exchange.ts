/**
 * One request and what belongs to it, at either end of a connection. It is *over* when it has been
 * answered and its stream, if it has one, is closed; then its number means nothing any more.
 * The *deadline* is absolute for a call, and starts again with each movement of a stream.
 */
import type { Duplex } from 'node:stream';
import { HoldfastError } from '../base/index.ts';
import type { MuxStream } from './mux-stream.ts';

export abstract class Exchange {
  readonly id: number;
  readonly deadlineMs: number;
  stream: MuxStream | undefined;
  isAnswered = false;
  /** Of the monotonic clock. */
  deadlineAtMs: number;

  constructor(options: { id: number; deadlineMs: number; nowMs: number }) {
    this.id = options.id;
    this.deadlineMs = options.deadlineMs;
    this.deadlineAtMs = options.nowMs + options.deadlineMs;
  }

  get isOver(): boolean {
    return this.isAnswered && this.stream === undefined;
  }

  /** The other end, the caller or the clock puts an end to it. */
  abstract giveUp(error: HoldfastError): void;
}

/** A request of ours. */
export class OutgoingCall extends Exchange {
  readonly reply: Promise<unknown>;
  /** The caller can ask another node; see CallOptions. */
  readonly isElsewhereToo: boolean;
  readonly #settle: Omit<PromiseWithResolvers<unknown>, 'promise'>;
  /** Takes the listener off the caller's signal. */
  #forgetSignal: () => void = () => {};

  constructor(options: { id: number; deadlineMs: number; nowMs: number; isElsewhereToo: boolean }) {
    super(options);
    this.isElsewhereToo = options.isElsewhereToo;
    const { promise, ...settle } = Promise.withResolvers<unknown>();
    this.reply = promise;
    this.#settle = settle;
  }

  /** Those whose callers can ask another node. */
  static replaceable(exchanges: ReadonlyMap<number, Exchange>): OutgoingCall[] {
    const calls = [...exchanges.values()].filter((one) => one instanceof OutgoingCall);
    return calls.filter(({ isElsewhereToo }) => isElsewhereToo);
  }

  /** Has the call given up when its caller's signal is aborted. */
  follow(signal: AbortSignal, giveUp: (error: HoldfastError) => void): void {
    const stop = (): void =>
      giveUp(new HoldfastError('HF_INTERRUPTED', undefined, { cause: signal.reason }));
    signal.addEventListener('abort', stop, { once: true });
    this.#forgetSignal = () => signal.removeEventListener('abort', stop);
  }

  succeed(result: unknown): void {
    if (this.#isSettledNow()) this.#settle.resolve(result);
  }

  override giveUp(error: HoldfastError): void {
    if (this.#isSettledNow()) this.#settle.reject(error);
    this.stream?.destroy(error);
  }

  /** True once. */
  #isSettledNow(): boolean {
    if (this.isAnswered) return false;
    this.isAnswered = true;
    this.#forgetSignal();
    return true;
  }
}

/** A request of the other end, as the one who answers it sees it. */
export interface IncomingRequest {
  readonly method: string;
  /** Unchecked. */
  readonly arg: unknown;
  readonly stream: Duplex | undefined;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

export class IncomingCall extends Exchange implements IncomingRequest {
  readonly method: string;
  readonly arg: unknown;
  #abort: AbortController | undefined;
  #reason: HoldfastError | undefined;

  constructor(options: {
    id: number;
    deadlineMs: number;
    nowMs: number;
    method: string;
    arg: unknown;
  }) {
    super(options);
    this.method = options.method;
    this.arg = options.arg;
  }

  /** Whether an answer would be of use to somebody. */
  get isWanted(): boolean {
    return this.#reason === undefined;
  }

  /** Made when a handler asks for it: most answer at once and never do. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#reason) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }

  override giveUp(error: HoldfastError): void {
    if (this.#reason) return;
    this.#reason = error;
    this.stream?.destroy(error);
    this.#abort?.abort(error);
  }
}
