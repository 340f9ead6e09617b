/**
 * Keeps alive what is wanted and lets go of what is not. Looks group by group: the group's
 * reference slot says which stripes are wanted, the stores say which chunks they hold. It needs no
 * keys.
 */
import type { StripeId } from '../base/index.ts';
import type { Inode, Release } from '../meta/index.ts';

export interface Progress {
  readonly doneCount: number;
  readonly totalCount: number;
  readonly bytes: number;
}

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: Progress) => void;
}

export interface ScrubSummary {
  /** Chunks read and checked. */
  readonly checked: number;
  /** Chunks found bad. */
  readonly bad: number;
  readonly checkedBytes: number;
  /** Chunks that a device would not read now; they are not judged. */
  readonly unreadable: number;
  /** Structures of stores that were mended from their second copy. */
  readonly mended: number;
  /** Stores that could not be read to their end. */
  readonly failedStores: readonly string[];
}

export interface HealthSummary {
  /** `ok`: n good shards where they belong; `degraded`: fewer, but at least k; `lost`: below k. */
  readonly stripes: { readonly ok: number; readonly degraded: number; readonly lost: number };
  /** Degraded stripes by the number of shards that may still be lost. */
  readonly bySpare: Readonly<Record<string, number>>;
  /** Stripes with all shards, of which some stand elsewhere than the layout wants. */
  readonly misplaced: number;
  /** Chunks that nothing names. */
  readonly unnamedChunks: number;
  readonly badChunks: number;
}

export interface RepairSummary {
  /** Stripes brought back to n good shards. */
  readonly repaired: number;
  /** Stripes improved or not, that still lack shards. */
  readonly incomplete: number;
  /** Stripes without all shards that nobody has committed yet: they may be wanted any moment. */
  readonly skipped: number;
  readonly lost: number;
  readonly writtenBytes: number;
}

export interface CollectSummary {
  readonly releases: number;
  readonly strays: number;
  readonly deletedStripes: number;
  /** Chunks that nothing named. */
  readonly deletedChunks: number;
}

export interface Repair {
  scrub(options?: RunOptions): Promise<ScrubSummary>;
  health(options?: RunOptions): Promise<HealthSummary>;
  /** Those with the fewest spare shards first. */
  repair(options?: RunOptions): Promise<RepairSummary>;
  /**
   * Finishes what crashes left: releases, condemned stripes, references of writers that are gone,
   * chunks older than `graceMs` that nothing names.
   */
  collect(options: { graceMs: number } & RunOptions): Promise<CollectSummary>;
  /** Removes the references of an inode that is gone, and the stripes that lost their last one. */
  release(volume: string, release: Release): Promise<void>;
  /** Undoes a write that will not be committed; `stripes` are those it has named. */
  abandon(volume: string, inode: Inode, stripes: readonly StripeId[]): Promise<void>;
}
