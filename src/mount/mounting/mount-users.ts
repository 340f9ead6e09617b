/**
 * Who uses a mount: processes that stand in it, or have something of it open. Only the links in
 * /proc are read, so nothing is asked of the mount itself. Of other users' processes root alone
 * sees that much. Source: Linux, proc_pid_fd(5), proc_pid_cwd(5).
 */
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { mapBounded } from '../../base/index.ts';

export interface MountUser {
  readonly processId: number;
  /** Of its program, as ps(1) has it. */
  readonly name: string;
}

const AT_ONCE = 16;

/** @param mountpoint without symbolic links. */
export async function usersOf(mountpoint: string): Promise<MountUser[]> {
  const processes = (await namesIn('/proc')).filter((name) => /^\d+$/u.test(name));
  const found = await mapBounded(processes, AT_ONCE, async (id) => {
    if (!(await uses(`/proc/${id}`, mountpoint))) return [];
    const name = await fs.readFile(`/proc/${id}/comm`, 'utf8').catch(() => '?');
    return [{ processId: Number(id), name: name.trim() }];
  });
  return found.flat();
}

async function uses(folder: string, mountpoint: string): Promise<boolean> {
  const files = (await namesIn(`${folder}/fd`)).map((name) => join('fd', name));
  for (const link of ['cwd', 'root', 'exe', ...files]) {
    const target = await fs.readlink(join(folder, link)).catch(() => '');
    if (target === mountpoint || target.startsWith(`${mountpoint}/`)) return true;
  }
  return false;
}

/** None of what ends meanwhile, or is not for our eyes. */
async function namesIn(folder: string): Promise<string[]> {
  return await fs.readdir(folder).catch(() => []);
}
