/** A store as the node lists it, here or away, and what a new one is to be. */
import { type DeviceId, LIMITS } from '../base/index.ts';
import type { BlockDevice, DeviceKind } from '../device/index.ts';
import type { DeviceState } from '../placement/index.ts';
import type { ExtentStore, StoreLimits } from '../store/index.ts';

/** A store that is open, and what it lies on. */
export interface OpenSlot {
  readonly store: ExtentStore;
  readonly device: BlockDevice;
}

export interface Slot {
  readonly id: DeviceId;
  readonly path: string;
  /** As last seen. */
  readonly kind: DeviceKind | undefined;
  readonly open: OpenSlot | undefined;
  /** What it may grow to, as last seen. */
  readonly sizeBytes: number;
  /** Why it is away. */
  readonly reason: string | undefined;
  readonly isDetached: boolean;
  /** Whether it is away because it is a store of another cluster. */
  readonly isForeign: boolean;
  /** When it was first seen to be away, by the monotonic clock. */
  readonly awaySinceMs: number | undefined;
  /** The disk that it is on: stores on one disk fail together (ruling 26). */
  readonly disk: string;
  readonly state: DeviceState;
}

/** What a new store is to be. */
export interface NewStore {
  /** For folders and new images; a folder shares its disk with its neighbours when left out. */
  readonly capacityBytes?: number | undefined;
  /** What to make where nothing is; a folder when left out. */
  readonly kind?: 'directory' | 'image' | undefined;
  /** Gives up foreign content. */
  readonly isForced?: boolean | undefined;
  /** Gives up a store that is there. */
  readonly replacesStore?: boolean | undefined;
  readonly label?: string | undefined;
  readonly limits?: StoreLimits | undefined;
}

/** A store of which only the list speaks. */
export function unseenSlot(id: DeviceId, where: string): Slot {
  return {
    id,
    path: where,
    kind: undefined,
    open: undefined,
    sizeBytes: LIMITS.deviceBytesMin,
    reason: undefined,
    isDetached: false,
    isForeign: false,
    awaySinceMs: undefined,
    disk: 'unknown',
    state: 'in',
  };
}
