/** Mounts as the control interface shows them. */

export interface MountView {
  readonly volume: string;
  /** Where it is mounted, on the node's machine. */
  readonly directory: string;
  readonly isReadOnly: boolean;
  /** Whether other users than the node's may use it. */
  readonly allowsOthers: boolean;
  readonly forbidsPrograms: boolean;
  /** Locks hold among the programs of this mount alone. */
  readonly hasLocalLocks: boolean;
  /** mount(8) made it: umount(8) ends it for good; others come back when the node starts. */
  readonly endsWithUmount: boolean;
  readonly mountedAtMs: number;
}
