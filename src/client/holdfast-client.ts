/**
 * The library that talks to a running node. Errors are those of the node, with their codes; an
 * answer that breaks off is an error as well, never a short success.
 */
import type { IncomingMessage } from 'node:http';
import {
  type ContentGetInput,
  type ContentPutInput,
  type ControlAnswers,
  type ControlInput,
  type ControlMethod,
  ERROR_TRAILER,
  type ErrorView,
  OBJECT_HEADER,
  type ObjectView,
  type ProgressView,
  type PutAnswer,
} from '../api/index.ts';
import { errorCode, HoldfastError } from '../base/index.ts';
import type { ConnectOptions, NodeAddress } from './address.ts';
import { Connections } from './exchange.ts';
import { answeredError, badAnswer, interrupted } from './failures.ts';
import { jsonLines } from './lines.ts';
import { sendContent } from './send-content.ts';

type Item<Method extends ControlMethod> = ControlAnswers[Method] extends { item: infer Each }
  ? Each
  : never;

export interface CallOptions<Method extends ControlMethod> {
  readonly onProgress?: ((progress: ProgressView) => void) | undefined;
  /** Called for each of many, in order; the next one waits until it resolves. */
  readonly onItem?: (item: Item<Method>) => void | Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

export interface PutOptions extends ContentPutInput {
  readonly signal?: AbortSignal | undefined;
}

export interface GetOptions extends ContentGetInput {
  readonly signal?: AbortSignal | undefined;
}

export interface GetAnswer {
  readonly object: ObjectView;
  /** The arrays are the caller's. To be read to the end, or left with `break` or the signal. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** Disposing closes the idle connections. */
export interface HoldfastClient extends Disposable {
  /**
   * Calls a method of the node.
   * @throws HF_NOT_RUNNING, HF_UNKNOWN_OUTCOME when the node goes away, HF_INTERRUPTED, and what
   *   the method throws.
   */
  call<Method extends ControlMethod>(
    method: Method,
    input: ControlInput<Method>,
    options?: CallOptions<Method>,
  ): Promise<ControlAnswers[Method]['result']>;

  /**
   * Stores content. An array that `content` yields is read until the next one is asked for.
   * @throws as {@link call}; what `content` throws. Then nothing is stored.
   */
  put(content: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<PutAnswer>;

  /**
   * Stores a file that this process holds open, without sending it.
   * @returns `undefined` when the node cannot open it: {@link put} its content then.
   * @throws as {@link call}.
   */
  putFile(
    descriptor: number,
    options?: PutOptions & Pick<CallOptions<'content.store'>, 'onProgress'>,
  ): Promise<PutAnswer | undefined>;

  /**
   * Has the node write content to a file that this process holds open for reading and writing,
   * from its beginning.
   * @returns `undefined` when the node cannot open it: {@link get} the content then.
   * @throws as {@link call}.
   */
  getFile(
    descriptor: number,
    options: GetOptions & Pick<CallOptions<'content.fetch'>, 'onProgress'>,
  ): Promise<ObjectView | undefined>;

  /** @throws as {@link call}; while reading also HF_IO when the content breaks off. */
  get(options: GetOptions): Promise<GetAnswer>;
}

/** A client of the node that listens there; it connects when it is used. */
export function connect(address: NodeAddress, options: ConnectOptions = {}): HoldfastClient {
  return new HttpClient(address, options);
}

class HttpClient implements HoldfastClient {
  readonly #connections: Connections;

  constructor(address: NodeAddress, options: ConnectOptions) {
    this.#connections = new Connections(address, options);
  }

  async call<Method extends ControlMethod>(
    method: Method,
    input: ControlInput<Method>,
    { onProgress, onItem, signal }: CallOptions<Method> = {},
  ): Promise<ControlAnswers[Method]['result']> {
    const path = `/v1/call/${method}`;
    const { request, answer } = this.#connections.start({ method: 'POST', path, signal });
    request.end(JSON.stringify(input));
    const response = await answer;
    let last: CallLine<Method> = {};
    for await (const line of jsonLines(bodyOf(response, signal))) {
      last = line as CallLine<Method>;
      if (last.progress) onProgress?.(last.progress);
      if (last.item !== undefined) await onItem?.(last.item);
    }
    if (last.error) throw answeredError(last.error);
    if (last.result === undefined) throw badAnswer('has no end');
    return last.result;
  }

