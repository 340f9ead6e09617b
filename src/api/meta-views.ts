/** Where the metadata is and how it stands, as the control interface shows it. */

export interface NamedNode {
  readonly id: string;
  readonly name: string;
}

/** One seat of the ring that agrees on the order of changes. */
export interface RingSeatView extends NamedNode {
  /** Its place in the ring: member, learner, … */
  readonly seat: string;
  /** What its node says: running, waiting, lost, failed; null when that does not answer. */
  readonly state: string | null;
  readonly isLeader: boolean;
  readonly version: string | null;
  readonly dbBytes: number | null;
  /** Why it is not well. */
  readonly reason: string | null;
}

/** One member of an etcd that the user runs. */
export interface NamedEtcdMemberView {
  readonly endpoint: string;
  readonly isLeader: boolean;
  /** These are null when it does not answer, or does not tell. */
  readonly version: string | null;
  readonly dbBytes: number | null;
  /** Why it is not well. */
  readonly reason: string | null;
}

/** An etcd that the user runs, in place of a ring. */
export interface NamedEtcdView {
  /** How all keys of the cluster in it begin. */
  readonly prefix: string;
  readonly members: readonly NamedEtcdMemberView[];
}

export interface CellMemberView extends NamedNode {
  /** Entries that its rows lack of the steward's; null when it was not heard. */
  readonly behind: number | null;
}

export interface CellView {
  readonly cell: string;
  /** Name of its volume; null for the cells of references, and of volumes that are locked here. */
  readonly volume: string | null;
  /** First slot, and the first after them. */
  readonly slots: readonly [from: number, to: number];
  readonly members: readonly CellMemberView[];
  /** Null when none answers. */
  readonly steward: NamedNode | null;
  readonly epoch: number | null;
  /** Number of the last entry of its log. */
  readonly entry: number | null;
}

export interface MetadataView {
  /** `local`: one node, the home, carries everything. `etcd`: a ring, and cells on many nodes. */
  readonly engine: string;
  /** One more each time the engine was changed. */
  readonly generation: number;
  /** Who repairs and deletes now; null while nobody knows. */
  readonly home: NamedNode | null;
  readonly ring: readonly RingSeatView[];
  /** Null unless it is one that the user runs; the ring has no seats then. */
  readonly etcd: NamedEtcdView | null;
  readonly cells: readonly CellView[];
  /** Why the metadata is not where it shall be, or why more is not told; null when all is well. */
  readonly note: string | null;
}

/** The cell in which something about a path lies. */
export interface PathCellView {
  /** `entry`: its name, in the directory that it is in. `inode`: what is known of it. */
  readonly what: 'entry' | 'inode';
  readonly slot: number;
  /** Null while one node carries everything. */
  readonly cell: CellView | null;
}
