/**
 * The tree of a volume as POSIX has it, beside the objects of `namespace.ts` and over the same
 * inodes and entries: an object with a key is a plain file here, and a file made here is found by
 * its key there. Whether a user may do something is the mount's to check; what must not be torn
 * apart is decided here, each call one operation of the cell.
 *
 * *Link*: an entry that names an inode; each has a back-link. *Orphan*: an inode without a link
 * that somebody may have open. *Write*: the number under which a writer holds references to the
 * stripes of one {@link Tree.commitExtents}. *Loose stripe*: one that an inode names no more.
 * Names, symlink targets, names and values of extended attributes come sealed and stay so.
 * After POSIX.1-2024 (rename, link, unlink, times) and Linux rename(2), xattr(7).
 */
import type { ErrorCode } from '../../base/index.ts';
import type {
  DirectoryLease,
  Handles,
  HeldLease,
  LeaseClaim,
  SessionId,
} from '../handles/handles.ts';
import type { CommittedContent, ContentCommit, LooseStripes, NewTime } from './content-commit.ts';
import type { Inode, InodeRecord, InodeType, RecordOptions, Release } from './namespace.ts';

export type {
  CommittedContent,
  ContentCommit,
  ContentRange,
  LooseStripes,
  NewTime,
} from './content-commit.ts';

/**
 * Where something stands or is to stand. A plain name has two sealed forms, and one thing at most
 * is seen under both together: what is made looks at both. Objects put by key may stand under both
 * (`a` and `a/b`); the tree then shows the directory.
 */
export interface Place {
  readonly directory: Inode;
  /** As the entry of a file has it. */
  readonly name: Uint8Array;
  /** As the entry of a directory has it: sealed with a '/' at its end. */
  readonly directoryName: Uint8Array;
}

/** What of an inode only the tree needs. */
export interface InodeStatus extends InodeRecord {
  /** The twelve permission bits; the type is not among them. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a directory 2 and one for each directory in it; 1 when that was never counted. */
  readonly linkCount: number;
  /** Nanoseconds since 1970, below 2^64: what is earlier is 1970, doors see to that. */
  readonly accessedNs: bigint;
  readonly modifiedNs: bigint;
  /** By the steward's clock. */
  readonly changedNs: bigint;
  /** Rises with each change of the inode: of content, attributes, or a directory's entries. */
  readonly changeCount: bigint;
  /** Of a device, else 0. */
  readonly deviceNumber: number;
  /** Content bytes that are stored, inline or in stripes: the size without holes. */
  readonly storedBytes: number;
  /** The directory with a quota that it is charged to. */
  readonly quotaDirectory: Inode | undefined;
}

export interface TreeEntry {
  /** One of the two forms of a {@link Place}. */
  readonly name: Uint8Array;
  readonly status: InodeStatus;
}

