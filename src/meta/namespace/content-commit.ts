/**
 * What a writer asks of a cell for the content of one file that is written in place, as part of
 * `Tree` (`tree.ts`): dirty ranges that are durable as stripes, holes, or small content whole
 * (*inline*). Of each byte what was committed last counts.
 */
import type { StripeId } from '../../base/index.ts';
import type { Extent, InlineContent, Inode } from './namespace.ts';
import type { InodeStatus } from './tree.ts';

/** `now`: by the steward's clock. */
export type NewTime = bigint | 'now';

/** A writer's dirty ranges, durable as stripes, become content. */
export interface ContentCommit {
  readonly inode: Inode;
  /**
   * A number of `allocateInodes` (near: the inode) for this commit alone. It is the holder of the
   * references, and stands in for the inode where wrapped keys are bound to one. An unknown outcome
   * is settled by `Namespace.refuse` of it, as that of an object. Not needed without extents and
   * holes: what is committed only on its base is done once, sooner or later, or never.
   */
  readonly write?: Inode | undefined;
  /**
   * At most 256, none meets another of its encoding. Those of encoding 0 say what is written: that
   * range goes from all encodings first; the other encodings stay within it.
   */
  readonly extents: readonly Extent[];
  /** What becomes zeros that take no space, where the file has it; at most 256, as extents. */
  readonly holes?: readonly ContentRange[] | undefined;
  /**
   * All that the file has from now on, instead of extents and holes, of at most 16 KiB; the size is
   * then as said. Only on its base, unless the file was empty.
   */
  readonly inline?: InlineContent | undefined;
  /** Of the encodings of these extents; the inode's from now on. */
  readonly schemeNumbers: readonly number[];
  /** The file is no shorter afterwards. */
  readonly sizeBytes: number;
  readonly modifiedNs?: NewTime | undefined;
  /** Sealed, when the inode's are to change with its content. */
  readonly attributes?: Uint8Array | undefined;
  /** What the writer had seen last. */
  readonly baseChange: bigint;
  /** Refuses when somebody else changed the inode since: of who stores the same content anew. */
  readonly isOnlyOnBase?: boolean | undefined;
}

export interface ContentRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

export interface CommittedContent {
  readonly status: InodeStatus;
  /** Whether nobody else had changed the inode since `baseChange`: what is cached still holds. */
  readonly wasBase: boolean;
}

/** Stripes that a write holds and its inode does not name any more: their references are to go. */
export interface LooseStripes {
  readonly inode: Inode;
  /** The holder of the references: a write, or the inode itself. */
  readonly holder: Inode;
  readonly stripes: readonly StripeId[];
}
