/** The device file of FUSE; opening it makes a connection. Source: Linux, fuse(4). */
import { HoldfastError } from '../../base/index.ts';

export const DEVICE = '/dev/fuse';

export function deviceMissing(cause: unknown): HoldfastError {
  const message = `${DEVICE} cannot be opened: is FUSE there (modprobe fuse)?`;
  return new HoldfastError('HF_UNSUPPORTED', message, { cause });
}
