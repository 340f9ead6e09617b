/**
 * Arguments and answers of a cell as bytes: absent values, booleans, whole numbers, big numbers
 * (u64), text, bytes, lists and records. Each value is a tag and its content; what is read is
 * checked for sense here, for shape by a schema (cell-methods.ts).
 */
import { ByteReader, ByteWriter, errorCode, HoldfastError } from '../../base/index.ts';
import { copyOf } from '../cells/rows.ts';

const TAG = {
  absent: 0,
  false: 1,
  true: 2,
  number: 3,
  big: 4,
  text: 5,
  bytes: 6,
  list: 7,
  record: 8,
} as const;

/** Lists in lists: an extent of a content commit of a batch, in a call to a cell, needs eleven. */
const DEPTH_MAX = 12;

/** @throws HF_BAD_ARGUMENT for what has no encoding. */
export function encodeValue(value: unknown): Uint8Array {
  const writer = new ByteWriter();
  writeValue(writer, value);
  return writer.finish();
}

/** Byte arrays in the result are copies. @throws HF_BAD_ARGUMENT when the bytes are no value. */
export function decodeValue(bytes: Uint8Array): unknown {
  const reader = new ByteReader(bytes, 'value');
  try {
    const value = readValue(reader, DEPTH_MAX);
    reader.end();
    return value;
  } catch (error) {
    if (errorCode(error) !== 'HF_CORRUPT') throw error;
    throw new HoldfastError('HF_BAD_ARGUMENT', (error as Error).message, { cause: error });
  }
}

function writeValue(writer: ByteWriter, value: unknown): void {
  switch (typeof value) {
    case 'undefined':
      writer.u8(TAG.absent);
      return;
    case 'boolean':
      writer.u8(value ? TAG.true : TAG.false);
      return;
    case 'number':
      if (!Number.isSafeInteger(value) || value < 0) throw unfit(`the number ${value}`);
      writer.u8(TAG.number).u64(value);
      return;
    case 'bigint':
      if (BigInt.asUintN(64, value) !== value) throw unfit(`the number ${value}`);
      writer.u8(TAG.big).bigU64(value);
      return;
    case 'string':
      writer.u8(TAG.text).text(value);
      return;
    case 'object':
      writeComposite(writer, value);
      return;
    case 'function':
    case 'symbol':
      throw unfit(`a ${typeof value}`);
  }
}

function writeComposite(writer: ByteWriter, value: object | null): void {
  if (value === null) throw unfit('null');
  if (value instanceof Uint8Array) {
    writer.u8(TAG.bytes).bytes(value);
  } else if (Array.isArray(value)) {
    writer.u8(TAG.list).u32(value.length);
    for (const item of value as unknown[]) writeValue(writer, item);
  } else {
    const entries = Object.entries(value);
    writer.u8(TAG.record).u32(entries.length);
    for (const [name, item] of entries) writeValue(writer.text(name), item);
  }
}

function readValue(reader: ByteReader, depth: number): unknown {
  if (depth === 0) throw reader.corrupt('it is nested too deeply');
  const tag = reader.u8();
  switch (tag) {
    case TAG.absent:
      return undefined;
    case TAG.false:
      return false;
    case TAG.true:
      return true;
    case TAG.number:
      return reader.u64();
    case TAG.big:
      return reader.bigU64();
    case TAG.text:
      return reader.text();
    case TAG.bytes:
      return copyOf(reader.bytes());
    case TAG.list: {
      const items: unknown[] = [];
      for (let count = reader.u32(); count > 0; count--) items.push(readValue(reader, depth - 1));
      return items;
    }
    case TAG.record: {
      const record = Object.create(null) as Record<string, unknown>;
      for (let count = reader.u32(); count > 0; count--) {
        const name = reader.text();
        record[name] = readValue(reader, depth - 1);
      }
      return record;
    }
    default:
      throw reader.corrupt(`there is no tag ${tag}`);
  }
}

function unfit(what: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', `${what} cannot be sent to another node`);
}
