/**
 * Requests and streams on one connection, for both ends alike. The end that dialled numbers its
 * requests 1, 3, 5, …, the other one 2, 4, 6, …; each number is used once.
 *
 * Nothing here has a timer of its own: who owns a Mux calls `tick` every LIMITS.networkTickMs.
 *
 * Invariants: 1. an exchange is in `#exchanges` until it is over; their number is bounded, whatever
 * the other end does; 2. a broken rule closes the connection or resets the stream, is counted, and
 * fails what waits with HF_UNAVAILABLE; 3. when both ends have said *go away* and nothing is under
 * way, the connection closes: nothing is lost by it.
 */
import type { Duplex } from 'node:stream';
import {
  assert,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  throwIfAborted,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { errorAnswer, readError, readRequest } from './envelope.ts';
import { type Exchange, IncomingCall, type IncomingRequest, OutgoingCall } from './exchange.ts';
import { FRAME, type Frame, FrameReader, type FrameType, joined } from './frame.ts';
import { FrameWriter } from './frame-writer.ts';
import { Heartbeat } from './heartbeat.ts';
import { MessageCodec } from './message.ts';
import { MuxStream, type StreamCarrier } from './mux-stream.ts';
import type { CallOptions } from './types.ts';

export interface MuxOptions {
  readonly env: Env;
  /** Owned by the Mux from now on. */
  readonly duplex: Duplex;
  readonly isDialer: boolean;
  /** Answers requests of the other end; what it throws travels back as {code, message}. */
  readonly serve: (request: IncomingRequest) => unknown;
}

export type MuxCallOptions = Pick<CallOptions, 'deadlineMs' | 'signal' | 'isElsewhereToo'>;

const REQUEST_NUMBER_MAX = 0xffff_ffff;

export class Mux implements StreamCarrier {
  readonly #env: Env;
  readonly #duplex: Duplex;
  readonly #serve: MuxOptions['serve'];
  readonly #codec = new MessageCodec();
  readonly #reader = new FrameReader();
  readonly #writer: FrameWriter;
  readonly #heartbeat = new Heartbeat();
  readonly #exchanges = new Map<number, Exchange>();
  readonly #closed = Promise.withResolvers<HoldfastError>();
  #closedBy: HoldfastError | undefined;
  #nextNumber: number;
  #lastRemoteNumber = 0;
  #remoteCount = 0;
  #remoteStreamCount = 0;
  #hasSaidGoAway = false;
  #hasHeardGoAway = false;

  constructor({ env, duplex, isDialer, serve }: MuxOptions) {
    this.#env = env;
    this.#duplex = duplex;
    this.#writer = new FrameWriter(duplex);
    this.#serve = serve;
    this.#nextNumber = isDialer ? 1 : 2;
    duplex.on('error', (error) => this.#end(`the connection broke: ${errorMessage(error)}`));
    duplex.on('close', () => this.#end('the connection was closed'));
    duplex.on('end', () => this.close('the other end closed the connection'));
    duplex.on('drain', () => this.#heartbeat.onRoom());
    duplex.on('data', (chunk: Buffer) => this.#onBytes(chunk));
  }

  /** Resolves, with the reason, when the connection is gone. */
  get closed(): Promise<HoldfastError> {
    return this.#closed.promise;
  }

  get isClosed(): boolean {
    return this.#closedBy !== undefined;
  }

  /** Whether requests can still be made here. */
  get isOpen(): boolean {
    return !this.isClosed && !this.#hasSaidGoAway && !this.#hasHeardGoAway;
  }

  /** Requests and streams under way, of both ends. */
  get exchangeCount(): number {
    return this.#exchanges.size;
  }

  /** Of the last ping that was answered. */
  get rttMs(): number | undefined {
    return this.#heartbeat.rttMs;
  }

  /** Whether the other end leaves a ping unanswered, see Heartbeat. The first byte ends it. */
  get isSilent(): boolean {
    return this.#heartbeat.isSilent;
  }

  /** Whether a caller waits here who could ask another node. */
  get isAwaited(): boolean {
    return OutgoingCall.replaceable(this.#exchanges).length > 0;
  }

  call(method: string, arg: unknown, options: MuxCallOptions): Promise<unknown> {
    return this.#request({ method, arg, withStream: false }, options).reply;
  }

  open(
    method: string,
    arg: unknown,
    options: MuxCallOptions,
  ): { stream: Duplex; reply: Promise<unknown> } {
    const { stream, reply } = this.#request({ method, arg, withStream: true }, options);
    assert(stream, 'a stream was asked for');
    reply.catch(() => {}); // the stream fails as well; some users only look at that
    return { stream, reply };
  }

  /** Makes no more requests; closes when everything under way, at both ends, is over. */
  retire(): void {
    if (this.#hasSaidGoAway || this.isClosed) return;
    this.#hasSaidGoAway = true;
    this.send(FRAME.goAway, 0);
    this.#closeWhenDone();
  }

  /** Gives up everything under way. */
  close(reason: string): void {
    this.#end(reason);
  }

  /** Gives up what can be asked elsewhere as well. */
  giveUpReplaceable(error: HoldfastError): void {
    for (const call of OutgoingCall.replaceable(this.#exchanges)) this.#giveUp(call, error);
  }

  /**
   * Deadlines, pings, silence.
   * @param isAwaited whether somebody waits for this peer, on whichever link; see Heartbeat.
   */
  tick(isAwaited = this.isAwaited): void {
    if (this.isClosed) return;
    const nowMs = this.#env.clock.monotonic();
    for (const exchange of this.#exchanges.values()) {
      if (exchange.deadlineAtMs <= nowMs) this.#expire(exchange);
    }
    const ping = this.#heartbeat.tick(nowMs, isAwaited);
    if (this.#heartbeat.isOver) this.#violate('silent', 'no sign of life');
    else if (ping !== undefined) this.send(FRAME.ping, ping);
  }

  #request(
    request: { method: string; arg: unknown; withStream: boolean },
    { deadlineMs, signal, isElsewhereToo = false }: MuxCallOptions,
  ): { stream: MuxStream | undefined; reply: Promise<unknown> } {
    assert(deadlineMs >= 1, 'a call has a deadline');
    assert(deadlineMs <= LIMITS.callDeadlineMsMax, 'the deadline is within its limit');
    throwIfAborted(signal);
    if (!this.isOpen) throw this.#closedBy ?? new HoldfastError('HF_UNAVAILABLE', 'going away');
    const { method, arg, withStream } = request;
    const payload = this.#codec.encode([method, arg, withStream, deadlineMs]);
    const id = this.#nextNumber;
    this.#nextNumber += 2;
    const nowMs = this.#env.clock.monotonic();
    const call = new OutgoingCall({ id, deadlineMs, nowMs, isElsewhereToo });
    if (withStream) call.stream = new MuxStream(id, this);
    this.#exchanges.set(id, call);
    if (signal) call.follow(signal, (error) => this.#giveUp(call, error));
    this.send(FRAME.request, id, payload);
    if (this.#nextNumber > REQUEST_NUMBER_MAX - 2) this.retire();
    return { stream: call.stream, reply: call.reply };
  }

  /** An end put to an exchange from this side. */
  #giveUp(exchange: Exchange, error: HoldfastError): void {
    // A stream sends its own reset when it is destroyed.
    if (!exchange.stream && !exchange.isAnswered) this.send(FRAME.reset, exchange.id);
    exchange.giveUp(error);
    this.#forgetIfOver(exchange);
  }

  #expire(exchange: Exchange): void {
    exchange.deadlineAtMs = Infinity;
    const ms = Math.round(exchange.deadlineMs);
    const error = new HoldfastError('HF_TIMEOUT', `no answer within ${ms} ms`);
    this.#count('net_deadlines_passed');
    if (exchange instanceof OutgoingCall) this.#giveUp(exchange, error);
    else exchange.giveUp(error); // the other end has its own deadline
  }

  #forgetIfOver(exchange: Exchange): void {
    if (!exchange.isOver || !this.#exchanges.delete(exchange.id)) return;
    if (exchange instanceof IncomingCall) this.#remoteCount -= 1;
    this.#closeWhenDone();
  }

  #closeWhenDone(): void {
    const isAgreed = this.#hasSaidGoAway && this.#hasHeardGoAway;
    if (!isAgreed || this.#exchanges.size > 0 || this.isClosed) return;
    // The last frames may not have left yet.
    this.#writer.flush();
    this.#duplex.end(() => this.#end('nothing is left to do here'));
  }

  #onBytes(chunk: Buffer): void {
    if (this.isClosed) return;
    this.#heartbeat.onBytes();
    try {
      for (const frame of this.#reader.read(chunk)) {
        this.#onFrame(frame);
        if (this.isClosed) return;
      }
    } catch (error) {
      if (errorCode(error) !== 'HF_CORRUPT') throw error;
      this.#violate('frame', errorMessage(error));
    }
  }

  #onFrame({ type, stream: id, slices }: Frame): void {
    switch (type) {
      case FRAME.request:
        return this.#onRequest(id, joined(slices));
      case FRAME.reply:
      case FRAME.error:
        return this.#onAnswer(type, id, joined(slices));
      case FRAME.data:
        return this.#exchanges.get(id)?.stream?.takeData(slices);
      case FRAME.end:
        return this.#exchanges.get(id)?.stream?.takeEnd();
      case FRAME.credit:
        return this.#exchanges.get(id)?.stream?.takeCredit(joined(slices).readUInt32LE(0));
      case FRAME.reset:
        return this.#onReset(id);
      case FRAME.ping:
        return this.#onPing(id);
      case FRAME.pong:
        return this.#heartbeat.onPong(id, this.#env.clock.monotonic());
      case FRAME.goAway:
        this.#hasHeardGoAway = true;
        this.retire();
        return this.#closeWhenDone();
    }
  }

  #onRequest(id: number, payload: Buffer): void {
    const isTheirs = id % 2 !== this.#nextNumber % 2;
    if (!isTheirs || id <= this.#lastRemoteNumber) {
      return this.#violate('number', `request number ${id} is out of order`);
    }
    this.#lastRemoteNumber = id;
    const { method, arg, withStream, deadlineMs } = readRequest(this.#codec.decode(payload));
    const isTooMany =
      this.#remoteCount >= LIMITS.requestsPerConnectionMax ||
      (withStream && this.#remoteStreamCount >= LIMITS.streamsPerConnectionMax);
    if (isTooMany) {
      this.#count('net_requests_refused');
      return this.#sendError(id, new HoldfastError('HF_BUSY', 'too many requests at once'));
    }
    const nowMs = this.#env.clock.monotonic();
    const call = new IncomingCall({ id, deadlineMs, nowMs, method, arg });
    if (withStream) {
      call.stream = new MuxStream(id, this);
      this.#remoteStreamCount += 1;
    }
    this.#remoteCount += 1;
    this.#exchanges.set(id, call);
    this.#answer(call);
  }

  #answer(call: IncomingCall): void {
    try {
      const result = this.#serve(call);
      if (result instanceof Promise) {
        result.then(
          (value: unknown) => this.#onServed(call, value),
          (error: unknown) => this.#onFailed(call, error),
        );
      } else this.#onServed(call, result);
    } catch (error) {
      this.#onFailed(call, error);
    }
  }

  #onServed(call: IncomingCall, result: unknown): void {
    if (call.isWanted && !this.isClosed) {
      try {
        this.#checkRoomForReply();
        this.send(FRAME.reply, call.id, this.#codec.encode(result ?? null));
      } catch (error) {
        return this.#onFailed(call, error);
      }
    }
    call.isAnswered = true;
    call.stream?.finish();
    this.#forgetIfOver(call);
  }

  #onFailed(call: IncomingCall, error: unknown): void {
    if (call.isWanted && !this.isClosed) this.#sendError(call.id, error);
    call.isAnswered = true;
    call.stream?.destroy(new HoldfastError('HF_UNAVAILABLE', 'the request has failed'));
    this.#forgetIfOver(call);
  }

  #checkRoomForReply(): void {
    if (!this.#writer.isFull) return;
    this.#count('net_replies_refused');
    throw new HoldfastError('HF_UNAVAILABLE', 'earlier replies were not read yet');
  }

  #sendError(id: number, error: unknown): void {
    this.send(FRAME.error, id, this.#codec.encode(errorAnswer(error, this.#env.log)));
  }

  #onAnswer(type: FrameType, id: number, payload: Buffer): void {
    const message = this.#codec.decode(payload);
    const call = this.#exchanges.get(id);
    if (!(call instanceof OutgoingCall)) return; // we gave it up before the answer came
    if (type === FRAME.reply) call.succeed(message);
    else call.giveUp(readError(message));
    if (call.stream) this.onMoved(call.stream);
    this.#forgetIfOver(call);
  }

  #onReset(id: number): void {
    const exchange = this.#exchanges.get(id);
    if (!exchange) return;
    if (exchange.stream) exchange.stream.takeReset();
    const isFinished = exchange instanceof OutgoingCall || exchange.isAnswered;
    if (isFinished) return; // a stream of ours still awaits its reply, or its error
    exchange.giveUp(new HoldfastError('HF_INTERRUPTED', 'the caller gave up'));
  }

  #onPing(number: number): void {
    if (this.#heartbeat.mayPing()) this.send(FRAME.pong, number);
    else this.#violate('pings', 'too many pings');
  }

  // What goes out; the face that streams see.

  get isBlocked(): boolean {
    return this.#writer.isBlocked;
  }

  send(type: FrameType, stream: number, payload?: Uint8Array): void {
    if (this.isClosed) return;
    this.#writer.send(type, stream, payload);
    if (this.#writer.isOverfull) this.#violate('unread', 'the other end does not read');
  }

  waitForRoom(stream: MuxStream): void {
    this.#writer.waitForRoom(stream);
  }

  onMoved(stream: MuxStream): void {
    const exchange = this.#exchanges.get(stream.id);
    if (!exchange) return;
    exchange.deadlineAtMs = this.#env.clock.monotonic() + exchange.deadlineMs;
  }

  onClosed(stream: MuxStream): void {
    this.#writer.forget(stream);
    const exchange = this.#exchanges.get(stream.id);
    if (!exchange || exchange.stream !== stream) return;
    exchange.stream = undefined;
    if (exchange instanceof IncomingCall) this.#remoteStreamCount -= 1;
    this.#forgetIfOver(exchange);
  }

  onViolation(what: string): void {
    this.#count('net_violations', { what: 'credit' });
    this.#env.log.warn('a peer broke the rules of a stream', { what });
  }

  #violate(what: string, text: string): void {
    this.#count('net_violations', { what });
    this.#end(text);
  }

  #end(reason: string): void {
    if (this.#closedBy) return;
    const error = new HoldfastError('HF_UNAVAILABLE', reason);
    this.#closedBy = error;
    this.#duplex.destroy();
    for (const exchange of this.#exchanges.values()) {
      exchange.giveUp(error);
      this.#forgetIfOver(exchange);
    }
    this.#closed.resolve(error);
  }

  #count(counter: string, labels?: Record<string, string>): void {
    this.#env.metrics.add(counter, 1, labels);
  }
}
