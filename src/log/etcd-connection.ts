/**
 * Calls of etcd's API: gRPC, which is one HTTP/2 request for each call, over connections that the
 * caller dials (a socket on loopback, or a stream to another node). Requests go to one *member*
 * until it fails; then the next one is asked.
 *
 * Measured against @grpc/grpc-js and against etcd's JSON gateway (docs/design): the least CPU and
 * the most appends, and no dependency.
 * Source: grpc's doc/PROTOCOL-HTTP2.md; status codes: grpc's doc/statuscodes.md.
 */
import * as http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import { asBuffer, assert, concatBytes, errorMessage, HoldfastError } from '../base/index.ts';
import type { Clock } from '../env/index.ts';
import type { EtcdKv } from './etcd-kv.ts';
import {
  decodeResult,
  encodeTransaction,
  encodeWatch,
  type EtcdRange,
  type EtcdResult,
  type EtcdTransaction,
  isWatchNews,
} from './etcd-messages.ts';

/** Ruling 16: etcd itself may take 7 s to notice that a proposal went down with its leader. */
const DEADLINE_MS = 1500;
/** So a request fails at most a tenth later than it should. */
const LOOKS_PER_DEADLINE = 10;
const TRANSACT = '/etcdserverpb.KV/Txn';
const WATCH = '/etcdserverpb.Watch/Watch';
const FRAME_HEAD_BYTES = 5;
/** Entries are read several at once; the default of 64 KiB would stall each answer. */
const WINDOW_BYTES = 8 * 1024 * 1024;

const OK = 0;
const OUT_OF_RANGE = 11;
const RESOURCE_EXHAUSTED = 8;
const INVALID_ARGUMENT = 3;
/** Refused before it was proposed to the members; other failures leave a doubt. */
const SURELY_NOTHING = /no leader|too many requests|not capable|learner/;

/** Opens a connection to the client port of one member. */
export type DialEtcd = () => Promise<Duplex>;

export interface EtcdConnectionOptions {
  /** One for each member. */
  readonly members: readonly DialEtcd[];
  readonly clock: Clock;
  readonly deadlineMs?: number;
}

interface Deadline {
  readonly at: number;
  readonly promise: Promise<never>;
  readonly reject: (error: unknown) => void;
}

export class EtcdConnection implements EtcdKv {
  readonly #options: EtcdConnectionOptions;
  readonly #deadlineMs: number;
  readonly #sessions = new Map<number, Promise<http2.ClientHttp2Session>>();
  readonly #underWay = new Set<Deadline>();
  #isLooking = false;
  #current = 0;
  #isClosed = false;

  constructor(options: EtcdConnectionOptions) {
    assert(options.members.length > 0, 'there is a member to ask');
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  }

  async transact(transaction: EtcdTransaction): Promise<EtcdResult> {
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED', 'the connection to etcd is closed');
    const member = this.#current;
    const late = this.#begin();
    let stream: http2.ClientHttp2Stream | undefined;
    try {
      const session = await Promise.race([this.#session(member), late.promise]);
      stream = request(session, TRANSACT);
      stream.end(frame(encodeTransaction(transaction)));
      const answer = await Promise.race([unaryAnswer(stream), late.promise]);
      return decodeResult(answer, transaction);
    } catch (error) {
      throw this.#failure(error, member, stream !== undefined);
    } finally {
      this.#underWay.delete(late);
      stream?.close(http2.constants.NGHTTP2_CANCEL);
    }
  }

  /** A request that fails when its deadline has passed. */
  #begin(): Deadline {
    const { promise, reject } = Promise.withResolvers<never>();
    const at = this.#options.clock.monotonic() + this.#deadlineMs;
    const late: Deadline = { at, promise, reject };
    this.#underWay.add(late);
    if (!this.#isLooking) void this.#lookAtDeadlines();
    return late;
  }

  /** One timer for all: one that is called off for each request costs as much as the request. */
  async #lookAtDeadlines(): Promise<void> {
    const { clock } = this.#options;
    this.#isLooking = true;
    while (this.#underWay.size > 0) {
      await clock.sleep(this.#deadlineMs / LOOKS_PER_DEADLINE);
      for (const { at, reject } of this.#underWay) {
        const reason = `etcd did not answer within ${this.#deadlineMs} ms`;
        if (clock.monotonic() >= at) reject(new HoldfastError('HF_TIMEOUT', reason));
      }
    }
    this.#isLooking = false;
  }

  /** What a failed attempt means to the caller; the next one asks another member. */
  #failure(error: unknown, member: number, wasSent: boolean): HoldfastError {
    if (error instanceof EtcdRefusal && error.isFinal) return error.toError();
    this.#moveOn(member, error);
    const isSure = !wasSent || (error instanceof EtcdRefusal && error.didNothing);
    const code = isSure ? 'HF_UNAVAILABLE' : 'HF_UNKNOWN_OUTCOME';
    return new HoldfastError(code, errorMessage(error), { cause: error });
  }

  #moveOn(member: number, error: unknown): void {
    if (this.#current === member) this.#current = (member + 1) % this.#options.members.length;
    if (error instanceof EtcdRefusal) return; // the connection is well
    void this.#sessions.get(member)?.then((session) => session.destroy(), ignored);
    this.#sessions.delete(member);
  }

  #session(member: number): Promise<http2.ClientHttp2Session> {
    let session = this.#sessions.get(member);
    if (!session) {
      session = this.#connect(member);
      this.#sessions.set(member, session);
      session.catch(ignored); // whoever waits for it is told
    }
    return session;
  }

