/**
 * The shape of all keys and values of a cell: docs/formats/rows.md.
 *
 * *Key*: slot (u16, big-endian) ‖ tag (one letter) ‖ rest; numbers big-endian, so that byte order
 * is number order. All rows of a slot are one range, which can move to another cell.
 * *Value*: a version byte, then the fields, little-endian. Reading checks everything: HF_CORRUPT.
 *
 * Slots 0 to 4,095 hold the cell's rows; CELL_SLOT those that belong to no slot; LOCAL_SLOT those
 * of one copy of the cell, which are in no entry and no snapshot.
 */
import { ByteReader, ByteWriter, concatBytes } from '../../base/index.ts';
import type { Row } from '../../db/index.ts';
import type { Rows } from './overlay.ts';

export const SLOT_COUNT = 4096;
export const CELL_SLOT = 0xfffe;
export const LOCAL_SLOT = 0xffff;

const VALUE_VERSION = 1;

/** slot ‖ tag ‖ parts; a bigint part takes eight bytes, big-endian. */
export function rowKey(slot: number, tag: string, ...parts: (bigint | Uint8Array)[]): Uint8Array {
  let size = 3;
  for (const part of parts) size += typeof part === 'bigint' ? 8 : part.length;
  const key = Buffer.allocUnsafe(size);
  let at = key.writeUInt16BE(slot, 0);
  at = key.writeUInt8(tag.charCodeAt(0), at);
  for (const part of parts) {
    if (typeof part === 'bigint') at = key.writeBigUInt64BE(part, at);
    else {
      key.set(part, at);
      at += part.length;
    }
  }
  return key;
}

/** What has been applied to this copy: `entries.ts`. */
export const APPLIED_KEY: Uint8Array = rowKey(LOCAL_SLOT, 'E');
/** The newest snapshot that this copy knows of: `snapshot.ts`. */
export const SNAPSHOT_KEY: Uint8Array = rowKey(LOCAL_SLOT, 'Z');

/** The range of all keys that begin with `prefix`, a slot and a tag at least. */
export function prefixRange(prefix: Uint8Array): { from: Uint8Array; to: Uint8Array } {
  const to = new Uint8Array(prefix);
  let last = to.length - 1;
  while (to[last] === 0xff) last -= 1;
  to[last] = (to[last] as number) + 1; // the tag is a letter, so there is a byte below 0xff
  return { from: prefix, to: to.subarray(0, last + 1) };
}

/** The least key above `key`. */
export function keyAfter(key: Uint8Array): Uint8Array {
  return concatBytes(key, new Uint8Array(1));
}

export function hasRowWithin(rows: Rows, prefix: Uint8Array): boolean {
  return rows.range({ ...prefixRange(prefix), limit: 1 }).length > 0;
}

/**
 * Rows with one tag over many slots (if not told, all that the cell owns), in key order. Slots
 * without such rows are skipped with at most two look-ups each for those that hold other rows, and
 * none for those that hold nothing.
 */
export function* rowsOfTag(
  rows: Rows,
  tag: string,
  { from, slots, limit }: { from?: Uint8Array; slots?: [number, number]; limit?: number } = {},
): Generator<Row> {
  const [firstSlot, endSlot] = slots ?? rows.slots ?? [0, SLOT_COUNT];
  const end = slotStart(endSlot);
  let left = limit ?? Number.MAX_SAFE_INTEGER;
  let next = from ?? rowKey(firstSlot, tag);
  for (;;) {
    const slot = slotOfKey(next);
    const { to } = prefixRange(rowKey(slot, tag));
    const found = rows.range({ from: next, to, limit: Math.min(left, 1000) });
    yield* found;
    left -= found.length;
    if (left === 0) return;
    const last = found.at(-1);
    if (found.length === 1000 && last) {
      next = keyAfter(last.key);
      continue;
    }
    const [following] = rows.range({ from: to, to: end, limit: 1 });
    if (!following) return;
    const followingSlot = slotOfKey(following.key);
    // Within the same slot only tags above ours are left.
    next = rowKey(followingSlot === slot ? slot + 1 : followingSlot, tag);
    if (slotOfKey(next) >= endSlot) return;
  }
}

/** The least key of a slot, or the end of the one before it. */
export function slotStart(slot: number): Uint8Array {
  return new ByteWriter(2).u16be(slot).finishPooled();
}

export function slotOfKey(key: Uint8Array): number {
  return keyReader(key).slot;
}

/** A reader behind slot and tag. */
export function keyReader(key: Uint8Array): { slot: number; tag: string; rest: ByteReader } {
  const rest = new ByteReader(key, 'row key');
  return { slot: rest.u16be(), tag: String.fromCharCode(rest.u8()), rest };
}

export function valueWriter(capacity = 64): ByteWriter {
  return new ByteWriter(capacity).u8(VALUE_VERSION);
}

/** @throws HF_CORRUPT when the version is not known. */
export function valueReader(bytes: Uint8Array, what: string): ByteReader {
  const reader = new ByteReader(bytes, what);
  const version = reader.u8();
  if (version !== VALUE_VERSION) throw reader.corrupt(`version ${version} is not known`);
  return reader;
}

/** A value of one whole number: a counter, an epoch. */
export function encodeNumber(value: number): Uint8Array {
  return valueWriter(9).u64(value).finishPooled();
}

export function decodeNumber(bytes: Uint8Array | undefined, what: string): number {
  if (!bytes) return 0;
  const reader = valueReader(bytes, what);
  const value = reader.u64();
  reader.end();
  return value;
}

/** A row that says all by being there. */
export const EMPTY_VALUE: Uint8Array = new Uint8Array([VALUE_VERSION]);

/** An array of the caller's own. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
