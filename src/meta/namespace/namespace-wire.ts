/** The operations of {@link Namespace} between nodes. */
import * as v from 'valibot';
import { isHexId, LIMITS, type ObjectId } from '../../base/index.ts';
import {
  bytes,
  type CellMethods,
  changes,
  inode,
  limit,
  nothing,
  reads,
  schemeNumber,
  stripe,
  whole,
  wholeUpTo,
} from '../remote/cell-methods.ts';
import type { Namespace } from './namespace.ts';
import { ALLOCATION_MAX } from './namespace-cell.ts';
import { ADDRESS_KEY_BYTES } from './namespace-rows.ts';

const objectId = v.custom<ObjectId>((value) => typeof value === 'string' && isHexId(value));
const addressKey = v.custom<Uint8Array>(
  (value) => value instanceof Uint8Array && value.length === ADDRESS_KEY_BYTES,
);

const schemeNumbers = v.pipe(v.array(schemeNumber), v.maxLength(LIMITS.encodingsMax));
const record = v.object({
  inode,
  type: v.picklist(['file', 'directory', 'symlink']),
  sizeBytes: whole,
  createdAtMs: whole,
  modifiedAtMs: whole,
  salt: bytes,
  attributes: bytes,
  objectId: v.undefinedable(objectId),
  schemeNumbers,
});
const dirent = v.object({ name: bytes, record });
const extentPlace = v.object({ encoding: wholeUpTo(LIMITS.encodingsMax - 1), offset: whole });
const extent = v.object({
  ...extentPlace.entries,
  lengthBytes: whole,
  stripe,
  schemeNumber,
  wrappedKey: bytes,
});
const release = v.object({ inode });
const place = v.object({ directory: inode, name: bytes });

const commit = v.object({
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

export const NAMESPACE_METHODS: CellMethods<Namespace> = {
  allocateInodes: changes(v.tuple([v.pipe(wholeUpTo(ALLOCATION_MAX), v.minValue(1))]), inode),
  record: reads(v.tuple([inode]), v.undefinedable(record)),
  lookup: reads(v.tuple([inode, bytes]), v.undefinedable(dirent)),
  makeDirectory: changes(v.tuple([newDirectory]), dirent),
  list: reads(v.tuple([page]), v.array(dirent)),
  object: reads(v.tuple([objectId]), v.undefinedable(record)),
  objectsByAddress: reads(v.tuple([addressKey]), v.array(record)),
  listObjects: reads(v.tuple([objectPage]), v.array(record)),
  entryOf: reads(v.tuple([inode]), v.undefinedable(place)),
  extents: reads(v.tuple([inode, v.optional(extentPlace)]), v.array(extent)),
  stageExtents: changes(v.tuple([inode, v.array(extent)]), v.void()),
  commitObject: changes(v.tuple([commit]), v.array(release)),
  reencodeObject: changes(v.tuple([reencoding]), release),
  protect: changes(v.tuple([v.object({ retentionMs: v.undefinedable(whole) })]), v.void()),
  removeObject: changes(v.tuple([objectId]), release),
  refuse: changes(v.tuple([inode]), v.picklist(['committed', 'refused'])),
  releases: reads(nothing, v.array(release)),
  finishRelease: changes(v.tuple([release, v.array(extentPlace)]), v.void()),
  usage: reads(nothing, v.object({ objectCount: whole, contentBytes: whole })),
};
