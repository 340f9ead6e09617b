/**
 * The rows of a namespace: docs/formats/rows.md has the table. Every row of an inode lies in the
 * inode's slot, a directory's entries in the directory's, and what is found by an id or an address
 * in the slot that its leading 12 bits name.
 */
import {
  asBuffer,
  assert,
  ByteReader,
  ByteWriter,
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
import { type PosixPart, readPosix, writePosix } from './posix-part.ts';

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

/** Of one link; without it the prefix of all of an inode, where there was one row before links. */
export function backLinkKey(inode: Inode, link?: BackLink): Uint8Array {
  const slot = slotOfInode(inode);
  if (!link) return rowKey(slot, 'P', inode);
  return rowKey(slot, 'P', inode, link.directory, link.name);
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
  /** Of an object: where its 'A' row is; none since the tree has changed its content. */
  readonly addressKey: Uint8Array | undefined;
  /** There since the tree has changed the inode; decides on the version of the value. */
  readonly posix?: PosixPart | undefined;
}

const INODE_TYPES: readonly InodeType[] = [
  'file',
  'directory',
  'symlink',
  'fifo',
  'socket',
  'characterDevice',
  'blockDevice',
];
const VERSION = { plain: 1, posix: 2 } as const;
const IS_IMPLICIT = 1;
const IS_OBJECT = 2;
const IS_HYBRID = 4;
/** An object whose content address is not known. */
const IS_UNADDRESSED = 8;
/** No object, and has a scheme. */
const IS_ENCODED = 16;
const HAS_XATTRS = 32;
/** Its content is in a 'B' row; the stored bytes say how much of that is seen. */
const IS_INLINE = 64;
const FLAGS_MAX = { 1: 7, 2: 127 } as const;

export function encodeInode(row: InodeRow): Uint8Array {
  const { posix, objectId, addressKey } = row;
  assert(!addressKey || objectId, 'only objects have an address key');
  assert(!objectId || addressKey || posix, 'what was put has a content address');
  assert(!row.isImplicit || row.type === 'directory', 'only directories are implicit');
  assert(!row.isInline || (posix && row.type === 'file'), 'only files of the tree are inline');
  assert(!row.hasXattrs || posix, 'the tree has changed what has extended attributes');
  const [firstScheme, ...moreSchemes] = row.schemeNumbers;
  const flags =
    (row.isImplicit ? IS_IMPLICIT : 0) |
    (objectId ? IS_OBJECT : 0) |
    (moreSchemes.length > 0 ? IS_HYBRID : 0) |
    (objectId && !addressKey ? IS_UNADDRESSED : 0) |
    (!objectId && firstScheme !== undefined ? IS_ENCODED : 0) |
    (row.hasXattrs ? HAS_XATTRS : 0) |
    (row.isInline ? IS_INLINE : 0);
  const writer = new ByteWriter(192 + row.attributes.length)
    .u8(posix ? VERSION.posix : VERSION.plain)
    .u8(INODE_TYPES.indexOf(row.type))
    .u8(flags)
    .u16(firstScheme ?? 0)
    .u64(row.sizeBytes)
    .u64(row.createdAtMs)
    .u64(row.modifiedAtMs)
    .bytes(row.salt)
    .bytes(row.attributes);
  if (objectId) writer.raw(fromHex(objectId));
  if (addressKey) writer.raw(addressKey);
  if (moreSchemes.length > 0) writer.u8(moreSchemes.length);
  for (const number of moreSchemes) writer.u16(number);
  return (posix ? writePosix(writer, posix) : writer).finishPooled();
}

/** @throws HF_CORRUPT. */
export function decodeInode(inode: Inode, bytes: Uint8Array): InodeRow {
  const reader = new ByteReader(bytes, `inode row ${inode}`);
  const version = reader.u8();
  if (version !== VERSION.plain && version !== VERSION.posix) {
    throw reader.corrupt(`version ${version} is not known`);
  }
  const type = INODE_TYPES[reader.u8()];
  const flags = reader.u8();
  if (!type) throw reader.corrupt('its type is not known');
  if (flags > FLAGS_MAX[version]) throw reader.corrupt('a flag is not known');
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
    ...objectPart(reader, flags),
    ...((flags & HAS_XATTRS) !== 0 && { hasXattrs: true }),
    ...((flags & IS_INLINE) !== 0 && { isInline: true }),
    schemeNumbers: [
      ...((flags & (IS_OBJECT | IS_ENCODED)) !== 0 ? [firstScheme] : []),
      ...((flags & IS_HYBRID) !== 0 ? moreSchemesOf(reader) : []),
    ],
    posix: version === VERSION.posix ? readPosix(reader) : undefined,
  };
  if (row.isImplicit && type !== 'directory') throw reader.corrupt('a file cannot be implicit');
  if (row.isInline && type !== 'file') throw reader.corrupt('only files are inline');
  reader.end();
  return row;
}

function moreSchemesOf(reader: ByteReader): number[] {
  const count = reader.u8();
  if (count < 1 || count >= LIMITS.encodingsMax) throw reader.corrupt(`${count} more encodings`);
  return Array.from({ length: count }, () => reader.u16());
}

function objectPart(reader: ByteReader, flags: number): Pick<InodeRow, 'objectId' | 'addressKey'> {
  if ((flags & IS_OBJECT) === 0) return { objectId: undefined, addressKey: undefined };
  const objectId = toHex(reader.raw(OBJECT_ID_BYTES)) as ObjectId;
  if ((flags & IS_UNADDRESSED) !== 0) return { objectId, addressKey: undefined };
  return { objectId, addressKey: copyOf(reader.raw(ADDRESS_KEY_BYTES)) };
}

