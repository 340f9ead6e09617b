/**
 * The server of the control interface: HTTP on a Unix socket that only its owner may use, and, if
 * asked for, on a TCP address for those who show the token.
 *
 * Closing: no new connections; requests under way have some seconds to end; then their connections
 * are cut, which aborts their signals, and what they started is waited for.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CONTROL_METHODS, CONTROL_TOKEN, type ControlMethod } from '../api/index.ts';
import {
  AssertionError,
  errorCode,
  errorMessage,
  HoldfastError,
  LIMITS,
  MiB,
} from '../base/index.ts';
import { type Env, within } from '../env/index.ts';
import type { AdminParts } from './admin-parts.ts';
import { errorView, LineAnswer, sendJson, statusOf } from './answer.ts';
import { checked } from './checked.ts';
import { getContent, putContent } from './content.ts';
import type { CallContext, SendItem } from './handler.ts';
import { HANDLERS } from './handlers.ts';
import { listenOnSocket } from './socket-file.ts';
import { READING_METHODS, Strictness } from './strictness.ts';
import { addressText, listenOnAddress, showsToken, type TcpOptions } from './tcp-address.ts';

/** Bytes that a connection buffers each way. */
const BUFFER_BYTES = MiB;
/** How long a connection without requests stays; clients keep theirs for the next request. */
const IDLE_MS = 60_000;
/** What requests under way get when the node stops, and again what cut ones get to settle. */
const CLOSE_GRACE_MS = 4_000;

const CALL_PATH = '/v1/call/';
const CONTENT_PATH = '/v1/content';

/** They name a file by a descriptor, which means the same only on the machine of the caller. */
const DESCRIPTOR_METHODS: readonly ControlMethod[] = ['content.store', 'content.fetch'];

export interface AdminOptions {
  readonly parts: AdminParts;
  /** In a directory that only the node's user may enter. */
  readonly socketPath: string;
  readonly tcp?: TcpOptions | undefined;
  readonly env: Env;
}

export interface AdminService extends AsyncDisposable {
  /** Where it listens beside the socket, as IP:PORT. */
  readonly address: string | undefined;
}

/**
 * @throws HF_BUSY when another node answers on the socket, or another program has the port;
 *   HF_EXISTS, HF_BAD_ARGUMENT, HF_UNSUPPORTED, HF_DENIED, HF_IO.
 */
export async function serveAdmin(options: AdminOptions): Promise<AdminService> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(new AdminServer(options));
  await server.listen();
  stack.move();
  return server;
}

class AdminServer implements AdminService {
  readonly #options: AdminOptions;
  readonly #servers: http.Server[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #address: string | undefined;

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  get address(): string | undefined {
    return this.#address;
  }

  async listen(): Promise<void> {
    const { socketPath, tcp } = this.#options;
    if (tcp) {
      const server = this.#newServer('tcp');
      await listenOnAddress(server, tcp);
      const { port } = server.address() as AddressInfo;
      this.#address = addressText({ ...tcp, port });
    }
    // Last: who starts a node takes it for started when it answers there.
    await listenOnSocket(this.#newServer('socket'), socketPath);
    for (const server of this.#servers) {
      server.on('error', (error) => {
        this.#options.env.log.error('the control interface failed', { error });
      });
    }
  }

  #newServer(way: Way): http.Server {
    const server = http.createServer(
      // A body may take any time: content is as long as it is.
      { highWaterMark: BUFFER_BYTES, keepAliveTimeout: IDLE_MS, requestTimeout: 0 },
      (request, response) => {
        this.#take({ request, response, way });
        // A server that is closing has no use for a connection that has just become idle.
        response.once('close', () => !server.listening && server.closeIdleConnections());
      },
    );
    this.#servers.push(server);
    return server;
  }

  #take(arrival: Arrival): void {
    const work = this.#serve(arrival).finally(() => this.#underWay.delete(work));
    this.#underWay.add(work);
  }

  async #serve({ request, response, way }: Arrival): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort();
    });
    // Both end in 'close' as well, where it is dealt with.
    request.on('error', () => {});
    response.on('error', () => {});
    try {
      if (way === 'tcp') this.#admit(request);
      await this.#route({ request, response, way, signal: gone.signal });
    } catch (error) {
      this.#fail(error, response);
      // The rest of what is refused is read and dropped: the client is to read the answer.
      request.resume();
      // A node that finds itself wrong does not go on: the unhandled rejection ends the process.
      if (error instanceof AssertionError) throw error;
    }
  }

  /** @throws HF_DENIED to those who do not show the token. */
  #admit(request: IncomingMessage): void {
    if (showsToken(request, this.#options.tcp!.token)) return;
    const message = `show the token of this node: ${CONTROL_TOKEN} in its data directory`;
    throw new HoldfastError('HF_DENIED', message);
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

  async #call(method: string, { request, response, way, signal }: Exchange): Promise<void> {
    if (!isMethod(method)) throw new HoldfastError('HF_NOT_FOUND', `there is no method ${method}`);
    if (way === 'tcp' && DESCRIPTOR_METHODS.includes(method)) {
      throw new HoldfastError('HF_UNSUPPORTED', 'over TCP a descriptor may mean another file');
    }
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
    const ask = () => handler(input, context, (item) => answer.item(item));
    const isReading = READING_METHODS.includes(method);
    answer.result(await (isReading ? new Strictness(request, parts).keep(ask) : ask()));
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
    const { clock } = this.#options.env;
    const servers = this.#servers.filter(({ listening }) => listening);
    const closed = Promise.all(
      servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    );
    await within(clock, closed, CLOSE_GRACE_MS);
    for (const server of servers) server.closeAllConnections();
    await closed;
    await within(clock, Promise.allSettled(this.#underWay), CLOSE_GRACE_MS);
  }
}

/** How a request came. */
type Way = 'socket' | 'tcp';

interface Arrival {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly way: Way;
}

interface Exchange extends Arrival {
  /** Aborted when the client has gone. */
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
