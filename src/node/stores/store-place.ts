/**
 * Places where stores are or could be: folders, image files, disks. What is there is looked at
 * without changing it, and how much room there is is reckoned.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { type ClusterId, type DeviceId, errorCode, HoldfastError } from '../../base/index.ts';
import { deviceKindAt, diskLabel, filesystemOf, openDevice } from '../../device/index.ts';
import type { Env } from '../../env/index.ts';
import { readSuperblock } from '../../store/index.ts';
import type { NewStore, Slot } from './store-slot.ts';

/** Part of a filesystem's free space that new stores may plan with. */
const SPACE_SHARE = 0.9;

/** A store as its superblock says it. */
export interface FoundStore {
  readonly id: DeviceId;
  readonly clusterId: ClusterId;
}

/**
 * The store at a path; `undefined` when there is none.
 * @throws HF_BUSY when something has it open; HF_CORRUPT when what is left cannot say who it is;
 *   HF_UNSUPPORTED, HF_DENIED, HF_IO.
 */
export async function storeAt(env: Env, where: string): Promise<FoundStore | undefined> {
  const kind = await deviceKindAt(where);
  if (kind === undefined || (kind === 'directory' && !(await isStoreFolder(where)))) {
    return undefined;
  }
  try {
    await using device = await openDevice({ env, path: where });
    const { superblock } = await readSuperblock(device);
    return { id: superblock.id, clusterId: superblock.clusterId };
  } catch (error) {
    if (errorCode(error) === 'HF_NOT_OURS') return undefined;
    throw error;
  }
}

/** Whether there is a store; one that cannot be looked at counts, for whoever opens it will say. */
export async function holdsStore(env: Env, where: string): Promise<boolean> {
  return await storeAt(env, where).then(
    (store) => store !== undefined,
    () => true,
  );
}

/** Whether a folder is meant to be a store, whatever became of its content. */
export async function isStoreFolder(folder: string): Promise<boolean> {
  return await fs.access(path.join(folder, 'holdfast.json')).then(
    () => true,
    () => false,
  );
}

/** Whether what is made at a path takes as much as it is told to: a disk is as large as it is. */
export async function needsCapacity(where: string): Promise<boolean> {
  const kind = await deviceKindAt(where);
  return kind === undefined || kind === 'directory';
}

/** What each of `count` new stores under a path may grow to. */
export async function shareOfSpace(where: string, count: number): Promise<number> {
  const { freeBytes } = await filesystemOf(await nearestFolder(where));
  return Math.floor((freeBytes * SPACE_SHARE) / count);
}

/** The label of the disk on which something at the path would lie. */
export async function diskUnder(where: string): Promise<string> {
  return await diskLabel((await filesystemOf(await nearestFolder(where))).deviceNumber);
}

/**
 * How large a new store is to be that has to be told so.
 * @param slots the stores that there are.
 * @throws HF_BAD_ARGUMENT when a capacity is given for what has its size.
 */
export async function capacityOf(
  where: string,
  { capacityBytes, kind }: NewStore,
  slots: readonly Slot[],
): Promise<number | undefined> {
  if (await needsCapacity(where)) {
    if (capacityBytes !== undefined || kind === 'image') return capacityBytes;
    return await fittingCapacity(where, slots);
  }
  if (capacityBytes === undefined) return undefined;
  const message = `${where} is as large as it is; to leave a part of it free, set a hard max`;
  throw new HoldfastError('HF_BAD_ARGUMENT', message);
}

/** As large as the largest store on the same disk, which plans with the same space. */
async function fittingCapacity(where: string, slots: readonly Slot[]): Promise<number> {
  const share = await shareOfSpace(where, 1);
  const disk = await diskUnder(where);
  const sizes = slots
    .filter((slot) => slot.open && slot.kind === 'directory' && slot.disk === disk)
    .map(({ sizeBytes }) => sizeBytes);
  return sizes.length === 0 ? share : Math.min(share, Math.max(...sizes));
}

/** The path itself, or the nearest folder above it that exists. */
async function nearestFolder(where: string): Promise<string> {
  for (let folder = path.resolve(where); ; folder = path.dirname(folder)) {
    try {
      await filesystemOf(folder);
      return folder;
    } catch (error) {
      if (errorCode(error) !== 'HF_NOT_FOUND' || folder === path.dirname(folder)) throw error;
    }
  }
}
