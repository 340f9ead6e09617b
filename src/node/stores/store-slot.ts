/** A store as the node lists it, here or away, and what a new one is to be. */
import path from 'node:path';
import {
  chunkIdParts,
  type DeviceId,
  errorCode,
  HoldfastError,
  LIMITS,
  isMetadataScheme,
} from '../../base/index.ts';
import type { BlockDevice, DeviceKind } from '../../device/index.ts';
import type { DeviceState } from '../../placement/index.ts';
import type { ChunkEntry, ChunkStore, ExtentStore, StoreLimits } from '../../store/index.ts';

/** Waits of the watch between tries; doubled from one to the next. */
const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 60_000;

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
  /** Set when something is there that could not be opened. */
  readonly retry: Retry | undefined;
  /** The disk that it is on: stores on one disk fail together (ruling 26). */
  readonly disk: string;
  readonly state: DeviceState;
}

/** When the watch tries again to open a store; what its user asks for does not wait. */
export interface Retry {
  readonly waitMs: number;
  /** By the monotonic clock. */
  readonly atMs: number;
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
    retry: undefined,
    disk: 'unknown',
    state: 'in',
  };
}

/** @param name an id, the unique beginning of one, or a path. @throws HF_NOT_FOUND. */
export function findSlot(slots: readonly Slot[], name: string): Slot {
  const full = path.resolve(name);
  const byPath = slots.find((slot) => path.resolve(slot.path) === full);
  if (byPath) return byPath;
  const matches = slots.filter(({ id }) => id.startsWith(name));
  if (matches.length === 1) return matches[0]!;
  throw new HoldfastError(
    'HF_NOT_FOUND',
    matches.length === 0
      ? `"${name}" is no store of this node; see: holdfast dev list`
      : `"${name}" fits ${matches.length} stores; write more of the id`,
  );
}

/** Notes on the store itself, if it is here, whether it is on its way out: a restart goes on so. */
export async function noteState({ open }: Pick<Slot, 'open'>, state: DeviceState): Promise<void> {
  if (!open || open.store.state === 'failed') return;
  await open.store.setState(state === 'draining' ? 'draining' : 'active');
}

/** Chunks of a store but for copies of metadata, which stay until the store goes. */
export async function* contentOf(store: Pick<ChunkStore, 'list'>): AsyncGenerator<ChunkEntry> {
  for await (const entry of store.list()) {
    if (!isMetadataScheme(chunkIdParts(entry.id).schemeNumber)) yield entry;
  }
}

/** As opening a store says it. */
export function isOfOtherCluster(error: unknown): boolean {
  const { code, details } = error as Partial<HoldfastError>;
  return code === 'HF_NOT_OURS' && details?.['clusterId'] !== undefined;
}

/** What follows from a failure to open a store: to see that nothing is there costs nothing. */
export function retryAfter(
  error: unknown,
  { before, nowMs }: { before: Retry | undefined; nowMs: number },
): Retry | undefined {
  if (errorCode(error) === 'HF_NOT_FOUND') return undefined;
  if (before && nowMs < before.atMs) return before; // its user has asked meanwhile
  const waitMs = before ? Math.min(before.waitMs * 2, RETRY_MAX_MS) : RETRY_MIN_MS;
  return { waitMs, atMs: nowMs + waitMs };
}
