/** {@link Uploads} over a cell: each method is one operation of `upload-ops.ts`. */
import type { Executor } from '../cells/executor.ts';
import type { Circumstances } from '../namespace/inode-ops.ts';
import { pageLimit } from '../namespace/namespace-cell.ts';
import { slotOfInode } from '../namespace/namespace-rows.ts';
import type { UploadPlace, Uploads } from './uploads.ts';
import * as operations from './upload-ops.ts';

export function uploadsOf(executor: Executor, now: () => Circumstances): Uploads {
  return { ...multipartOf(executor, now), ...rawObjectsOf(executor, now) };
}

type RawMethod = 'rawObject' | 'commitRawObject' | 'removeRawObject' | 'listRawObjects';

function atSlotOf({ bucket }: Pick<UploadPlace, 'bucket'>): { slot: number } {
  return { slot: slotOfInode(bucket) };
}

function multipartOf(executor: Executor, now: () => Circumstances): Omit<Uploads, RawMethod> {
  return {
    async createUpload(request) {
      const when = now(); // once: an operation may run several times
      return await executor.execute(
        (rows) => operations.createUpload(rows, request, when),
        atSlotOf(request),
      );
    },
    upload: (place) =>
      executor.execute((rows) => operations.findUpload(rows, place), atSlotOf(place)),
    listUploads: ({ limit, ...page }) =>
      executor.execute(
        (rows) => operations.listUploads(rows, { ...page, limit: pageLimit(limit) }),
        atSlotOf(page),
      ),
    async putPart(commit) {
      const when = now();
      return await executor.execute(
        (rows) => operations.putPart(rows, commit, when),
        atSlotOf(commit),
      );
    },
    listParts: ({ limit, ...page }) =>
      executor.execute(
        (rows) => operations.listParts(rows, { ...page, limit: pageLimit(limit) }),
        atSlotOf(page),
      ),
    async completeUpload(completion) {
      const when = now();
      return await executor.execute(
        (rows) => operations.completeUpload(rows, completion, when),
        atSlotOf(completion),
      );
    },
    abortUpload: (place) =>
      executor.execute((rows) => operations.abortUpload(rows, place), atSlotOf(place)),
    endedUploads: () => executor.execute((rows) => operations.endedUploads(rows)),
    releaseParts: (place) =>
      executor.execute((rows) => operations.releaseParts(rows, place), atSlotOf(place)),
  };
}

function rawObjectsOf(executor: Executor, now: () => Circumstances): Pick<Uploads, RawMethod> {
  return {
    rawObject: (bucket, key) =>
      executor.execute((rows) => operations.rawObject(rows, { bucket, key }), atSlotOf({ bucket })),
    async commitRawObject(request) {
      const when = now();
      return await executor.execute(
        (rows) => operations.commitRawObject(rows, request, when),
        atSlotOf(request),
      );
    },
    async removeRawObject(bucket, key) {
      const when = now();
      return await executor.execute(
        (rows) => operations.removeRawObject(rows, { bucket, key }, when),
        atSlotOf({ bucket }),
      );
    },
    listRawObjects: ({ limit, ...page }) =>
      executor.execute(
        (rows) => operations.listRawObjects(rows, { ...page, limit: pageLimit(limit) }),
        atSlotOf(page),
      ),
  };
}
