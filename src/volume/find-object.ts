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
import { parseKey } from './keys.ts';
import type { Names } from './list.ts';

/** @throws HF_NOT_FOUND. */
export async function findObject(
  names: Names,
  reference: string,
  volume: VolumeRecord,
): Promise<InodeRecord> {
  const { object } = await search(names, reference);
  return object ?? throwMissing(reference, volume);
}

/** The same, or by its key a file that only the tree has made. @throws HF_NOT_FOUND. */
export async function findContent(
  names: Names,
  reference: string,
  volume: VolumeRecord,
): Promise<InodeRecord> {
  const { object, named } = await search(names, reference);
  if (object) return object;
  if (named?.type !== 'file') throwMissing(reference, volume);
  // One that was never written is stored in no way yet.
  const isStored = named.schemeNumbers.length > 0;
  const schemeNumbers = isStored ? named.schemeNumbers : policyNumbers(volume.policy);
  return { ...named, schemeNumbers, isRewritten: true };
}

interface Found {
  readonly object: InodeRecord | undefined;
  /** What has the reference as its key: no object, if only the tree has made it. */
  readonly named?: InodeRecord | undefined;
}

async function search({ namespace, tree }: Names, reference: string): Promise<Found> {
  if (isHexId(reference)) {
    const object = await namespace.object(reference as ObjectId);
    if (object) return { object };
  }
  const named = await tree.lookup(parseKey(reference));
  assert(named?.type !== 'directory', 'names of directories end in /');
  if (named?.objectId !== undefined) return { object: named };
  if (!isAddress(reference)) return { object: undefined, named };
  const [oldest] = await namespace.objectsByAddress(tree.addressKey(reference));
  return { object: oldest, named };
}

function throwMissing(reference: string, { name }: VolumeRecord): never {
  throw new HoldfastError(
    'HF_NOT_FOUND',
    `"${reference}" is no id, key or address of an object in volume "${name}"`,
  );
}
