/**
 * The closed table of operating errors. One code, one meaning, on every interface: the four doors
 * (mount, S3, admin, command line) translate from this table and from nothing else.
 *
 * - `message` is the general sentence; the error that is thrown says the particular.
 * - `retry`: `never` (the same call fails again), `later` (it may work when something has changed),
 *   `elsewhere` (another holder may have what this one lacks).
 * - `errno` for the mount, `httpStatus` and `s3Code` for S3 and the control interface, `exitCode`
 *   for the command line.
 */

export type Retry = 'never' | 'later' | 'elsewhere';

export interface ErrorEntry {
  readonly message: string;
  readonly retry: Retry;
  readonly errno: string;
  readonly httpStatus: number;
  readonly s3Code: string;
  readonly exitCode: number;
}

function entry(
  message: string,
  retry: Retry,
  doors: readonly [errno: string, httpStatus: number, s3Code: string, exitCode: number],
): ErrorEntry {
  const [errno, httpStatus, s3Code, exitCode] = doors;
  return { message, retry, errno, httpStatus, s3Code, exitCode };
}

export const ERROR_CODES = {
  HF_BAD_ARGUMENT: entry('an argument is not valid', 'never', [
    'EINVAL',
    400,
    'InvalidArgument',
    2,
  ]),
  HF_BAD_SCHEME: entry('the scheme is not valid or does not fit the stores', 'never', [
    'EINVAL',
    400,
    'InvalidArgument',
    2,
  ]),
  HF_NOT_FOUND: entry('what was named does not exist', 'never', ['ENOENT', 404, 'NoSuchKey', 3]),
  HF_EXISTS: entry('what was to be made exists already', 'never', [
    'EEXIST',
    409,
    'OperationAborted',
    4,
  ]),
  HF_IS_DIRECTORY: entry('a directory stands where a file is needed', 'never', [
    'EISDIR',
    400,
    'InvalidArgument',
    2,
  ]),
  HF_NOT_DIRECTORY: entry('a file stands where a directory is needed', 'never', [
    'ENOTDIR',
    400,
    'InvalidArgument',
    2,
  ]),
  HF_NOT_EMPTY: entry('the directory is not empty', 'never', [
    'ENOTEMPTY',
    409,
    'OperationAborted',
    4,
  ]),
  HF_NO_DATA: entry('there is no such extended attribute', 'never', [
    'ENODATA',
    404,
    'InvalidArgument',
    3,
  ]),
  HF_TOO_MANY_LINKS: entry('a file cannot have more names', 'never', [
    'EMLINK',
    409,
    'OperationAborted',
    2,
  ]),
  HF_CROSS_TREE: entry('it cannot be moved across this border', 'never', [
    'EXDEV',
    409,
    'OperationAborted',
    2,
  ]),
  HF_LOOP: entry('symbolic links lead in a circle', 'never', ['ELOOP', 400, 'InvalidArgument', 2]),
  HF_QUOTA: entry('the quota of a directory is used up', 'later', [
    'EDQUOT',
    507,
    'QuotaExceeded',
    5,
  ]),
  HF_TOO_LARGE: entry('a limit is passed', 'never', ['EFBIG', 413, 'EntityTooLarge', 2]),
  HF_NO_SPACE: entry('the stores are full', 'later', ['ENOSPC', 507, 'SlowDown', 5]),
  HF_NO_MEMORY: entry('the index of the store needs more memory than it may take', 'never', [
    'ENOMEM',
    507,
    'SlowDown',
    5,
  ]),
  HF_TOO_FEW_SHARDS: entry('fewer shards than the scheme needs are left', 'later', [
    'EIO',
    503,
    'ServiceUnavailable',
    6,
  ]),
  HF_TOO_FEW_STORES: entry('fewer stores are alive than the scheme needs', 'later', [
    'EIO',
    503,
    'ServiceUnavailable',
    6,
  ]),
  HF_CORRUPT: entry('stored bytes do not match their checksum', 'elsewhere', [
    'EIO',
    500,
    'InternalError',
    7,
  ]),
  HF_FORGED: entry('sealed bytes do not match their key', 'elsewhere', [
    'EIO',
    500,
    'InternalError',
    7,
  ]),
  HF_IO: entry('a device or file could not be read or written', 'elsewhere', [
    'EIO',
    500,
    'InternalError',
    7,
  ]),
  HF_DEVICE_FAILED: entry('the device has stopped after a failure', 'elsewhere', [
    'EIO',
    503,
    'ServiceUnavailable',
    7,
  ]),
  HF_NOT_OURS: entry('the folder or device does not hold what Holdfast wrote', 'never', [
    'EINVAL',
    409,
    'OperationAborted',
    8,
  ]),
  HF_BUSY: entry('another process holds it', 'later', ['EBUSY', 409, 'OperationAborted', 8]),
  HF_WRONG_KEY: entry('the key does not fit', 'never', ['EACCES', 403, 'AccessDenied', 9]),
  HF_DENIED: entry('the operation is not permitted', 'never', ['EPERM', 403, 'AccessDenied', 9]),
  HF_WORM: entry('the volume keeps what is stored in it', 'never', [
    'EPERM',
    403,
    'AccessDenied',
    11,
  ]),
  HF_NOT_RUNNING: entry('no node is running here', 'later', [
    'ECONNREFUSED',
    503,
    'ServiceUnavailable',
    10,
  ]),
  HF_UNAVAILABLE: entry('the service cannot answer now', 'later', [
    'EAGAIN',
    503,
    'ServiceUnavailable',
    6,
  ]),
  HF_CLOSED: entry('it has been closed', 'later', ['ENOTCONN', 503, 'ServiceUnavailable', 10]),
  HF_FENCED: entry('a newer holder has taken over', 'elsewhere', [
    'ESTALE',
    503,
    'ServiceUnavailable',
    6,
  ]),
  HF_SESSION_OVER: entry('the session is over', 'never', ['ESTALE', 503, 'ServiceUnavailable', 6]),
  HF_LEASED: entry('a mount holds the directory', 'later', [
    'EAGAIN',
    503,
    'ServiceUnavailable',
    6,
  ]),
  HF_MOVED: entry('another cell has this now', 'elsewhere', [
    'EAGAIN',
    503,
    'ServiceUnavailable',
    6,
  ]),
  HF_NOT_STEWARD: entry('another node is the steward of this', 'elsewhere', [
    'EAGAIN',
    503,
    'ServiceUnavailable',
    6,
  ]),
  HF_UNKNOWN_OUTCOME: entry('whether it took effect is not known', 'later', [
    'EIO',
    503,
    'ServiceUnavailable',
    6,
  ]),
  HF_OLD_EPOCH: entry('the topology epoch is out of date', 'elsewhere', [
    'ESTALE',
    503,
    'ServiceUnavailable',
    6,
  ]),
  HF_INTERRUPTED: entry('the caller gave up', 'later', ['EINTR', 499, 'RequestTimeout', 130]),
  HF_TIMEOUT: entry('no answer came in time', 'later', ['ETIMEDOUT', 504, 'RequestTimeout', 6]),
  HF_UNSUPPORTED: entry('this is not supported here', 'never', [
    'EOPNOTSUPP',
    501,
    'NotImplemented',
    2,
  ]),
  HF_INTERNAL: entry('the program found a fault of its own', 'never', [
    'EIO',
    500,
    'InternalError',
    70,
  ]),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERROR_CODES;
