/**
 * Protocol-buffer encoding, as far as etcd's messages need it: varints (never negative) and
 * length-delimited fields. What a reader does not know it skips. An *id* of etcd has all 64 bits;
 * it is text here, in hexadecimal as etcd itself shows it.
 *
 * Source: protobuf.dev/programming-guides/encoding.
 */
import { assert, concatBytes, fromUtf8, HoldfastError, utf8 } from '../base/index.ts';

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

export class ProtoWriter {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  #push(...parts: readonly Uint8Array[]): this {
    for (const part of parts) this.#length += part.length;
    this.#parts.push(...parts);
    return this;
  }

  /** Left out when it is 0, which is what a reader takes a missing number for. */
  number(index: number, value: number): this {
    return value === 0 ? this : this.presentNumber(index, value);
  }

  presentNumber(index: number, value: number): this {
    return this.#push(varint(index * 8 + VARINT), varint(value));
  }

  id(index: number, value: string): this {
    return this.#push(varint(index * 8 + VARINT), varint(BigInt(`0x${value}`)));
  }

  text(index: number, value: string): this {
    return this.bytes(index, utf8(value));
  }

  bytes(index: number, value: Uint8Array): this {
    return this.#push(varint(index * 8 + DELIMITED), varint(value.length), value);
  }

  message(index: number, message: ProtoWriter): this {
    this.#push(varint(index * 8 + DELIMITED), varint(message.#length));
    return this.#push(...message.#parts); // large values are copied once, at the end
  }

  finish(): Uint8Array {
    return concatBytes(...this.#parts);
  }
}

function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  if (typeof rest === 'bigint') {
    for (; rest > Number.MAX_SAFE_INTEGER; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
    rest = Number(rest);
  }
  assert(Number.isSafeInteger(rest) && rest >= 0, 'a varint is a whole number');
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

/** The fields of one message by their index, in order; contents are views. */
export type Fields = ReadonlyMap<number, readonly FieldValue[]>;

/** A varint beyond 2^53 − 1 is a bigint. */
type FieldValue = number | bigint | Uint8Array;

/** @throws HF_CORRUPT. */
export function fieldsOf(message: Uint8Array): Fields {
  const fields = new Map<number, FieldValue[]>();
  let offset = 0;
  const take = (count: number): Uint8Array => {
    if (count > message.length - offset) throw malformed();
    return message.subarray(offset, (offset += count));
  };
  const takeVarint = (): number | bigint => {
    const start = offset;
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = take(1)[0]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      if (scale >= 2 ** 63) throw malformed();
    }
    return Number.isSafeInteger(value) ? value : exactVarint(message.subarray(start, offset));
  };
  while (offset < message.length) {
    const tag = takeVarint();
    if (typeof tag !== 'number') throw malformed();
    const index = Math.floor(tag / 8);
    const value = takeValue(tag % 8, take, takeVarint);
    const known = fields.get(index);
    if (known) known.push(value);
    else fields.set(index, [value]);
  }
  return fields;
}

function exactVarint(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes.toReversed()) value = (value << 7n) | BigInt(byte & 0x7f);
  return BigInt.asUintN(64, value);
}

function takeValue(
  kind: number,
  take: (count: number) => Uint8Array,
  takeVarint: () => number | bigint,
): FieldValue {
  if (kind === VARINT) return takeVarint();
  if (kind === DELIMITED) return take(Number(takeVarint()));
  if (kind === FIXED64) return take(8);
  if (kind === FIXED32) return take(4);
  throw malformed();
}

function malformed(): HoldfastError {
  return new HoldfastError('HF_CORRUPT', 'the message of etcd is malformed');
}

export const field = {
  /** 0 when missing. */
  number(fields: Fields, index: number): number {
    const value = fields.get(index)?.at(-1) ?? 0;
    if (typeof value !== 'number') throw malformed();
    return value;
  },
  /** '0' when missing. */
  id(fields: Fields, index: number): string {
    const value = fields.get(index)?.at(-1) ?? 0;
    if (value instanceof Uint8Array) throw malformed();
    return value.toString(16);
  },
  /** All of that index. */
  messages(fields: Fields, index: number): Uint8Array[] {
    return (fields.get(index) ?? []).map((value) => {
      if (!(value instanceof Uint8Array)) throw malformed();
      return value;
    });
  },
  texts(fields: Fields, index: number): string[] {
    return field.messages(fields, index).map(fromUtf8);
  },
};
