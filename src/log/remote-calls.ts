/**
 * Calls to a part of the metadata plane that lives on another node: bytes go, bytes come. A *read*
 * that got no answer is asked once more. A *change* that got none may have been made or not:
 * HF_UNKNOWN_OUTCOME, unless the node could not even be reached.
 *
 * An answer too long for a message is asked for once more, with a stream; so only reads may have
 * long answers.
 */
import type { Duplex } from 'node:stream';
import {
  asBuffer,
  concatBytes,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  MiB,
  type NodeId,
} from '../base/index.ts';
import type { Network } from '../net/index.ts';

/** Leaves room in a message for what is around it. */
const INLINE_BYTES_MAX = MiB / 2;

const PROBE = 'probe';

export interface RemoteCallsOptions {
  readonly network: Pick<Network, 'call' | 'open' | 'links'>;
  readonly node: NodeId;
  /** What is called there: its methods begin with it. */
  readonly service: string;
}

export class RemoteCalls {
  readonly #options: RemoteCallsOptions;
  #isClosed = false;

  constructor(options: RemoteCallsOptions) {
    this.#options = options;
  }

  /** @throws HF_UNAVAILABLE when no answer came twice; what the other end threw. */
  async read(method: string, arg: Uint8Array): Promise<Uint8Array> {
    this.#check();
    try {
      return await this.#ask(method, arg);
    } catch (error) {
      if (!isSilence(error)) throw error;
    }
    try {
      return await this.#ask(method, arg);
    } catch (error) {
      if (!isSilence(error)) throw error;
      throw this.#noAnswer('HF_UNAVAILABLE', error);
    }
  }

  /**
   * @throws HF_UNKNOWN_OUTCOME; HF_UNAVAILABLE when nothing was changed; what the other end threw.
   */
  async change(method: string, arg: Uint8Array): Promise<Uint8Array> {
    this.#check();
    await this.#reach();
    try {
      return inline(await this.#call(method, arg));
    } catch (error) {
      if (!isSilence(error)) throw error;
      throw this.#noAnswer('HF_UNKNOWN_OUTCOME', error);
    }
  }

  close(): void {
    this.#isClosed = true;
  }

  #check(): void {
    const { service } = this.#options;
    if (this.#isClosed) throw new HoldfastError('HF_CLOSED', `the ${service} has been closed here`);
  }

  /** So that a node that is plainly not there leaves no doubt. */
  async #reach(): Promise<void> {
    const { network, node } = this.#options;
    if (network.links().some((link) => link.node === node)) return;
    await this.read(PROBE, new Uint8Array());
  }

  async #ask(method: string, arg: Uint8Array): Promise<Uint8Array> {
    const { network, node, service } = this.#options;
    const call = { node, method: `${service}/${method}`, arg, deadlineMs: LIMITS.remoteCallMs };
    return await callForBytes(network, call);
  }

  async #call(method: string, arg: Uint8Array): Promise<unknown> {
    const { network, node, service } = this.#options;
    const options = { deadlineMs: LIMITS.remoteCallMs };
    return await network.call(node, `${service}/${method}`, arg, options);
  }

  #noAnswer(code: 'HF_UNAVAILABLE' | 'HF_UNKNOWN_OUTCOME', cause: unknown): HoldfastError {
    const { service, node } = this.#options;
    return new HoldfastError(code, `${service} on ${node}: ${errorMessage(cause)}`, { cause });
  }
}

export interface BytesCall {
  readonly node: NodeId;
  /** With its service. */
  readonly method: string;
  readonly arg: Uint8Array;
  readonly deadlineMs: number;
}

/** Asks once, and once more with a stream for a long answer. Errors as of `Network.call`. */
export async function callForBytes(
  network: Pick<Network, 'call' | 'open'>,
  { node, method, arg, deadlineMs }: BytesCall,
): Promise<Uint8Array> {
  const answer = await network.call<unknown>(node, method, arg, { deadlineMs });
  if (typeof answer !== 'number') return inline(answer);
  const { stream, reply } = await network.open(node, method, arg, { deadlineMs });
  stream.end();
  const [read, answered] = await Promise.allSettled([readAll(stream), reply]);
  if (answered.status === 'rejected') throw answered.reason;
  if (read.status === 'rejected') throw read.reason;
  if (read.value.length !== answered.value) throw nonsense('it is cut short');
  return read.value;
}

/** Method → what it answers. */
export type CallHandlers = Readonly<
  Record<string, (arg: Uint8Array, from: NodeId) => Uint8Array | Promise<Uint8Array>>
>;

/** Answers calls of one service. What `handler` gets is unchecked. */
export function answerCalls(
  network: Pick<Network, 'handle'>,
  service: string,
  handlers: CallHandlers,
): void {
  const all: CallHandlers = { [PROBE]: () => new Uint8Array(), ...handlers };
  for (const [method, handler] of Object.entries(all)) {
    network.handle<unknown>(`${service}/${method}`, {}, async (arg, { from, stream }) => {
      if (!(arg instanceof Uint8Array)) throw new HoldfastError('HF_BAD_ARGUMENT', 'no bytes came');
      const answer = await handler(arg, from);
      if (stream) return sendAll(stream, answer);
      return answer.length <= INLINE_BYTES_MAX ? answer : answer.length;
    });
  }
}

function sendAll(stream: Duplex, answer: Uint8Array): number {
  if (answer.length > LIMITS.metadataAnswerBytesMax) {
    throw new HoldfastError('HF_TOO_LARGE', `an answer of ${answer.length} bytes`);
  }
  stream.resume();
  stream.end(asBuffer(answer));
  return answer.length;
}

async function readAll(stream: Duplex): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of stream as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > LIMITS.metadataAnswerBytesMax) throw nonsense('it has no end');
    parts.push(part);
  }
  return concatBytes(...parts);
}

function inline(answer: unknown): Uint8Array {
  if (answer instanceof Uint8Array) return answer;
  throw nonsense('it is not bytes');
}

function nonsense(reason: string): HoldfastError {
  return new HoldfastError('HF_UNAVAILABLE', `the other node answered nonsense: ${reason}`);
}

/** Nobody said how it went. */
function isSilence(error: unknown): boolean {
  const code = errorCode(error);
  const codes = ['HF_UNAVAILABLE', 'HF_TIMEOUT', 'HF_INTERRUPTED', 'HF_CLOSED'];
  return code !== undefined && codes.includes(code);
}
