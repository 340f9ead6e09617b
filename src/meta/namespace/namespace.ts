/**
 * What exists in one volume. A cell orders and compares opaque bytes: names and attributes reach it
 * sealed, `volume` alone seals and opens them. One steward executes the operations of a cell one
 * after the other and answers when their log entry is durable.
 *
 * An object's life: {@link Namespace.allocateInodes} → references pending (`references.ts`) →
 * {@link Namespace.stageExtents} while stripes become durable → {@link Namespace.commitObject}, the
 * commit point → references confirmed. Until the commit nothing of it can be seen. Replacing or
 * removing an object leaves a *release*, durable in the same commit, which says whose references
 * go.
 */
import type { ObjectId, StripeId } from '../../base/index.ts';

/** slot (12 bits) ‖ counter (52 bits). */
export type Inode = bigint;

/** The root directory of every volume. */
export const ROOT_INODE: Inode = 1n;

/** Objects are files; all but files and directories are made by the tree alone (`tree.ts`). */
export type InodeType =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'fifo'
  | 'socket'
  | 'characterDevice'
  | 'blockDevice';

export interface InodeRecord {
  readonly inode: Inode;
  readonly type: InodeType;
  /** Content bytes, of a symlink those of its target; 0 for all others. */
  readonly sizeBytes: number;
  /** By the writer's clock, as it says; of a directory by the steward's. */
  readonly createdAtMs: number;
  /** By the steward's clock: when it was committed. */
  readonly modifiedAtMs: number;
  /** Random bytes of a directory, associated data of its entries' sealed names; else empty. */
  readonly salt: Uint8Array;
  /** Sealed by `volume`: recorded file name, type, content address. May be empty. */
  readonly attributes: Uint8Array;
  /** Set on objects. */
  readonly objectId: ObjectId | undefined;
  /** Numbers of the schemes of the content's encodings (`base/policy.ts`); none without content. */
  readonly schemeNumbers: readonly number[];
  /**
   * Set on objects whose content was written in place: its address is not known, there may be holes
   * (zeros), and encodings but the first may lack parts.
   */
  readonly isRewritten?: boolean | undefined;
  /** Whether it has extended attributes. Those set before rows told of them do not count. */
  readonly hasXattrs?: boolean | undefined;
  /** Set on files whose content is in a row of theirs; then they have no extents. */
  readonly isInline?: boolean | undefined;
  /** That content, where it was asked for. */
  readonly inline?: InlineContent | undefined;
}

/** Small content beside the inode instead of in stripes. */
export interface InlineContent {
  /** By `volume`, for this inode. */
  readonly sealed: Uint8Array;
  /** Of what was sealed so many bytes are content still; zeros follow up to the size. */
  readonly lengthBytes: number;
}

export interface RecordOptions {
  /** With {@link InodeRecord.inline}, as of the same moment. */
  readonly withContent?: boolean | undefined;
}

/** Where in an inode an extent begins. Extents are ordered by encoding, then by offset. */
export interface ExtentPlace {
  readonly encoding: number;
  /** Position of the first byte in the inode's content. */
  readonly offset: number;
}

/** Byte range of an inode, in one of its encodings → stripe. */
export interface Extent extends ExtentPlace {
  readonly lengthBytes: number;
  readonly stripe: StripeId;
  readonly schemeNumber: number;
  /** The stripe's key, wrapped by `volume`. */
  readonly wrappedKey: Uint8Array;
  /** Who holds the reference and is bound to the wrapped key; the inode itself when left out. */
  readonly holder?: Inode | undefined;
  /** Of what was overwritten in part: the range that the stripe holds; else the extent's own. */
  readonly whole?: { readonly offset: number; readonly lengthBytes: number } | undefined;
}

export interface Dirent {
  /** As given: sealed, directories with a trailing '/'. */
  readonly name: Uint8Array;
  readonly record: InodeRecord;
}

/** An inode that is gone, whose references are to be removed. */
export interface Release {
  readonly inode: Inode;
}

export interface ObjectCommit {
  readonly inode: Inode;
  /** By the writer's clock. */
  readonly createdAtMs: number;
  readonly objectId: ObjectId;
  readonly sizeBytes: number;
  /** Of the encodings; the extents of each of them cover the content. */
  readonly schemeNumbers: readonly number[];
  readonly attributes: Uint8Array;
  /** Keyed hash of the content address, 32 bytes: what look-ups by address ask for. */
  readonly addressKey: Uint8Array;
  /**
   * Extents not staged yet, at most 256; with the staged ones those of each encoding cover the size
   * without gaps.
   */
  readonly extents: readonly Extent[];
  /** Where the object's key points to it. An object without a key has none. */
  readonly entry?: { readonly directory: Inode; readonly name: Uint8Array } | undefined;
  /** Whether an object with this id, or an entry with this name, may be replaced. */
  readonly mayReplace: boolean;
}

/**
 * The same object, stored otherwise: a new inode takes the place of another one, with its id, key,
 * times and content address.
 */
export interface Reencoding extends Pick<
  ObjectCommit,
  'inode' | 'sizeBytes' | 'schemeNumbers' | 'attributes' | 'addressKey' | 'extents'
> {
  /** The inode that goes. */
  readonly replaces: Inode;
  /** Left out: it has none. */
  readonly xattrs?: KeptXattrs | undefined;
}

/** Extended attributes of an inode that another one takes over: they are sealed for it. */
export interface KeptXattrs {
  readonly sealed: readonly { readonly name: Uint8Array; readonly value: Uint8Array }[];
  /** The change count (`tree.ts`) of the inode that has them, from before they were read. */
  readonly baseChange: bigint;
}

