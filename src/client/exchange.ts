/**
 * One request and its answer over the socket or the address of a node. Connections are kept and
 * used again: many requests in flight need as many connections, made once.
 */
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import { MiB } from '../base/index.ts';
import { type ConnectOptions, type NodeAddress, targetOf } from './address.ts';
import { connectionError, interrupted } from './failures.ts';

/** Bytes that a connection buffers each way. */
const BUFFER_BYTES = MiB;
/** The view of an object travels in a header: a key of 1024 bytes, percent-encoded, and more. */
const HEADER_BYTES_MAX = 64 * 1024;

export interface RequestHead {
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly path: string;
  readonly signal: AbortSignal | undefined;
}

export interface Exchange {
  readonly request: ClientRequest;
  /** The head of the answer. @throws HF_NOT_RUNNING, HF_UNKNOWN_OUTCOME, HF_INTERRUPTED. */
  readonly answer: Promise<IncomingMessage>;
}

export class Connections implements Disposable {
  readonly #agent = new http.Agent({ keepAlive: true, scheduling: 'lifo' });
  readonly #address: NodeAddress;
  readonly #target: http.RequestOptions;

  constructor(address: NodeAddress, options: ConnectOptions) {
    this.#address = address;
    this.#target = targetOf(address, options);
  }

  start({ method, path, signal }: RequestHead): Exchange {
    const options = { highWaterMark: BUFFER_BYTES, maxHeaderSize: HEADER_BYTES_MAX };
    const request = http.request({
      ...this.#target,
      agent: this.#agent,
      method,
      path,
      ...options,
    });
    const abort = () => request.destroy();
    signal?.addEventListener('abort', abort);
    request.once('close', () => signal?.removeEventListener('abort', abort));
    if (signal?.aborted) abort();
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve);
      request.on('error', (error) =>
        reject(
          signal?.aborted ? interrupted(signal.reason) : connectionError(error, this.#address),
        ),
      );
    });
    // Whoever sends a body may learn of a failure first; then nobody asks for the answer.
    answer.catch(() => {});
    return { request, answer };
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
