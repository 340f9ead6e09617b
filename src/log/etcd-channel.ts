/**
 * gRPC to one *member* of an etcd: one HTTP/2 request for each call, over a connection that the
 * caller dials (a socket on loopback, or a stream to another node).
 *
 * Measured against @grpc/grpc-js and against etcd's JSON gateway (docs/design): the least CPU and
 * the most appends, and no dependency.
 * Source: grpc's doc/PROTOCOL-HTTP2.md; status codes: grpc's doc/statuscodes.md.
 */
import * as http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import { asBuffer, concatBytes, errorMessage, HoldfastError, MiB } from '../base/index.ts';
import { type Clock, within } from '../env/index.ts';

/** Opens a connection to the client port of one member. */
export type DialEtcd = () => Promise<Duplex>;

const FRAME_HEAD_BYTES = 5;
/** Entries are read several at once; the default of 64 KiB would stall each answer. */
const WINDOW_BYTES = 8 * 1024 * 1024;
/** Of one message; the longest that we ask for are pages, of some entries or many rows. */
const MESSAGE_BYTES_MAX = 64 * MiB;
/** A member that cannot be dialed is passed over well within the deadline of a request. */
const DIAL_MS = 500;
/** So a request fails at most a tenth later than it should. */
const LOOKS_PER_DEADLINE = 10;

const OK = 0;
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const OUT_OF_RANGE = 11;
/** Of the server: it does not know the call. */
const UNIMPLEMENTED = 12;
/** What a member does without the others, too. */
const OF_ITSELF = /(Status|MemberList|Defragment)$/;
/** Refused before it was proposed to the members; other failures leave a doubt. */
const SURELY_NOTHING = new RegExp(
  'no leader|too many requests|not capable|learner|unhealthy cluster|' +
    'permission denied|user name is empty',
);

interface Deadline {
  readonly at: number;
  readonly reject: (error: unknown) => void;
}

