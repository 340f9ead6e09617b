/** What a reference leads to: an id, a key or a content address, tried in this order. */
import {
  assert,
  HoldfastError,
  isAddress,
  isHexId,
  type ObjectId,
  policyNumbers,
} from '../base/index.ts';
import type { InodeRecord, VolumeRecord } from '../meta/index.ts';
import { inodeOfId } from './file-ids.ts';
import { parseKey } from './keys.ts';
import type { Names } from './list.ts';

/** An object or a file that only the tree has made. @throws HF_NOT_FOUND. */
export async function findContent(
  names: Names,
  reference: string,
  volume: VolumeRecord,
): Promise<InodeRecord> {
  const found = await search(names, reference);
  if (found?.type !== 'file') throwMissing(reference, volume);
  return withContent(found, volume);
}

/** The same, or anything else but a directory. @throws HF_NOT_FOUND. */
export async function findNamed(
  names: Names,
  reference: string,
  volume: VolumeRecord,
): Promise<InodeRecord> {
  const found = await search(names, reference);
  return found ? withContent(found, volume) : throwMissing(reference, volume);
}

/** What only the tree has made as {@link InodeRecord} has an object that was written in place. */
export function withContent<Found extends InodeRecord>(found: Found, volume: VolumeRecord): Found {
  if (found.objectId !== undefined) return found;
  // One that was never written is stored in no way yet.
  const isStored = found.schemeNumbers.length > 0;
  const schemeNumbers = isStored ? found.schemeNumbers : policyNumbers(volume.policy);
  return { ...found, schemeNumbers, isRewritten: true };
}

async function search(names: Names, reference: string): Promise<InodeRecord | undefined> {
  const { namespace, tree } = names;
  const byId = isHexId(reference) ? await withId(names, reference) : undefined;
  if (byId) return byId;
  const named = await tree.lookup(parseKey(reference));
  assert(named?.type !== 'directory', 'names of directories end in /');
  if (named || !isAddress(reference)) return named;
  const [oldest] = await namespace.objectsByAddress(tree.addressKey(reference));
  return oldest;
}

async function withId({ namespace }: Names, id: string): Promise<InodeRecord | undefined> {
  const inode = inodeOfId(id);
  if (inode === undefined) return await namespace.object(id as ObjectId);
  const record = await namespace.record(inode);
  if (!record || record.type === 'directory' || record.objectId !== undefined) return undefined;
  // What was removed and is still open has no name.
  return (await namespace.entryOf(inode)) ? record : undefined;
}

function throwMissing(reference: string, { name }: VolumeRecord): never {
  throw new HoldfastError(
    'HF_NOT_FOUND',
    `"${reference}" is no id, key or address of a file in volume "${name}"`,
  );
}
