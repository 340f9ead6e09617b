/** What a store says of itself: everything that `dev query` shows. */
import type { BlockDevice } from '../device/index.ts';
import type { StoreUsage } from './chunk-store.ts';
import { BLOCK_BYTES } from './geometry.ts';
import type { Journal } from './journal.ts';
import type { MountedStore } from './mount.ts';
import { type Pressure, pressureOf } from './pressure.ts';
import type { Superblock } from './superblock.ts';

/** The superblock, with what has changed since it was written. */
export interface StoreDescription extends Superblock {
  readonly deviceName: string;
  readonly deviceKind: BlockDevice['kind'];
  readonly deviceNumber: BlockDevice['deviceNumber'];
  readonly isDirect: boolean;
  readonly usage: StoreUsage;
  readonly pressure: Pressure;
  /** First block of the partition directory; of the journal while there is no directory. */
  readonly indexRootBlock: number;
  /** Blocks of the journal that the next checkpoint gives back. */
  readonly journalUsedBlocks: number;
  /** Why chunks may be missing since this mount; empty when nothing was lost. */
  readonly damage: readonly string[];
}

export function describeStore(parts: {
  readonly superblock: Superblock;
  readonly device: BlockDevice;
  readonly usage: StoreUsage;
  readonly journal: Journal;
  readonly damage: MountedStore['damage'];
}): StoreDescription {
  const { superblock, device, usage, journal, damage } = parts;
  return {
    ...superblock,
    deviceName: device.name,
    deviceKind: device.kind,
    deviceNumber: device.deviceNumber,
    isDirect: device.isDirect,
    sizeBytes: usage.sizeBytes,
    chunkCount: usage.chunkCount,
    usedBlocks: usage.usedBytes / BLOCK_BYTES,
    usage,
    pressure: pressureOf(usage, superblock.limits),
    indexRootBlock: superblock.directory[0]?.first ?? superblock.journalStart,
    journalUsedBlocks: journal.usedBlocks,
    damage,
  };
}
