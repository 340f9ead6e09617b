/**
 * The content of files as a mount needs it: written in place, by several at once, whole or in any
 * range. What is written is seen at once by all who have the file open on this node; on others it
 * is seen by who opens the file after the writer's `sync` or `close` (*close-to-open*). Two writers
 * on two nodes never tear: each byte is of the one or the other.
 *
 * *Dirty*: written, and not durable. It becomes content in the background, and for sure with `sync`
 * and `close`. Where that fails it stays dirty, and each who has the file open is told once, with
 * his next `write`, `sync` or `close`; after the last `close` it is gone. After POSIX.1-2024, fsync
 * and close, and Linux fallocate(2), lseek(2), errseq.
 */
import type { Inode, InodeStatus } from '../../meta/index.ts';

export interface FileRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

/**
 * Errors of all that change content, at once or later: HF_NO_SPACE, HF_QUOTA, HF_WORM, HF_TOO_LARGE
 * beyond 2^53 bytes, HF_NOT_FOUND when the file is gone, and as stripes are stored.
 */
export interface OpenFile extends AsyncDisposable {
  readonly inode: Inode;
  /** As it was committed last, as far as is known here; size and time as of what is dirty. */
  readonly status: InodeStatus;
  /** Rises when somebody on another node may have changed the content, as far as is known here. */
  readonly foreignChanges: number;

  /**
   * Fewer bytes than wanted only at the end of the file. Holes are zeros.
   * @param options.target memory for the answer, at least so long; else there is new.
   * @throws HF_TOO_FEW_SHARDS, HF_FORGED.
   */
  read(
    range: FileRange,
    options?: { readonly target?: Uint8Array | undefined },
  ): Promise<Uint8Array>;

  /** Copies the bytes, by the time that it resolves. Waits while too much is dirty. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Durable when it makes the file shorter. */
  truncate(sizeBytes: number): Promise<void>;
  /** What is in the range becomes zeros; the size stays. */
  deallocate(range: FileRange): Promise<void>;
  /**
   * Copies from another file of the same volume, or within this one where the ranges do not meet;
   * stripes that go over whole are shared. @returns bytes copied: fewer at the end of the source.
   */
  copyFrom(source: OpenFile, from: FileRange, offset: number): Promise<number>;

  /** The first byte at or behind an offset that is no hole; `undefined`: there is none. */
  seekData(offset: number): Promise<number | undefined>;
  /** The first hole there, at the latest the end; `undefined` behind that. */
  seekHole(offset: number): Promise<number | undefined>;

  /** The time of the last change was set otherwise (and is in the tree): later commits keep it. */
  setModified(modifiedNs: bigint): void;

  /**
   * What was written before is durable when it resolves.
   * @param options.dataOnly the time of the last change may follow later.
   */
  sync(options?: { readonly dataOnly?: boolean | undefined }): Promise<void>;
  /** As `sync`; whatever it throws, the file is closed. Once. */
  close(): Promise<void>;
  /** Closes it, of who has written nothing: what is dirty is for others to store. */
  giveUp(): Promise<void>;
}
