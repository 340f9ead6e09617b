/**
 * Mounts of ours whose server is gone without unmounting, which every access notices (ENOTCONN) and
 * nothing ends by itself. A mount that merely does not answer is left alone.
 */
import { errorCode, errorMessage } from '../../base/index.ts';
import { detach } from './attach.ts';
import { type MountInfo, ourMounts } from './mount-info.ts';
import { run } from './programs.ts';

/** A dead mount says so at once; one that takes longer is alive. */
const LOOK_MS = 2000;

/**
 * Takes away all dead ones, or those at one place. @returns where they were.
 * @throws HF_DENIED, HF_IO when one cannot be taken away.
 */
export async function cleanStaleMounts(mountpoint?: string): Promise<string[]> {
  const mounts = await ourMounts();
  const cleaned: string[] = [];
  for (const mount of mounts.toReversed()) {
    if (mountpoint !== undefined && mount.mountpoint !== mountpoint) continue;
    if (!(await isDead(mount))) continue;
    await detach(mount.mountpoint, true);
    cleaned.push(mount.mountpoint);
  }
  return cleaned;
}

/** Asked by another process: a mount that hangs would keep one of our threads. */
async function isDead({ mountpoint }: MountInfo): Promise<boolean> {
  const signal = AbortSignal.timeout(LOOK_MS);
  try {
    await run({ name: 'stat', words: ['-f', '--', mountpoint], signal });
    return false;
  } catch (error) {
    return errorCode(error) !== undefined && /not connected/u.test(errorMessage(error));
  }
}
