/** What is inside the messages of a Mux; input of the other end, so everything is checked. */
import { type ErrorCode, errorCode, errorMessage, HoldfastError, LIMITS } from '../base/index.ts';
import type { Log } from '../env/index.ts';

const METHOD_CHARS_MAX = 64;

export interface RequestEnvelope {
  readonly method: string;
  readonly arg: unknown;
  readonly withStream: boolean;
  readonly deadlineMs: number;
}

/** @throws HF_CORRUPT; then the other end does not speak our language. */
export function readRequest(message: unknown): RequestEnvelope {
  const [method, arg, withStream, deadlineMs] = listOf(message, 4);
  const isSound =
    typeof method === 'string' &&
    method.length <= METHOD_CHARS_MAX &&
    typeof withStream === 'boolean' &&
    typeof deadlineMs === 'number' &&
    deadlineMs >= 1;
  if (!isSound) throw new HoldfastError('HF_CORRUPT', 'a request is not well formed');
  const boundedMs = Math.min(deadlineMs, LIMITS.callDeadlineMsMax);
  return { method, arg, withStream, deadlineMs: boundedMs };
}

/** What travels back when a handler failed. */
export function errorAnswer(error: unknown, log: Log): [ErrorCode, string] {
  const code = errorCode(error) ?? 'HF_INTERNAL';
  // What went wrong inside is for our log, not for others.
  if (code === 'HF_INTERNAL') log.error('a handler of the network failed', { error });
  const text = code === 'HF_INTERNAL' ? 'the other node failed' : errorMessage(error);
  return [code, text.slice(0, 1000)];
}

/** The error that a handler at the other end failed with. @throws HF_CORRUPT */
export function readError(message: unknown): HoldfastError {
  const [code, text] = listOf(message, 2);
  if (typeof code !== 'string' || typeof text !== 'string') {
    throw new HoldfastError('HF_CORRUPT', 'an error is not well formed');
  }
  // A newer node may know codes that this one does not.
  return new HoldfastError(errorCode({ code }) ?? 'HF_INTERNAL', text);
}

function listOf(message: unknown, count: number): unknown[] {
  if (Array.isArray(message) && message.length === count) return message;
  throw new HoldfastError('HF_CORRUPT', 'a message has not the parts it should have');
}
