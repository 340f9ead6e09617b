/**
 * Errors as the kernel wants them: numbers. Ours have their errno in `base/error-codes.ts`, the one
 * table of all doors; here it becomes the number of this machine. Anything else that is thrown is a
 * fault of ours and shows as EIO.
 */
import { constants } from 'node:os';
import { assert, ERROR_CODES, errorCode } from '../base/index.ts';

/** Positive, below 1000: what the protocol can carry. */
export type Errno = number;

/** Those that the session says by itself, beside all of `ERROR_CODES`. */
export const ERRNO = {
  EINTR: errnoNamed('EINTR'),
  EIO: errnoNamed('EIO'),
  ENXIO: errnoNamed('ENXIO'),
  EAGAIN: errnoNamed('EAGAIN'),
  EINVAL: errnoNamed('EINVAL'),
  ENOENT: errnoNamed('ENOENT'),
  ERANGE: errnoNamed('ERANGE'),
  EDEADLK: errnoNamed('EDEADLK'),
  ENAMETOOLONG: errnoNamed('ENAMETOOLONG'),
  ENOSYS: errnoNamed('ENOSYS'),
  EPROTO: errnoNamed('EPROTO'),
  EFBIG: errnoNamed('EFBIG'),
  ETIMEDOUT: errnoNamed('ETIMEDOUT'),
  ESTALE: errnoNamed('ESTALE'),
} as const;

/** Thrown where the reply is to be this number; only inside the mount module. */
export class ErrnoError extends Error {
  override readonly name = 'ErrnoError';
  readonly errno: Errno;

  constructor(errno: keyof typeof ERRNO, message: string) {
    super(message);
    this.errno = ERRNO[errno];
  }
}

/** The number for a thrown value; `undefined` when it is a fault of ours. */
export function errnoOf(error: unknown): Errno | undefined {
  const code = errorCode(error);
  if (code !== undefined) return errnoNamed(ERROR_CODES[code].errno);
  return error instanceof ErrnoError ? error.errno : undefined;
}

function errnoNamed(name: string): Errno {
  const errno = (constants.errno as Readonly<Record<string, number>>)[name];
  assert(errno !== undefined, `${name} is an errno of this system`);
  return errno;
}
