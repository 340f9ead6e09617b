/**
 * The rows of a namespace: docs/formats/rows.md has the table. Every row of an inode lies in the
 * inode's slot, a directory's entries in the directory's, and what is found by an id or an address
 * in the slot that its leading 12 bits name.
 */
import {
  asBuffer,
  assert,
  type ByteReader,
  fromHex,
  LIMITS,
  type ObjectId,
  STRIPE_ID_BYTES,
  type StripeId,
  toHex,
} from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import type { Extent, ExtentPlace, Inode, InodeRecord, InodeType, Retention } from './namespace.ts';
import { CELL_SLOT, copyOf, keyReader, rowKey, valueReader, valueWriter } from '../cells/rows.ts';

export const ADDRESS_KEY_BYTES = 32;
const OBJECT_ID_BYTES = 16;
const COUNTER_BITS = 52n;
const ENCODING_SHIFT = 56n;

export function slotOfInode(inode: Inode): number {
  return Number(inode >> COUNTER_BITS);
}

export function makeInode(slot: number, counter: number): Inode {
  return (BigInt(slot) << COUNTER_BITS) | BigInt(counter);
}

function slotOfBytes(bytes: Uint8Array): number {
  return asBuffer(bytes).readUInt16BE(0) >> 4;
}

// Keys, one function for each kind of row.

export function inodeKey(inode: Inode): Uint8Array {
  return rowKey(slotOfInode(inode), 'I', inode);
}

/** Without a name: the prefix of a directory's entries. */
export function direntKey(directory: Inode, name: Uint8Array = new Uint8Array()): Uint8Array {
  return rowKey(slotOfInode(directory), 'D', directory, name);
}

/**
 * Without a place: the prefix of an inode's extents. Offsets stay below 2^53, so that the encoding
 * has room above them.
 */
export function extentKey(inode: Inode, place?: ExtentPlace): Uint8Array {
  const slot = slotOfInode(inode);
  if (!place) return rowKey(slot, 'C', inode);
  const at = (BigInt(place.encoding) << ENCODING_SHIFT) | BigInt(place.offset);
  return rowKey(slot, 'C', inode, at);
}

/** Bytes staged for an inode that is not committed. */
export function stagedKey(inode: Inode): Uint8Array {
  return rowKey(slotOfInode(inode), 'T', inode);
}

export function backLinkKey(inode: Inode): Uint8Array {
  return rowKey(slotOfInode(inode), 'P', inode);
}

export function releaseKey(inode: Inode): Uint8Array {
  return rowKey(slotOfInode(inode), 'G', inode);
}

export function refusedKey(inode: Inode): Uint8Array {
  return rowKey(slotOfInode(inode), 'V', inode);
}

export function objectKey(id: ObjectId): Uint8Array {
  const bytes = fromHex(id);
  return rowKey(slotOfBytes(bytes), 'J', bytes);
}

/** Without an inode: the prefix of all objects with this content. */
export function addressRowKey(addressKey: Uint8Array, inode?: Inode): Uint8Array {
  const slot = slotOfBytes(addressKey);
  return inode === undefined ? rowKey(slot, 'A', addressKey) : rowKey(slot, 'A', addressKey, inode);
}

/** The next counter of a slot's inode numbers. */
export function nextInodeKey(slot: number): Uint8Array {
  return rowKey(slot, 'N');
}

export function usageKey(slot: number): Uint8Array {
  return rowKey(slot, 'U');
}

/** Of the whole cell: objects are only added, and kept. */
export const PROTECTION_KEY: Uint8Array = rowKey(CELL_SLOT, 'L');

/** The inode that ends an 'A', 'G' or 'V' key. */
export function inodeAtEndOf(key: Uint8Array): Inode {
  return asBuffer(key).readBigUInt64BE(key.length - 8);
}

export function nameOfDirent(row: Row): Uint8Array {
  const { rest } = keyReader(row.key);
  rest.bigU64be();
  return copyOf(rest.raw(rest.left));
}

// Values.

/** An 'I' row: the record, and what of it only the cell needs. */
export interface InodeRow extends InodeRecord {
  /** A directory that vanishes with its last entry. */
  readonly isImplicit: boolean;
  /** Of an object: where its 'A' row is. */
  readonly addressKey: Uint8Array | undefined;
}

const INODE_TYPES: readonly InodeType[] = ['file', 'directory', 'symlink'];
const IS_IMPLICIT = 1;
const IS_OBJECT = 2;
const IS_HYBRID = 4;

export function encodeInode(row: InodeRow): Uint8Array {
  assert(!row.objectId === !row.addressKey, 'an object has an id and an address key');
  assert(!row.isImplicit || row.type === 'directory', 'only directories are implicit');
  const [firstScheme = 0, ...moreSchemes] = row.schemeNumbers;
  const flags =
    (row.isImplicit ? IS_IMPLICIT : 0) |
    (row.objectId ? IS_OBJECT : 0) |
    (moreSchemes.length > 0 ? IS_HYBRID : 0);
  const writer = valueWriter(128 + row.attributes.length)
    .u8(INODE_TYPES.indexOf(row.type))
    .u8(flags)
    .u16(firstScheme)
    .u64(row.sizeBytes)
    .u64(row.createdAtMs)
    .u64(row.modifiedAtMs)
    .bytes(row.salt)
    .bytes(row.attributes);
  if (row.objectId && row.addressKey) writer.raw(fromHex(row.objectId)).raw(row.addressKey);
  if (moreSchemes.length > 0) writer.u8(moreSchemes.length);
  for (const number of moreSchemes) writer.u16(number);
  return writer.finish();
}