/** How long objects of a WORM volume are kept. */
export interface Retention {
  /** From the creation of the object; `undefined`: for ever. */
  readonly retentionMs: number | undefined;
}

/** What new inodes are to lie near to: a directory or another inode, or the id of an object. */
export type Nearness = { readonly inode: Inode } | { readonly objectId: ObjectId };

export interface Namespace extends AsyncDisposable {
  /**
   * Numbers never used before in this volume: `count` of them from the result on, all of one slot.
   *
   * @param near decides on the slot: that of the inode (for files, their directory), or for an
   *   object without a key that of its id. What belongs together then lies in one cell.
   */
  allocateInodes(count: number, near?: Nearness): Promise<Inode>;

  record(inode: Inode, options?: RecordOptions): Promise<InodeRecord | undefined>;
  /** The same of many, in their order; at most LIMITS.listPageMax. */
  records(inodes: readonly Inode[]): Promise<readonly (InodeRecord | undefined)[]>;
  lookup(directory: Inode, name: Uint8Array): Promise<Dirent | undefined>;

  /**
   * The entry with this name; made when there is none. `isImplicit` directories vanish with their
   * last entry. @throws HF_NOT_FOUND when the parent is gone; HF_NOT_DIRECTORY when it, or what has
   *   the name, is no directory.
   */
  makeDirectory(request: {
    readonly parent: Inode;
    readonly name: Uint8Array;
    readonly salt: Uint8Array;
    readonly attributes: Uint8Array;
    readonly isImplicit: boolean;
  }): Promise<Dirent>;

  /** Entries after `after` in the order of their name bytes, at most LIMITS.listPageMax. */
  list(request: {
    readonly directory: Inode;
    readonly after?: Uint8Array | undefined;
    readonly limit?: number;
  }): Promise<readonly Dirent[]>;

  object(id: ObjectId): Promise<InodeRecord | undefined>;
  /** All objects with this content, oldest first. */
  objectsByAddress(addressKey: Uint8Array): Promise<readonly InodeRecord[]>;
  /** Objects in the order of their ids, with or without a key; pages as {@link list}. */
  listObjects(request: {
    readonly after?: ObjectId | undefined;
    readonly limit?: number;
  }): Promise<readonly InodeRecord[]>;
  /** Where an inode's name is, the first of several; `undefined` for one without. */
  entryOf(inode: Inode): Promise<{ directory: Inode; name: Uint8Array } | undefined>;

  /**
   * Extents from a place on, in order, at most LIMITS.listPageMax; of released inodes too. None may
   * mean that the content is inline: {@link record} knows.
   */
  extents(inode: Inode, from?: ExtentPlace): Promise<readonly Extent[]>;

  /** Records extents of an inode that is not committed yet, at most 256 a call. */
  stageExtents(inode: Inode, extents: readonly Extent[]): Promise<void>;

  /**
   * Makes the object visible at once and whole. An inode is committed once: after
   * HF_UNKNOWN_OUTCOME ask {@link refuse} whether it was. What is replaced by its name, and has
   * others, keeps those. A file that is replaced gives its owner, group and mode, but for the
   * set-id bits.
   * @returns the releases of what it replaced, but for what somebody has open (`tree.ts`).
   * @throws HF_EXISTS when something stands there and may not be replaced; HF_NOT_FOUND when the
   *   entry's directory is gone (resolve it again); HF_FENCED when this inode was refused;
   *   HF_IS_DIRECTORY when a directory has the name; HF_BAD_ARGUMENT when the extents do not cover
   *   the size; HF_WORM when something would be replaced in a protected volume.
   */
  commitObject(commit: ObjectCommit): Promise<readonly Release[]>;

  /**
   * Puts an object's new encodings in the place of the old ones, at once: a commit of its inode.
   * @returns the release of the inode that it replaces.
   * @throws HF_NOT_FOUND when that one is gone; HF_BAD_ARGUMENT when size or content address differ
   *   from its, or the extents do not cover the size; HF_BUSY when its extended attributes may be
   *   others than those given; else as {@link commitObject}.
   */
  reencodeObject(request: Reencoding): Promise<Release>;

  /**
   * Removes the object with all its names.
   * @returns its release.
   * @throws HF_NOT_FOUND; HF_WORM before the end of its retention.
   */
  removeObject(id: ObjectId): Promise<Release>;

  /**
   * The same for any inode that has a name, but for directories.
   * @throws HF_NOT_FOUND; HF_IS_DIRECTORY; HF_WORM before the end of its retention.
   */
  removeFile(inode: Inode): Promise<Release>;

  /**
   * From now on objects are only added: none is ever replaced, and none removed before its
   * retention ends, by the steward's clock. Said again it can only lengthen the retention.
   */
  protect(retention: Retention): Promise<void>;

  /**
   * Settles an inode whose writer is gone: `committed` when its object is visible (or was), else
   * from now on a commit of it is refused, durably, and a release of its staged extents is left.
   * Once the release of an object is finished, its inode is no longer known.
   */
  refuse(inode: Inode): Promise<'committed' | 'refused'>;

  /** Whether there is a release of the inode that is not finished yet. */
  isToRelease(inode: Inode): Promise<boolean>;
  /** Releases that are not finished yet. */
  releases(): Promise<readonly Release[]>;
  /** The references of these extents are gone: forget them; the last one ends the release. */
  finishRelease(release: Release, extents: readonly ExtentPlace[]): Promise<void>;

  /** What `status` shows: objects and all other files that have a name, and their bytes. */
  usage(): Promise<{ objectCount: number; contentBytes: number }>;
}