  async #connect(member: number): Promise<http2.ClientHttp2Session> {
    const duplex = await this.#options.members[member]!();
    const session = http2.connect('http://etcd', {
      createConnection: () => duplex,
      settings: { initialWindowSize: WINDOW_BYTES, enablePush: false },
    });
    const connected = Promise.withResolvers<http2.ClientHttp2Session>();
    session.once('connect', () => {
      session.setLocalWindowSize(WINDOW_BYTES);
      connected.resolve(session);
    });
    session.on('error', connected.reject);
    session.once('close', () => {
      connected.reject(new Error('etcd closed the connection'));
      if (this.#sessions.get(member) === promise) this.#sessions.delete(member);
    });
    const promise = this.#sessions.get(member);
    return await connected.promise;
  }

  async change(range: EtcdRange, since: number, signal: AbortSignal): Promise<void> {
    const member = this.#current;
    let stream: http2.ClientHttp2Stream | undefined;
    const stopped = Promise.withResolvers<undefined>();
    const stop = (): void => {
      stopped.resolve(undefined);
      stream?.close(http2.constants.NGHTTP2_CANCEL);
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      const session = await Promise.race([this.#session(member), stopped.promise]);
      if (!session || signal.aborted) return;
      stream = request(session, WATCH);
      stream.write(frame(encodeWatch(range, since + 1)));
      await watchNews(stream);
    } catch (error) {
      if (!signal.aborted) this.#moveOn(member, error);
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const session of this.#sessions.values()) {
      void session.then((open) => open.destroy(), ignored); // a dial may hang for long
    }
  }
}

function ignored(): void {}

function request(session: http2.ClientHttp2Session, path: string): http2.ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    // Refuse rather than wait when the member is cut off from the others.
    hasleader: 'true',
  });
  stream.on('error', ignored); // 'close' follows, and is listened to
  return stream;
}

/** `isCompressed u8 (0) | length u32 big-endian | message`. */
function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(FRAME_HEAD_BYTES + message.length);
  framed.writeUInt8(0, 0);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, FRAME_HEAD_BYTES);
  return framed;
}

/** The first message and what is left after it, once it is complete. */
function takeFrame(bytes: Buffer): { message: Buffer; rest: Buffer } | undefined {
  if (bytes.length < FRAME_HEAD_BYTES) return undefined;
  const end = FRAME_HEAD_BYTES + bytes.readUInt32BE(1);
  if (bytes.length < end) return undefined;
  return { message: bytes.subarray(FRAME_HEAD_BYTES, end), rest: bytes.subarray(end) };
}

/** etcd said no. */
class EtcdRefusal extends Error {
  readonly #status: number;

  constructor(status: number, message: string) {
    super(`etcd: ${message}`);
    this.#status = status;
  }

  get didNothing(): boolean {
    return SURELY_NOTHING.test(this.message);
  }

  /** Asking again, or somebody else, would not help. */
  get isFinal(): boolean {
    if (this.didNothing) return false;
    return [OUT_OF_RANGE, RESOURCE_EXHAUSTED, INVALID_ARGUMENT].includes(this.#status);
  }

  toError(): HoldfastError {
    const { message } = this;
    if (this.#status === OUT_OF_RANGE) return new HoldfastError('HF_NOT_FOUND', message);
    if (this.#status === RESOURCE_EXHAUSTED) return new HoldfastError('HF_NO_SPACE', message);
    return new HoldfastError('HF_INTERNAL', message);
  }
}

/** @throws EtcdRefusal, or an Error when the stream ended without a status. */
function unaryAnswer(stream: http2.ClientHttp2Stream): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status: http2.IncomingHttpHeaders = {};
    const note = (headers: http2.IncomingHttpHeaders): void => {
      if (headers['grpc-status'] !== undefined) status = headers;
    };
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('response', note); // a refusal has its trailers there
    stream.on('trailers', note);
    stream.once('close', () => {
      const code = status['grpc-status'];
      if (code === undefined) return reject(new Error('etcd broke off'));
      const text = decodeURIComponent(String(status['grpc-message'] ?? ''));
      if (Number(code) !== OK) return reject(new EtcdRefusal(Number(code), text));
      const framed = takeFrame(asBuffer(concatBytes(...chunks)));
      if (framed) resolve(framed.message);
      else reject(new Error('etcd sent half an answer'));
    });
  });
}

/** Resolves with the first message that says something; rejects when the stream ends before. */
function watchNews(stream: http2.ClientHttp2Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.alloc(0);
    stream.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (let next = takeFrame(bytes); next; next = takeFrame(bytes)) {
        bytes = next.rest;
        if (isWatchNews(next.message)) resolve();
      }
    });
    stream.once('close', () => reject(new Error('etcd ended the watch')));
  });
}
