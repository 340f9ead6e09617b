/**
 * Writes and reads binary records. Integers are little-endian unless a name says otherwise (keys
 * are big-endian, so that their byte order is their number order). A reader never reads past its
 * end: input that is cut or inconsistent is HF_CORRUPT, not an exception of the language.
 */
import { assert } from './assert.ts';
import { asBuffer, fromUtf8, utf8 } from './bytes.ts';
import { HoldfastError } from './errors.ts';

const UINT32_MAX = 0xffff_ffff;

/** Grows as it is written; `finish` returns the bytes written so far. */
export class ByteWriter {
  #buffer: Buffer;
  #offset = 0;

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  #reserve(count: number): number {
    const start = this.#offset;
    const end = start + count;
    if (end > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, start);
      this.#buffer = larger;
    }
    this.#offset = end;
    return start;
  }

  u8(value: number): this {
    const at = this.#reserve(1);
    this.#buffer.writeUInt8(value, at);
    return this;
  }

  u16(value: number): this {
    const at = this.#reserve(2);
    this.#buffer.writeUInt16LE(value, at);
    return this;
  }

  u16be(value: number): this {
    const at = this.#reserve(2);
    this.#buffer.writeUInt16BE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#reserve(4);
    this.#buffer.writeUInt32LE(value, at);
    return this;
  }

  u32be(value: number): this {
    const at = this.#reserve(4);
    this.#buffer.writeUInt32BE(value, at);
    return this;
  }

  /** A whole number up to 2^53 − 1 in eight bytes. */
  u64(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, 'the value is a safe whole number');
    const at = this.#reserve(8);
    this.#buffer.writeUInt32LE(value % 2 ** 32, at);
    this.#buffer.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
    return this;
  }

  u64be(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, 'the value is a safe whole number');
    const at = this.#reserve(8);
    this.#buffer.writeUInt32BE(Math.floor(value / 2 ** 32), at);
    this.#buffer.writeUInt32BE(value % 2 ** 32, at + 4);
    return this;
  }

  bigU64(value: bigint): this {
    const at = this.#reserve(8);
    this.#buffer.writeBigUInt64LE(value, at);
    return this;
  }

  bigU64be(value: bigint): this {
    const at = this.#reserve(8);
    this.#buffer.writeBigUInt64BE(value, at);
    return this;
  }

  /** The bytes as they are; their number is known to the reader. */
  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
    return this;
  }

  /** A u32 count, then the bytes. */
  bytes(bytes: Uint8Array): this {
    assert(bytes.length <= UINT32_MAX, 'the bytes fit a 32-bit count');
    return this.u32(bytes.length).raw(bytes);
  }

  text(text: string): this {
    return this.bytes(utf8(text));
  }

  get length(): number {
    return this.#offset;
  }

  /** A copy of what was written, owned by the caller. */
  finish(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.#offset));
  }

  /**
   * The same in memory that small arrays share, for a quarter of the time: not to be transferred,
   * and each keeps 8 KiB from being freed.
   */
  finishPooled(): Uint8Array {
    const bytes = Buffer.allocUnsafe(this.#offset);
    this.#buffer.copy(bytes, 0, 0, this.#offset);
    return bytes;
  }
}

/** Reads what {@link ByteWriter} wrote. Arrays it returns are views of the input. */
export class ByteReader {
  readonly #buffer: Buffer;
  readonly #what: string;
  #offset = 0;

  /** @param what named in the error when the input is cut: "inode row". */
  constructor(bytes: Uint8Array, what: string) {
    this.#buffer = asBuffer(bytes);
    this.#what = what;
  }

  #take(count: number): number {
    const start = this.#offset;
    if (start + count > this.#buffer.length) throw this.corrupt('it is cut short');
    this.#offset = start + count;
    return start;
  }

  /** The error for input that is not what it should be. */
  corrupt(reason: string): HoldfastError {
    return new HoldfastError('HF_CORRUPT', `${this.#what}: ${reason}`);
  }

  u8(): number {
    return this.#buffer.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#buffer.readUInt16LE(this.#take(2));
  }

  u16be(): number {
    return this.#buffer.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#take(4));
  }

  u32be(): number {
    return this.#buffer.readUInt32BE(this.#take(4));
  }

  u64(): number {
    const at = this.#take(8);
    const value = this.#buffer.readUInt32LE(at) + this.#buffer.readUInt32LE(at + 4) * 2 ** 32;
    if (!Number.isSafeInteger(value)) throw this.corrupt('a number is out of range');
    return value;
  }

  u64be(): number {
    const at = this.#take(8);
    const value = this.#buffer.readUInt32BE(at) * 2 ** 32 + this.#buffer.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(value)) throw this.corrupt('a number is out of range');
    return value;
  }

  bigU64(): bigint {
    return this.#buffer.readBigUInt64LE(this.#take(8));
  }

  bigU64be(): bigint {
    return this.#buffer.readBigUInt64BE(this.#take(8));
  }

  raw(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#buffer.subarray(at, at + count);
  }

  bytes(): Uint8Array {
    return this.raw(this.u32());
  }

  text(): string {
    return fromUtf8(this.bytes());
  }

  get left(): number {
    return this.#buffer.length - this.#offset;
  }

  /** States that everything was read. */
  end(): void {
    if (this.left !== 0) throw this.corrupt(`${this.left} bytes too many`);
  }
}
