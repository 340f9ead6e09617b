/** What the control interface shows of the care for what is stored: scrub and repair. */

export interface ScrubView {
  readonly checked: number;
  readonly bad: number;
  readonly checkedBytes: number;
  readonly mended: number;
  readonly failedStores: readonly string[];
}

export interface RepairView {
  readonly repaired: number;
  readonly incomplete: number;
  readonly lost: number;
  readonly writtenBytes: number;
  /** Bytes and chunks let go: nothing wanted them. */
  readonly deletedStripes: number;
  readonly deletedChunks: number;
}

/** `look`: finding out what there is to do. */
export type RepairActivityView = 'rest' | 'look' | 'repair' | 'collect' | 'scrub' | 'health';

/** What repair does now, for the whole cluster. */
export interface RepairStatusView {
  readonly activity: RepairActivityView;
  /** It makes way for clients, or keeps to its rate. */
  readonly isWaiting: boolean;
  /** Null at rest. */
  readonly startedAtMs: number | null;
  /** Groups of a look, stripes of a repair, bytes of a scrub. */
  readonly doneCount: number;
  readonly totalCount: number;
  /** Bytes of shards that a repair has written, and those it expects to write in all. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number;
  /** At that speed; null when nobody can say. */
  readonly leftMs: number | null;
  /** Stripes that lack shards as far as repair has looked, and the bytes of content in them. */
  readonly stripesAtRisk: number;
  readonly bytesAtRisk: number;
  /** Groups known to be whole, of how many. */
  readonly wholeGroups: number;
  readonly groupCount: number;
  /** End of the last repair since the start of the home; null: none yet. */
  readonly lastRepairAtMs: number | null;
}

/** How far the background has read a store. */
export interface StoreScrubView {
  /** Part of the pass under way, 0 to 1; 0 when none is. */
  readonly part: number;
  /** End of the last whole pass; 0: never. */
  readonly endedAtMs: number;
}
