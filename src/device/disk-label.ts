/**
 * Which disk something lies on, as a label of the topology (ruling 26): what fails together has one
 * label. That is the whole disk, as the kernel calls it, for the disk itself, for its partitions
 * and for all filesystems on it; for a loop device it is where its file lies, for a volume on a
 * single disk that disk. A filesystem without a disk (memory, network, several disks) is its own.
 *
 * The kernel may name disks otherwise after a restart. Labels are stated anew each time, all of
 * them, so what was apart stays apart.
 */
import fs from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { DeviceNumber } from './block-device.ts';
import { filesystemOf } from './filesystem.ts';
import { isPartition, listOr, readOr, sysfsFolder } from './sysfs.ts';

/** A file on a loop device on a file …: nobody means more. */
const DEPTH_MAX = 8;

/** @param number of a disk, a partition, or the filesystem that something is on. */
export async function diskLabel(number: DeviceNumber): Promise<string> {
  return `disk-${await diskName(number, 0)}`;
}

async function diskName(number: DeviceNumber, depth: number): Promise<string> {
  const found = await fs.realpath(sysfsFolder(number)).catch(() => undefined);
  if (found === undefined) return `${number.major}:${number.minor}`;
  const folder = (await isPartition(found)) ? dirname(found) : found;
  const under = depth < DEPTH_MAX ? await lowerDevice(folder) : undefined;
  return under ? await diskName(under, depth + 1) : basename(folder);
}

/** What a device that is no disk of its own lies on. */
async function lowerDevice(folder: string): Promise<DeviceNumber | undefined> {
  const file = await readOr(join(folder, 'loop', 'backing_file'));
  if (file !== undefined) {
    return (await filesystemOf(file).catch(() => undefined))?.deviceNumber;
  }
  const [lower, ...others] = await listOr(join(folder, 'slaves'));
  if (lower === undefined || others.length > 0) return undefined;
  const text = await readOr(join(folder, 'slaves', lower, 'dev'));
  const [major, minor] = (text ?? '').split(':').map(Number);
  return major === undefined || minor === undefined ? undefined : { major, minor };
}
