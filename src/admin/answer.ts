/**
 * Bytes on their way to a client: every write waits until the socket has taken it, so a slow client
 * slows the work and nothing piles up. When the client has gone, the write fails and the work
 * stops.
 */
import type { ServerResponse } from 'node:http';
import type { ErrorView, ProgressView } from '../api/index.ts';
import { ERROR_CODES, errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import type { Clock } from '../env/index.ts';

const PROGRESS_EVERY_MS = 100;

/** Resolves when `bytes` are the caller's again. @throws HF_INTERRUPTED: the client has gone. */
export function write(response: ServerResponse, bytes: Uint8Array | string): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = () => reject(new HoldfastError('HF_INTERRUPTED', 'the client has gone'));
    if (response.destroyed) return gone();
    response.once('close', gone);
    response.write(bytes, (error) => {
      response.off('close', gone);
      if (error) gone();
      else resolve();
    });
  });
}

/** What a client may know of a failure. What has no code is a fault of ours. */
export function errorView(error: unknown): ErrorView {
  const message = errorMessage(error).replaceAll('\n', ' ');
  return { code: errorCode(error) ?? 'HF_INTERNAL', message };
}

/** The answer to a call: lines of JSON, whose last one is the result or the error. */
export class LineAnswer {
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  #progressAtMs = -Infinity;

  constructor(response: ServerResponse, clock: Clock) {
    this.#response = response;
    this.#clock = clock;
  }

  /** Sends some of what it is told: the last word and, before it, about ten a second. */
  progress(progress: ProgressView): void {
    const nowMs = this.#clock.monotonic();
    const isLast = progress.doneCount === progress.totalCount;
    if (!isLast && nowMs - this.#progressAtMs < PROGRESS_EVERY_MS) return;
    if (this.#response.destroyed || this.#response.writableNeedDrain) return;
    this.#progressAtMs = nowMs;
    this.#begin(200);
    this.#response.write(line({ progress }));
  }

  async item(item: unknown): Promise<void> {
    this.#begin(200);
    await write(this.#response, line({ item }));
  }

  result(result: unknown): void {
    this.#begin(200);
    this.#response.end(line({ result }));
  }

  /** The status says it too, when nothing has been sent before. */
  fail(error: ErrorView): void {
    this.#begin(statusOf(error));
    this.#response.end(line({ error }));
  }

  #begin(status: number): void {
    if (this.#response.headersSent) return;
    this.#response.writeHead(status, { 'content-type': 'application/x-ndjson' });
  }
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(line(value));
}

export function statusOf({ code }: ErrorView): number {
  return ERROR_CODES[errorCode({ code }) ?? 'HF_INTERNAL'].httpStatus;
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
