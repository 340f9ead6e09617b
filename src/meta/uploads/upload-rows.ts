/**
 * The rows of uploads and raw keys: docs/formats/rows.md. All but one kind lie in the bucket's
 * slot; what an object's raw key is lies in the slot of the object's id.
 */
import { fromHex, type ObjectId, toHex } from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import { copyOf, keyReader, rowKey, valueReader, valueWriter } from '../cells/rows.ts';
import type { Inode } from '../namespace/namespace.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import type { PartRecord, UploadId, UploadPlace, UploadRecord } from './uploads.ts';

const UPLOAD_BYTES = 16;
const OBJECT_ID_BYTES = 16;
/** Uploads and their parts are apart, so that uploads can be listed. */
const KIND = { upload: new Uint8Array([0]), part: new Uint8Array([1]) } as const;

// Keys.

/** Without an upload: the prefix of a bucket's. */
export function uploadKey(bucket: Inode, upload: UploadId = ''): Uint8Array {
  return rowKey(slotOfInode(bucket), 'M', bucket, KIND.upload, fromHex(upload));
}

/** Without a number: the prefix of an upload's parts. */
export function partKey({ bucket, upload }: UploadPlace, number?: number): Uint8Array {
  const prefix = [bucket, KIND.part, fromHex(upload)];
  const slot = slotOfInode(bucket);
  return number === undefined
    ? rowKey(slot, 'M', ...prefix)
    : rowKey(slot, 'M', ...prefix, BigInt(number));
}

/** An upload that is over and has parts left. */
export function endedUploadKey({ bucket, upload }: UploadPlace): Uint8Array {
  return rowKey(slotOfInode(bucket), 'm', bucket, fromHex(upload));
}

/** Without a key: the prefix of a bucket's raw keys. */
export function rawKeyKey(bucket: Inode, key: Uint8Array = new Uint8Array()): Uint8Array {
  return rowKey(slotOfInode(bucket), 'Z', bucket, key);
}

/** Where an object's raw key is. */
export function rawKeyOfObjectKey(id: ObjectId): Uint8Array {
  return rowKey(Number.parseInt(id.slice(0, 3), 16), 'z', fromHex(id));
}

export function endedUploadOf({ key }: Row): UploadPlace {
  const { rest } = keyReader(key);
  const place = { bucket: rest.bigU64be(), upload: toHex(rest.raw(UPLOAD_BYTES)) };
  rest.end();
  return place;
}

export function rawKeyOf({ key }: Row): Uint8Array {
  const { rest } = keyReader(key);
  rest.bigU64be();
  return copyOf(rest.raw(rest.left));
}

// Values.

export function encodeUpload({ createdAtMs, attributes }: UploadRecord): Uint8Array {
  return valueWriter(16 + attributes.length)
    .u64(createdAtMs)
    .bytes(attributes)
    .finish();
}

/** @throws HF_CORRUPT. */
export function decodeUpload({ key, value }: Row): UploadRecord {
  const { rest } = keyReader(key);
  rest.bigU64be();
  rest.u8();
  const upload = toHex(rest.raw(UPLOAD_BYTES));
  rest.end();
  const reader = valueReader(value, 'upload row');
  const record = { upload, createdAtMs: reader.u64(), attributes: copyOf(reader.bytes()) };
  reader.end();
  return record;
}

export function encodePart(part: PartRecord): Uint8Array {
  return valueWriter(32 + part.attributes.length)
    .bigU64(part.inode)
    .u64(part.sizeBytes)
    .u64(part.modifiedAtMs)
    .bytes(part.attributes)
    .finish();
}

/** @throws HF_CORRUPT. */
export function decodePart({ key, value }: Row): PartRecord {
  const { rest } = keyReader(key);
  rest.bigU64be();
  rest.u8();
  rest.raw(UPLOAD_BYTES);
  const number = Number(rest.bigU64be());
  rest.end();
  const reader = valueReader(value, 'part row');
  const part = {
    number,
    inode: reader.bigU64(),
    sizeBytes: reader.u64(),
    modifiedAtMs: reader.u64(),
    attributes: copyOf(reader.bytes()),
  };
  reader.end();
  return part;
}

/** A 'Z' row. */
export function encodeObjectId(id: ObjectId): Uint8Array {
  return valueWriter(17).raw(fromHex(id)).finish();
}

/** @throws HF_CORRUPT. */
export function decodeObjectId(value: Uint8Array): ObjectId {
  const reader = valueReader(value, 'raw key row');
  const id = toHex(reader.raw(OBJECT_ID_BYTES)) as ObjectId;
  reader.end();
  return id;
}

export interface RawPlace {
  readonly bucket: Inode;
  readonly key: Uint8Array;
}

/** A 'z' row. */
export function encodeRawPlace({ bucket, key }: RawPlace): Uint8Array {
  return valueWriter(16 + key.length)
    .bigU64(bucket)
    .bytes(key)
    .finish();
}

/** @throws HF_CORRUPT. */
export function decodeRawPlace(value: Uint8Array): RawPlace {
  const reader = valueReader(value, 'row of an object with a raw key');
  const place = { bucket: reader.bigU64(), key: copyOf(reader.bytes()) };
  reader.end();
  return place;
}