/** @throws HF_CORRUPT. */
export function decodeInode(inode: Inode, bytes: Uint8Array): InodeRow {
  const reader = valueReader(bytes, `inode row ${inode}`);
  const type = INODE_TYPES[reader.u8()];
  const flags = reader.u8();
  if (!type) throw reader.corrupt('its type is not known');
  if (flags > (IS_IMPLICIT | IS_OBJECT | IS_HYBRID)) throw reader.corrupt('a flag is not known');
  const isObject = (flags & IS_OBJECT) !== 0;
  const firstScheme = reader.u16();
  const row = {
    inode,
    type,
    isImplicit: (flags & IS_IMPLICIT) !== 0,
    sizeBytes: reader.u64(),
    createdAtMs: reader.u64(),
    modifiedAtMs: reader.u64(),
    salt: copyOf(reader.bytes()),
    attributes: copyOf(reader.bytes()),
    ...objectPart(reader, isObject),
    schemeNumbers: [
      ...(isObject ? [firstScheme] : []),
      ...((flags & IS_HYBRID) !== 0 ? moreSchemesOf(reader) : []),
    ],
  };
  if (row.isImplicit && type !== 'directory') throw reader.corrupt('a file cannot be implicit');
  reader.end();
  return row;
}

function moreSchemesOf(reader: ByteReader): number[] {
  const count = reader.u8();
  if (count < 1 || count >= LIMITS.encodingsMax) throw reader.corrupt(`${count} more encodings`);
  return Array.from({ length: count }, () => reader.u16());
}

function objectPart(
  reader: ByteReader,
  isObject: boolean,
): Pick<InodeRow, 'objectId' | 'addressKey'> {
  if (!isObject) return { objectId: undefined, addressKey: undefined };
  return {
    objectId: toHex(reader.raw(OBJECT_ID_BYTES)) as ObjectId,
    addressKey: copyOf(reader.raw(ADDRESS_KEY_BYTES)),
  };
}

/** What callers see of an inode row. */
export function recordOf(row: InodeRow): InodeRecord {
  const { isImplicit: _isImplicit, addressKey: _addressKey, ...record } = row;
  return record;
}

/** A value that names an inode: 'D' and 'J' rows. */
export function encodeInodeNumber(inode: Inode): Uint8Array {
  return valueWriter(9).bigU64(inode).finish();
}

export function decodeInodeNumber(bytes: Uint8Array, what: string): Inode {
  const reader = valueReader(bytes, what);
  const inode = reader.bigU64();
  reader.end();
  return inode;
}

export function encodeExtent(extent: Extent): Uint8Array {
  return valueWriter(64 + extent.wrappedKey.length)
    .u64(extent.lengthBytes)
    .u16(extent.schemeNumber)
    .raw(extent.stripe)
    .bytes(extent.wrappedKey)
    .finish();
}

export function decodeExtent({ key, value }: Row): Extent {
  const { rest } = keyReader(key);
  rest.bigU64be();
  const at = rest.bigU64be();
  rest.end();
  const reader = valueReader(value, 'extent row');
  const lengthBytes = reader.u64();
  const schemeNumber = reader.u16();
  const stripe = copyOf(reader.raw(STRIPE_ID_BYTES)) as StripeId;
  const wrappedKey = copyOf(reader.bytes());
  if (lengthBytes === 0) throw reader.corrupt('it is empty');
  reader.end();
  const encoding = Number(at >> ENCODING_SHIFT);
  const offset = Number(BigInt.asUintN(Number(ENCODING_SHIFT), at));
  if (encoding >= LIMITS.encodingsMax || !Number.isSafeInteger(offset)) {
    throw reader.corrupt('its place is none');
  }
  return { encoding, offset, lengthBytes, stripe, schemeNumber, wrappedKey };
}

/** The 'L' row. */
export function encodeRetention({ retentionMs }: Retention): Uint8Array {
  const writer = valueWriter(10).u8(retentionMs === undefined ? 0 : 1);
  return (retentionMs === undefined ? writer : writer.u64(retentionMs)).finish();
}

/** @throws HF_CORRUPT. */
export function decodeRetention(bytes: Uint8Array): Retention {
  const reader = valueReader(bytes, 'protection row');
  const kind = reader.u8();
  if (kind > 1) throw reader.corrupt('its kind is not known');
  const retentionMs = kind === 1 ? reader.u64() : undefined;
  reader.end();
  return { retentionMs };
}

export interface BackLink {
  readonly directory: Inode;
  readonly name: Uint8Array;
}

export function encodeBackLink({ directory, name }: BackLink): Uint8Array {
  return valueWriter(16 + name.length)
    .bigU64(directory)
    .bytes(name)
    .finish();
}

export function decodeBackLink(bytes: Uint8Array): BackLink {
  const reader = valueReader(bytes, 'back-link row');
  const link = { directory: reader.bigU64(), name: copyOf(reader.bytes()) };
  reader.end();
  return link;
}

export interface Usage {
  readonly objectCount: number;
  readonly contentBytes: number;
}

export function encodeUsage({ objectCount, contentBytes }: Usage): Uint8Array {
  return valueWriter(17).u64(objectCount).u64(contentBytes).finish();
}

export function decodeUsage(bytes: Uint8Array | undefined): Usage {
  if (!bytes) return { objectCount: 0, contentBytes: 0 };
  const reader = valueReader(bytes, 'usage row');
  const usage = { objectCount: reader.u64(), contentBytes: reader.u64() };
  reader.end();
  return usage;
}
