/** Whether a thread is being killed. Source: Linux, proc_pid_status(5). */
import fs from 'node:fs';

const SIGKILL = 9n;
const KILL_BIT = 1n << (SIGKILL - 1n);

/**
 * A signal that nothing handles reaches each thread of its process as a pending SIGKILL. A thread
 * that is not there any more is dead; one that is not visible from here (0) is not known to be.
 */
export function isDying(processId: number): boolean {
  if (processId === 0) return false;
  const status = statusOf(processId);
  if (status === undefined) return true;
  const pending = /^SigPnd:\s*([0-9a-f]+)$/mu.exec(status)?.[1] ?? '0';
  return (BigInt(`0x${pending}`) & KILL_BIT) !== 0n;
}

function statusOf(processId: number): string | undefined {
  try {
    return fs.readFileSync(`/proc/${processId}/status`, 'latin1');
  } catch {
    return undefined; // ENOENT, or ESRCH when it ends while it is read
  }
}
