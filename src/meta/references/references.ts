/**
 * Which stripes are wanted, by whom: the cluster-wide space of reference slots, one per placement
 * group, independent of volumes (rulings 12–14).
 *
 * Stripe record: absent → `pending` (named, shards perhaps not there) → `stored` (a manifest names
 * it: its shards were durable) → condemned(generation) → absent. A stripe named again after it was
 * condemned gets a higher generation and is spread anew, so a delayed delete cannot hit it.
 */
import type { StripeId } from '../../base/index.ts';
import type { Inode } from '../namespace/namespace.ts';

/** A run of one node; ends when the node opens its next one. Higher fences are newer. */
export interface Session {
  readonly id: string;
  readonly fence: number;
}

/** Who names a stripe: an inode of a volume. An inode number is never used for other content. */
export interface Holder {
  readonly volume: string;
  readonly inode: Inode;
}

export interface WantedStripe {
  readonly stripe: StripeId;
  readonly schemeNumber: number;
  /** Bytes of one chunk of the stripe. */
  readonly chunkBytes: number;
}

export interface StripeRecord extends WantedStripe {
  readonly generation: number;
  /** False while no manifest is known to name it. */
  readonly isStored: boolean;
  readonly referenceCount: number;
}

export interface Condemned {
  readonly stripe: StripeId;
  readonly schemeNumber: number;
  /** Stores delete chunks of the stripe up to this generation. */
  readonly generation: number;
}

export interface PendingReference {
  readonly stripe: StripeId;
  readonly holder: Holder;
  readonly session: Session;
}

export interface References extends AsyncDisposable {
  /** Starts a run of `node`; its earlier sessions are over, and what they left pending is stray. */
  openSession(node: string): Promise<Session>;

  /**
   * Names stripes before anything else is done with them.
   * @returns for each, in order: the generation to put its shards with, and whether its shards are
   *   known to be stored, in which case they need not travel.
   * @throws HF_FENCED when the session is over.
   */
  add(request: {
    readonly session: Session;
    readonly holder: Holder;
    readonly stripes: readonly WantedStripe[];
  }): Promise<readonly { readonly generation: number; readonly isStored: boolean }[]>;

  /**
   * The manifest is committed: the references are no longer pending, the stripes are stored. One
   * that was released meanwhile stays gone.
   */
  confirm(holder: Holder, stripes: readonly StripeId[]): Promise<void>;

  /** Removes references. @returns the stripes that lost their last one: condemned, durably. */
  release(holder: Holder, stripes: readonly StripeId[]): Promise<readonly Condemned[]>;

  /** The stores have deleted what was condemned. */
  forget(condemned: readonly Condemned[]): Promise<void>;

  /** Condemned and not forgotten. */
  condemned(): Promise<readonly Condemned[]>;

  /** References left pending by sessions that are over. */
  strays(): Promise<readonly PendingReference[]>;

  stripe(stripe: StripeId): Promise<StripeRecord | undefined>;
  /** Records of a group after `after` in id order, at most LIMITS.listPageMax. */
  stripesOfGroup(group: number, after?: StripeId): Promise<readonly StripeRecord[]>;
  holders(stripe: StripeId): Promise<readonly Holder[]>;

  /** The topology epoch at which the group was last whole; 0 before. */
  wholeEpoch(group: number): Promise<number>;
  setWholeEpoch(group: number, epoch: number): Promise<void>;
}
