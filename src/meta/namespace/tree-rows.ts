/**
 * The rows that only the tree has, beside those of `namespace-rows.ts`: docs/formats/rows.md. All
 * of an inode lie in its slot.
 */
import { keyText, STRIPE_ID_BYTES, type StripeId } from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import { copyOf, keyReader, rowKey, valueReader, valueWriter } from '../cells/rows.ts';
import type { Inode } from './namespace.ts';
import { slotOfInode } from './namespace-rows.ts';
import type { Quota, QuotaUsage } from './tree.ts';

// Keys.

/** The sealed target of a symlink. */
export function targetKey(inode: Inode): Uint8Array {
  return rowKey(slotOfInode(inode), 'S', inode);
}

/** Content of a file that has no extents. */
export function inlineKey(inode: Inode): Uint8Array {
  return rowKey(slotOfInode(inode), 'B', inode);
}

/** Without a name: the prefix of an inode's extended attributes. */
export function xattrKey(inode: Inode, name: Uint8Array = new Uint8Array()): Uint8Array {
  return rowKey(slotOfInode(inode), 'X', inode, name);
}

export function quotaKey(directory: Inode): Uint8Array {
  return rowKey(slotOfInode(directory), 'Q', directory);
}

/** The inode has no link, and somebody may have it open. */
export function orphanKey(inode: Inode): Uint8Array {
  return rowKey(slotOfInode(inode), 'O', inode);
}

/** This write was committed. */
export function writeKey(write: Inode): Uint8Array {
  return rowKey(slotOfInode(write), 'W', write);
}

/** Without a stripe: the prefix of an inode's loose stripes. */
export function looseKey(inode: Inode, loose?: { holder: Inode; stripe: StripeId }): Uint8Array {
  const slot = slotOfInode(inode);
  return loose ? rowKey(slot, 'F', inode, loose.holder, loose.stripe) : rowKey(slot, 'F', inode);
}

/** The inode that a key begins with, behind its tag. */
export function inodeOfKey(key: Uint8Array): Inode {
  return keyReader(key).rest.bigU64be();
}

export function nameOfXattr({ key }: Row): Uint8Array {
  const { rest } = keyReader(key);
  rest.bigU64be();
  return copyOf(rest.raw(rest.left));
}

export function looseOfKey(key: Uint8Array): { holder: Inode; stripe: StripeId } {
  const { rest } = keyReader(key);
  rest.bigU64be();
  const holder = rest.bigU64be();
  const stripe = copyOf(rest.raw(STRIPE_ID_BYTES)) as StripeId;
  rest.end();
  return { holder, stripe };
}

export function looseText(holder: Inode, stripe: StripeId): string {
  return `${holder} ${keyText(stripe)}`;
}

// Values.

/** 'S', 'X' and 'B' rows: sealed bytes. */
export function encodeSealed(bytes: Uint8Array): Uint8Array {
  return valueWriter(8 + bytes.length)
    .bytes(bytes)
    .finish();
}

export function decodeSealed(value: Uint8Array, what: string): Uint8Array {
  const reader = valueReader(value, what);
  const bytes = copyOf(reader.bytes());
  reader.end();
  return bytes;
}

export interface QuotaRow {
  /** `undefined`: it was taken away; what is charged goes on being counted. */
  readonly quota: Quota | undefined;
  readonly usage: QuotaUsage;
}

const IS_SET = 1;
const HAS_BYTES = 2;
const HAS_INODES = 4;

export function encodeQuota({ quota, usage }: QuotaRow): Uint8Array {
  const { bytesMax, inodesMax } = quota ?? {};
  const flags =
    (quota ? IS_SET : 0) |
    (bytesMax === undefined ? 0 : HAS_BYTES) |
    (inodesMax === undefined ? 0 : HAS_INODES);
  return valueWriter(34)
    .u8(flags)
    .u64(bytesMax ?? 0)
    .u64(inodesMax ?? 0)
    .u64(usage.bytes)
    .u64(usage.inodes)
    .finish();
}

/** @throws HF_CORRUPT. */
export function decodeQuota(value: Uint8Array): QuotaRow {
  const reader = valueReader(value, 'quota row');
  const flags = reader.u8();
  if (flags > (IS_SET | HAS_BYTES | HAS_INODES)) throw reader.corrupt('a flag is not known');
  const bytesMax = reader.u64();
  const inodesMax = reader.u64();
  const usage = { bytes: reader.u64(), inodes: reader.u64() };
  reader.end();
  if ((flags & IS_SET) === 0) return { quota: undefined, usage };
  const quota = {
    bytesMax: (flags & HAS_BYTES) === 0 ? undefined : bytesMax,
    inodesMax: (flags & HAS_INODES) === 0 ? undefined : inodesMax,
  };
  return { quota, usage };
}
