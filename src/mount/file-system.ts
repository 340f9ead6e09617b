/**
 * What a mount serves: a file system as the kernel asks for it, inode by inode. The kernel walks
 * paths, keeps the cache and, mounted with `default_permissions`, checks who may do what; what
 * comes here is one step each.
 *
 * Inodes, files and entries are defined in `inode.ts`. *Name*: bytes, 1 to 255, neither '/' nor NUL
 * among them.
 *
 * An answer that is no promise is sent at once, in the thread that read the request, and that is
 * several times faster; so answer from memory without a promise wherever it can be done. Errors are
 * thrown as HoldfastError and reach the caller as `base/error-codes.ts` says.
 *
 * Arrays in a request are views of the session's memory, lent until the answer has settled.
 * Source: the Linux kernel, Documentation/filesystems/fuse.rst and include/uapi/linux/fuse.h.
 */
import type {
  DirectoryEntry,
  Entry,
  FileNumber,
  InodeNumber,
  KnownAttributes,
  NoEntry,
  Statistics,
  Timestamp,
} from './inode.ts';
import type { Kernel } from './kernel.ts';
import type { Locks } from './locks.ts';

export type Answer<Result> = Result | Promise<Result>;

/** Who asks. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  /** Of the thread; 0 for what the kernel does by itself. */
  readonly processId: number;
  /**
   * Aborted when the answer is of no use any more: the caller is being killed, or the deadline has
   * passed. An operation that has begun to change something should rather go on.
   */
  readonly signal: AbortSignal;
}

export interface OpenFile {
  readonly file: FileNumber;
  /** What the kernel has cached of the content is still good. */
  readonly keepsCache?: boolean;
  /** Every read and write comes here. */
  readonly isDirect?: boolean;
  /** Writes side by side are fine when `isDirect`. */
  readonly allowsParallelWrites?: boolean;
  /** {@link FileSystem.flush} has nothing to do when it is closed. */
  readonly skipsFlush?: boolean;
}

export interface OpenDirectory {
  readonly file: FileNumber;
  /** The kernel may keep the listing, and answer others from it. */
  readonly cachesListing?: boolean;
  /** The listing that the kernel has kept is still good. */
  readonly keepsCache?: boolean;
}

export interface OpenRequest {
  /** As in open(2), without O_CREAT and O_EXCL. With O_TRUNC the content is to be cut here. */
  readonly flags: number;
  /** Take the set-user-id and set-group-id bits away when it is cut. */
  readonly killsPrivileges: boolean;
}

export interface NewNode {
  readonly name: Uint8Array;
  /** Type and permission bits. */
  readonly mode: number;
  readonly umask?: Umask;
  readonly deviceNumber: number;
}

/** Bits to take off the mode, unless a default access control list says more; none: left out. */
export type Umask = number;

export interface NewFile {
  readonly name: Uint8Array;
  readonly mode: number;
  readonly umask?: Umask;
  /** As in open(2); O_EXCL among them: HF_EXISTS when something has the name. */
  readonly flags: number;
}

/** `now`: by the file system's clock. */
export type NewTime = Timestamp | 'now';

/** What is left out stays. */
export interface AttributeChanges {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  readonly accessed?: NewTime;
  readonly modified?: NewTime;
  /** Set by a kernel that keeps the times of what it has not written back yet. */
  readonly changed?: Timestamp;
  readonly file?: FileNumber;
  /** Take the set-user-id and set-group-id bits away. */
  readonly killsPrivileges: boolean;
}

export interface Rename {
  readonly name: Uint8Array;
  readonly newParent: InodeNumber;
  readonly newName: Uint8Array;
  readonly flag: 'noReplace' | 'exchange' | undefined;
}

export interface ReadRequest {
  readonly file: FileNumber;
  readonly offset: number;
  readonly lengthBytes: number;
}

export interface WriteRequest {
  readonly file: FileNumber;
  readonly offset: number;
  readonly data: Uint8Array;
  /** Written back from the kernel's cache: later than written, by whoever had the file open. */
  readonly isFromCache: boolean;
  /** Take the set-user-id and set-group-id bits away. */
  readonly killsPrivileges: boolean;
}

export interface ListRequest {
  readonly file: FileNumber;
  /** 0, or the cookie of the last entry that was taken. */
  readonly cookie: number;
  /** Whether each entry is to carry its {@link DirectoryEntry.entry}. */
  readonly withEntries: boolean;
}

export interface NewXattr {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
  /** `create`: HF_EXISTS when there is one; `replace`: HF_NO_DATA when there is none. */
  readonly mode: 'create' | 'replace' | undefined;
  /** With an access control list: take the set-group-id bit away. */
  readonly killsSetGroupId?: boolean;
}

export interface Allocation {
  readonly file: FileNumber;
  readonly offset: number;
  readonly lengthBytes: number;
  /** FALLOC_FL_… of fallocate(2). */
  readonly flags: number;
}

export interface CopyRequest {
  readonly file: FileNumber;
  readonly offset: number;
  readonly target: InodeNumber;
  readonly targetFile: FileNumber;
  readonly targetOffset: number;
  readonly lengthBytes: number;
}

export interface SeekRequest {
  readonly file: FileNumber;
  readonly offset: number;
  readonly finds: 'data' | 'hole';
}

export interface Release {
  readonly file: FileNumber;
  /** All flock locks of this owner on the inode go, too. */
  readonly flockOwner: bigint | undefined;
}

