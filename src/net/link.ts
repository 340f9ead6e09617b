/**
 * A *link*: one connection to a peer, with what both ends said of themselves. It carries nothing
 * but the hello until both ends have judged each other; the end that answers the hello is ready
 * when it answers, the other one when it has read the answer.
 */
import { bytesEqual, HoldfastError, LIMITS, type NodeId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { IncomingRequest } from './exchange.ts';
import {
  blankHello,
  HELLO_METHOD,
  helloMessage,
  helloReplyMessage,
  readHello,
  readHelloReply,
} from './hello.ts';
import { Mux } from './mux.ts';
import type { Admission, Hello, Purpose, SecureDuplex } from './types.ts';

/** What links need of the node that they belong to. */
export interface LinkOwner {
  readonly env: Env;
  readonly self: NodeId;
  readonly admission: Admission;
  hello(purpose: Purpose): Hello;
  serve(link: Link, request: IncomingRequest): unknown;
  /** Both ends agree. */
  onReady(link: Link): void;
}

export class Link {
  readonly remote: NodeId;
  readonly mux: Mux;
  readonly bornAtMs: number;
  /** The end that dialled; decides between two links (see Peer). */
  readonly dialedBy: NodeId;
  lastUsedMs: number;
  readonly #owner: LinkOwner;
  readonly #ready = Promise.withResolvers<void>();
  #hello: Hello | undefined;
  #verdict: 'member' | 'stranger' | undefined;
  #hasHeardHello = false;
  #retiredAtMs: number | undefined;

  constructor(owner: LinkOwner, { duplex, remote }: SecureDuplex, isDialer: boolean) {
    this.#owner = owner;
    this.remote = remote;
    this.dialedBy = isDialer ? owner.self : remote;
    this.bornAtMs = owner.env.clock.monotonic();
    this.lastUsedMs = this.bornAtMs;
    const serve = (request: IncomingRequest): unknown => this.#serve(request);
    this.mux = new Mux({ env: owner.env, duplex, isDialer, serve });
    this.#ready.promise.catch(() => {}); // most have nobody waiting
    void this.mux.closed.then((reason) => this.#ready.reject(reason));
  }

  get isReady(): boolean {
    return this.#verdict !== undefined;
  }

  get isDialer(): boolean {
    return this.dialedBy === this.#owner.self;
  }

  /** What the other end is to this one. Only when ready. */
  get verdict(): 'member' | 'stranger' {
    return this.#verdict ?? 'stranger';
  }

  /** What the other end said of itself. Only when ready. */
  get hello(): Hello {
    return this.#hello ?? blankHello('control');
  }

  get purpose(): Purpose {
    return this.hello.purpose;
  }

  /** Whether the other end has been started anew between the two. A stranger is not told. */
  isOfAnotherLife(other: Link): boolean {
    const [a, b] = [this.hello.instance, other.hello.instance];
    return a.some((byte) => byte !== 0) && b.some((byte) => byte !== 0) && !bytesEqual(a, b);
  }

  get isIdle(): boolean {
    return this.mux.exchangeCount === 0;
  }

  /** Makes no more requests here; see Mux.retire. */
  retire(): void {
    this.#retiredAtMs ??= this.#owner.env.clock.monotonic();
    this.mux.retire();
  }

  /** @param isAwaited as of Mux.tick. */
  tick(nowMs: number, isAwaited: boolean): void {
    this.mux.tick(isAwaited);
    const isLate = !this.isReady && nowMs - this.bornAtMs > LIMITS.handshakeMsMax;
    if (isLate) {
      this.#owner.env.metrics.add('net_refused', 1, { why: 'late' });
      this.mux.close('no agreement in time');
    }
    // The other end should have agreed to close by now.
    const retiredMs = nowMs - (this.#retiredAtMs ?? nowMs);
    if (retiredMs > LIMITS.handshakeMsMax && this.isIdle) this.mux.close('retired');
  }

  /** The dialling end's part. @throws HF_DENIED when either end refuses the other. */
  async greet(purpose: Purpose, deadlineMs: number): Promise<void> {
    const message = helloMessage(this.#owner.hello(purpose));
    try {
      const reply = readHelloReply(await this.mux.call(HELLO_METHOD, message, { deadlineMs }));
      this.#admit({ ...reply.hello, purpose });
    } catch (error) {
      this.mux.close('no agreement');
      throw error;
    }
  }

  /** Asks again whether this peer may talk, since what admits it has changed. */
  judgeAgain(): void {
    if (!this.isReady) return;
    const verdict = this.#owner.admission.judge(this.remote, this.hello);
    if (typeof verdict === 'object') this.mux.close(`no longer admitted: ${verdict.refused}`);
    else this.#verdict = verdict;
  }

  #serve(request: IncomingRequest): unknown {
    if (request.method === HELLO_METHOD) return this.#onHello(request.arg);
    this.lastUsedMs = this.#owner.env.clock.monotonic();
    if (this.isReady) return this.#owner.serve(this, request);
    if (this.isDialer) {
      // The answer to our hello came just before, and is about to be read.
      return this.#ready.promise.then(() => this.#owner.serve(this, request));
    }
    throw new HoldfastError('HF_DENIED', 'say hello first');
  }

  #onHello(message: unknown): unknown {
    if (this.isDialer || this.#hasHeardHello) {
      throw new HoldfastError('HF_BAD_ARGUMENT', 'a hello comes once, from the end that dials');
    }
    this.#hasHeardHello = true;
    const hello = readHello(message);
    this.#admit(hello);
    const isMember = this.#verdict === 'member';
    return helloReplyMessage({
      youAre: this.verdict,
      hello: isMember ? this.#owner.hello(hello.purpose) : blankHello(hello.purpose),
    });
  }

  #admit(hello: Hello): void {
    const verdict = this.#owner.admission.judge(this.remote, hello);
    if (typeof verdict === 'object') {
      this.#owner.env.metrics.add('net_refused', 1, { why: 'admission' });
      throw new HoldfastError('HF_DENIED', 'not admitted');
    }
    this.#hello = hello;
    this.#verdict = verdict;
    this.#ready.resolve();
    this.#owner.onReady(this);
  }
}
