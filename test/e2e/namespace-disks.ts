/**
 * Disks of machines that are network namespaces: `ip netns exec` gives each process mounts of its
 * own, so a machine can have links under /dev/disk, as udev would keep them, and mounts that no
 * other one sees. They go with the process.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LoopDevice } from '../suites/loop-device.ts';

const LINKS = '/dev/disk';

export interface PluggedDisk {
  readonly loop: LoopDevice;
  readonly label: string;
  readonly mountPoint: string;
}

/** The machines of these processes have no disks from now on. */
export function ownDisks(processIds: readonly number[]): Disposable {
  const isOurs = !existsSync(LINKS);
  if (isOurs) mkdirSync(LINKS);
  for (const processId of processIds) {
    within(processId, ['mount', '-t', 'tmpfs', 'none', LINKS]);
    within(processId, ['mkdir', join(LINKS, 'by-label')]);
  }
  return { [Symbol.dispose]: () => void (isOurs && rmdirSync(LINKS)) };
}

/** Makes a filesystem with this label on the device. */
export function makeFilesystem({ loop, label }: PluggedDisk): void {
  execFileSync('mkfs.ext4', ['-q', '-F', '-L', label, loop.path], { stdio: 'pipe' });
}

/** Into the machine of that process, which mounts it. */
export function plugIn(processId: number, { loop, label, mountPoint }: PluggedDisk): void {
  mkdirSync(mountPoint, { recursive: true });
  within(processId, ['mount', loop.path, mountPoint]);
  within(processId, ['ln', '-s', loop.path, join(LINKS, 'by-label', label)]);
}

export function pullOut(processId: number, { label, mountPoint }: PluggedDisk): void {
  within(processId, ['umount', mountPoint]);
  within(processId, ['rm', join(LINKS, 'by-label', label)]);
}

function within(processId: number, command: readonly string[]): void {
  execFileSync('nsenter', ['--mount', '--target', String(processId), ...command], {
    stdio: 'pipe',
  });
}
