/** What a reference leads to: an id, a key or a content address, tried in this order. */
import {
  assert,
  errorCode,
  HoldfastError,
  isAddress,
  isHexId,
  type ObjectId,
  policyNumbers,
} from '../base/index.ts';
import type { InodeRecord, VolumeRecord } from '../meta/index.ts';
import { parseKey } from './keys.ts';
import type { Names } from './list.ts';
import type { SealedTree } from './sealed-tree.ts';

/** @throws HF_NOT_FOUND. */
export async function findObject(
  { namespace, tree }: Names,
  reference: string,
  { name }: VolumeRecord,
): Promise<InodeRecord> {
  if (isHexId(reference)) {
    const record = await namespace.object(reference as ObjectId);
    if (record) return record;
  }
  const byKey = await findByKey(reference, tree);
  if (byKey) return byKey;
  if (isAddress(reference)) {
    const [oldest] = await namespace.objectsByAddress(tree.addressKey(reference));
    if (oldest) return oldest;
  }
  throw new HoldfastError(
    'HF_NOT_FOUND',
    `"${reference}" is no id, key or address of an object in volume "${name}"`,
  );
}

async function findByKey(reference: string, tree: SealedTree): Promise<InodeRecord | undefined> {
  const record = await tree.lookup(parseKey(reference));
  assert(record?.type !== 'directory', 'names of directories end in /');
  // What only the tree has made is no object.
  return record?.objectId === undefined ? undefined : record;
}

/** The same, or by its key a file that only the tree has made. @throws HF_NOT_FOUND. */
export async function findContent(
  names: Names,
  reference: string,
  volume: VolumeRecord,
): Promise<InodeRecord> {
  try {
    return await findObject(names, reference, volume);
  } catch (error) {
    if (errorCode(error) !== 'HF_NOT_FOUND') throw error;
    const record = await names.tree.lookup(parseKey(reference));
    if (record?.type !== 'file') throw error;
    // One that was never written is stored in no way yet.
    const isStored = record.schemeNumbers.length > 0;
    const schemeNumbers = isStored ? record.schemeNumbers : policyNumbers(volume.policy);
    return { ...record, schemeNumbers, isRewritten: true };
  }
}
