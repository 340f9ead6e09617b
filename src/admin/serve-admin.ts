/**
 * The server of the control interface: HTTP on a Unix socket that only its owner may use.
 *
 * Closing: no new connections; requests under way have some seconds to end; then their connections
 * are cut, which aborts their signals, and what they started is waited for.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { CONTROL_METHODS, type ControlMethod } from '../api/index.ts';
import {
  AssertionError,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  MiB,
} from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { AdminParts } from './admin-parts.ts';
import { errorView, LineAnswer, sendJson, statusOf } from './answer.ts';
import { checked } from './checked.ts';
import { getContent, putContent } from './content.ts';
import { type CallContext, HANDLERS, type SendItem } from './handlers.ts';
import { listenOnSocket } from './socket-file.ts';

/** Bytes that a connection buffers each way. */
const BUFFER_BYTES = MiB;
/** How long a connection without requests stays; clients keep theirs for the next request. */
const IDLE_MS = 60_000;
/** What requests under way get when the node stops, and again what cut ones get to settle. */
const CLOSE_GRACE_MS = 4_000;

const CALL_PATH = '/v1/call/';
const CONTENT_PATH = '/v1/content';

export interface AdminOptions {
  readonly parts: AdminParts;
  /** In a directory that only the node's user may enter. */
  readonly socketPath: string;
  readonly env: Env;
}

/** @throws HF_BUSY when another node answers on the socket; HF_EXISTS, HF_BAD_ARGUMENT, HF_IO. */
export async function serveAdmin(options: AdminOptions): Promise<AsyncDisposable> {
  const server = new AdminServer(options);
  await server.listen();
  return server;
}

class AdminServer implements AsyncDisposable {
  readonly #options: AdminOptions;
  readonly #http: http.Server;
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#http = http.createServer(
      // A body may take any time: content is as long as it is.
      { highWaterMark: BUFFER_BYTES, keepAliveTimeout: IDLE_MS, requestTimeout: 0 },
      (request, response) => this.#take(request, response),
    );
  }

  async listen(): Promise<void> {
    await listenOnSocket(this.#http, this.#options.socketPath);
    this.#http.on('error', (error) => {
      this.#options.env.log.error('control socket failed', { error });
    });
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const work = this.#serve(request, response).finally(() => {
      this.#underWay.delete(work);
      // A server that is closing has no use for a connection that has just become idle.
      response.once('close', () => !this.#http.listening && this.#http.closeIdleConnections());
    });
    this.#underWay.add(work);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort();
    });
    // Both end in 'close' as well, where it is dealt with.
    request.on('error', () => {});
    response.on('error', () => {});
    try {
      await this.#route({ request, response, signal: gone.signal });
    } catch (error) {
      this.#fail(error, response);
      // The rest of what is refused is read and dropped: the client is to read the answer.
      request.resume();
      // A node that finds itself wrong does not go on: the unhandled rejection ends the process.
      if (error instanceof AssertionError) throw error;
    }
  }

  async #route(exchange: Exchange): Promise<void> {
    const { request, response, signal } = exchange;
    const [pathname = '', search] = (request.url ?? '').split('?', 2);
    const query = new URLSearchParams(search);
    const { parts } = this.#options;
    if (request.method === 'POST' && pathname.startsWith(CALL_PATH)) {
      return await this.#call(pathname.slice(CALL_PATH.length), exchange);
    }
    if (pathname === CONTENT_PATH && request.method === 'PUT') {
      return await putContent({ parts, request, response, query, signal });
    }
    if (pathname === CONTENT_PATH && request.method === 'GET') {
      return await getContent({ parts, request, response, query, signal });
    }
    throw new HoldfastError('HF_NOT_FOUND', `there is no ${request.method} ${pathname}`);
  }

  async #call(method: string, { request, response, signal }: Exchange): Promise<void> {
    if (!isMethod(method)) throw new HoldfastError('HF_NOT_FOUND', `there is no method ${method}`);
    const input = checked(CONTROL_METHODS[method], await readJson(request));
    const { parts, env } = this.#options;
    const answer = new LineAnswer(response, env.clock);
    const context = {
      parts,
      signal,
      onProgress: (progress: Parameters<CallContext['onProgress']>[0]) => answer.progress(progress),
    };
    // The table gives each method its own type; here it is one of them.
    const handler = HANDLERS[method] as (
      input: unknown,
      context: CallContext,
      item: SendItem<ControlMethod>,
    ) => Promise<unknown>;
    answer.result(await handler(input, context, (item) => answer.item(item)));
  }

  #fail(error: unknown, response: ServerResponse): void {
    const view = errorView(error);
    if (errorCode(error) === undefined) {
      this.#options.env.log.error('a control request failed', { error: errorMessage(error) });
    }
    if (!response.headersSent) sendJson(response, statusOf(view), { error: view });
    else if (!response.writableEnded) new LineAnswer(response, this.#options.env.clock).fail(view);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    await this.#within(CLOSE_GRACE_MS, closed);
    this.#http.closeAllConnections();
    await closed;
    await this.#within(CLOSE_GRACE_MS, Promise.allSettled(this.#underWay));
  }

  /** Waits for `end`, but no longer than so. */
  async #within(ms: number, end: Promise<unknown>): Promise<void> {
    const ended = new AbortController();
    const { clock } = this.#options.env;
    const patience = clock.sleep(ms, { signal: ended.signal }).catch(() => {});
    await Promise.race([end, patience]);
    ended.abort();
  }
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly signal: AbortSignal;
}

function isMethod(name: string): name is ControlMethod {
  return Object.hasOwn(CONTROL_METHODS, name);
}

/** The body as JSON. @throws HF_TOO_LARGE, HF_BAD_ARGUMENT. */
async function readJson(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  let lengthBytes = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    lengthBytes += (piece as Buffer).length;
    if (lengthBytes > LIMITS.controlRequestBytesMax) {
      const message = `a request may have ${LIMITS.controlRequestBytesMax} bytes`;
      throw new HoldfastError('HF_TOO_LARGE', message);
    }
    pieces.push(piece as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch (error) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'the request is not JSON', { cause: error });
  }
}
