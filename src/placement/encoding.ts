/**
 * Topologies and layouts as bytes, for the registry: a version byte, the fields, XXH64 of all
 * before it. Integers are little-endian.
 *
 *   topology  u8 1 · u64 epoch · u8 levels · text each · u16 devices ·
 *             each: 16 B id · u16 number · u64 weight · u8 state · text per level
 *   layout    u8 1 · u64 epoch · u16 groups · u8 width · u16 device number per position, row by row
 */
import {
  asBuffer,
  ByteReader,
  ByteWriter,
  type DeviceId,
  fromHex,
  GROUP_COUNT,
  hexId,
  HoldfastError,
  xxh64,
} from '../base/index.ts';
import type { DeviceState, Layout, Topology, TopologyDevice } from './layout.ts';

const VERSION = 1;
const CHECKSUM_BYTES = 8;
/** Place in this list = number in the format; append only. */
const STATES: readonly DeviceState[] = ['in', 'draining', 'out'];

export function encodeTopology({ epoch, levels, devices }: Topology): Uint8Array {
  const writer = new ByteWriter().u8(VERSION).u64(epoch).u8(levels.length);
  for (const level of levels) writer.text(level);
  writer.u16(devices.length);
  for (const { id, number, weightBytes, state, labels } of devices) {
    writer.raw(fromHex(id)).u16(number).u64(weightBytes).u8(STATES.indexOf(state));
    for (const label of labels) writer.text(label);
  }
  return withChecksum(writer);
}

/** @throws HF_CORRUPT; HF_UNSUPPORTED when a newer version wrote it. */
export function decodeTopology(bytes: Uint8Array): Topology {
  const reader = checkedReader(bytes, 'topology');
  const epoch = reader.u64();
  const levels = Array.from({ length: reader.u8() }, () => reader.text());
  const devices = Array.from({ length: reader.u16() }, () => readDevice(reader, levels.length));
  reader.end();
  return { epoch, levels, devices };
}

function readDevice(reader: ByteReader, levelCount: number): TopologyDevice {
  const id = hexId<DeviceId>(reader.raw(16));
  const number = reader.u16();
  const weightBytes = reader.u64();
  const state = STATES[reader.u8()];
  if (!state) throw reader.corrupt('a device has no known state');
  return {
    id,
    number,
    weightBytes,
    state,
    labels: Array.from({ length: levelCount }, () => reader.text()),
  };
}

export function encodeLayout({ epoch, width, table }: Layout): Uint8Array {
  const writer = new ByteWriter(table.length * 2 + 64);
  writer.u8(VERSION).u64(epoch).u16(GROUP_COUNT).u8(width);
  for (const number of table) writer.u16(number);
  return withChecksum(writer);
}

/** @throws HF_CORRUPT; HF_UNSUPPORTED when a newer version wrote it. */
export function decodeLayout(bytes: Uint8Array): Layout {
  const reader = checkedReader(bytes, 'layout');
  const epoch = reader.u64();
  const groups = reader.u16();
  if (groups !== GROUP_COUNT) throw reader.corrupt(`it has ${groups} placement groups`);
  const width = reader.u8();
  const table = Uint16Array.from({ length: groups * width }, () => reader.u16());
  reader.end();
  return { epoch, width, table };
}

function withChecksum(writer: ByteWriter): Uint8Array {
  return writer.bigU64(xxh64(writer.finish())).finish();
}

function checkedReader(bytes: Uint8Array, what: string): ByteReader {
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  const reader = new ByteReader(body, what);
  const sum = bytes.length > CHECKSUM_BYTES && asBuffer(bytes).readBigUInt64LE(body.length);
  if (sum !== xxh64(body)) throw reader.corrupt('its checksum does not match');
  const version = reader.u8();
  if (version !== VERSION) {
    throw new HoldfastError('HF_UNSUPPORTED', `${what}: version ${version} needs a newer release`);
  }
  return reader;
}
