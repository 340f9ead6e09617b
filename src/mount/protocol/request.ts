/**
 * One request as the kernel wrote it: header, struct, names or data. Reading never passes the end
 * of the message: what is shorter than it says is EPROTO for the caller, not an exception of the
 * language. Views of the message are good until its *slot*, the memory it was read into, is used
 * again. Source: fs/fuse/dev.c of the Linux kernel (fuse_dev_do_read: one read is one request).
 */
import { LIMITS } from '../../base/index.ts';
import { ErrnoError } from '../errno.ts';
import type { At32, At64 } from './struct.ts';
import { IN_HEADER } from './structs.ts';

const TWO_TO_32 = 2 ** 32;
const NUL = 0;
const SLASH = 0x2f;

/** Memory for one request. */
export class Slot {
  readonly buffer: Buffer;
  readonly words: Uint32Array;
  readonly longs: BigUint64Array;

  /**
   * @param bytes a multiple of 8. Pages are only taken from the machine as they are filled.
   * @param place where it is within other memory; without one it has its own.
   */
  constructor(
    bytes: number,
    { memory, offset }: { memory: ArrayBufferLike; offset: number } = {
      memory: new ArrayBuffer(bytes),
      offset: 0,
    },
  ) {
    this.buffer = Buffer.from(memory, offset, bytes);
    this.words = new Uint32Array(memory, offset, bytes / Uint32Array.BYTES_PER_ELEMENT);
    this.longs = new BigUint64Array(memory, offset, bytes / BigUint64Array.BYTES_PER_ELEMENT);
  }
}

export class Request {
  readonly opcode: number;
  readonly unique: number;
  /** The one that the request is about; 0 for none. */
  readonly inode: number;
  readonly uid: number;
  readonly gid: number;
  readonly processId: number;
  readonly #slot: Slot;
  readonly #length: number;
  /** Where the next name or data begins. */
  #cursor: number = IN_HEADER.bytes;

  private constructor(slot: Slot, length: number) {
    const { words } = slot;
    this.#slot = slot;
    this.#length = length;
    this.opcode = words[IN_HEADER.opcode >>> 2]!;
    this.unique = wide(words, IN_HEADER.unique);
    this.inode = wide(words, IN_HEADER.inode);
    this.uid = words[IN_HEADER.uid >>> 2]!;
    this.gid = words[IN_HEADER.gid >>> 2]!;
    this.processId = words[IN_HEADER.processId >>> 2]!;
  }

  /** @returns `undefined` for what has no sound header, so that it cannot even be answered. */
  static parse(slot: Slot, length: number): Request | undefined {
    if (length < IN_HEADER.bytes || length > slot.buffer.length) return undefined;
    if (slot.words[IN_HEADER.length >>> 2] !== length) return undefined;
    const request = new Request(slot, length);
    // A notification has unique 0; to reply to a request that has it would be taken for one.
    return Number.isSafeInteger(request.unique) && request.unique > 0 ? request : undefined;
  }

  /** States which struct comes next; fields are read from it, names after it. */
  expect(struct: { readonly bytes: number }): void {
    this.#cursor = IN_HEADER.bytes + struct.bytes;
    if (this.#cursor > this.#length) throw this.#malformed('it is cut short');
  }

  u32(at: At32): number {
    return this.#slot.words[(IN_HEADER.bytes + at) >>> 2]!;
  }

  /** @throws EFBIG above 2^53 − 1: offsets and lengths beyond what a number can say. */
  u64(at: At64): number {
    const value = wide(this.#slot.words, IN_HEADER.bytes + at);
    if (!Number.isSafeInteger(value)) throw new ErrnoError('EFBIG', 'a number is above 2^53');
    return value;
  }

  /** As {@link u64}, with a sign. */
  i64(at: At64): number {
    const index = (IN_HEADER.bytes + at) >>> 2;
    const { words } = this.#slot;
    const value = (words[index + 1]! | 0) * TWO_TO_32 + words[index]!;
    if (!Number.isSafeInteger(value)) throw new ErrnoError('EINVAL', 'a time is beyond 2^53 s');
    return value;
  }

  /** All 64 bits. */
  big64(at: At64): bigint {
    return this.#slot.longs[(IN_HEADER.bytes + at) >>> 3]!;
  }

  /** What comes next up to a NUL, which is skipped. A view. */
  text(): Buffer {
    const start = this.#cursor;
    const end = this.#slot.buffer.indexOf(NUL, start);
    if (end < 0 || end >= this.#length) throw this.#malformed('a text has no end');
    this.#cursor = end + 1;
    return this.#slot.buffer.subarray(start, end);
  }

  /** As {@link text}, and a name of a directory entry. */
  name(): Buffer {
    const name = this.text();
    if (name.length === 0 || name.includes(SLASH)) throw this.#malformed('a name is none');
    if (name.length > LIMITS.nameBytesMax) throw new ErrnoError('ENAMETOOLONG', 'a name is long');
    return name;
  }

  /** As many bytes as the struct says come next. A view. */
  data(count: number): Buffer {
    const start = this.#cursor;
    if (start + count > this.#length) throw this.#malformed('its data is cut short');
    this.#cursor = start + count;
    return this.#slot.buffer.subarray(start, start + count);
  }

  /** A struct of several that come next; fields are read from what this returns. */
  record(struct: { readonly bytes: number }): { u64(at: At64): number } {
    const start = this.#cursor - IN_HEADER.bytes;
    this.data(struct.bytes);
    return { u64: (at) => this.u64(start + at) };
  }

  #malformed(reason: string): ErrnoError {
    return new ErrnoError('EPROTO', `a request with opcode ${this.opcode}: ${reason}`);
  }
}

function wide(words: Uint32Array, at: number): number {
  const index = at >>> 2;
  return words[index]! + words[index + 1]! * TWO_TO_32;
}
