/** Which filesystem a path is on: stores on one filesystem share its space and die with it. */
import fs from 'node:fs/promises';
import type { DeviceNumber } from './block-device.ts';
import { fileError } from './block-file.ts';
import { deviceNumberOf } from './sysfs.ts';

export interface Filesystem {
  /** The same for all paths of one mounted filesystem, for as long as it is mounted. */
  readonly id: string;
  /** Of what it lies on; major 0 where that is no block device. */
  readonly deviceNumber: DeviceNumber;
  /** What an ordinary user may still fill. */
  readonly freeBytes: number;
  /** 0 where the filesystem does not say; then `freeBytes` means nothing. */
  readonly sizeBytes: number;
}

/** @throws HF_NOT_FOUND, HF_IO. */
export async function filesystemOf(path: string): Promise<Filesystem> {
  try {
    const { dev } = await fs.stat(path, { bigint: true });
    const { bavail, blocks, bsize } = await fs.statfs(path);
    return {
      id: `${dev}`,
      deviceNumber: deviceNumberOf(dev),
      freeBytes: bavail * bsize,
      sizeBytes: blocks * bsize,
    };
  } catch (error) {
    throw fileError(error, 'inspect', path);
  }
}
