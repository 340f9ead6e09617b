/**
 * A group of transactions on its way to the writer: one buffer, which moves instead of being
 * copied.
 *
 *     step = kind u8 (0 delete, 1 put) | key bytes u32 | value bytes u32 | key | value | 8 of room
 *
 * The room takes the checksum, so that the writer stores what follows the key as it stands.
 */
import { assert, ByteReader, ByteWriter } from '../base/index.ts';
import type { Changes } from './local-db.ts';
import { CHECKSUM_BYTES, writeChecksum } from './sqlite-file.ts';

const NO_VALUE = new Uint8Array(0);
const ROOM = new Uint8Array(CHECKSUM_BYTES);
/** Of a step besides key and value. */
const STEP_BYTES = 9 + CHECKSUM_BYTES;

/** Deletes before puts, transactions in their order. @returns an array over a buffer of its own. */
export function encodeGroup(group: readonly Changes[]): Uint8Array<ArrayBuffer> {
  let bytes = 0;
  for (const { deletes, puts } of group) {
    for (const key of deletes) bytes += STEP_BYTES + key.length;
    for (const { key, value } of puts) bytes += STEP_BYTES + key.length + value.length;
  }
  const writer = new ByteWriter(bytes);
  const step = (kind: number, key: Uint8Array, value: Uint8Array): void => {
    writer.u8(kind).u32(key.length).u32(value.length).raw(key).raw(value).raw(ROOM);
  };
  for (const { deletes, puts } of group) {
    for (const key of deletes) step(0, key, NO_VALUE);
    for (const { key, value } of puts) step(1, key, value);
  }
  const encoded = writer.finish();
  assert(encoded.buffer.byteLength === encoded.length, 'the group has a buffer of its own');
  return encoded as Uint8Array<ArrayBuffer>;
}

/** What becomes of a key; `stored` is its value with the checksum, or nothing for a delete. */
export interface Step {
  readonly key: Uint8Array;
  readonly stored: Uint8Array | undefined;
}

/** Views of `group`, whose checksums are filled in. */
export function* decodeSteps(group: Uint8Array): Generator<Step> {
  const reader = new ByteReader(group, 'group of transactions');
  while (reader.left > 0) {
    const isPut = reader.u8() === 1;
    const keyBytes = reader.u32();
    const row = reader.raw(reader.u32() + keyBytes + CHECKSUM_BYTES);
    if (isPut) writeChecksum(row);
    yield { key: row.subarray(0, keyBytes), stored: isPut ? row.subarray(keyBytes) : undefined };
  }
}