/** Deadlines of many requests. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #underWay = new Set<Deadline>();
  #isLooking = false;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
  }

  /** `work` gets a promise that fails when its time is over. */
  async run<Result>(work: (late: Promise<never>) => Promise<Result>): Promise<Result> {
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(ignored); // it may fail when nobody waits any more
    const deadline = { at: this.#clock.monotonic() + this.#ms, reject };
    this.#underWay.add(deadline);
    if (!this.#isLooking) void this.#look();
    try {
      return await work(promise);
    } finally {
      this.#underWay.delete(deadline);
    }
  }

  /** One timer for all: one that is called off for each request costs as much as the request. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    while (this.#underWay.size > 0) {
      await this.#clock.sleep(this.#ms / LOOKS_PER_DEADLINE);
      for (const { at, reject } of this.#underWay) {
        const reason = `etcd did not answer within ${this.#ms} ms`;
        if (this.#clock.monotonic() >= at) reject(new HoldfastError('HF_TIMEOUT', reason));
      }
    }
    this.#isLooking = false;
  }
}

export class EtcdChannel {
  readonly #dial: DialEtcd;
  readonly #clock: Clock;
  #session: Promise<http2.ClientHttp2Session> | undefined;

  constructor(dial: DialEtcd, clock: Clock) {
    this.#dial = dial;
    this.#clock = clock;
  }

  /**
   * One attempt; a connection that failed is not used again.
   * @throws HF_UNAVAILABLE: surely nothing was done, another member may do it; HF_UNKNOWN_OUTCOME;
   *   a final refusal: HF_NOT_FOUND, HF_NO_SPACE, HF_UNSUPPORTED, HF_BUSY (in etcd's present
   *   state), HF_INTERNAL.
   */
  async call(path: string, message: Uint8Array, late: Promise<never>): Promise<Uint8Array> {
    let stream: http2.ClientHttp2Stream | undefined;
    try {
      const session = await Promise.race([this.#connected(), late]);
      stream = request(session, path);
      stream.end(frame(message));
      return await Promise.race([unaryAnswer(stream), late]);
    } catch (error) {
      throw this.#failure(error, stream !== undefined);
    } finally {
      stream?.close(http2.constants.NGHTTP2_CANCEL);
    }
  }

  #failure(error: unknown, wasSent: boolean): HoldfastError {
    if (error instanceof EtcdRefusal) return error.toError(); // the connection is well
    this.#drop();
    const code = wasSent ? 'HF_UNKNOWN_OUTCOME' : 'HF_UNAVAILABLE';
    return new HoldfastError(code, errorMessage(error), { cause: error });
  }

  /**
   * Reads messages until `isEnough` says so of one, or `signal` is aborted.
   * @throws when the stream ends before.
   */
  async follow(
    path: string,
    message: Uint8Array,
    until: { readonly isEnough: (message: Uint8Array) => boolean; readonly signal: AbortSignal },
  ): Promise<void> {
    const { isEnough, signal } = until;
    let stream: http2.ClientHttp2Stream | undefined;
    const stopped = Promise.withResolvers<undefined>();
    const stop = (): void => {
      stopped.resolve(undefined);
      stream?.close(http2.constants.NGHTTP2_CANCEL);
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      const session = await Promise.race([this.#connected(), stopped.promise]);
      if (!session || signal.aborted) return;
      stream = request(session, path);
      stream.write(frame(message));
      await messageThat(stream, isEnough);
    } catch (error) {
      if (!signal.aborted) throw this.#failure(error, true);
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  #connected(): Promise<http2.ClientHttp2Session> {
    if (!this.#session) {
      this.#session = this.#connect();
      this.#session.catch(ignored); // whoever waits for it is told
    }
    return this.#session;
  }

  async #connect(): Promise<http2.ClientHttp2Session> {
    const duplex = await this.#dialled();
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
    const promise = this.#session;
    session.once('close', () => {
      connected.reject(new Error('etcd closed the connection'));
      if (this.#session === promise) this.#session = undefined;
    });
    return await connected.promise;
  }

  async #dialled(): Promise<Duplex> {
    const dialling = this.#dial();
    const duplex = await within(this.#clock, dialling, DIAL_MS);
    if (duplex) return duplex;
    void dialling.then((tooLate) => tooLate.destroy(), ignored);
    throw new HoldfastError('HF_TIMEOUT', `etcd could not be reached within ${DIAL_MS} ms`);
  }

  #drop(): void {
    void this.#session?.then((session) => session.destroy(), ignored); // a dial may hang for long
    this.#session = undefined;
  }

  close(): void {
    this.#drop();
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
    ...(OF_ITSELF.test(path) ? {} : { hasleader: 'true' }),
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

/** The first message and what is left after it, once it is complete. @throws Error. */
function takeFrame(bytes: Buffer): { message: Buffer; rest: Buffer } | undefined {
  if (bytes.length < FRAME_HEAD_BYTES) return undefined;
  const end = FRAME_HEAD_BYTES + bytes.readUInt32BE(1);
  if (bytes[0] !== 0) throw new Error('etcd answered compressed, which nobody asked for');
  if (end > MESSAGE_BYTES_MAX) throw new Error(`etcd announced a message of ${end} bytes`);
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

  toError(): HoldfastError {
    return new HoldfastError(this.#code, this.message, { cause: this });
  }

  get #code() {
    // Not in its present state: neither it nor another member would do it now.
    if (this.#status === FAILED_PRECONDITION) return 'HF_BUSY';
    if (SURELY_NOTHING.test(this.message)) return 'HF_UNAVAILABLE';
    if (this.#status === OUT_OF_RANGE || this.#status === NOT_FOUND) return 'HF_NOT_FOUND';
    if (this.#status === RESOURCE_EXHAUSTED) return 'HF_NO_SPACE';
    if (this.#status === INVALID_ARGUMENT) return 'HF_INTERNAL';
    return this.#status === UNIMPLEMENTED ? 'HF_UNSUPPORTED' : 'HF_UNKNOWN_OUTCOME';
  }
}

/** @throws EtcdRefusal, or an Error when the stream ended without a status. */
function unaryAnswer(stream: http2.ClientHttp2Stream): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let status: http2.IncomingHttpHeaders = {};
    let failure: Error | undefined;
    const note = (headers: http2.IncomingHttpHeaders): void => {
      if (headers['grpc-status'] !== undefined) status = headers;
    };
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MESSAGE_BYTES_MAX) reject(new Error('etcd answers without end'));
      else chunks.push(chunk);
    });
    stream.on('error', (error) => (failure = error)); // 'close' follows
    stream.on('response', note); // a refusal has its trailers there
    stream.on('trailers', note);
    stream.once('close', () => {
      try {
        resolve(messageIn(status, chunks));
      } catch (error) {
        reject(error instanceof EtcdRefusal ? error : (failure ?? error));
      }
    });
  });
}

/** @throws as unaryAnswer. */
function messageIn(status: http2.IncomingHttpHeaders, chunks: readonly Buffer[]): Uint8Array {
  const code = Number(status['grpc-status']);
  if (!Number.isInteger(code)) throw new Error('etcd broke off');
  if (code !== OK) throw new EtcdRefusal(code, plain(String(status['grpc-message'] ?? '')));
  const framed = takeFrame(asBuffer(concatBytes(...chunks)));
  if (!framed) throw new Error('etcd sent half an answer');
  return framed.message;
}

/** Percent-encoded, by who may do it wrong. */
function plain(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Resolves with the first message that is enough; rejects when the stream ends before. */
function messageThat(
  stream: http2.ClientHttp2Stream,
  isEnough: (message: Uint8Array) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = [];
    let bytes = 0;
    let neededBytes = FRAME_HEAD_BYTES;
    const read = (): void => {
      let rest: Buffer = Buffer.concat(chunks);
      for (let next = takeFrame(rest); next; next = takeFrame(rest)) {
        rest = next.rest;
        if (isEnough(next.message)) resolve();
      }
      chunks = [rest];
      bytes = rest.length;
      const isBegun = bytes >= FRAME_HEAD_BYTES;
      neededBytes = FRAME_HEAD_BYTES + (isBegun ? rest.readUInt32BE(1) : 0);
    };
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes < neededBytes) return; // a long message is joined once, not with each piece of it
      try {
        read();
      } catch (error) {
        reject(error);
      }
    });
    stream.once('close', () => reject(new Error('etcd ended the stream')));
  });
}
