/** Which extended attributes a volume keeps. Source: Linux, xattr(7), acl(5). */
import { asBuffer, HoldfastError } from '../../base/index.ts';

/** What the system reads from them (access control lists) would not be done here. */
const SYSTEM_PREFIX = 'system.';

/** @throws HF_UNSUPPORTED. */
export function checkXattrName(name: Uint8Array): void {
  if (!asBuffer(name).toString('latin1').startsWith(SYSTEM_PREFIX)) return;
  throw new HoldfastError('HF_UNSUPPORTED', 'access control lists are not kept');
}
