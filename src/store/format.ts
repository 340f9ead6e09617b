/** Formats a device as an empty store. Nothing of the device is touched but the superblocks. */
import {
  type ClusterId,
  type DeviceId,
  errorCode,
  HoldfastError,
  hexId,
  LIMITS,
  type NodeId,
  utf8,
} from '../base/index.ts';
import type { BlockDevice } from '../device/index.ts';
import type { Env } from '../env/index.ts';
import {
  JOURNAL_START_BLOCK,
  journalBlocksFor,
  partitionBitsFor,
  SUPERBLOCK_BLOCKS,
} from './geometry.ts';
import {
  LABEL_BYTES_MAX,
  readSuperblock,
  type StoreLimits,
  writeSuperblock,
} from './superblock.ts';

export interface FormatOptions {
  readonly env: Env;
  readonly device: BlockDevice;
  readonly clusterId: ClusterId;
  /** Random when left out; a directory has one already. */
  readonly id?: DeviceId | undefined;
  readonly nodeId?: NodeId | undefined;
  /** Up to 64 bytes of UTF-8, for people. */
  readonly label?: string | undefined;
  readonly limits?: Partial<StoreLimits> | undefined;
  /** Formats over a store that is there; all of its chunks are lost. */
  readonly replacesStore?: boolean | undefined;
  /** Else by the capacity of the device; tests want small ones. */
  readonly journalBlocks?: number | undefined;
  readonly partitionBits?: number | undefined;
}

function checkLimits({ minBytes, maxBytes, hardMaxBytes }: StoreLimits): void {
  const set = [minBytes, maxBytes, hardMaxBytes].filter((bytes) => bytes > 0);
  if (set.some((bytes, at) => at > 0 && bytes <= set[at - 1]!)) {
    throw new HoldfastError('HF_BAD_ARGUMENT', 'the limits of a store are min < max < hard max');
  }
}

async function refuseStore(device: BlockDevice): Promise<void> {
  try {
    const { superblock } = await readSuperblock(device);
    throw new HoldfastError('HF_EXISTS', `${device.name} holds the store ${superblock.id} already`);
  } catch (error) {
    if (errorCode(error) !== 'HF_NOT_OURS') throw error;
  }
}

/**
 * Makes a device a store; durable when it resolves.
 * @returns the id of the store.
 * @throws HF_EXISTS when a store is there; HF_BAD_ARGUMENT when the device is too small.
 */
export async function formatStore(options: FormatOptions): Promise<DeviceId> {
  const { env, device } = options;
  const limits = { minBytes: 0, maxBytes: 0, hardMaxBytes: 0, ...options.limits };
  checkLimits(limits);
  const label = options.label ?? '';
  if (utf8(label).length > LABEL_BYTES_MAX) {
    throw new HoldfastError('HF_BAD_ARGUMENT', `a label has up to ${LABEL_BYTES_MAX} bytes`);
  }
  if (device.sizeBytes < LIMITS.deviceBytesMin) {
    const message = `${device.name} has ${device.sizeBytes} bytes; a store needs 16 MiB`;
    throw new HoldfastError('HF_BAD_ARGUMENT', message);
  }
  if (!options.replacesStore) await refuseStore(device);
  const journalBlocks =
    options.journalBlocks ?? journalBlocksFor(device.sizeBytes, device.capacityBytes);
  const id = options.id ?? hexId<DeviceId>(env.random.bytes(16));
  await writeSuperblock(device, {
    id,
    nodeId: options.nodeId,
    clusterId: options.clusterId,
    label,
    state: 'active',
    seq: 1,
    sizeBytes: device.sizeBytes,
    partitionBits: options.partitionBits ?? partitionBitsFor(device.capacityBytes),
    journalStart: JOURNAL_START_BLOCK,
    journalBlocks,
    mark: { seq: 1, block: 0, chain: 0n },
    isClean: true,
    directory: [],
    chunkCount: 0,
    usedBlocks: journalBlocks + SUPERBLOCK_BLOCKS.length,
    limits,
    mountEpoch: 0,
    formattedAtMs: env.clock.now(),
    scrubbedAtMs: 0,
  });
  return id;
}
