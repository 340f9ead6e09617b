/** The stores of a node as the control interface shows them. */
import type { StoreScrubView } from './care-views.ts';

export type DeviceStateView = 'active' | 'draining' | 'failed' | 'missing';

export interface DeviceView {
  readonly id: string;
  readonly path: string;
  readonly kind: string;
  readonly state: DeviceStateView;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  /** Why it is not active. */
  readonly reason?: string;
  /** How its use stands to its limits; left out while it is away. */
  readonly pressure?: PressureView;
  /** Left out while it is away. */
  readonly scrub?: StoreScrubView;
}

/** Below min; between; at or above max; at the hard max. */
export type PressureView = 'hungry' | 'normal' | 'high' | 'full';

/** Bytes; 0 means no limit. */
export interface LimitsView {
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly hardMaxBytes: number;
}

/** What became of a store that was added or taken away. */
export interface DeviceChange extends DeviceView {
  /** One line each: what the user should know now. */
  readonly warnings: readonly string[];
}

export interface DeviceDetails extends DeviceView {
  readonly freeBytes: number;
  readonly chunkCount: number;
  readonly badChunkCount: number;
  /** False when transfers go through the page cache, because the filesystem refuses others. */
  readonly isDirect: boolean;
  readonly limits: LimitsView;
  /** How the kernel numbers the device, or the one under the filesystem that it is on. */
  readonly deviceNumber: { readonly major: number; readonly minor: number };
  readonly blockBytes: number;
  /** First block and length of the map of the blocks in use. */
  readonly bitmap: { readonly startBlock: number; readonly blockCount: number };
  /** Block at which the index begins. */
  readonly indexRootBlock: number;
  /** End of the last complete scrub; 0: never. */
  readonly scrubbedAtMs: number;
  /** Block that the scrub under way has reached; 0: none is. */
  readonly scrubCursor: number;
  /** When a mount found that chunks may be lost; 0: never. */
  readonly damagedAtMs: number;
  /** What else the store says of itself: superblock, journal, index. */
  readonly fields: Readonly<Record<string, string | number | boolean>>;
}
