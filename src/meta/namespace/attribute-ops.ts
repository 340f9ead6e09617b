/** Attributes, plain and extended, and quotas of a tree: operations over rows, as `tree-ops.ts`. */
import { HoldfastError, KiB } from '../../base/index.ts';
import {
  type Circumstances,
  findInode,
  givenInode,
  quotaWithin,
  recharge,
  saveInode,
} from './inode-ops.ts';
import {
  changedRow,
  checkDirectory,
  checkName,
  keepDirectory,
  linksOf,
  posixOf,
  statusOf,
} from './link-ops.ts';
import { inlineOf } from './inline-ops.ts';
import type { Inode, RecordOptions } from './namespace.ts';
import { checkUnlinkable } from './retention.ts';
import {
  decodeQuota,
  decodeSealed,
  encodeQuota,
  encodeSealed,
  nameOfXattr,
  quotaKey,
  xattrKey,
} from './tree-rows.ts';
import { checkOwnership } from './tree-ops.ts';
import type { InodeStatus, Quota, QuotaUsage, Tree } from './tree.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { hasRowWithin, prefixRange } from '../cells/rows.ts';

/** Of a value: Linux's 64 KiB, and room for sealing. */
const XATTR_BYTES_MAX = 64 * KiB + 64;
/** Of one inode. */
const XATTRS_MAX = 1000;

export function getAttributes(
  rows: Rows,
  inode: Inode,
  { withContent = false }: RecordOptions = {},
): InodeStatus | undefined {
  const row = findInode(rows, inode);
  if (!row) return undefined;
  const status = statusOf(rows, row);
  return withContent && row.isInline ? { ...status, inline: inlineOf(rows, row) } : status;
}

export function getXattr(rows: Rows, inode: Inode, name: Uint8Array): Uint8Array | undefined {
  checkName(name);
  givenInode(rows, inode);
  const value = rows.get(xattrKey(inode, name));
  return value && decodeSealed(value, 'extended attribute');
}

export function setXattr(
  rows: Overlay,
  { inode, name, value, mode, permissions }: Parameters<Tree['setXattr']>[0],
  { nowMs }: Circumstances,
): InodeStatus {
  checkName(name);
  checkOwnership({ mode: permissions });
  const before = givenInode(rows, inode);
  const key = xattrKey(inode, name);
  const isPresent = rows.get(key) !== undefined;
  if (mode === 'create' && isPresent) throw new HoldfastError('HF_EXISTS');
  if (mode === 'replace' && !isPresent) throw new HoldfastError('HF_NO_DATA');
  if (value.length > XATTR_BYTES_MAX) {
    throw new HoldfastError('HF_TOO_LARGE', `the attribute has ${value.length} bytes`);
  }
  if (isPresent) checkUnlinkable(rows, before, nowMs);
  else if (listXattrs(rows, inode).length >= XATTRS_MAX) {
    throw new HoldfastError('HF_TOO_LARGE', `an inode has at most ${XATTRS_MAX} attributes`);
  }
  rows.put(key, encodeSealed(value));
  const change = permissions === undefined ? {} : { mode: permissions };
  const changed = changedRow(rows, before, nowMs, change);
  const row = { ...changed, isImplicit: false, hasXattrs: true };
  saveInode(rows, row);
  return statusOf(rows, row);
}

export function listXattrs(rows: Rows, inode: Inode): readonly Uint8Array[] {
  givenInode(rows, inode);
  return rows.range(prefixRange(xattrKey(inode))).map(nameOfXattr);
}

export function removeXattr(
  rows: Overlay,
  { inode, name }: { inode: Inode; name: Uint8Array },
  { nowMs }: Circumstances,
): InodeStatus {
  checkName(name);
  const before = givenInode(rows, inode);
  if (!rows.get(xattrKey(inode, name))) throw new HoldfastError('HF_NO_DATA');
  checkUnlinkable(rows, before, nowMs);
  rows.delete(xattrKey(inode, name));
  const hasXattrs = hasRowWithin(rows, xattrKey(inode)) || undefined;
  const row = { ...changedRow(rows, before, nowMs), hasXattrs };
  saveInode(rows, row);
  return statusOf(rows, row);
}

// Quotas.

/** What is charged goes on being counted when a quota is taken away, so that it can come again. */
export function setQuota(rows: Overlay, directory: Inode, quota: Quota | undefined): void {
  const row = checkDirectory(rows, directory);
  const value = rows.get(quotaKey(directory));
  if (!value && !quota) return;
  const usage = value ? decodeQuota(value).usage : { bytes: 0, inodes: 0 };
  rows.put(quotaKey(directory), encodeQuota({ quota, usage }));
  keepDirectory(rows, row);
}

export function getQuota(
  rows: Rows,
  directory: Inode,
): { quota: Quota; usage: QuotaUsage } | undefined {
  checkDirectory(rows, directory);
  const value = rows.get(quotaKey(directory));
  const { quota, usage } = value ? decodeQuota(value) : {};
  return quota && usage && { quota, usage };
}

export function charge(rows: Overlay, inode: Inode): InodeStatus {
  const row = givenInode(rows, inode);
  const [link] = linksOf(rows, inode);
  const above = link && findInode(rows, link.directory);
  const quotaDirectory = above && quotaWithin(rows, above);
  const posix = posixOf(rows, row);
  if (posix.quotaDirectory === quotaDirectory) return statusOf(rows, row);
  const charged = { ...row, posix: { ...posix, quotaDirectory } };
  recharge(rows, charged);
  return statusOf(rows, charged);
}
