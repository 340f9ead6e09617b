/** The operations of {@link Uploads} between nodes: all to the cell of the bucket. */
import * as v from 'valibot';
import { isHexId } from '../../base/index.ts';
import {
  bytes,
  type CellMethods,
  changes,
  concatenated,
  inode,
  limit,
  noArgs,
  reads,
  whole,
  wholeUpTo,
} from '../remote/cell-methods.ts';
import type { Inode } from '../namespace/namespace.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import { commit, extent, record, release, schemeNumbers } from '../namespace/namespace-wire.ts';
import { PART_NUMBER_MAX, type UploadId, type Uploads } from './uploads.ts';

const upload = v.custom<UploadId>((value) => typeof value === 'string' && isHexId(value));
const place = { bucket: inode, upload };
const number = v.pipe(wholeUpTo(PART_NUMBER_MAX), v.minValue(1));
const pageSize = { limit: v.exactOptional(limit) };

const uploadRecord = v.object({ upload, attributes: bytes, createdAtMs: whole });
const partRecord = v.object({
  number,
  inode,
  sizeBytes: whole,
  attributes: bytes,
  modifiedAtMs: whole,
});
const newPart = v.object({
  ...place,
  number,
  inode,
  sizeBytes: whole,
  schemeNumbers,
  attributes: bytes,
  extents: v.array(extent),
});
const completion = v.object({
  ...place,
  parts: v.pipe(v.array(v.object({ number, inode })), v.maxLength(PART_NUMBER_MAX)),
  commit,
  rawKey: v.optional(bytes),
});
const releases = v.array(release);

const ofBucket = ([of]: readonly [{ readonly bucket: Inode }]): number => slotOfInode(of.bucket);

export const UPLOAD_METHODS: CellMethods<Uploads> = {
  createUpload: changes(
    v.tuple([v.object({ ...place, attributes: bytes })]),
    uploadRecord,
    ofBucket,
  ),
  upload: reads(v.tuple([v.object(place)]), v.undefinedable(uploadRecord), ofBucket),
  listUploads: reads(
    v.tuple([v.object({ bucket: inode, after: v.optional(upload), ...pageSize })]),
    v.array(uploadRecord),
    ofBucket,
  ),
  putPart: changes(v.tuple([newPart]), releases, ofBucket),
  listParts: reads(
    v.tuple([v.object({ ...place, after: v.optional(whole), ...pageSize })]),
    v.array(partRecord),
    ofBucket,
  ),
  completeUpload: changes(v.tuple([completion]), releases, ofBucket),
  abortUpload: changes(v.tuple([v.object(place)]), releases, ofBucket),
  endedUploads: reads(noArgs, v.array(v.object(place)), { merge: concatenated }),
  releaseParts: changes(v.tuple([v.object(place)]), releases, ofBucket),
  rawObject: reads(v.tuple([inode, bytes]), v.undefinedable(record), ([of]) => slotOfInode(of)),
  commitRawObject: changes(
    v.tuple([v.object({ bucket: inode, key: bytes, commit })]),
    releases,
    ofBucket,
  ),
  removeRawObject: changes(v.tuple([inode, bytes]), release, ([of]) => slotOfInode(of)),
  listRawObjects: reads(
    v.tuple([v.object({ bucket: inode, after: v.optional(bytes), ...pageSize })]),
    v.array(v.object({ key: bytes, record })),
    ofBucket,
  ),
};
