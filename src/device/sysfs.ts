/**
 * What the kernel tells about block devices in /sys and /proc: their size (stat says 0), and who
 * holds one. A *user* of a device is said in words, for the message that refuses it: "mounted at
 * /home", "held by dm-0". Users of its partitions count, and those of the disk it is a partition
 * of, since the kernel refuses either for the sake of the other.
 *
 * Source: Linux, Documentation/ABI/testing/sysfs-block, and proc_pid_mountinfo(5).
 */
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../base/index.ts';
import type { DeviceNumber } from './block-device.ts';
import { readMounts } from './mounts.ts';

/** Sizes in sysfs are counted in these, whatever the sectors of the disk have. */
const SIZE_UNIT_BYTES = 512;
const HOLDERS_NAMED_MAX = 4;

/** A `dev_t` as glibc packs it (gnu_dev_major, gnu_dev_minor). */
export function deviceNumberOf(packed: bigint): DeviceNumber {
  const major = ((packed >> 8n) & 0xfffn) | ((packed >> 32n) & 0xfffff000n);
  const minor = (packed & 0xffn) | ((packed >> 12n) & 0xffffff00n);
  return { major: Number(major), minor: Number(minor) };
}

/** The folder of a block device; it goes with the device, and another one is another inode. */
export function sysfsFolder({ major, minor }: DeviceNumber): string {
  return `/sys/dev/block/${major}:${minor}`;
}

/** Bytes of a block device; 0 when there is no medium in it. @throws HF_IO. */
export async function diskBytes(number: DeviceNumber): Promise<number> {
  return (await readNumber(number, 'size')) * SIZE_UNIT_BYTES;
}

/** Whether it takes no writes; some can be opened for them all the same. @throws HF_IO. */
export async function isReadOnlyDisk(number: DeviceNumber): Promise<boolean> {
  return (await readNumber(number, 'ro')) !== 0;
}

async function readNumber(number: DeviceNumber, attribute: string): Promise<number> {
  const path = join(sysfsFolder(number), attribute);
  try {
    return Number(await fs.readFile(path, 'utf8'));
  } catch (error) {
    throw new HoldfastError('HF_IO', `cannot read ${path}: is /sys mounted?`, { cause: error });
  }
}

/** Who uses a block device, in words; `undefined` when neither sysfs nor the mounts tell. */
export async function diskUser(number: DeviceNumber): Promise<string | undefined> {
  const users: string[] = [];
  const mounts = await readMounts().catch(() => []);
  for (const { name, id, folder } of await relativesOf(number)) {
    const prefix = name === undefined ? '' : `${name} is `;
    const mountedHere = mounts.filter(({ device }) => device === id);
    users.push(...mountedHere.map(({ point }) => `${prefix}mounted at ${point}`));
    users.push(...(await listOr(join(folder, 'holders'))).map((by) => `${prefix}held by ${by}`));
  }
  return users.length === 0 ? undefined : users.slice(0, HOLDERS_NAMED_MAX).join(', ');
}

/** The loop device that lies over a plain file, if there is one. */
export async function loopOver(path: string): Promise<string | undefined> {
  const realPath = await fs.realpath(path);
  const loops = (await listOr('/sys/block')).filter((name) => name.startsWith('loop'));
  for (const name of loops) {
    const file = await readOr(`/sys/block/${name}/loop/backing_file`);
    if (file === realPath) return `/dev/${name}`;
  }
  return undefined;
}

/** The file that a loop device lies over from its first byte on; `undefined` for other disks. */
export async function fileUnder(number: DeviceNumber): Promise<string | undefined> {
  const folder = join(sysfsFolder(number), 'loop');
  if ((await readOr(join(folder, 'offset'))) !== '0') return undefined;
  return await readOr(join(folder, 'backing_file'));
}

interface Relative {
  /** Absent for the device itself. */
  readonly name: string | undefined;
  /** `major:minor` */
  readonly id: string;
  readonly folder: string;
}

/** The device, its partitions, and the disk that it is a partition of. */
async function relativesOf(number: DeviceNumber): Promise<Relative[]> {
  const folder = sysfsFolder(number);
  const self = { name: undefined, id: `${number.major}:${number.minor}`, folder };
  if (await isPartition(folder)) {
    const parent = await fs.realpath(join(await fs.realpath(folder), '..'));
    return [self, ...(await relativeAt(parent))];
  }
  const partitions: Relative[] = [];
  for (const name of await listOr(folder)) {
    if (!(await isPartition(join(folder, name)))) continue;
    partitions.push(...(await relativeAt(join(folder, name))));
  }
  return [self, ...partitions];
}

async function relativeAt(folder: string): Promise<Relative[]> {
  const id = await readOr(join(folder, 'dev'));
  const name = folder.slice(folder.lastIndexOf('/') + 1);
  return id === undefined ? [] : [{ name, id, folder }];
}

/** Whether a folder in sysfs is of a partition. */
export async function isPartition(folder: string): Promise<boolean> {
  return (await readOr(join(folder, 'partition'))) !== undefined;
}

/** A line; `undefined` when it cannot be read, for what is good to know and no more. */
export async function readOr(path: string): Promise<string | undefined> {
  return (await fs.readFile(path, 'utf8').catch(() => undefined))?.replace(/\n$/u, '');
}

/** Names; none when they cannot be read. */
export async function listOr(folder: string): Promise<string[]> {
  return await fs.readdir(folder).catch(() => []);
}