/** Whose an inode is. */
export interface Ownership {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface NodeRequest extends Ownership {
  /** Without one an orphan is made (O_TMPFILE), which {@link Tree.link} may give a place. */
  readonly place?: Place | undefined;
  /** A number of `allocateInodes` that nothing uses; else the next one of the directory's slot. */
  readonly inode?: Inode | undefined;
  readonly type: Exclude<InodeType, 'directory'>;
  readonly deviceNumber?: number | undefined;
  /** Of a symlink: the sealed target, and how many bytes it is when opened. */
  readonly target?: { readonly sealed: Uint8Array; readonly sizeBytes: number } | undefined;
  /** As in {@link InodeRecord}. */
  readonly attributes?: Uint8Array | undefined;
}

export interface TreeDirectoryRequest extends Ownership {
  readonly place: Place;
  /** As {@link NodeRequest.inode}; else one of the slot that suits (docs/formats/rows.md). */
  readonly inode?: Inode | undefined;
  readonly salt: Uint8Array;
  readonly attributes?: Uint8Array | undefined;
}

/** What is left out stays. */
export interface AttributeChanges {
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly accessedNs?: NewTime | undefined;
  readonly modifiedNs?: NewTime | undefined;
  /** Of a file. Less cuts extents off and makes stripes loose; more leaves a hole at the end. */
  readonly sizeBytes?: number | undefined;
  /** As in {@link InodeRecord}. */
  readonly attributes?: Uint8Array | undefined;
}

/** What has become of an inode that lost a link. */
export interface Removal {
  /** Without links: an orphan, unless nobody has it open; then it is gone already. */
  readonly status: InodeStatus;
  /** Of a file that is gone: its references are to go. */
  readonly release: Release | undefined;
}

export interface Quota {
  /** Of stored content; `undefined`: as much as fits. */
  readonly bytesMax: number | undefined;
  readonly inodesMax: number | undefined;
}

export interface QuotaUsage {
  readonly bytes: number;
  readonly inodes: number;
}

/** The changes of {@link Tree} that a batch may bring. */
export type TreeStepName =
  | 'makeNode'
  | 'makeDirectory'
  | 'link'
  | 'unlink'
  | 'removeDirectory'
  | 'rename'
  | 'setAttributes'
  | 'setXattr'
  | 'removeXattr'
  | 'commitExtents';

/**
 * One of them as it would be asked for by itself; or the lease of a directory, of one that the
 * batch has made: then nobody comes in between.
 */
export type TreeStep = (
  | {
      readonly [Name in TreeStepName]: { readonly do: Name; readonly args: Parameters<Tree[Name]> };
    }[TreeStepName]
  | {
      readonly do: 'leaseDirectory';
      readonly args: readonly [Omit<Parameters<Handles['leaseDirectory']>[0], 'session'>];
    }
) & {
  /**
   * When it was done, by the holder's clock: the time that it leaves in inodes. Not later than the
   * steward's own, nor more than LIMITS.stepAgeMsMax earlier; that one when left out, and in a
   * protected volume.
   */
  readonly atMs?: number | undefined;
};

/** What a session did in directories that it holds, in order (docs/design/0010). */
export interface TreeBatch {
  readonly session: SessionId;
  /** All that the steps go by, 1 to LIMITS.batchLeasesMax; the first one's cell runs the batch. */
  readonly leases: readonly HeldLease[];
  /**
   * By these it is known when it is asked again. A lane, below LIMITS.retryLanesMax, carries one
   * batch after the other; sequences rise over all lanes and directories of the session.
   */
  readonly lane: number;
  readonly sequence: number;
  /** At least 1, at most LIMITS.batchStepsMax. */
  readonly steps: readonly TreeStep[];
}

export type BatchAnswer =
  | {
      readonly state: 'done';
      /** By the steward's clock: the time of the steps that say none. */
      readonly atMs: number;
      /** One for each step. */
      readonly results: readonly StepResult[];
    }
  /** The lease of this directory was returned or taken: nothing was done, nor ever will be. */
  | { readonly state: 'fenced'; readonly directory: Inode };

export interface StepResult {
  /** The step was refused with it, and changed nothing. */
  readonly code?: ErrorCode | undefined;
  /** With HF_LEASED: the directory that somebody else holds. */
  readonly leased?: Inode | undefined;
  /** Of the inode whose status the call answers with. */
  readonly changeCount?: bigint | undefined;
  /** As in {@link CommittedContent}. */
  readonly wasBase?: boolean | undefined;
  /** As in {@link Removal}. */
  readonly release?: Release | undefined;
  /** Of `leaseDirectory`, unless somebody else holds it. */
  readonly lease?: DirectoryLease | undefined;
}

/** Where a page of a scan over all slots begins: after this inode. */
export interface ScanPage {
  readonly after?: Inode | undefined;
  readonly limit?: number;
}

/**
 * Errors of all methods that name a place: HF_NOT_FOUND when its directory is gone or removed,
 * HF_NOT_DIRECTORY when it is none, HF_BAD_ARGUMENT for a name that is none. Of those that name an
 * inode: HF_NOT_FOUND when it is gone. Of those that add: HF_QUOTA. Of those that take away or
 * replace: HF_WORM in a protected volume, until the retention of a file has passed.
 */
export interface Tree {
  /**
   * What is seen at the place; both forms of the name are looked up.
   * @param claim of who holds the lease of the directory; HF_FENCED when it does not any more.
   */
  lookup(place: Place, claim?: LeaseClaim): Promise<TreeEntry | undefined>;
  getAttributes(inode: Inode, options?: RecordOptions): Promise<InodeStatus | undefined>;
  /** The directory that a directory is in; its own for the root and for one that is removed. */
  parentOf(directory: Inode): Promise<Inode>;

  /**
   * One page of a directory in the order of the entries' sealed names, at most LIMITS.listPageMax;
   * names of both forms are among them. The claim is as of {@link lookup}.
   */
  listAttributes(request: {
    readonly directory: Inode;
    readonly after?: Uint8Array | undefined;
    readonly limit?: number;
    readonly claim?: LeaseClaim | undefined;
  }): Promise<readonly TreeEntry[]>;

  /**
   * @throws HF_BAD_ARGUMENT for a size of what is no file, HF_IS_DIRECTORY of a directory;
   *   HF_TOO_LARGE when more than 4,096 extents would go: cut in steps, from the end.
   */
  setAttributes(inode: Inode, changes: AttributeChanges): Promise<InodeStatus>;

  /** @throws HF_EXISTS when something has the name; that or HF_FENCED when the number is used. */
  makeNode(request: NodeRequest): Promise<TreeEntry>;
  /** As {@link makeNode}. */
  makeDirectory(request: TreeDirectoryRequest): Promise<TreeEntry>;

  /**
   * One more link; an orphan is none afterwards.
   * @throws HF_EXISTS; HF_DENIED for a directory; HF_TOO_MANY_LINKS.
   */
  link(inode: Inode, place: Place): Promise<InodeStatus>;
  /**
   * Removes a link of what is no directory; after the last one it is an object no more, and an
   * orphan if somebody may have it open; one of another cell always is, until its own cell is asked
   * to release it. @throws HF_NOT_FOUND; HF_IS_DIRECTORY.
   */
  unlink(place: Place): Promise<Removal>;
  /** An orphan while it is open. @throws HF_NOT_FOUND; HF_NOT_DIRECTORY; HF_NOT_EMPTY. */
  removeDirectory(place: Place): Promise<InodeStatus>;

