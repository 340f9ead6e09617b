/** What can go wrong between a client and its node, as errors of ours. */
import path from 'node:path';
import type { ErrorView } from '../api/index.ts';
import { errorCode, errorMessage, HoldfastError } from '../base/index.ts';

/** A connection that failed before or while an answer came. */
export function connectionError(error: unknown, socketPath: string): HoldfastError {
  const { code = '' } = error as NodeJS.ErrnoException;
  const dataPath = path.dirname(socketPath);
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return new HoldfastError(
        'HF_NOT_RUNNING',
        `no node is running on ${dataPath}; start one with: holdfast up`,
        { cause: error },
      );
    case 'EACCES':
    case 'EPERM':
      return new HoldfastError('HF_DENIED', `${socketPath} belongs to another user`, {
        cause: error,
      });
    case 'EINVAL':
    case 'ENAMETOOLONG':
      return new HoldfastError('HF_BAD_ARGUMENT', `${socketPath} is too long for a socket`, {
        cause: error,
      });
    default:
      return new HoldfastError(
        'HF_UNKNOWN_OUTCOME',
        `the node went away before it answered (${errorMessage(error)}); ` +
          'whether the request took effect is not known',
        { cause: error },
      );
  }
}

export function interrupted(cause: unknown): HoldfastError {
  return new HoldfastError('HF_INTERRUPTED', 'interrupted', { cause });
}

/** What the node says went wrong. A code that this version does not know stays in the message. */
export function answeredError(view: ErrorView): HoldfastError {
  const code = errorCode(view);
  if (code) return new HoldfastError(code, view.message);
  return new HoldfastError('HF_INTERNAL', `${view.code}: ${view.message}`);
}

/** An answer that is none of ours, or ends too early. */
export function badAnswer(what: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_IO', `the node's answer ${what}`, { cause });
}
