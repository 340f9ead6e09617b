/**
 * The *root record*: the one registry key that changes, by compare-and-set, with each topology
 * epoch. It names records that are written once under names of their own: a *slice* per node (the
 * devices of that node, as a topology) and the layout. Who reads the root reads one consistent
 * topology; a change takes effect when the root names its records, and not before.
 *
 *   u8 2 · u64 epoch · u32 next device number · u8 wanted width · text layout key · u8 levels ·
 *   text each · u32 slices · each: 16 B node · text key · XXH64 of all before
 *
 * Version 1 had no wanted width: it was that of the layout.
 */
import {
  asBuffer,
  ByteReader,
  ByteWriter,
  fromHex,
  hexId,
  HoldfastError,
  type NodeId,
  xxh64,
} from '../base/index.ts';

export interface Root {
  /** The topology epoch; 0 before the first change. */
  readonly epoch: number;
  /** Numbers below it were given to devices once and are never given again. */
  readonly nextNumber: number;
  /** Shards of the widest scheme in use; the layout is no wider than there are devices. */
  readonly wantedWidth: number;
  readonly layoutKey: string;
  readonly levels: readonly string[];
  readonly slices: ReadonlyMap<NodeId, string>;
}

const VERSION = 2;
const CHECKSUM_BYTES = 8;

export function encodeRoot(root: Root): Uint8Array {
  const { epoch, nextNumber, wantedWidth, layoutKey, levels, slices } = root;
  const writer = new ByteWriter().u8(VERSION).u64(epoch).u32(nextNumber).u8(wantedWidth);
  writer.text(layoutKey);
  writer.u8(levels.length);
  for (const level of levels) writer.text(level);
  writer.u32(slices.size);
  for (const [node, key] of slices) writer.raw(fromHex(node)).text(key);
  return writer.bigU64(xxh64(writer.finish())).finish();
}

/** @throws HF_CORRUPT; HF_UNSUPPORTED when a newer version wrote it. */
export function decodeRoot(bytes: Uint8Array): Root {
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  const reader = new ByteReader(body, 'root record of the topology');
  const sum = bytes.length > CHECKSUM_BYTES && asBuffer(bytes).readBigUInt64LE(body.length);
  if (sum !== xxh64(body)) throw reader.corrupt('its checksum does not match');
  const version = reader.u8();
  if (version !== VERSION && version !== 1) {
    throw new HoldfastError('HF_UNSUPPORTED', `topology: version ${version} needs a newer release`);
  }
  const epoch = reader.u64();
  const nextNumber = reader.u32();
  const wantedWidth = version === 1 ? 0 : reader.u8();
  const layoutKey = reader.text();
  const levels = Array.from({ length: reader.u8() }, () => reader.text());
  const slices = new Map<NodeId, string>();
  for (let left = reader.u32(); left > 0; left--) {
    slices.set(hexId<NodeId>(reader.raw(16)), reader.text());
  }
  reader.end();
  return { epoch, nextNumber, wantedWidth, layoutKey, levels, slices };
}
