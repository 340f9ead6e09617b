/**
 * Frames: what a connection between nodes consists of.
 *
 *   u32 length of the payload | u8 type | u32 stream | u64 checksum | payload
 *
 * Little-endian. The checksum is XXH64 of the payload, seeded with the other fields of the header
 * as one number: length · 2^40 + type · 2^32 + stream. A frame that is too long, of an unknown type
 * or does not match its checksum ends the connection: nothing after it can be trusted.
 * The *stream* of a frame is the number of the request that it belongs to.
 */
import {
  beginXxh64,
  concatBytes,
  HoldfastError,
  LIMITS,
  xxh64,
  type Xxh64Sum,
} from '../base/index.ts';

export const FRAME = {
  /** A message: [method, argument, with a stream?, deadline in ms]. */
  request: 1,
  /** A message: the result. */
  reply: 2,
  /** A message: [code, text]. */
  error: 3,
  /** Bytes of a stream, at least one. */
  data: 4,
  /** No more bytes from this end. */
  end: 5,
  /** u32: so many bytes more may be sent. */
  credit: 6,
  /** This end has given up the request. */
  reset: 7,
  /** The stream number is any number; the pong bears the same. */
  ping: 8,
  pong: 9,
  /** This end makes no more requests here. */
  goAway: 10,
} as const;

export type FrameType = (typeof FRAME)[keyof typeof FRAME];

export const HEADER_BYTES = 17;
const CHECKSUM_OFFSET = 9;

const PAYLOAD_BYTES: ReadonlyMap<number, { readonly min: number; readonly max: number }> = new Map([
  [FRAME.request, { min: 1, max: LIMITS.messageBytesMax }],
  [FRAME.reply, { min: 1, max: LIMITS.messageBytesMax }],
  [FRAME.error, { min: 1, max: LIMITS.messageBytesMax }],
  [FRAME.data, { min: 1, max: LIMITS.dataFrameBytesMax }],
  [FRAME.end, { min: 0, max: 0 }],
  [FRAME.credit, { min: 4, max: 4 }],
  [FRAME.reset, { min: 0, max: 0 }],
  [FRAME.ping, { min: 0, max: 0 }],
  [FRAME.pong, { min: 0, max: 0 }],
  [FRAME.goAway, { min: 0, max: 0 }],
]);

interface Header {
  readonly length: number;
  readonly type: number;
  readonly stream: number;
  readonly checksum: bigint;
}

const NOTHING = new Uint8Array(0);

function seedOf({ length, type, stream }: Omit<Header, 'checksum'>): bigint {
  return (BigInt(length * 256 + type) << 32n) | BigInt(stream);
}

/** Writes the header of a frame to `target` at `at`: HEADER_BYTES. */
export function writeHeader(
  target: Buffer,
  at: number,
  { type, stream, payload }: { type: FrameType; stream: number; payload: Uint8Array | undefined },
): void {
  const length = payload?.length ?? 0;
  target.writeUInt32LE(length, at);
  target.writeUInt8(type, at + 4);
  target.writeUInt32LE(stream, at + 5);
  const checksum = xxh64(payload ?? NOTHING, seedOf({ length, type, stream }));
  target.writeBigUInt64LE(checksum, at + CHECKSUM_OFFSET);
}

/** A whole frame in one new buffer. */
export function encodeFrame(type: FrameType, stream: number, payload?: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + (payload?.length ?? 0));
  writeHeader(frame, 0, { type, stream, payload });
  if (payload) frame.set(payload, HEADER_BYTES);
  return frame;
}

export interface Frame {
  readonly type: FrameType;
  readonly stream: number;
  /** The payload in the pieces in which it arrived; their checksum has been verified. */
  readonly slices: Buffer[];
}

/** Cuts what arrives into frames. */
export class FrameReader {
  readonly #partialHeader = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #header: Header | undefined;
  #slices: Buffer[] = [];
  #missing = 0;
  /** Of a payload in several pieces: each is summed when it comes, while it is in the cache. */
  #sum: Xxh64Sum | undefined;

  /**
   * The frames that `chunk` completes; views of it and of earlier chunks. Take them one by one:
   * what follows a bad frame is never looked at.
   * @throws HF_CORRUPT when the other end breaks the rules above.
   */
  *read(chunk: Buffer): Generator<Frame, void, void> {
    let at = 0;
    while (at < chunk.length) {
      if (!this.#header) {
        at = this.#readHeader(chunk, at);
        if (!this.#header) return;
      }
      const end = Math.min(at + this.#missing, chunk.length);
      if (end > at) this.#takeSlice(this.#header, chunk.subarray(at, end));
      at = end;
      if (this.#missing === 0) yield this.#takeFrame(this.#header);
    }
  }

  /** The offset behind what it has used. */
  #readHeader(chunk: Buffer, at: number): number {
    if (this.#headerBytes === 0 && chunk.length - at >= HEADER_BYTES) {
      this.#begin(chunk, at);
      return at + HEADER_BYTES;
    }
    const end = Math.min(at + HEADER_BYTES - this.#headerBytes, chunk.length);
    chunk.copy(this.#partialHeader, this.#headerBytes, at, end);
    this.#headerBytes += end - at;
    if (this.#headerBytes === HEADER_BYTES) {
      this.#headerBytes = 0;
      this.#begin(this.#partialHeader, 0);
    }
    return end;
  }

  #begin(bytes: Buffer, at: number): void {
    const length = bytes.readUInt32LE(at);
    const type = bytes.readUInt8(at + 4);
    const allowed = PAYLOAD_BYTES.get(type);
    if (!allowed) throw new HoldfastError('HF_CORRUPT', `a frame of unknown type ${type}`);
    if (length < allowed.min || length > allowed.max) {
      const text = `a frame of type ${type} with ${length} bytes`;
      throw new HoldfastError('HF_CORRUPT', text);
    }
    const stream = bytes.readUInt32LE(at + 5);
    const checksum = bytes.readBigUInt64LE(at + CHECKSUM_OFFSET);
    this.#header = { length, type, stream, checksum };
    this.#missing = length;
  }

  #takeSlice(header: Header, slice: Buffer): void {
    this.#slices.push(slice);
    this.#missing -= slice.length;
    if (this.#missing > 0) this.#sum ??= beginXxh64(seedOf(header));
    this.#sum?.update(slice);
  }

  #takeFrame(header: Header): Frame {
    const slices = this.#slices;
    const checksum = this.#sum?.digest() ?? xxh64(slices[0] ?? NOTHING, seedOf(header));
    this.#header = undefined;
    this.#slices = [];
    this.#sum = undefined;
    if (checksum !== header.checksum) {
      throw new HoldfastError('HF_CORRUPT', 'a frame does not match its checksum');
    }
    return { type: header.type as FrameType, stream: header.stream, slices };
  }
}

/** A payload in one piece. */
export function joined(slices: readonly Buffer[]): Buffer {
  return slices.length === 1 ? slices[0]! : Buffer.from(concatBytes(...slices));
}
