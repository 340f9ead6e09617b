/**
 * A device on a disk: a whole disk, a partition, a loop device or any other block special file, by
 * whichever of its names. The kernel keeps others off (see block-file.ts), so it needs no lock of
 * ours, and nothing mounted or held can become one. Only a loop device does, since the file under
 * it may be in use as an image.
 *
 * A disk that was pulled out is noticed by the watch: its name is gone or leads to another disk, or
 * its folder in sysfs is.
 */
import fs from 'node:fs/promises';
import { resolve } from 'node:path';
import { HoldfastError, LIMITS } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import { BlockFile, type BlockFileOptions, type DirectMode, identityOf } from './block-file.ts';
import { devicePermits, FileDevice, holdOpen } from './file-device.ts';
import { holdLock } from './lock.ts';
import { deviceNumberOf, diskUser, fileUnder, isReadOnlyDisk, sysfsFolder } from './sysfs.ts';

export interface RawOptions {
  readonly env: Env;
  readonly path: string;
  readonly direct?: DirectMode;
}

export class RawDevice extends FileDevice {
  /**
   * @throws HF_BUSY when it is mounted or held by anybody, HF_DENIED when we may not write to it,
   *   HF_NOT_FOUND also when there is no medium in it, HF_NOT_OURS when it is no disk, HF_IO.
   */
  static async open({ env, path: name, direct = 'try' }: RawOptions): Promise<RawDevice> {
    const path = resolve(name);
    const permits = devicePermits();
    await using resources = new AsyncDisposableStack();
    const file = resources.use(await openDisk({ path, permits, direct, isDisk: true }));
    await lockFileUnder(file, resources);
    if (await isReadOnlyDisk(file.deviceNumber)) throw readOnly(path);
    const sizeBytes = file.sizeBytes - (file.sizeBytes % LIMITS.blockBytes);
    if (sizeBytes === 0) {
      throw new HoldfastError('HF_NOT_FOUND', `${path} is empty: there is no medium in it`);
    }
    const folder = await holdOpen(sysfsFolder(file.deviceNumber), resources);
    return new RawDevice({
      env,
      kind: 'raw',
      name,
      what: `the disk ${path}`,
      capacityBytes: sizeBytes,
      pieces: [{ file, startOffset: 0, sizeBytes }],
      anchors: [file, folder],
      permits,
      resources: resources.move(),
    });
  }
}

/** Takes the lock of the image that a loop device lies over. @throws HF_BUSY. */
async function lockFileUnder(
  { path, deviceNumber }: BlockFile,
  resources: AsyncDisposableStack,
): Promise<void> {
  const under = await fileUnder(deviceNumber);
  if (under === undefined) return;
  // One that has been removed can be nobody's image any more.
  const stat = await fs.stat(under, { bigint: true }).catch(() => undefined);
  if (!stat) return;
  const what = `the file ${under}, which ${path} lies over,`;
  resources.use(await holdLock(`image-${identityOf(stat)}`, what));
}

/** Opens a disk, or says why not in words that help. */
async function openDisk(options: BlockFileOptions): Promise<BlockFile> {
  const { path } = options;
  try {
    return await BlockFile.open(options);
  } catch (error) {
    const errno = (error as Partial<HoldfastError>).details?.['errno'];
    if (errno === 'EBUSY') throw await inUse(path, error);
    if (errno === 'EROFS') throw readOnly(path, error);
    if (errno === 'EACCES' || errno === 'EPERM') throw noPermission(path, error);
    throw error;
  }
}

async function inUse(path: string, cause: unknown): Promise<HoldfastError> {
  const { rdev } = await fs.stat(path, { bigint: true });
  const user = (await diskUser(deviceNumberOf(rdev))) ?? 'mounted, or held by another program';
  return new HoldfastError('HF_BUSY', `${path} is in use: ${user}`, { cause, details: { path } });
}

function readOnly(path: string, cause?: unknown): HoldfastError {
  const message = `${path} is read-only: a store needs to write to it`;
  return new HoldfastError('HF_DENIED', message, { cause, details: { path } });
}

function noPermission(path: string, cause: unknown): HoldfastError {
  const message = `${path}: no permission to write to it: run as root, or join the group disk`;
  return new HoldfastError('HF_DENIED', message, { cause, details: { path } });
}