  async put(content: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<PutAnswer> {
    const { signal, ...query } = options;
    const path = contentPath(query);
    const exchange = this.#connections.start({ method: 'PUT', path, signal });
    const isSent = await sendContent(exchange, content, signal);
    const answer = await jsonOf(await exchange.answer, signal);
    // An answer before the end of the content is a refusal; the rest of it is not sent.
    if (!isSent) exchange.request.destroy();
    if (hasError(answer)) throw answeredError(answer.error);
    if (!isSent) throw badAnswer('came before the end of the content');
    return answer as PutAnswer;
  }

  async get({ signal, ...query }: GetOptions): Promise<GetAnswer> {
    const path = contentPath(query);
    const { request, answer } = this.#connections.start({ method: 'GET', path, signal });
    request.end();
    const response = await answer;
    const header = response.headers[OBJECT_HEADER];
    if (typeof header !== 'string') {
      const body = await jsonOf(response, signal);
      throw hasError(body) ? answeredError(body.error) : badAnswer('names no object');
    }
    const object = JSON.parse(decodeURIComponent(header)) as ObjectView;
    const rest = object.sizeBytes - (query.offset ?? 0);
    const expectedBytes = Math.min(query.lengthBytes ?? rest, rest);
    return { object, bytes: contentOf(response, { expectedBytes, signal }) };
  }

  async putFile(
    descriptor: number,
    { signal, onProgress, ...request }: Parameters<HoldfastClient['putFile']>[1] = {},
  ): Promise<PutAnswer | undefined> {
    const input = { ...request, descriptor: nameOf(descriptor) };
    return await unlessUnsupported(this.call('content.store', input, { signal, onProgress }));
  }

  async getFile(
    descriptor: number,
    { signal, onProgress, ...request }: Parameters<HoldfastClient['getFile']>[1],
  ): Promise<ObjectView | undefined> {
    const input = { ...request, descriptor: nameOf(descriptor) };
    return await unlessUnsupported(this.call('content.fetch', input, { signal, onProgress }));
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }
}

/** One line of the answer to a call: one of these is set. */
interface CallLine<Method extends ControlMethod> {
  readonly progress?: ProgressView;
  readonly item?: Item<Method>;
  readonly result?: ControlAnswers[Method]['result'];
  readonly error?: ErrorView;
}

/** What the kernel calls a descriptor of this process. */
function nameOf(descriptor: number): string {
  return `/proc/${process.pid}/fd/${descriptor}`;
}

async function unlessUnsupported<Answer>(answer: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (errorCode(error) === 'HF_UNSUPPORTED') return undefined;
    throw error;
  }
}

function hasError(answer: unknown): answer is { readonly error: ErrorView } {
  return typeof answer === 'object' && answer !== null && 'error' in answer;
}

/** @throws HF_BAD_ARGUMENT for what a query cannot carry: bytes of a name that are no UTF-8. */
function contentPath(query: ContentPutInput | ContentGetInput): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    const text = String(value);
    if (!text.isWellFormed()) {
      throw new HoldfastError(
        'HF_BAD_ARGUMENT',
        `the ${name} is no UTF-8; name the file by its id`,
      );
    }
    search.set(name, text);
  }
  return `/v1/content?${search.toString()}`;
}

async function* contentOf(
  response: IncomingMessage,
  { expectedBytes, signal }: { expectedBytes: number; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  let lengthBytes = 0;
  for await (const piece of bodyOf(response, signal)) {
    lengthBytes += piece.length;
    yield piece;
  }
  const trailer = response.trailers[ERROR_TRAILER];
  if (trailer) throw answeredError(JSON.parse(decodeURIComponent(trailer)) as ErrorView);
  if (lengthBytes !== expectedBytes) {
    throw badAnswer(`broke off after ${lengthBytes} of ${expectedBytes} bytes`);
  }
}

/** The body, to be read to its end: only then the connection serves again. */
async function* bodyOf(
  response: IncomingMessage,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    yield* response as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw signal?.aborted ? interrupted(signal.reason) : badAnswer('broke off', error);
  }
}

async function jsonOf(
  response: IncomingMessage,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  let last: unknown;
  for await (const value of jsonLines(bodyOf(response, signal))) last = value;
  if (last === undefined) throw badAnswer('is empty');
  return last;
}
