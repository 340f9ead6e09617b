/** What can go wrong between a client and its node, as errors of ours. */
import path from 'node:path';
import type { ErrorView } from '../api/index.ts';
import { errorCode, errorMessage, HoldfastError } from '../base/index.ts';
import type { NodeAddress } from './address.ts';

/** A connection that failed before or while an answer came. */
export function connectionError(error: unknown, address: NodeAddress): HoldfastError {
  const { code = '' } = error as NodeJS.ErrnoException;
  const isSocket = 'socketPath' in address;
  const where = isSocket ? address.socketPath : `${address.host} port ${address.port}`;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED': {
      const message = isSocket
        ? `no node is running on ${path.dirname(where)}; start one with: holdfast up`
        : `no node listens on ${where}; start one with: holdfast up --listen IP:PORT`;
      return new HoldfastError('HF_NOT_RUNNING', message, { cause: error });
    }
    case 'ENOTFOUND':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EADDRNOTAVAIL':
      return new HoldfastError('HF_NOT_RUNNING', `${where} cannot be reached`, { cause: error });
    case 'EACCES':
    case 'EPERM':
      return new HoldfastError('HF_DENIED', `${where} belongs to another user`, { cause: error });
    case 'EINVAL':
    case 'ENAMETOOLONG':
      return new HoldfastError('HF_BAD_ARGUMENT', `${where} is too long for a socket`, {
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
