/**
 * Kept answers of requests that may be asked again (ruling 19): one row for each lane of a session,
 * in the slot that the request is about, so that it moves with the slot.
 */
import {
  asBuffer,
  errorCode,
  type ErrorCode,
  errorMessage,
  fromHex,
  HoldfastError,
  isHexId,
  LIMITS,
} from '../../base/index.ts';
import { decodeValue, encodeValue } from '../remote/wire-value.ts';
import type { ExecuteOptions } from './executor.ts';
import type { Overlay } from './overlay.ts';
import { rowKey, rowsOfTag, valueReader, valueWriter } from './rows.ts';

const TAG = 'R';
/** Slot and tag stand before the session. */
const KEY_SESSION_AT = 3;
const SESSION_BYTES = 16;

/** An operation's result, or the error that it ended with. */
export type Outcome<Result> = { readonly result: Result } | { readonly error: unknown };

/**
 * Runs the operation unless its request was answered before, and keeps the answer.
 * @throws HF_FENCED when the lane has gone on to a later request.
 */
export function runOnce<Result, Kind extends Overlay>(
  rows: Kind,
  { retry, slot }: ExecuteOptions,
  operation: (rows: Kind) => Result,
): Outcome<Result> {
  if (!retry) return outcomeOf(rows, operation);
  if (slot === undefined) throw badTag('it comes with a slot');
  if (!isHexId(retry.session)) throw badTag('a session is 32 hexadecimal digits');
  if (retry.lane >= LIMITS.retryLanesMax) throw badTag(`lanes are below ${LIMITS.retryLanesMax}`);
  const lane = Uint8Array.of(retry.lane);
  const key = rowKey(slot, TAG, fromHex(retry.session), lane);
  const row = rows.get(key);
  const kept = row && decodeKept<Result>(row);
  if (kept?.sequence === retry.sequence) return kept.outcome;
  if (kept && kept.sequence > retry.sequence)
    throw new HoldfastError('HF_FENCED', 'an old request');
  const outcome = outcomeOf(rows, operation);
  // Whoever met a directory lease recalls it and asks again: that is no answer yet.
  if ('error' in outcome && errorCode(outcome.error) === 'HF_LEASED') return outcome;
  rows.put(key, encodeKept(retry.sequence, outcome));
  return outcome;
}

/** Deletes kept answers of sessions that are over, of some slots. */
export function forgetAnswers(
  rows: Overlay,
  { slots, sessions }: { slots: [number, number]; sessions: ReadonlySet<string> },
): void {
  for (const { key } of rowsOfTag(rows, TAG, { slots })) {
    const session = asBuffer(key).subarray(KEY_SESSION_AT, KEY_SESSION_AT + SESSION_BYTES);
    if (sessions.has(session.toString('hex'))) rows.delete(key);
  }
}

function outcomeOf<Result, Kind extends Overlay>(
  rows: Kind,
  operation: (rows: Kind) => Result,
): Outcome<Result> {
  try {
    return { result: operation(rows) };
  } catch (error) {
    if (errorCode(error) === undefined) throw error; // a detour, or a bug
    rows.clear();
    return { error };
  }
}

function encodeKept(sequence: number, outcome: Outcome<unknown>): Uint8Array {
  const writer = valueWriter(64).u64(sequence);
  if ('error' in outcome) {
    const { error } = outcome;
    return writer
      .u8(1)
      .text(errorCode(error) ?? '')
      .text(errorMessage(error))
      .finish();
  }
  const answer = encodeValue(outcome.result);
  if (answer.length > LIMITS.retryAnswerBytesMax) {
    throw new HoldfastError('HF_TOO_LARGE', `an answer of ${answer.length} bytes cannot be kept`);
  }
  return writer.u8(0).bytes(answer).finish();
}

function decodeKept<Result>(row: Uint8Array): { sequence: number; outcome: Outcome<Result> } {
  const reader = valueReader(row, 'kept answer');
  const sequence = reader.u64();
  if (reader.u8() === 1) {
    const error = new HoldfastError(reader.text() as ErrorCode, reader.text());
    return { sequence, outcome: { error } };
  }
  // It was encoded from a result of the same operation.
  return { sequence, outcome: { result: decodeValue(reader.bytes()) as Result } };
}

function badTag(reason: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', `a tag of a retried request: ${reason}`);
}
