/** Reads one message; see message.ts. Every way in which the bytes can lie is HF_CORRUPT. */
import { HoldfastError } from '../base/index.ts';

/** Text of up to so many bytes is read faster here than by a call out of JavaScript. */
const SHORT_TEXT_BYTES = 16;

export class MessageReader {
  readonly #bytes: Buffer;
  readonly #depthMax: number;
  #at = 0;

  constructor(bytes: Buffer, depthMax: number) {
    this.#bytes = bytes;
    this.#depthMax = depthMax;
  }

  /** @throws HF_CORRUPT */
  read(): unknown {
    const value = this.#value(0);
    if (this.#at !== this.#bytes.length) throw bad('is followed by something');
    return value;
  }

  /** The offset of so many bytes, which are passed. */
  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw bad('is cut short');
    this.#at = at + count;
    return at;
  }

  #value(depth: number): unknown {
    const tag = this.#bytes[this.#take(1)]!;
    if (tag < 0x80) return tag;
    if (tag >= 0xe0) return tag - 0x100;
    if (tag < 0x90) return this.#map(tag & 0x0f, depth + 1);
    if (tag < 0xa0) return this.#list(tag & 0x0f, depth + 1);
    if (tag < 0xc0) return this.#text(tag & 0x1f);
    return this.#tagged(tag, depth);
  }

  #tagged(tag: number, depth: number): unknown {
    const bytes = this.#bytes;
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#raw(this.#whole(1 << (tag - 0xc4)));
      case 0xca:
        return bytes.readFloatBE(this.#take(4));
      case 0xcb:
        return bytes.readDoubleBE(this.#take(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#whole(1 << (tag - 0xcc));
      case 0xcf:
        return Number(bytes.readBigUInt64BE(this.#take(8)));
      case 0xd0:
        return bytes.readInt8(this.#take(1));
      case 0xd1:
        return bytes.readInt16BE(this.#take(2));
      case 0xd2:
        return bytes.readInt32BE(this.#take(4));
      case 0xd3:
        return Number(bytes.readBigInt64BE(this.#take(8)));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#whole(1 << (tag - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#list(this.#whole(2 << (tag - 0xdc)), depth + 1);
      case 0xde:
      case 0xdf:
        return this.#map(this.#whole(2 << (tag - 0xde)), depth + 1);
      default:
        throw bad('has a value of a type that is not used here');
    }
  }

  #whole(width: number): number {
    const at = this.#take(width);
    return this.#bytes.readUIntBE(at, width);
  }

  #raw(count: number): Buffer {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  #text(count: number): string {
    const at = this.#take(count);
    const end = at + count;
    if (count > SHORT_TEXT_BYTES) return this.#bytes.toString('utf8', at, end);
    let text = '';
    for (let index = at; index < end; index++) {
      const byte = this.#bytes[index]!;
      if (byte > 0x7f) return this.#bytes.toString('utf8', at, end);
      text += String.fromCharCode(byte);
    }
    return text;
  }

  /** Each value has at least one byte; so a count that lies costs nothing. */
  #checkCount(values: number, depth: number): void {
    if (values > this.#bytes.length - this.#at) throw bad('claims more than it has');
    if (depth > this.#depthMax) throw bad('is nested too deeply');
  }

  #list(count: number, depth: number): unknown[] {
    this.#checkCount(count, depth);
    const list: unknown[] = [];
    for (let index = 0; index < count; index++) list.push(this.#value(depth));
    return list;
  }

  #map(count: number, depth: number): Record<string, unknown> {
    this.#checkCount(2 * count, depth);
    const map: Record<string, unknown> = {};
    for (let index = 0; index < count; index++) {
      const key = this.#value(this.#depthMax); // a text, or too deep
      if (typeof key !== 'string' || key === '__proto__') throw bad('has a key that is no name');
      map[key] = this.#value(depth);
    }
    return map;
  }
}

function bad(reason: string): HoldfastError {
  return new HoldfastError('HF_CORRUPT', `a message ${reason}`);
}
