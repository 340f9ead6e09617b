/**
 * What S3 needs beside the tree of a volume, all of it under the inode of a bucket (a directory).
 *
 * *Upload*: a multipart upload that is neither completed nor aborted. *Part*: content of an inode
 * of its own, committed, numbered by its client. The object of a completed upload does not take the
 * inodes of its parts over: its wrapped keys and references are bound to its own inode. So a writer
 * reads the extents of the parts, stages them for the object's inode with references of its own
 * (their stripes are stored, no content travels), and completes: one operation puts the object
 * there and ends the upload. All parts, used or not, leave releases.
 *
 * *Raw key*: a key that is no path (`a//b`, `..`, a component that is too long), sealed: it names
 * an object by its id. Raw keys of a bucket are ordered by their sealed bytes.
 */
import type { Extent, Inode, InodeRecord, ObjectCommit, Release } from '../namespace/namespace.ts';

/** 32 hexadecimal digits, random, chosen by the client. */
export type UploadId = string;

export interface UploadPlace {
  readonly bucket: Inode;
  readonly upload: UploadId;
}

export interface UploadRecord {
  readonly upload: UploadId;
  /** Sealed by `volume`: the key, headers. */
  readonly attributes: Uint8Array;
  /** By the steward's clock. */
  readonly createdAtMs: number;
}

export interface PartRecord {
  /** From 1 to PART_NUMBER_MAX. */
  readonly number: number;
  readonly inode: Inode;
  readonly sizeBytes: number;
  /** Sealed by `volume`: the entity tag. */
  readonly attributes: Uint8Array;
  /** By the steward's clock. */
  readonly modifiedAtMs: number;
}

/** As S3 has it. */
export const PART_NUMBER_MAX = 10_000;

export interface PartCommit
  extends UploadPlace, Pick<ObjectCommit, 'inode' | 'sizeBytes' | 'schemeNumbers' | 'attributes'> {
  readonly number: number;
  /** Extents not staged yet, as in {@link ObjectCommit}. */
  readonly extents: readonly Extent[];
}

/** A part by its inode: one that was put again since is another one. */
export interface PartChoice {
  readonly number: number;
  readonly inode: Inode;
}

export interface UploadCompletion extends UploadPlace {
  /** Ascending by number, at least one. */
  readonly parts: readonly PartChoice[];
  /** Of the object; without an `entry` when it gets a raw key. */
  readonly commit: ObjectCommit;
  readonly rawKey?: Uint8Array | undefined;
}

export interface RawObject {
  /** As given: sealed. */
  readonly key: Uint8Array;
  readonly record: InodeRecord;
}

/** Errors of all methods that name an upload: HF_NOT_FOUND when there is none (NoSuchUpload). */
export interface Uploads {
  /** @throws HF_NOT_FOUND, HF_NOT_DIRECTORY of the bucket; HF_EXISTS when the id is used. */
  createUpload(request: UploadPlace & { readonly attributes: Uint8Array }): Promise<UploadRecord>;
  upload(place: UploadPlace): Promise<UploadRecord | undefined>;
  /** In the order of their ids after `after`, at most LIMITS.listPageMax. */
  listUploads(request: {
    readonly bucket: Inode;
    readonly after?: UploadId | undefined;
    readonly limit?: number;
  }): Promise<readonly UploadRecord[]>;

  /**
   * Makes a part visible at once and whole; one with the same number is replaced. The inode is
   * committed once, as that of an object, and its references are confirmed afterwards.
   * @returns the release of the part that it replaces.
   * @throws HF_BAD_ARGUMENT for a number that is none, or when the extents do not cover the size;
   *   HF_FENCED when the inode was refused; HF_EXISTS when it was committed.
   */
  putPart(commit: PartCommit): Promise<readonly Release[]>;
  /** By number after `after`, at most LIMITS.listPageMax. */
  listParts(
    request: UploadPlace & { readonly after?: number | undefined; readonly limit?: number },
  ): Promise<readonly PartRecord[]>;

  /**
   * Commits the object and ends the upload, at once. Parts leave their releases in the same step
   * or, of a long list, in further ones ({@link endedUploads}).
   * @returns the releases of what the object replaced, and of parts.
   * @throws HF_BAD_ARGUMENT (InvalidPart) when a part is not there as it was chosen, or their sizes
   *   do not add up; else as `Namespace.commitObject`.
   */
  completeUpload(completion: UploadCompletion): Promise<readonly Release[]>;
  /** Ends the upload. @returns the releases of its parts, some of a long list. */
  abortUpload(place: UploadPlace): Promise<readonly Release[]>;

  /** Uploads that are over and still have parts. */
  endedUploads(): Promise<readonly UploadPlace[]>;
  /** Turns a page of their parts into releases; none are left when it returns none. */
  releaseParts(place: UploadPlace): Promise<readonly Release[]>;

  /** The object with a raw key. */
  rawObject(bucket: Inode, key: Uint8Array): Promise<InodeRecord | undefined>;
  /**
   * `Namespace.commitObject` under a raw key; `mayReplace` is about what has the key, too.
   * @throws HF_BAD_ARGUMENT for a commit with an entry; else as it.
   */
  commitRawObject(request: {
    readonly bucket: Inode;
    readonly key: Uint8Array;
    readonly commit: ObjectCommit;
  }): Promise<readonly Release[]>;
  /** Removes the object with its raw key. @throws HF_NOT_FOUND; HF_WORM. */
  removeRawObject(bucket: Inode, key: Uint8Array): Promise<Release>;
  /** After `after` in the order of the sealed bytes, at most LIMITS.listPageMax. */
  listRawObjects(request: {
    readonly bucket: Inode;
    readonly after?: Uint8Array | undefined;
    readonly limit?: number;
  }): Promise<readonly RawObject[]>;
}
