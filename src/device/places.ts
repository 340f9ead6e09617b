/**
 * Devices by the place that the user names. What is there decides the kind: a disk (kind `raw`), a
 * plain file (`image`) or a folder (`directory`); a place where nothing is becomes what was asked
 * for.
 *
 * A place is made ready for a store only when nothing of anybody else's is lost, unless the user
 * insists (*forced*). Nothing insists on what is in use: the checks look at a device that is ours
 * alone already, and a folder is never emptied.
 */
import fs from 'node:fs/promises';
import { resolve } from 'node:path';
import { HoldfastError, LIMITS, type DeviceId } from '../base/index.ts';
import type { Env } from '../env/index.ts';
import type { BlockDevice } from './block-device.ts';
import { errnoOf, fileError, type DirectMode } from './block-file.ts';
import { DirectoryDevice } from './directory-device.ts';
import { ImageDevice } from './image-device.ts';
import { RawDevice } from './raw-device.ts';
import { foreignContent, hasSuperblocks, refuseOverwritten, wipeEnds } from './signatures.ts';

export type PlaceKind = 'raw' | 'image' | 'directory';

export interface OpenDeviceOptions {
  readonly env: Env;
  readonly path: string;
  readonly direct?: DirectMode | undefined;
}

export interface MakeDeviceOptions extends OpenDeviceOptions {
  /** Of the store to be; a folder is locked by it. */
  readonly uuid: DeviceId;
  /** For new folders and images, which need it; what is there keeps its size. */
  readonly capacityBytes?: number | undefined;
  /** What to make where nothing is, else a folder; what is there must be of this kind. */
  readonly kind?: 'image' | 'directory' | undefined;
  /** Gives up foreign content on a disk or in an image. */
  readonly isForced?: boolean | undefined;
  /** Gives up what is left of a store under foreign content as well. */
  readonly replacesStore?: boolean | undefined;
}

const { blockBytes, deviceBytesMin } = LIMITS;

/**
 * What kind of device is or could be at the path; `undefined` when nothing is there.
 * @throws HF_NOT_OURS for what can never be one (a terminal, a pipe), HF_IO.
 */
export async function deviceKindAt(path: string): Promise<PlaceKind | undefined> {
  return (await lookAt(path))?.kind;
}

/**
 * Opens whatever device is at the path. Whether it holds a store is for `store` to find out, except
 * that a disk or an image which has become something else since it was a store is refused.
 * @throws HF_NOT_FOUND, HF_NOT_OURS, HF_BUSY, HF_DENIED, HF_CORRUPT, HF_UNSUPPORTED, HF_IO.
 */
export async function openDevice(options: OpenDeviceOptions): Promise<BlockDevice> {
  const { path } = options;
  const place = await lookAt(path);
  if (!place) throw new HoldfastError('HF_NOT_FOUND', `${path} does not exist`);
  if (place.kind === 'directory') return await DirectoryDevice.open(transferOptions(options));
  return await checkedDevice(await openBlocks(options, place.kind), refuseOverwritten);
}

/**
 * Makes a place ready to be formatted, and opens it: a new folder (also in an empty one), a new
 * image, or a disk or image that is there, once it holds nothing or `isForced` gives that up; then
 * its ends are wiped. One that holds a store is opened as it is.
 * @throws HF_NOT_OURS for foreign content, HF_EXISTS for a folder that is a store and for a store
 *   under foreign content, HF_BUSY, also when forced; HF_BAD_ARGUMENT, HF_NOT_FOUND,
 *   HF_IS_DIRECTORY, HF_NOT_DIRECTORY, HF_DENIED, HF_NO_SPACE, HF_IO.
 */
export async function makeDevice(options: MakeDeviceOptions): Promise<BlockDevice> {
  const { path, kind } = options;
  const place = await lookAt(path);
  if (!place) return await makeNew(options);
  if (kind === 'image' && place.kind === 'directory') {
    throw new HoldfastError('HF_IS_DIRECTORY', `${path} is a directory`);
  }
  if (kind === 'directory' && place.kind !== 'directory') {
    throw new HoldfastError('HF_NOT_DIRECTORY', `${path} is not a directory`);
  }
  if (place.kind === 'directory') return await makeDirectory(options);
  if (place.kind === 'image') checkSize(path, place.sizeBytes);
  const device = await openBlocks(options, place.kind);
  return await checkedDevice(device, () => makeReady(device, options));
}

