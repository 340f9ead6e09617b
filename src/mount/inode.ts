/**
 * What a file system tells the kernel of its inodes.
 *
 * *Inode number*: names an inode between the kernel and the file system while the mount lasts. The
 * file system chooses it, never reuses it, and the root is 1. *File*: a number that the file system
 * chooses for one open of an inode. *Entry*: an inode under a name.
 */

export type InodeNumber = number;

export type FileNumber = number;

export const ROOT_INODE_NUMBER: InodeNumber = 1;

/** Since 1970; seconds may be negative. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** What stat(2) shows. */
export interface Attributes {
  /** The number that users see; unlike the inode number it has the volume's 64 bits. */
  readonly inode: bigint;
  /** Type and permission bits, as in st_mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkCount: number;
  readonly sizeBytes: number;
  /** Without holes. */
  readonly storedBytes: number;
  readonly accessed: Timestamp;
  readonly modified: Timestamp;
  readonly changed: Timestamp;
  /** Of a device file as `makedev` packs it in 32 bits, else 0. */
  readonly deviceNumber: number;
}

export interface KnownAttributes {
  readonly attributes: Attributes;
  /** How long the kernel may show them without asking; {@link Kernel.invalidateInode} ends it. */
  readonly attributesMs: number;
}

/** An inode under a name. The kernel remembers it until {@link FileSystem.forget}. */
export interface Entry extends KnownAttributes {
  readonly inode: InodeNumber;
  /** How long the name stands for this inode; {@link Kernel.invalidateEntry} ends it. */
  readonly entryMs: number;
}

/** Nothing has the name, and the kernel may keep this in mind for so long; 0: ENOENT. */
export interface NoEntry {
  readonly inode: undefined;
  readonly entryMs: number;
}

/** One of a listing; "." and ".." are among them and carry no entry. */
export interface DirectoryEntry {
  readonly name: Uint8Array;
  readonly inode: bigint;
  /** As in st_mode; only the type counts. */
  readonly mode: number;
  /** Where the listing goes on after this one; above 0, and good while the directory is open. */
  readonly cookie: number;
  readonly entry?: Entry | undefined;
}

/** What statvfs(3) shows. */
export interface Statistics {
  readonly blockBytes: number;
  readonly blockCount: number;
  readonly freeBlockCount: number;
  /** Of them those that others than root may have. */
  readonly availableBlockCount: number;
  readonly inodeCount: number;
  readonly freeInodeCount: number;
  readonly nameBytesMax: number;
}
