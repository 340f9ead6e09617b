/**
 * What ties raw keys to objects: a 'Z' row for the key, and a 'z' row for the object. Apart from
 * the operations on them: an object that goes takes its raw key along (namespace-ops.ts).
 */
import type { ObjectId } from '../../base/index.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { hasRowWithin, rowKey } from '../cells/rows.ts';
import type { Inode } from '../namespace/namespace.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import {
  decodeObjectId,
  decodeRawPlace,
  encodeObjectId,
  encodeRawPlace,
  type RawPlace,
  rawKeyKey,
  rawKeyOfObjectKey,
} from './upload-rows.ts';

/** The id of the object with this key. */
export function objectIdAt(rows: Rows, { bucket, key }: RawPlace): ObjectId | undefined {
  const value = rows.get(rawKeyKey(bucket, key));
  return value && decodeObjectId(value);
}

export function addRawKey(rows: Overlay, place: RawPlace, id: ObjectId): void {
  rows.put(rawKeyKey(place.bucket, place.key), encodeObjectId(id));
  rows.put(rawKeyOfObjectKey(id), encodeRawPlace(place));
}

/** The object is going, or gets another name: it has no raw key any more, if it had one. */
export function removeRawKey(rows: Overlay, id: ObjectId): void {
  const value = rows.get(rawKeyOfObjectKey(id));
  if (!value) return;
  const place = decodeRawPlace(value);
  rows.delete(rawKeyKey(place.bucket, place.key));
  rows.delete(rawKeyOfObjectKey(id));
}

/** Whether a directory without entries still has objects or uploads, and is not to be removed. */
export function hasRawKeysOrUploads(rows: Rows, bucket: Inode): boolean {
  const slot = slotOfInode(bucket);
  return ['Z', 'M', 'm'].some((tag) => hasRowWithin(rows, rowKey(slot, tag, bucket)));
}
