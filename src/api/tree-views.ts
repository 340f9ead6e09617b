/** Files and directories as the control interface shows them. */

export interface FileView {
  /** From the root, without '/' in front; '' is the root. Bytes as in the key of an object. */
  readonly path: string;
  /** Decimal; the same for all hard links of a file. */
  readonly inode: string;
  readonly type: string;
  /** The twelve permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkCount: number;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  readonly changedAtMs: number;
  /** Of a symbolic link, when it was asked for by itself. */
  readonly target?: string | undefined;
}
