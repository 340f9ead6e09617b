/** A store as the control interface shows it. */
import type { DeviceDetails, DeviceView } from '../../api/index.ts';
import { HoldfastError, LIMITS } from '../../base/index.ts';
import type { StoreDescription } from '../../store/index.ts';
import type { Slot } from './store-slot.ts';

export async function viewOf(slot: Slot): Promise<DeviceView> {
  const { id, path, open, reason } = slot;
  const kind = slot.kind ?? 'unknown';
  if (!open) {
    const away = { state: 'missing' as const, sizeBytes: 0, usedBytes: 0 };
    return { id, path, kind, ...away, reason: reason ?? 'it is not open' };
  }
  const { usage, pressure, scrubCursor, scrubbedAtMs } = await open.store.describe();
  const { sizeBytes, usedBytes } = usage;
  const part = Math.min(1, (scrubCursor * LIMITS.blockBytes) / Math.max(1, sizeBytes));
  const state = slot.state === 'draining' ? 'draining' : open.store.state;
  const scrub = { part, endedAtMs: scrubbedAtMs };
  return { id, path, kind, state, sizeBytes, usedBytes, pressure, scrub };
}

/** @throws HF_UNAVAILABLE while the store is away. */
export async function detailsOf(slot: Slot): Promise<DeviceDetails> {
  const store = slot.open?.store;
  if (!store) {
    throw new HoldfastError('HF_UNAVAILABLE', `the store ${slot.path} is away: ${slot.reason}`);
  }
  const description = await store.describe();
  const { usage, limits, deviceNumber, bitmap, indexRootBlock } = description;
  const { isDirect, scrubbedAtMs, scrubCursor, damagedAtMs } = description;
  return {
    ...(await viewOf(slot)),
    freeBytes: usage.freeBytes,
    chunkCount: usage.chunkCount,
    badChunkCount: usage.badChunkCount,
    isDirect,
    limits,
    deviceNumber,
    blockBytes: LIMITS.blockBytes,
    bitmap: { startBlock: bitmap.start, blockCount: bitmap.blocks },
    indexRootBlock,
    scrubbedAtMs,
    scrubCursor,
    damagedAtMs,
    fields: fieldsOf(description),
  };
}

/** What a store says of itself, as plain numbers and words. */
function fieldsOf(description: StoreDescription): DeviceDetails['fields'] {
  const fields: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(description)) {
    if (typeof value === 'bigint') fields[name] = value.toString();
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      fields[name] = value;
    }
  }
  return fields;
}
