/**
 * What the operations of {@link Uploads} do to the rows. A part is a committed inode without a name
 * ('I') that a part row ('M') names; when that row goes the inode leaves a release ('G').
 *
 * Invariants: an upload is listed, or over with parts left ('m'), or gone with all its parts; a raw
 * key names one object and an object has one raw key at most.
 */
import { HoldfastError } from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import type { Overlay, Rows } from '../cells/overlay.ts';
import { EMPTY_VALUE, keyAfter, prefixRange, rowsOfTag } from '../cells/rows.ts';
import { checkUncommitted, commitExtents } from '../namespace/extent-ops.ts';
import { type Circumstances, givenInode, namedInode, saveInode } from '../namespace/inode-ops.ts';
import { checkDirectory, checkName, discard, keepDirectory } from '../namespace/link-ops.ts';
import type { Inode, InodeRecord, ObjectCommit, Release } from '../namespace/namespace.ts';
import { commitObject, object, removeObject } from '../namespace/namespace-ops.ts';
import { decodeInodeNumber, inodeKey, objectKey, recordOf } from '../namespace/namespace-rows.ts';
import { newPosix } from '../namespace/posix-part.ts';
import { checkReplaceable } from '../namespace/retention.ts';
import { addRawKey, objectIdAt } from './raw-key-links.ts';
import {
  decodeObjectId,
  decodePart,
  decodeUpload,
  encodePart,
  encodeUpload,
  endedUploadKey,
  endedUploadOf,
  partKey,
  type RawPlace,
  rawKeyKey,
  rawKeyOf,
  uploadKey,
} from './upload-rows.ts';
import {
  PART_NUMBER_MAX,
  type PartChoice,
  type PartCommit,
  type PartRecord,
  type RawObject,
  type UploadCompletion,
  type UploadId,
  type UploadPlace,
  type UploadRecord,
} from './uploads.ts';

/** Parts that one operation lets go of: some 150 bytes of rows each. */
const PARTS_PER_STEP_MAX = 256;
/** Bytes that a sealed key, the headers, or an entity tag may take. */
const ATTRIBUTES_BYTES_MAX = 16 * 1024;

export function createUpload(
  rows: Overlay,
  request: UploadPlace & { readonly attributes: Uint8Array },
  { nowMs }: Circumstances,
): UploadRecord {
  const { bucket, upload, attributes } = request;
  keepDirectory(rows, checkDirectory(rows, bucket));
  checkAttributes(attributes);
  const isUsed = rows.get(uploadKey(bucket, upload)) ?? rows.get(endedUploadKey(request));
  if (isUsed) throw new HoldfastError('HF_EXISTS', 'there is an upload with this id');
  const record = { upload, attributes, createdAtMs: nowMs };
  rows.put(uploadKey(bucket, upload), encodeUpload(record));
  return record;
}

export function findUpload(rows: Rows, { bucket, upload }: UploadPlace): UploadRecord | undefined {
  const key = uploadKey(bucket, upload);
  const value = rows.get(key);
  return value && decodeUpload({ key, value });
}

/** @throws HF_NOT_FOUND. */
function checkUpload(rows: Rows, { bucket, upload }: UploadPlace): void {
  if (rows.get(uploadKey(bucket, upload))) return;
  throw new HoldfastError('HF_NOT_FOUND', 'there is no such upload');
}

function checkAttributes(attributes: Uint8Array): void {
  if (attributes.length <= ATTRIBUTES_BYTES_MAX) return;
  throw new HoldfastError('HF_TOO_LARGE', `${attributes.length} bytes of sealed attributes`);
}

export function listUploads(
  rows: Rows,
  page: { bucket: Inode; after?: UploadId | undefined; limit: number },
): UploadRecord[] {
  const { bucket, after, limit } = page;
  const range = prefixRange(uploadKey(bucket));
  const from = after === undefined ? range.from : keyAfter(uploadKey(bucket, after));
  return rows.range({ from, to: range.to, limit }).map(decodeUpload);
}

// Parts.

export function putPart(
  rows: Overlay,
  commit: PartCommit,
  { nowMs }: Circumstances,
): readonly Release[] {
  const { inode, number, sizeBytes, schemeNumbers, attributes } = commit;
  if (!(Number.isSafeInteger(number) && number >= 1 && number <= PART_NUMBER_MAX)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `part numbers go from 1 to ${PART_NUMBER_MAX}`);
  }
  checkAttributes(attributes);
  checkUpload(rows, commit);
  checkUncommitted(rows, inode);
  commitExtents(rows, commit);
  saveInode(rows, {
    inode,
    type: 'file',
    sizeBytes,
    createdAtMs: nowMs,
    modifiedAtMs: nowMs,
    salt: new Uint8Array(),
    attributes: new Uint8Array(),
    objectId: undefined,
    schemeNumbers,
    isImplicit: false,
    addressKey: undefined,
    posix: newPosix({ mode: 0, uid: 0, gid: 0, linkCount: 0, storedBytes: sizeBytes }, nowMs),
  });
  const key = partKey(commit, number);
  const replaced = rows.get(key);
  rows.put(key, encodePart({ number, inode, sizeBytes, attributes, modifiedAtMs: nowMs }));
  return replaced ? dropPart(rows, decodePart({ key, value: replaced })) : [];
}

export function listParts(
  rows: Rows,
  page: UploadPlace & { after?: number | undefined; limit: number },
): PartRecord[] {
  checkUpload(rows, page);
  const range = prefixRange(partKey(page));
  const from = page.after === undefined ? range.from : keyAfter(partKey(page, page.after));
  return rows.range({ from, to: range.to, limit: page.limit }).map(decodePart);
}

