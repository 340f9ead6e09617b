/**
 * Keeps alive what is wanted and lets go of what is not. Looks group by group: the group's
 * reference slot says which stripes are wanted, the stores say which chunks they hold. It needs no
 * keys. Everything here can travel to another node (repair-wire.ts): plain numbers, texts, bytes.
 *
 * *Whole*: a group whose wanted stripes have all their shards, each at its place, and whose devices
 * hold nothing else (whole-groups.ts).
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
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface RepairRunOptions extends RunOptions {
  /**
   * Nobody waits for it: it is paced, makes way for clients, and gives devices that went away their
   * grace. A stripe without spare shards waits for none of that.
   */
  readonly isAutomatic?: boolean | undefined;
  /** Cap on the bytes written; without one the run is as fast as the devices are. */
  readonly rateBytesPerSecond?: number | undefined;
}

export interface CollectOptions extends RunOptions {
  readonly graceMs: number;
}

export interface ScrubSummary {
  /** Chunks read and checked. */
  readonly checked: number;
  /** Chunks found bad. */
  readonly bad: number;
  readonly checkedBytes: number;
  /** Structures of stores that were mended from their second copy. */
  readonly mended: number;
  /** Stores that could not be read to their end. */
  readonly failedStores: readonly string[];
}

export interface HealthSummary {
  /** `ok`: n good shards where they belong; `degraded`: fewer, but at least k; `lost`: below k. */
  readonly stripes: { readonly ok: number; readonly degraded: number; readonly lost: number };
  /** Degraded stripes by the number of stores, whichever they are, that may still be lost. */
  readonly bySpare: Readonly<Record<string, number>>;
  /** Stripes with all shards, of which a repair would bring some to another place now. */
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

/** `look`: finding out what there is to do. */
export type RepairActivity = 'rest' | 'look' | 'repair' | 'collect' | 'scrub' | 'health';

/** What is going on now, and how far it has come. */
export interface RepairStatus {
  readonly activity: RepairActivity;
  /** It makes way for clients, or keeps to its rate. */
  readonly isWaiting: boolean;
  /** Ms since 1970; absent at rest. */
  readonly startedAtMs?: number | undefined;
  /** Groups, stripes, or bytes of a scrub. */
  readonly doneCount: number;
  readonly totalCount: number;
  /** Bytes of shards that a repair has written, and those it expects to write in all. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Over the last few seconds. */
  readonly bytesPerSecond: number;
  /** At that speed; absent when nobody can say. */
  readonly leftMs?: number | undefined;
  /**
   * Stripes of the last look that lacked shards, and the bytes of content in them; less those that
   * have been repaired since.
   */
  readonly stripesAtRisk: number;
  readonly bytesAtRisk: number;
  /** Groups known to be whole by the layout of now, of how many. */
  readonly wholeGroups: number;
  readonly groupCount: number;
  /** Ms since 1970: the end of the last repair that came to its end. */
  readonly lastRepairAtMs?: number | undefined;
}

export interface Repair {
  scrub(options?: RunOptions): Promise<ScrubSummary>;
  health(options?: RunOptions): Promise<HealthSummary>;
  /** Those with the fewest spare shards first. */
  repair(options?: RepairRunOptions): Promise<RepairSummary>;
  /**
   * Finishes what crashes left: releases, condemned stripes, references of writers that are gone,
   * chunks older than `graceMs` that nothing names.
   */
  collect(options: CollectOptions): Promise<CollectSummary>;
  /**
   * Removes the references of an inode that is gone, and the stripes that lost their last one. May
   * be asked again: an inode whose release is finished has nothing to remove.
   * @throws HF_NOT_FOUND when the volume is not open here.
   */
  release(volume: string, release: Release): Promise<void>;
  /**
   * Removes the references to stripes that a file which was written in place names no more, and the
   * stripes that lost their last one. May be asked at any time, again, and of any inode.
   * @throws HF_NOT_FOUND when the volume is not open here.
   */
  releaseLoose(volume: string, inode: Inode): Promise<void>;
  /**
   * Undoes a write that will not be committed; `stripes` are those it has named. May be asked
   * again: that the write is refused was decided once.
   */
  abandon(volume: string, inode: Inode, stripes: readonly StripeId[]): Promise<void>;
  status(): Promise<RepairStatus>;
}
