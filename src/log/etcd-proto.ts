/**
 * Protocol-buffer encoding, as far as etcd's messages need it: varints (never negative, at most
 * 2^53 − 1) and length-delimited fields. What a reader does not know it skips.
 *
 * Source: protobuf.dev/programming-guides/encoding.
 */
import { assert, concatBytes, HoldfastError } from '../base/index.ts';

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

function varint(value: number): Uint8Array {
  assert(Number.isSafeInteger(value) && value >= 0, 'a varint is a whole number');
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  bytes.push(value);
  return Uint8Array.from(bytes);
}

/** The fields of one message by their index, in order; contents are views. */
export type Fields = ReadonlyMap<number, readonly (number | Uint8Array)[]>;

/** @throws HF_CORRUPT. */
export function fieldsOf(message: Uint8Array): Fields {
  const fields = new Map<number, (number | Uint8Array)[]>();
  let offset = 0;
  const take = (count: number): Uint8Array => {
    if (count > message.length - offset) throw malformed();
    return message.subarray(offset, (offset += count));
  };
  const takeVarint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = take(1)[0]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      if (scale >= 2 ** 63) throw malformed();
    }
  };
  while (offset < message.length) {
    const tag = takeVarint();
    const index = Math.floor(tag / 8);
    const value = takeValue(tag % 8, take, takeVarint);
    const known = fields.get(index);
    if (known) known.push(value);
    else fields.set(index, [value]);
  }
  return fields;
}

function takeValue(
  kind: number,
  take: (count: number) => Uint8Array,
  takeVarint: () => number,
): number | Uint8Array {
  if (kind === VARINT) return takeVarint();
  if (kind === DELIMITED) return take(takeVarint());
  if (kind === FIXED64) return take(8);
  if (kind === FIXED32) return take(4);
  throw malformed();
}

function malformed(): HoldfastError {
  return new HoldfastError('HF_CORRUPT', 'the message of etcd is malformed');
}

export const field = {
  /** 0 when missing. Ids of etcd are beyond 2^53 and come out rounded: we read none. */
  number(fields: Fields, index: number): number {
    const value = fields.get(index)?.at(-1) ?? 0;
    if (typeof value !== 'number') throw malformed();
    return value;
  },
  /** All of that index. */
  messages(fields: Fields, index: number): Uint8Array[] {
    return (fields.get(index) ?? []).map((value) => {
      if (typeof value === 'number') throw malformed();
      return value;
    });
  },
};