/**
 * Errors of all: HF_NOT_FOUND for an inode that is gone. Of those that take a name: HF_NOT_FOUND or
 * HF_EXISTS, HF_NOT_DIRECTORY when the parent is none.
 */
export interface FileSystem {
  /** The kernel and the session have agreed; called once, before all others. */
  begin?(kernel: Kernel): void;

  lookup(caller: Caller, parent: InodeNumber, name: Uint8Array): Answer<Entry | NoEntry>;
  /** The kernel does not know this inode any more. It may come to know it again by its name. */
  forget(inode: InodeNumber): void;

  getAttributes(caller: Caller, inode: InodeNumber): Answer<KnownAttributes>;
  setAttributes(
    caller: Caller,
    inode: InodeNumber,
    changes: AttributeChanges,
  ): Answer<KnownAttributes>;

  makeNode(caller: Caller, parent: InodeNumber, node: NewNode): Answer<Entry>;
  makeDirectory(
    caller: Caller,
    parent: InodeNumber,
    directory: { name: Uint8Array; mode: number; umask?: Umask },
  ): Answer<Entry>;
  makeSymlink(
    caller: Caller,
    parent: InodeNumber,
    symlink: { name: Uint8Array; target: Uint8Array },
  ): Answer<Entry>;
  readSymlink(caller: Caller, inode: InodeNumber): Answer<Uint8Array>;
  link(
    caller: Caller,
    inode: InodeNumber,
    place: { parent: InodeNumber; name: Uint8Array },
  ): Answer<Entry>;
  unlink(caller: Caller, parent: InodeNumber, name: Uint8Array): Answer<void>;
  removeDirectory(caller: Caller, parent: InodeNumber, name: Uint8Array): Answer<void>;
  rename(caller: Caller, parent: InodeNumber, rename: Rename): Answer<void>;

  open(caller: Caller, inode: InodeNumber, request: OpenRequest): Answer<OpenFile>;
  create(caller: Caller, parent: InodeNumber, file: NewFile): Answer<Entry & OpenFile>;
  /** O_TMPFILE: a file without a name. */
  createUnnamed(
    caller: Caller,
    parent: InodeNumber,
    file: { mode: number; umask?: Umask; flags: number },
  ): Answer<Entry & OpenFile>;
  /**
   * The bytes that are there, in one or several arrays that stay as they are until they are sent,
   * which is at once; fewer than asked for only at the end of the file.
   */
  read(
    caller: Caller,
    inode: InodeNumber,
    request: ReadRequest,
  ): Answer<Uint8Array | readonly Uint8Array[]>;
  /** All of it, or an error. */
  write(caller: Caller, inode: InodeNumber, request: WriteRequest): Answer<void>;
  /** A descriptor is closed; what throws here is what close(2) says. Posix locks of it go. */
  flush(
    caller: Caller,
    inode: InodeNumber,
    closed: { file: FileNumber; owner: bigint },
  ): Answer<void>;
  /** The last descriptor of this open is gone. */
  release(caller: Caller, inode: InodeNumber, released: Release): Answer<void>;
  /** Answers when content (and, unless `dataOnly`, attributes) are durable. */
  sync(
    caller: Caller,
    inode: InodeNumber,
    request: { file: FileNumber; dataOnly: boolean },
  ): Answer<void>;
  /** @throws HF_UNSUPPORTED for flags that it does not know. */
  allocate(caller: Caller, inode: InodeNumber, request: Allocation): Answer<void>;
  /** Where the next data or hole begins; `undefined`: not before the end. */
  seek(caller: Caller, inode: InodeNumber, request: SeekRequest): Answer<number | undefined>;
  /** Bytes copied. Without it the kernel reads and writes. */
  copy?(caller: Caller, inode: InodeNumber, request: CopyRequest): Answer<number>;

  openDirectory(caller: Caller, inode: InodeNumber, flags: number): Answer<OpenDirectory>;
  /** The entries after the cookie; it is asked for as many as fit a reply. */
  list(caller: Caller, inode: InodeNumber, request: ListRequest): Answer<Iterable<DirectoryEntry>>;
  releaseDirectory(caller: Caller, inode: InodeNumber, file: FileNumber): Answer<void>;
  syncDirectory(
    caller: Caller,
    inode: InodeNumber,
    request: { file: FileNumber; dataOnly: boolean },
  ): Answer<void>;

  /** @throws HF_NO_DATA. */
  getXattr(caller: Caller, inode: InodeNumber, name: Uint8Array): Answer<Uint8Array>;
  setXattr(caller: Caller, inode: InodeNumber, xattr: NewXattr): Answer<void>;
  listXattrs(caller: Caller, inode: InodeNumber): Answer<readonly Uint8Array[]>;
  /** @throws HF_NO_DATA. */
  removeXattr(caller: Caller, inode: InodeNumber, name: Uint8Array): Answer<void>;

  statistics(caller: Caller, inode: InodeNumber): Answer<Statistics>;
  /** syncfs(2): everything is durable. */
  syncAll?(caller: Caller): Answer<void>;

  readonly locks?: Locks;
  /**
   * It keeps access control lists, as the extended attributes that Linux has them in: `umask` of
   * what is made comes here, for a default list takes its place; and {@link setXattr} and
   * {@link setAttributes} keep list and mode at one. The kernel heeds them.
   */
  readonly keepsAcls?: boolean;
}
