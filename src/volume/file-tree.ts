/**
 * The names of a volume as a file system has them, by path: directories, files, symbolic links,
 * hard links. Over the same entries as the keys of `object-store.ts`: what is put under the key
 * `a/b` is the file `b` in the directory `a` here, and the other way round.
 *
 * *Path*: names joined by '/', from the root, with or without one in front; '' and '/' are the
 * root. A path is taken word for word: symbolic links on the way are not followed, and there is no
 * '.' and no '..'.
 */
import type { InodeType } from '../meta/index.ts';

export interface FileStatus {
  /** From the root, without '/' in front; '' is the root. */
  readonly path: string;
  /** Decimal. The same for all hard links of a file. */
  readonly inode: string;
  readonly type: InodeType;
  /** The twelve permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkCount: number;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  readonly changedAtMs: number;
  /** Of a symbolic link that was looked at by itself. */
  readonly target?: string | undefined;
}

export interface Ownership {
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

/**
 * Errors of all methods: HF_NOT_FOUND when something on the way is missing, HF_NOT_DIRECTORY when
 * it is no directory, HF_BAD_ARGUMENT for what is no path, HF_WORM in a protected volume for what
 * would take away or replace.
 */
export interface FileTree {
  status(path: string): Promise<FileStatus>;
  /** What is in a directory, in the byte order of the names. */
  list(path: string): AsyncIterable<FileStatus>;

  /** @throws HF_EXISTS, unless `makesParents`: then what is missing on the way is made, too. */
  makeDirectory(
    path: string,
    options?: Ownership & { readonly makesParents?: boolean | undefined },
  ): Promise<FileStatus>;
  /** An empty one. @throws HF_EXISTS. */
  makeFile(path: string, ownership?: Ownership): Promise<FileStatus>;
  /** @param target as it is, it need not lead anywhere. @throws HF_EXISTS. */
  makeSymlink(target: string, path: string): Promise<FileStatus>;
  /** One more name for a file. @throws HF_EXISTS; HF_DENIED for a directory. */
  link(existing: string, path: string): Promise<FileStatus>;

  /**
   * In one step; see `Tree.rename`. @throws HF_EXISTS with `noReplace`; HF_NOT_EMPTY;
   * HF_IS_DIRECTORY; HF_BAD_ARGUMENT when a directory would get into itself.
   */
  rename(
    from: string,
    to: string,
    options?: { readonly flag?: 'noReplace' | 'exchange' | undefined },
  ): Promise<void>;
  /** @throws HF_IS_DIRECTORY. */
  unlink(path: string): Promise<void>;
  /** @throws HF_NOT_EMPTY. */
  removeDirectory(path: string): Promise<void>;
  setOwnership(path: string, ownership: Ownership): Promise<FileStatus>;
}