/** What callers see of an inode row. */
export function recordOf(row: InodeRow): InodeRecord {
  const { isImplicit: _isImplicit, addressKey, posix: _posix, ...record } = row;
  return row.objectId && !addressKey ? { ...record, isRewritten: true } : record;
}

/** A value that names an inode: 'D' and 'J' rows. */
export function encodeInodeNumber(inode: Inode): Uint8Array {
  return valueWriter(9).bigU64(inode).finishPooled();
}

export function decodeInodeNumber(bytes: Uint8Array, what: string): Inode {
  const reader = valueReader(bytes, what);
  const inode = reader.bigU64();
  reader.end();
  return inode;
}

/** Version 2 has the part that only extents of the tree need. */
export function encodeExtent(extent: Extent): Uint8Array {
  const { holder, whole } = extent;
  const isPlain = holder === undefined && whole === undefined;
  const writer = new ByteWriter(96 + extent.wrappedKey.length)
    .u8(isPlain ? VERSION.plain : VERSION.posix)
    .u64(extent.lengthBytes)
    .u16(extent.schemeNumber)
    .raw(extent.stripe)
    .bytes(extent.wrappedKey);
  if (isPlain) return writer.finishPooled();
  const { offset, lengthBytes } = whole ?? { offset: 0, lengthBytes: 0 };
  return writer
    .bigU64(holder ?? 0n)
    .u64(offset)
    .u64(lengthBytes)
    .finishPooled();
}

export function decodeExtent({ key, value }: Row): Extent {
  const { rest } = keyReader(key);
  rest.bigU64be();
  const at = rest.bigU64be();
  rest.end();
  const reader = new ByteReader(value, 'extent row');
  const version = reader.u8();
  if (version !== VERSION.plain && version !== VERSION.posix) {
    throw reader.corrupt(`version ${version} is not known`);
  }
  const lengthBytes = reader.u64();
  const schemeNumber = reader.u16();
  const stripe = copyOf(reader.raw(STRIPE_ID_BYTES)) as StripeId;
  const wrappedKey = copyOf(reader.bytes());
  const treePart = version === VERSION.posix ? extentTreePart(reader) : {};
  if (lengthBytes === 0) throw reader.corrupt('it is empty');
  reader.end();
  const encoding = Number(at >> ENCODING_SHIFT);
  const offset = Number(BigInt.asUintN(Number(ENCODING_SHIFT), at));
  if (encoding >= LIMITS.encodingsMax || !Number.isSafeInteger(offset)) {
    throw reader.corrupt('its place is none');
  }
  return { encoding, offset, lengthBytes, stripe, schemeNumber, wrappedKey, ...treePart };
}

function extentTreePart(reader: ByteReader): Pick<Extent, 'holder' | 'whole'> {
  const holder = reader.bigU64();
  const whole = { offset: reader.u64(), lengthBytes: reader.u64() };
  return {
    ...(holder !== 0n && { holder }),
    ...(whole.lengthBytes > 0 && { whole }),
  };
}

/** The 'L' row. */
export function encodeRetention({ retentionMs }: Retention): Uint8Array {
  const writer = valueWriter(10).u8(retentionMs === undefined ? 0 : 1);
  return (retentionMs === undefined ? writer : writer.u64(retentionMs)).finishPooled();
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

/** Which link a back-link row is of, in either form. */
export function linkOf({ key, value }: Row): BackLink {
  const { rest } = keyReader(key);
  rest.bigU64be();
  if (rest.left === 0) return decodeBackLink(value);
  return { directory: rest.bigU64be(), name: copyOf(rest.raw(rest.left)) };
}

/** The value of a row whose key has no link, as all were once. */
export function encodeBackLink({ directory, name }: BackLink): Uint8Array {
  return valueWriter(16 + name.length)
    .bigU64(directory)
    .bytes(name)
    .finishPooled();
}

export function decodeBackLink(bytes: Uint8Array): BackLink {
  const reader = valueReader(bytes, 'back-link row');
  const link = { directory: reader.bigU64(), name: copyOf(reader.bytes()) };
  reader.end();
  return link;
}

/** Of a slot's inodes. */
export interface Usage {
  readonly objectCount: number;
  readonly contentBytes: number;
  /** Of all types; without those, but for objects, that were there before they were counted. */
  readonly inodeCount: number;
}

export function encodeUsage({ objectCount, contentBytes, inodeCount }: Usage): Uint8Array {
  const writer = new ByteWriter(25).u8(VERSION.posix);
  return writer.u64(objectCount).u64(contentBytes).u64(inodeCount).finishPooled();
}

/** Version 1 had no count of inodes. */
export function decodeUsage(bytes: Uint8Array | undefined): Usage {
  if (!bytes) return { objectCount: 0, contentBytes: 0, inodeCount: 0 };
  const reader = new ByteReader(bytes, 'usage row');
  const version = reader.u8();
  if (version !== VERSION.plain && version !== VERSION.posix) {
    throw reader.corrupt(`version ${version} is not known`);
  }
  const objectCount = reader.u64();
  const contentBytes = reader.u64();
  const inodeCount = version === VERSION.posix ? reader.u64() : objectCount;
  reader.end();
  return { objectCount, contentBytes, inodeCount };
}