  /**
   * Moves a link, in one step for whoever looks. What stands at `to` is replaced when both or
   * neither are directories, and a directory only when it is empty. Two links of one inode stay as
   * they are. An object keeps its id.
   *
   * @param request.flag `noReplace`: HF_EXISTS when something is there. `exchange`: both move;
   *   HF_EXISTS when a directory that goes hides what has the name that would be taken.
   * @returns what was replaced.
   * @throws HF_NOT_FOUND; HF_IS_DIRECTORY or HF_NOT_DIRECTORY when one is a directory;
   *   HF_NOT_EMPTY; HF_BAD_ARGUMENT when a directory would get into itself; HF_CROSS_TREE when a
   *   directory that is not empty, or a file with other names, would leave a quota or enter one.
   */
  rename(request: {
    readonly from: Place;
    readonly to: Place;
    readonly flag?: 'noReplace' | 'exchange' | undefined;
  }): Promise<Removal | undefined>;

  /**
   * Runs the steps one after the other, in one entry of the log, if all of its leases are held:
   * each whole or not at all, and the next one whatever became of it. It waits for no other lease:
   * what meets one is refused. A batch that is asked again is answered as the first time.
   *
   * @throws HF_SESSION_OVER; HF_TOO_LARGE when it is to be asked in parts; HF_BAD_ARGUMENT;
   *   HF_FENCED when a later one came by its lane, and as all that says nothing of how it went.
   */
  runBatch(batch: TreeBatch): Promise<BatchAnswer>;

  /** The sealed target. @throws HF_BAD_ARGUMENT when it is no symlink. */
  readLink(inode: Inode): Promise<Uint8Array>;

  /** The sealed value. */
  getXattr(inode: Inode, name: Uint8Array): Promise<Uint8Array | undefined>;
  /**
   * @param request.mode `create`: HF_EXISTS when there is one; `replace`: HF_NO_DATA when not.
   * @throws HF_TOO_LARGE for values above 64 KiB (and sealing), or more than 1,000 of them.
   */
  setXattr(request: {
    readonly inode: Inode;
    readonly name: Uint8Array;
    readonly value: Uint8Array;
    readonly mode?: 'create' | 'replace' | undefined;
    /** The mode of the inode from then on: an access control list says it, too. */
    readonly permissions?: number | undefined;
  }): Promise<InodeStatus>;
  /** Sealed names. */
  listXattrs(inode: Inode): Promise<readonly Uint8Array[]>;
  /** @throws HF_NO_DATA. */
  removeXattr(inode: Inode, name: Uint8Array): Promise<InodeStatus>;

  /**
   * Of each byte what was committed last counts; extents of others that are covered in part stay
   * with a window of their stripe ({@link Extent.whole}). An object is of unknown content address
   * from then on.
   * @throws HF_EXISTS when this write was committed before, HF_FENCED when it was refused; HF_BUSY
   *   when the inode was changed, of what goes only on its base, and when extents and holes leave
   *   out some of its inline content: who writes them brings that, too. HF_TOO_LARGE when more than
   *   4,096 extents would go; HF_BAD_ARGUMENT; HF_IS_DIRECTORY.
   */
  commitExtents(commit: ContentCommit): Promise<CommittedContent>;
  /** Which of these numbers are writes that were committed, and are not forgotten. */
  committedWrites(writes: readonly Inode[]): Promise<readonly Inode[]>;
  /** The references of these writes are confirmed, so that nobody asks for them any more. */
  forgetWrites(writes: readonly Inode[]): Promise<void>;

  /** Inodes with loose stripes, in their order. */
  looseInodes(page?: ScanPage): Promise<readonly Inode[]>;
  /**
   * The loose stripes of an inode, at most 256; those that other extents of it name still are left
   * out. The inode never names them again through this holder, so their references may go.
   */
  looseStripes(inode: Inode): Promise<readonly LooseStripes[]>;
  /** Their references are gone: forget them. */
  finishLooseStripes(loose: LooseStripes): Promise<void>;

  /** Orphans, in the order of their numbers. */
  orphans(page?: ScanPage): Promise<readonly Inode[]>;
  /**
   * Lets go of orphans that nobody has open, as the cell knows; numbers of others are passed over.
   * @returns the releases that are left, of files alone.
   */
  releaseOrphans(inodes: readonly Inode[]): Promise<readonly Release[]>;

  /**
   * Sets, changes or (`undefined`) takes away the quota of a directory. What is in it already is
   * charged by {@link charge}. @throws HF_NOT_DIRECTORY.
   */
  setQuota(directory: Inode, quota: Quota | undefined): Promise<void>;
  /** The directory's own. */
  getQuota(directory: Inode): Promise<{ quota: Quota; usage: QuotaUsage } | undefined>;
  /** Charges an inode to the quota that its directory is under; done top down after setQuota. */
  charge(inode: Inode): Promise<InodeStatus>;

  /** What statfs shows. */
  usage(): Promise<{ inodeCount: number; contentBytes: number }>;
}