function dropPart(rows: Overlay, { inode }: PartRecord): Release[] {
  const release = discard(rows, givenInode(rows, inode), true);
  return release ? [release] : [];
}

// The end of an upload.

export function completeUpload(
  rows: Overlay,
  completion: UploadCompletion,
  circumstances: Circumstances,
): readonly Release[] {
  const { bucket, parts, commit, rawKey } = completion;
  checkUpload(rows, completion);
  checkParts(rows, completion, parts);
  const released =
    rawKey === undefined
      ? commitObject(rows, commit, circumstances)
      : commitRawObject(rows, { bucket, key: rawKey, commit }, circumstances);
  return [...released, ...endUpload(rows, completion)];
}

/** @throws HF_BAD_ARGUMENT. */
function checkParts(
  rows: Rows,
  { commit, ...place }: UploadCompletion,
  parts: readonly PartChoice[],
): void {
  const there = new Map<number, PartRecord>();
  for (const row of rows.range(prefixRange(partKey(place)))) {
    const part = decodePart(row);
    there.set(part.number, part);
  }
  let sizeBytes = 0;
  let before = 0;
  for (const { number, inode } of parts) {
    const part = there.get(number);
    if (number <= before || part?.inode !== inode) {
      const text = `part ${number} is not there as it was chosen, or not in order`;
      throw new HoldfastError('HF_BAD_ARGUMENT', text, { details: { part: number } });
    }
    before = number;
    sizeBytes += part.sizeBytes;
  }
  if (parts.length > 0 && sizeBytes === commit.sizeBytes) return;
  const text = `${parts.length} parts of ${sizeBytes} bytes make no object of ${commit.sizeBytes}`;
  throw new HoldfastError('HF_BAD_ARGUMENT', text);
}

export function abortUpload(rows: Overlay, place: UploadPlace): readonly Release[] {
  checkUpload(rows, place);
  return endUpload(rows, place);
}

function endUpload(rows: Overlay, place: UploadPlace): Release[] {
  rows.delete(uploadKey(place.bucket, place.upload));
  rows.put(endedUploadKey(place), EMPTY_VALUE);
  return releaseParts(rows, place);
}

/** A page of the parts of an upload that is over; with the last of them its row goes. */
export function releaseParts(rows: Overlay, place: UploadPlace): Release[] {
  if (!rows.get(endedUploadKey(place))) return [];
  const limit = PARTS_PER_STEP_MAX;
  const found = rows.range({ ...prefixRange(partKey(place)), limit });
  const parts = found.map(decodePart);
  rows.need(parts.map(({ inode }) => inodeKey(inode)));
  for (const { key } of found) rows.delete(key);
  if (found.length < limit) rows.delete(endedUploadKey(place));
  return parts.flatMap((part) => dropPart(rows, part));
}

export function endedUploads(rows: Rows): UploadPlace[] {
  return Array.from(rowsOfTag(rows, 'm'), endedUploadOf);
}

// Raw keys.

export function rawObject(rows: Rows, place: RawPlace): InodeRecord | undefined {
  const id = objectIdAt(rows, place);
  return id && object(rows, id);
}

export function commitRawObject(
  rows: Overlay,
  { commit, ...place }: RawPlace & { readonly commit: ObjectCommit },
  circumstances: Circumstances,
): readonly Release[] {
  if (commit.entry) throw new HoldfastError('HF_BAD_ARGUMENT', 'an object has one key');
  checkName(place.key);
  keepDirectory(rows, checkDirectory(rows, place.bucket));
  const oldId = objectIdAt(rows, place);
  const old = oldId && object(rows, oldId);
  if (old) checkReplaceable(rows, [old]);
  if (old && !commit.mayReplace) throw new HoldfastError('HF_EXISTS');
  const released = [...commitObject(rows, commit, circumstances)];
  if (old && oldId !== commit.objectId) released.push(removeObject(rows, oldId, circumstances));
  addRawKey(rows, place, commit.objectId);
  return released;
}

/** Removes the object with its key. @throws HF_NOT_FOUND, HF_WORM. */
export function removeRawObject(
  rows: Overlay,
  place: RawPlace,
  circumstances: Circumstances,
): Release {
  const id = objectIdAt(rows, place);
  if (id === undefined || !object(rows, id)) {
    throw new HoldfastError('HF_NOT_FOUND', 'there is no object with this key');
  }
  return removeObject(rows, id, circumstances);
}

export function listRawObjects(
  rows: Overlay,
  page: { bucket: Inode; after?: Uint8Array | undefined; limit: number },
): RawObject[] {
  const { bucket, after, limit } = page;
  const { from: first, to } = prefixRange(rawKeyKey(bucket));
  const listed: RawObject[] = [];
  let from = after ? keyAfter(rawKeyKey(bucket, after)) : first;
  for (;;) {
    const wanted = limit - listed.length;
    const found = rows.range({ from, to, limit: wanted });
    listed.push(...objectsNamedBy(rows, found));
    const last = found.at(-1);
    if (!last || found.length < wanted || listed.length === limit) return listed;
    from = keyAfter(last.key);
  }
}

/** Without those whose object was removed by its id. */
function objectsNamedBy(rows: Overlay, found: readonly Row[]): RawObject[] {
  const named = found.map((row) => ({
    key: rawKeyOf(row),
    objectKey: objectKey(decodeObjectId(row.value)),
  }));
  rows.need(named.map((each) => each.objectKey));
  const there = named.flatMap(({ key, objectKey: at }) => {
    const value = rows.get(at);
    return value ? [{ key, inode: decodeInodeNumber(value, 'object row') }] : [];
  });
  rows.need(there.map(({ inode }) => inodeKey(inode)));
  return there.map(({ key, inode }) => ({ key, record: recordOf(namedInode(rows, inode)) }));
}
