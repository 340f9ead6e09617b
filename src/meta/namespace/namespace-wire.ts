/** The operations of {@link Namespace} between nodes. */
import * as v from 'valibot';
import { isHexId, LIMITS, type ObjectId } from '../../base/index.ts';
import {
  bytes,
  type CellMethods,
  changes,
  concatenated,
  inode,
  limit,
  noArgs,
  nothing,
  partsInOrder,
  picked,
  reads,
  schemeNumber,
  stripe,
  whole,
  wholeUpTo,
} from '../remote/cell-methods.ts';
import type { Namespace } from './namespace.ts';
import { slotNear } from './inode-ops.ts';
import { ALLOCATION_MAX } from './namespace-cell.ts';
import { ADDRESS_KEY_BYTES, slotOfInode } from './namespace-rows.ts';

const objectId = v.custom<ObjectId>((value) => typeof value === 'string' && isHexId(value));
const addressKey = v.custom<Uint8Array>(
  (value) => value instanceof Uint8Array && value.length === ADDRESS_KEY_BYTES,
);

export const schemeNumbers = v.pipe(v.array(schemeNumber), v.maxLength(LIMITS.encodingsMax));
const near = v.union([v.object({ inode }), v.object({ objectId })]);
export const pageOfInodes = v.pipe(v.array(inode), v.maxLength(LIMITS.listPageMax));
/** Opened at most 16 KiB. */
export const inline = v.object({ sealed: bytes, lengthBytes: whole });
export const recordOptions = v.optional(v.object({ withContent: v.optional(v.boolean()) }));
export const record = v.object({
  inode,
  type: v.picklist([
    'file',
    'directory',
    'symlink',
    'fifo',
    'socket',
    'characterDevice',
    'blockDevice',
  ]),
  sizeBytes: whole,
  createdAtMs: whole,
  modifiedAtMs: whole,
  salt: bytes,
  attributes: bytes,
  objectId: v.undefinedable(objectId),
  schemeNumbers,
  isRewritten: v.optional(v.boolean()),
  hasXattrs: v.optional(v.boolean()),
  isInline: v.optional(v.boolean()),
  inline: v.optional(inline),
});
const dirent = v.object({ name: bytes, record });
const extentPlace = v.object({ encoding: wholeUpTo(LIMITS.encodingsMax - 1), offset: whole });
export const extent = v.object({
  ...extentPlace.entries,
  lengthBytes: whole,
  stripe,
  schemeNumber,
  wrappedKey: bytes,
  holder: v.optional(inode),
  whole: v.optional(v.object({ offset: whole, lengthBytes: whole })),
});
export const release = v.object({ inode });
const place = v.object({ directory: inode, name: bytes });

export const commit = v.object({
  inode,
  createdAtMs: whole,
  objectId,
  sizeBytes: whole,
  schemeNumbers,
  attributes: bytes,
  addressKey,
  extents: v.array(extent),
  entry: v.optional(place),
  mayReplace: v.boolean(),
});

const reencoding = v.object({
  inode,
  replaces: inode,
  sizeBytes: whole,
  schemeNumbers,
  attributes: bytes,
  addressKey,
  extents: v.array(extent),
  xattrs: v.optional(
    v.object({
      sealed: v.array(v.object({ name: bytes, value: bytes })),
      baseChange: v.pipe(v.bigint(), v.minValue(0n), v.maxValue(2n ** 64n - 1n)),
    }),
  ),
});

const newDirectory = v.object({
  parent: inode,
  name: bytes,
  salt: bytes,
  attributes: bytes,
  isImplicit: v.boolean(),
});
const page = v.object({
  directory: inode,
  after: v.optional(bytes),
  limit: v.exactOptional(limit),
});
const objectPage = v.object({ after: v.optional(objectId), limit: v.exactOptional(limit) });

export type Page = readonly [{ readonly limit?: number }];

export const NAMESPACE_METHODS: CellMethods<Namespace> = {
  allocateInodes: changes(
    v.tuple([v.pipe(wholeUpTo(ALLOCATION_MAX), v.minValue(1)), v.optional(near)]),
    inode,
    ([, of]) => slotNear(of),
  ),
  record: reads(v.tuple([inode, recordOptions]), v.undefinedable(record), ([of]) =>
    slotOfInode(of),
  ),
  records: reads(v.tuple([pageOfInodes]), v.array(v.undefinedable(record)), {
    slots: ([inodes]) => inodes.map(slotOfInode),
    pick: ([inodes], indexes) => [picked(inodes, indexes)],
    join: partsInOrder,
  }),
  lookup: reads(v.tuple([inode, bytes]), v.undefinedable(dirent), ([of]) => slotOfInode(of)),
  makeDirectory: changes(v.tuple([newDirectory]), dirent, ([{ parent }]) => slotOfInode(parent)),
  list: reads(v.tuple([page]), v.array(dirent), ([{ directory }]) => slotOfInode(directory)),
  object: reads(v.tuple([objectId]), v.undefinedable(record), ([id]) => slotOfObject(id)),
  objectsByAddress: reads(v.tuple([addressKey]), v.array(record), ([key]) => slotOfBytes(key)),
  listObjects: reads(v.tuple([objectPage]), v.array(record), {
    from: ([{ after }]) => (after === undefined ? 0 : slotOfObject(after)),
    merge: (pages, args) => pages.flat().slice(0, pageLimit(args)),
    isEnough: (pages, args) => pages.flat().length >= pageLimit(args),
  }),
  entryOf: reads(v.tuple([inode]), v.undefinedable(place), ([of]) => slotOfInode(of)),
  extents: reads(v.tuple([inode, v.optional(extentPlace)]), v.array(extent), ([of]) =>
    slotOfInode(of),
  ),
  stageExtents: changes(v.tuple([inode, v.array(extent)]), v.void(), ([of]) => slotOfInode(of)),
  commitObject: changes(v.tuple([commit]), v.array(release), ([of]) => slotOfInode(of.inode)),
  reencodeObject: changes(v.tuple([reencoding]), release, ([of]) => slotOfInode(of.inode)),
  protect: changes(v.tuple([v.object({ retentionMs: v.undefinedable(whole) })]), v.void(), {
    merge: nothing,
  }),
  removeObject: changes(v.tuple([objectId]), release, ([id]) => slotOfObject(id)),
  removeFile: changes(v.tuple([inode]), release, ([of]) => slotOfInode(of)),
  refuse: changes(v.tuple([inode]), v.picklist(['committed', 'refused']), ([of]) =>
    slotOfInode(of),
  ),
  isToRelease: reads(v.tuple([inode]), v.boolean(), ([of]) => slotOfInode(of)),
  releases: reads(noArgs, v.array(release), { merge: concatenated }),
  finishRelease: changes(v.tuple([release, v.array(extentPlace)]), v.void(), ([of]) =>
    slotOfInode(of.inode),
  ),
  usage: reads(noArgs, v.object({ objectCount: whole, contentBytes: whole }), {
    merge: (parts) => ({
      objectCount: parts.reduce((sum, { objectCount }) => sum + objectCount, 0),
      contentBytes: parts.reduce((sum, { contentBytes }) => sum + contentBytes, 0),
    }),
  }),
};

export function pageLimit([{ limit: most }]: Page): number {
  return Math.min(most ?? LIMITS.listPageMax, LIMITS.listPageMax);
}

function slotOfObject(id: ObjectId): number {
  return Number.parseInt(id.slice(0, 3), 16);
}

function slotOfBytes(key: Uint8Array): number {
  return ((key[0] as number) << 4) | ((key[1] as number) >> 4);
}
