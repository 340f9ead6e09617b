/**
 * The one class of operating errors. Callers match `error.code`, never `instanceof` or the text:
 * two copies of a module may coexist, and errors cross process borders as `{code, message}`.
 */
import { ERROR_CODES, type ErrorCode, type Retry } from './error-codes.ts';

/** Facts that help to act on an error: ids, sizes, paths. Never secrets. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | undefined>>;

export interface HoldfastErrorOptions {
  readonly cause?: unknown;
  readonly details?: ErrorDetails;
}

export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  /** @param message one line that says what happened and, where it helps, what to do. */
  constructor(code: ErrorCode, message?: string, options: HoldfastErrorOptions = {}) {
    super(message ?? ERROR_CODES[code].message, { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  get retry(): Retry {
    return ERROR_CODES[this.code].retry;
  }
}

/** The code of an error of ours, else `undefined`. */
export function errorCode(error: unknown): ErrorCode | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code)
    ? (code as ErrorCode)
    : undefined;
}

/**
 * For failures that may be: of a store that is going, of a peer that is not there. Whatever has no
 * code is a bug of ours, and goes on.
 */
export function unlessBug(error: unknown): undefined {
  if (errorCode(error) === undefined) throw error;
}

/** One line about any thrown value. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * The reason for aborting what nobody waits for any more, such as the timer of work that was done
 * in time. Made once: abort() without a reason makes an error each time, which takes longer.
 */
export const NOT_NEEDED: HoldfastError = new HoldfastError(
  'HF_INTERRUPTED',
  'nobody waits for it any more',
);
