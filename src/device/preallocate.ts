/**
 * Room on a filesystem, taken in advance: a store whose files were sparse would meet a full
 * filesystem in the middle of its own blocks. `fallocate(1)` where there is one and the filesystem
 * can, else real zeros. Either the whole room is there and durable, or the file is as it was.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import { HoldfastError, MiB } from '../base/index.ts';
import { fileError } from './block-file.ts';
import { TOOL_ENVIRONMENT } from './tools.ts';

const run = promisify(execFile);

export interface Room {
  /** Bytes the file has now; 0: it does not exist. */
  readonly fromBytes: number;
  readonly toBytes: number;
}

/**
 * Extends the file at the absolute `path` (or creates it) by zeros that have room on the disk.
 * The caller syncs the directory of a file that is new.
 *
 * @throws HF_NO_SPACE, HF_EXISTS when a file is in the way of a new one, HF_IO.
 */
export async function preallocate(path: string, room: Room): Promise<void> {
  if (room.fromBytes === 0) await createEmpty(path);
  try {
    await checkRoom(path, room);
    if (!(await fallocate(path, room))) await zeroFill(path, room);
    await sync(path);
  } catch (error) {
    await (room.fromBytes === 0 ? fs.rm(path) : fs.truncate(path, room.fromBytes));
    throw fileError(error, 'extend', path);
  }
}

async function createEmpty(path: string): Promise<void> {
  try {
    await (await fs.open(path, 'wx', 0o600)).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError(error, 'create', path);
    throw new HoldfastError('HF_EXISTS', `${path} exists already`, { cause: error });
  }
}

/** Says no before the disk is filled to its last byte and emptied again. */
async function checkRoom(path: string, { fromBytes, toBytes }: Room): Promise<void> {
  const { blocks, bavail, bsize } = await fs.statfs(path);
  const isKnown = blocks > 0;
  if (isKnown && bavail * bsize < toBytes - fromBytes) throw noSpace(path, toBytes - fromBytes);
}

/** @returns false when there is no such tool or the filesystem cannot. */
async function fallocate(path: string, { fromBytes, toBytes }: Room): Promise<boolean> {
  const range = ['--offset', `${fromBytes}`, '--length', `${toBytes - fromBytes}`];
  try {
    await run('fallocate', [...range, path], { env: TOOL_ENVIRONMENT });
    return true;
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    if (/no space left|quota exceeded/i.test(stderr)) throw noSpace(path, toBytes - fromBytes);
    return false;
  }
}

/** Writes zeros from `fromBytes` to `toBytes`. */
export async function zeroFill(path: string, { fromBytes, toBytes }: Room): Promise<void> {
  const zeros = new Uint8Array(MiB);
  await using file = await fs.open(path, 'r+');
  for (let at = fromBytes; at < toBytes;) {
    const { bytesWritten } = await file.write(zeros, 0, Math.min(MiB, toBytes - at), at);
    at += bytesWritten;
  }
}

async function sync(path: string): Promise<void> {
  await using file = await fs.open(path, 'r+');
  await file.sync();
}

/** Makes names that were added to or taken from a directory durable. @throws HF_IO. */
export async function syncDirectory(path: string): Promise<void> {
  try {
    await using directory = await fs.open(path, 'r');
    await directory.sync();
  } catch (error) {
    throw fileError(error, 'sync', path);
  }
}

function noSpace(path: string, bytes: number): HoldfastError {
  return new HoldfastError('HF_NO_SPACE', `${path}: no room for ${bytes} more bytes`, {
    details: { path },
  });
}
