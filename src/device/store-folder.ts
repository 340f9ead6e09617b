/**
 * The folder of a directory store: `holdfast.json`, which says whose it is, and segments beside it.
 * A file gets its name only when it is complete and durable; until then it is called `<name>.new`,
 * and who opens the store removes it. So no crash leaves half a file under a name that counts.
 */
import fs from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HoldfastError, isHexId, type DeviceId } from '../base/index.ts';
import { errnoOf, fileError } from './block-file.ts';
import { isBlockMultiple } from './pages.ts';
import { syncDirectory } from './preallocate.ts';
import { segmentNumber } from './segments.ts';

export const LABEL_NAME = 'holdfast.json';
const LABEL_FORMAT = 1;
const LABEL_NOTE =
  'This folder is a Holdfast store. Do not change, move or remove anything in it by hand.';
const UNFINISHED = '.new';

/** What `holdfast.json` says; the store's superblock says it again and decides. */
export interface StoreLabel {
  readonly uuid: DeviceId;
  readonly capacityBytes: number;
}

/** Makes the folder if need be, durably. @throws HF_NOT_DIRECTORY, HF_IO. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    const made = await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    if (made !== undefined) await syncParents(folder, made);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw fileError(error, 'create', folder);
    throw new HoldfastError('HF_NOT_DIRECTORY', `${folder} is not a directory`, { cause: error });
  }
}

/** @throws HF_EXISTS when a store is there, HF_NOT_OURS when something else is, HF_IO. */
export async function checkEmpty(folder: string): Promise<void> {
  const names = await listFolder(folder);
  if (names.includes(LABEL_NAME)) {
    throw new HoldfastError('HF_EXISTS', `the folder ${folder} is a store already`);
  }
  // A filesystem that was just made has this one.
  const foreign = names.find((name) => name !== 'lost+found');
  if (foreign !== undefined) {
    throw new HoldfastError('HF_NOT_OURS', `the folder ${folder} is not empty (${foreign})`);
  }
}

export async function listFolder(folder: string): Promise<string[]> {
  try {
    return await fs.readdir(folder);
  } catch (error) {
    throw fileError(error, 'list', folder);
  }
}

/** Writes `holdfast.json`: from now on the folder is a store. */
export async function writeLabel(folder: string, label: StoreLabel): Promise<void> {
  const text = `${JSON.stringify({ note: LABEL_NOTE, format: LABEL_FORMAT, ...label }, null, 2)}\n`;
  await makeWhole(join(folder, LABEL_NAME), async (path) => {
    await fs.writeFile(path, text, { flag: 'wx', mode: 0o600, flush: true });
  });
}

/** @throws HF_NOT_FOUND for the folder, HF_NOT_OURS, HF_UNSUPPORTED for a later format, HF_IO. */
export async function readLabel(folder: string): Promise<StoreLabel> {
  const names = await listFolder(folder);
  if (!names.includes(LABEL_NAME)) {
    throw new HoldfastError('HF_NOT_OURS', `the folder ${folder} is no store: no ${LABEL_NAME}`);
  }
  const path = join(folder, LABEL_NAME);
  try {
    return parseLabel(await fs.readFile(path, 'utf8'), path);
  } catch (error) {
    throw fileError(error, 'read', path);
  }
}

function parseLabel(text: string, path: string): StoreLabel {
  let fields: Partial<Record<string, unknown>>;
  try {
    fields = Object(JSON.parse(text)) as Record<string, unknown>;
  } catch (error) {
    throw new HoldfastError('HF_NOT_OURS', `${path} is not readable`, { cause: error });
  }
  const { format, uuid, capacityBytes } = fields;
  if (format !== LABEL_FORMAT) {
    const code = typeof format === 'number' ? 'HF_UNSUPPORTED' : 'HF_NOT_OURS';
    throw new HoldfastError(code, `${path}: unknown format ${String(format)}`);
  }
  if (typeof uuid !== 'string' || !isHexId(uuid)) {
    throw new HoldfastError('HF_NOT_OURS', `${path}: no valid uuid`);
  }
  if (typeof capacityBytes !== 'number' || !isBlockMultiple(capacityBytes)) {
    throw new HoldfastError('HF_NOT_OURS', `${path}: no valid capacity`);
  }
  return { uuid: uuid as DeviceId, capacityBytes };
}

/** Numbers of the segments, in order. @throws HF_CORRUPT when one is missing in between. */
export async function listSegments(folder: string): Promise<number[]> {
  const names = await listFolder(folder);
  const numbers = names.map(segmentNumber).filter((number) => number !== undefined);
  numbers.sort((a, b) => a - b);
  const missing = numbers.findIndex((number, index) => number !== index);
  if (missing >= 0 || numbers.length === 0) {
    const number = Math.max(missing, 0);
    throw new HoldfastError('HF_CORRUPT', `the store ${folder} lacks its segment ${number}`);
  }
  return numbers;
}

/** Removes what a crash left unfinished. Only the holder of the store's lock may. */
export async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await listFolder(folder)) {
    if (!name.endsWith(UNFINISHED)) continue;
    const origin = name.slice(0, -UNFINISHED.length);
    if (origin !== LABEL_NAME && segmentNumber(origin) === undefined) continue;
    await fs.rm(join(folder, name));
  }
}

/** Runs `make` on an unfinished name, then gives the file its own; durable when it resolves. */
export async function makeWhole(
  path: string,
  make: (unfinished: string) => Promise<void>,
): Promise<void> {
  const unfinished = path + UNFINISHED;
  try {
    await make(unfinished);
    await fs.rename(unfinished, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await fs.rm(unfinished, { force: true });
    throw fileError(error, 'create', path);
  }
}

/** Makes the names of new folders durable, from `folder` up to the first that was made. */
async function syncParents(folder: string, firstMade: string): Promise<void> {
  for (let made = folder; made.length >= firstMade.length; made = dirname(made)) {
    await syncDirectory(dirname(made));
  }
}
