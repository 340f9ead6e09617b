/** The nodes of a cluster as the control interface shows them. */

/** `self` is the node that was asked; `replaced` was home before another one recovered it. */
export type NodeStateView = 'self' | 'alive' | 'suspect' | 'dead' | 'left' | 'unknown' | 'replaced';

export interface NodeView {
  readonly id: string;
  readonly name: string;
  readonly state: NodeStateView;
  /** Where it listens, as scheme://host:port. */
  readonly addresses: readonly string[];
  /** Round trip of the last ping; null before the first, and for the node itself. */
  readonly rttMs: number | null;
  /** Since it was last heard of; null when it is not followed. */
  readonly heardMsAgo: number | null;
  /** Level → domain: { rack: "r1" }. */
  readonly labels: Readonly<Record<string, string>>;
  /** Whether it is the home now: it repairs, collects and deletes. */
  readonly isHome: boolean;
  /** Whether it alone carries the names: without it nothing is listed, opened or stored. */
  readonly carriesNames: boolean;
  /** Stores that count for the layout, and what they may hold. */
  readonly storeCount: number;
  readonly sizeBytes: number;
  /** On its stores that answer; null when none does. */
  readonly freeBytes: number | null;
}

export interface InvitationView {
  /** One line; whoever has it first can join. */
  readonly token: string;
  readonly expiresAtMs: number;
  readonly addresses: readonly string[];
}

export interface LeaveView {
  readonly movedChunks: number;
  readonly movedBytes: number;
}

/** A filesystem or a store on a machine of the cluster; what is not known is null. */
export interface DiskView {
  /** Of the node on that machine. */
  readonly nodeId: string;
  readonly node: string;
  /** Of a store; null for a filesystem. */
  readonly storeId: string | null;
  /** Of a filesystem; null for a store. */
  readonly uuid: string | null;
  readonly label: string | null;
  /** Such as /dev/sdb1. */
  readonly device: string | null;
  /** Where it is mounted; where the store is. */
  readonly path: string | null;
}

export interface GrantView {
  readonly volume: string;
  /** Node ids. */
  readonly holders: readonly string[];
}
