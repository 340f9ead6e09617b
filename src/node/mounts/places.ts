/** Where volumes may be mounted: directories as users name them. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorMessage, HoldfastError } from '../../base/index.ts';
import { cleanStaleMounts, ourMountOver, placeOf } from '../../mount/index.ts';

/**
 * The place of a directory that nothing is mounted on and that is empty; what a crash left mounted
 * there is taken away first.
 * @throws HF_BAD_ARGUMENT, HF_NOT_FOUND, HF_NOT_DIRECTORY, HF_NOT_EMPTY, HF_EXISTS.
 */
export async function emptyDirectory(
  named: string,
  isMounted: (place: string) => boolean,
): Promise<string> {
  checkAbsolute(named);
  const directory = await placeOf(named).catch((error: unknown) => {
    throw directoryError(named, error);
  });
  if (isMounted(directory)) {
    throw new HoldfastError('HF_EXISTS', `${directory} is a mount already`);
  }
  await cleanStaleMounts(directory);
  await checkOutside(directory);
  const names = await fs.readdir(directory).catch((error: unknown) => {
    throw directoryError(directory, error);
  });
  if (names.length === 0) return directory;
  const message = `${directory} is not empty: what is in it would be hidden`;
  throw new HoldfastError('HF_NOT_EMPTY', message);
}

/** Of a mount that is to end: the directory may be gone. @throws HF_BAD_ARGUMENT. */
export async function placeToEnd(named: string): Promise<string> {
  checkAbsolute(named);
  return await placeOrPath(named);
}

async function placeOrPath(named: string): Promise<string> {
  return await placeOf(named).catch(() => path.resolve(named));
}

/**
 * What serves a mount must not wait for that mount, and so for itself.
 * @throws HF_BAD_ARGUMENT when the place is or lies in a mount of ours.
 */
export async function checkOutside(place: string): Promise<void> {
  const above = (await ourMountOver(place)) ?? (await ourMountOver(await placeOrPath(place)));
  if (above === undefined) return;
  const message = `${place} lies in ${above}, which is a mount of Holdfast: choose another place`;
  throw new HoldfastError('HF_BAD_ARGUMENT', message);
}

function checkAbsolute(named: string): void {
  if (path.isAbsolute(named)) return;
  throw new HoldfastError('HF_BAD_ARGUMENT', `the directory ${named} is no absolute path`);
}

function directoryError(directory: string, error: unknown): HoldfastError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') {
    return new HoldfastError('HF_NOT_FOUND', `there is no directory ${directory}`);
  }
  if (code === 'ENOTDIR') {
    return new HoldfastError('HF_NOT_DIRECTORY', `${directory} is no directory`);
  }
  const message = `${directory} cannot be mounted on: ${errorMessage(error)}`;
  return new HoldfastError('HF_IO', message, { cause: error });
}
