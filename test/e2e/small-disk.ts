/** A filesystem of a few MiB in memory, for tests of full disks; only root can mount it. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs/promises';

export interface SmallDisk extends Disposable {
  /** Where it could not be mounted, the test skips itself, and says so. */
  readonly isMounted: boolean;
}

/** Mounts it on a new folder. */
export async function mountSmallDisk(folder: string, sizeMib: number): Promise<SmallDisk> {
  await fs.mkdir(folder);
  const options = ['-t', 'tmpfs', '-o', `size=${sizeMib}m`, 'tmpfs', folder];
  const isMounted = spawnSync('mount', options).status === 0;
  return {
    isMounted,
    [Symbol.dispose]() {
      if (isMounted) spawnSync('umount', [folder]);
    },
  };
}