/** @throws HF_NOT_OURS unless the device is blank, a store's, or forced; HF_EXISTS. */
async function makeReady(device: BlockDevice, options: MakeDeviceOptions): Promise<void> {
  checkSize(device.name, device.sizeBytes);
  const found = await foreignContent(device);
  if (found === undefined) return;
  const details = { path: device.name, found };
  if (!options.isForced) {
    const message = `${device.name} holds ${found}; --force gives that up for good`;
    throw new HoldfastError('HF_NOT_OURS', message, { details });
  }
  // Its chunks are at the ends, too.
  if (!options.replacesStore && (await hasSuperblocks(device))) {
    const message = `${device.name} holds ${found}, and under it what is left of a store`;
    throw new HoldfastError('HF_EXISTS', `${message}: to give that up, replace it`, { details });
  }
  await wipeEnds(device);
}

async function makeNew(options: MakeDeviceOptions): Promise<BlockDevice> {
  const { path } = options;
  // A name of a disk that is not there (any more) must not become a file in memory.
  if (/^\/dev\/(?!shm\/)/u.test(resolve(path))) {
    throw new HoldfastError('HF_NOT_FOUND', `${path}: there is no such disk`);
  }
  if (options.kind !== 'image') return await makeDirectory(options);
  const capacityBytes = neededCapacity(options);
  const sizeBytes = capacityBytes - (capacityBytes % blockBytes);
  checkSize(path, sizeBytes);
  return await ImageDevice.create({ ...transferOptions(options), sizeBytes });
}

async function makeDirectory(options: MakeDeviceOptions): Promise<BlockDevice> {
  const { uuid } = options;
  const capacityBytes = neededCapacity(options);
  return await DirectoryDevice.create({ ...transferOptions(options), uuid, capacityBytes });
}

function neededCapacity({ path, capacityBytes }: MakeDeviceOptions): number {
  if (capacityBytes !== undefined) return capacityBytes;
  throw new HoldfastError('HF_BAD_ARGUMENT', `${path}: a new store needs a capacity`);
}

function checkSize(path: string, sizeBytes: number): void {
  if (sizeBytes >= deviceBytesMin) return;
  const message = `${path} has ${sizeBytes} bytes; a store needs at least ${deviceBytesMin}`;
  throw new HoldfastError('HF_BAD_ARGUMENT', message, { details: { path, sizeBytes } });
}

interface Place {
  readonly kind: PlaceKind;
  /** Of a plain file; 0 for others. */
  readonly sizeBytes: number;
}

async function lookAt(path: string): Promise<Place | undefined> {
  try {
    const stat = await fs.stat(path);
    if (stat.isDirectory()) return { kind: 'directory', sizeBytes: 0 };
    if (stat.isFile()) return { kind: 'image', sizeBytes: stat.size };
    if (stat.isBlockDevice()) return { kind: 'raw', sizeBytes: 0 };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw fileError(error, 'inspect', path);
  }
  const message = `${path} is neither a disk nor a file nor a directory`;
  throw new HoldfastError('HF_NOT_OURS', message);
}

async function openBlocks(options: OpenDeviceOptions, kind: 'raw' | 'image'): Promise<BlockDevice> {
  const Device = kind === 'raw' ? RawDevice : ImageDevice;
  return await Device.open(transferOptions(options));
}

function transferOptions({ env, path, direct = 'try' }: OpenDeviceOptions): {
  env: Env;
  path: string;
  direct: DirectMode;
} {
  return { env, path, direct };
}

/** The device when the check passes; else it is closed again. */
async function checkedDevice(
  device: BlockDevice,
  check: (device: BlockDevice) => Promise<void>,
): Promise<BlockDevice> {
  try {
    await check(device);
    return device;
  } catch (error) {
    await device[Symbol.asyncDispose]();
    throw error;
  }
}
