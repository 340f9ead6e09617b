/**
 * Messages: the arguments and results of calls, in MessagePack. Numbers, text, bytes, booleans,
 * null, lists and maps with text keys; no extension types. `undefined` in a map is left out.
 *
 * Input of other nodes: no count is believed that the bytes cannot hold (five bytes can claim a
 * list of four thousand million), nothing is nested deeply, and no key reaches a prototype. Written
 * here, because that check needs a walk of its own before a decoder of others, and calls are small:
 * measured with @msgpack/msgpack, half of the time of a call went into it.
 * Source: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
import { asBuffer, HoldfastError, LIMITS } from '../base/index.ts';
import { MessageReader } from './message-reader.ts';

/** Lists in lists. */
export const DEPTH_MAX = 32;

const SLAB_BYTES = 32 * 1024;
const UINT32 = 2 ** 32;
/** Text of up to so many units is written faster here than by a call out of JavaScript. */
const SHORT_TEXT = 40;

/** Encodes and decodes for one connection. */
export class MessageCodec {
  /** Messages are cut from it, one behind the other; what was cut is the caller's. */
  #slab: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;

  /**
   * Owned by the caller.
   * @throws HF_TOO_LARGE beyond LIMITS.messageBytesMax, HF_BAD_ARGUMENT for what has no encoding.
   */
  encode(value: unknown): Uint8Array {
    this.#start = this.#end;
    try {
      this.#value(value, 0);
    } catch (error) {
      this.#end = this.#start;
      throw error;
    }
    return this.#slab.subarray(this.#start, this.#end);
  }

  /**
   * Byte arrays in the result are views of `bytes`.
   * @throws HF_CORRUPT when `bytes` is not one sound message.
   */
  decode(bytes: Uint8Array): unknown {
    return new MessageReader(asBuffer(bytes), DEPTH_MAX).read();
  }

  #reserve(bytes: number): number {
    const at = this.#end;
    this.#end = at + bytes;
    const messageBytes = this.#end - this.#start;
    if (messageBytes > LIMITS.messageBytesMax) {
      const text = 'a message is too large; larger content travels as a stream';
      throw new HoldfastError('HF_TOO_LARGE', text);
    }
    if (this.#end <= this.#slab.length) return at;
    const slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, 2 * messageBytes));
    this.#slab.copy(slab, 0, this.#start, at);
    this.#slab = slab;
    this.#start = 0;
    this.#end = messageBytes;
    return messageBytes - bytes;
  }

  #tag(tag: number): void {
    const at = this.#reserve(1);
    this.#slab[at] = tag;
  }

  #value(value: unknown, depth: number): void {
    switch (typeof value) {
      case 'string':
        return this.#text(value);
      case 'number':
        return this.#number(value);
      case 'boolean':
        return this.#tag(value ? 0xc3 : 0xc2);
      case 'undefined':
        return this.#tag(0xc0);
      case 'object':
        if (value === null) return this.#tag(0xc0);
        return this.#object(value, depth + 1);
      case 'bigint':
      case 'function':
      case 'symbol':
        throw unsendable(`a ${typeof value}`);
    }
  }

  #object(value: object, depth: number): void {
    if (depth > DEPTH_MAX) throw unsendable('something nested too deeply');
    if (value instanceof Uint8Array) return this.#bytes(value);
    if (Array.isArray(value)) {
      this.#count(value.length, { small: 0x90, smallMax: 15, tag16: 0xdc });
      for (const item of value) this.#value(item, depth);
      return;
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) throw unsendable('an instance');
    const record = value as Record<string, unknown>;
    const keys = Object.keys(record).filter((key) => record[key] !== undefined);
    this.#count(keys.length, { small: 0x80, smallMax: 15, tag16: 0xde });
    for (const key of keys) {
      this.#text(key);
      this.#value(record[key], depth);
    }
  }

  /** A count in the smallest form; the 32-bit tag follows the 16-bit one. */
  #count(count: number, form: { small: number; smallMax: number; tag16: number }): void {
    if (count <= form.smallMax) return this.#tag(form.small | count);
    const isWide = count > 0xffff;
    const at = this.#reserve(isWide ? 5 : 3);
    this.#slab[at] = isWide ? form.tag16 + 1 : form.tag16;
    if (isWide) this.#slab.writeUInt32BE(count, at + 1);
    else this.#slab.writeUInt16BE(count, at + 1);
  }

  #bytes(value: Uint8Array): void {
    if (value.length > 0xff) this.#count(value.length, { small: 0, smallMax: -1, tag16: 0xc5 });
    else {
      const at = this.#reserve(2);
      this.#slab[at] = 0xc4;
      this.#slab[at + 1] = value.length;
    }
    const start = this.#reserve(value.length);
    this.#slab.set(value, start);
  }

  #text(text: string): void {
    if (text.length <= SHORT_TEXT && this.#shortText(text)) return;
    const bytes = Buffer.byteLength(text);
    if (bytes > 31 && bytes <= 0xff) {
      const at = this.#reserve(2);
      this.#slab[at] = 0xd9;
      this.#slab[at + 1] = bytes;
    } else this.#count(bytes, { small: 0xa0, smallMax: 31, tag16: 0xda });
    const start = this.#reserve(bytes);
    this.#slab.write(text, start, bytes, 'utf8');
  }

  /** False, and nothing written, when the text is not ASCII. */
  #shortText(text: string): boolean {
    const headBytes = text.length <= 31 ? 1 : 2;
    const at = this.#reserve(headBytes + text.length);
    const slab = this.#slab;
    slab[at] = headBytes === 1 ? 0xa0 | text.length : 0xd9;
    if (headBytes === 2) slab[at + 1] = text.length;
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) {
        this.#end = at;
        return false;
      }
      slab[at + headBytes + index] = unit;
    }
    return true;
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      const at = this.#reserve(9);
      this.#slab[at] = 0xcb;
      this.#slab.writeDoubleBE(value, at + 1);
    } else if (value >= -32 && value < 0x80) this.#tag(value & 0xff);
    else if (value >= 0) this.#whole(value);
    else this.#negative(value);
  }

  #whole(value: number): void {
    const width = value <= 0xff ? 1 : value <= 0xffff ? 2 : value < UINT32 ? 4 : 8;
    const at = this.#reserve(1 + width);
    this.#slab[at] = width === 1 ? 0xcc : width === 2 ? 0xcd : width === 4 ? 0xce : 0xcf;
    if (width < 8) this.#slab.writeUIntBE(value, at + 1, width);
    else {
      this.#slab.writeUInt32BE(Math.floor(value / UINT32), at + 1);
      this.#slab.writeUInt32BE(value % UINT32, at + 5);
    }
  }

  #negative(value: number): void {
    const width = value >= -0x80 ? 1 : value >= -0x8000 ? 2 : value >= -UINT32 / 2 ? 4 : 8;
    const at = this.#reserve(1 + width);
    this.#slab[at] = width === 1 ? 0xd0 : width === 2 ? 0xd1 : width === 4 ? 0xd2 : 0xd3;
    if (width < 8) this.#slab.writeIntBE(value, at + 1, width);
    else this.#slab.writeBigInt64BE(BigInt(value), at + 1);
  }
}

function unsendable(what: string): HoldfastError {
  return new HoldfastError('HF_BAD_ARGUMENT', `${what} cannot be sent to another node`);
}
