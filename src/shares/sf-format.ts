/**
 * The share file `.sf`, version 1: gnetraid's, bit by bit. A *share file* is a header, then one
 * share of the *range* of the stream that the header names, and nothing else when it is plain.
 *
 * A sealed share file has a *trailer* of 144 bytes behind that: the share's number, the envelope of
 * the sealed file, and two checksums over all before them, one that anybody can check and one that
 * only the holder of the share key can make. The header is that of version 1 still: whoever takes
 * the length of the share from the header, as gnetraid does, reads on and never sees the trailer.
 *
 * Numbers in the header are big-endian. Layout: docs/formats/share-file.md.
 */
import { createHash } from 'node:crypto';
import {
  asBuffer,
  assert,
  ByteReader,
  ByteWriter,
  bytesEqual,
  concatBytes,
  HoldfastError,
} from '../base/index.ts';
import { ENVELOPE_BYTES, type FileSeal, TAG_BYTES } from './file-seal.ts';
import type { UnitWidth } from './share-field.ts';

export interface ShareHeader {
  readonly k: number;
  readonly width: UnitWidth;
  /** The range of the stream, in bytes: from `start`, up to and without `next`. */
  readonly start: number;
  readonly next: number;
  /** Whether the stream ends with this range. */
  readonly isFinal: boolean;
  /** k coefficients; left out by programs that keep the matrix elsewhere. */
  readonly row: readonly number[] | undefined;
}

const MAGIC = Buffer.from('SF');
const VERSION = 1;
const WIDTHS: readonly UnitWidth[] = [1, 2, 4];
const OPTION_WIDE_K = 1;
const OPTION_WIDE_W = 2;
const OPTION_FINAL = 4;
const OPTION_ROW = 8;
const OPTIONS = OPTION_WIDE_K | OPTION_WIDE_W | OPTION_FINAL | OPTION_ROW;

/** Magic, version, options, k, w, two offsets of up to 255 bytes. */
const FIXED_BYTES_MAX = 4 + 2 + 2 + 2 * 256;
/** No header is longer: 65,535 coefficients of four bytes. */
export const HEADER_BYTES_MAX: number = FIXED_BYTES_MAX + 65_535 * 4;

export function encodeHeader(header: ShareHeader): Uint8Array {
  const { k, width, start, next, isFinal, row } = header;
  assert(k >= 1 && k < 65_536, 'k fits two bytes');
  const options =
    (k > 255 ? OPTION_WIDE_K : 0) | (isFinal ? OPTION_FINAL : 0) | (row ? OPTION_ROW : 0);
  const writer = new ByteWriter().raw(MAGIC).u8(VERSION).u8(options);
  if (k > 255) writer.u8(k >> 8);
  writer.u8(k & 255).u8(width);
  writer.raw(encodeOffset(start)).raw(encodeOffset(next));
  for (const coefficient of row ?? []) writer.raw(bigEndian(coefficient, width));
  return writer.finish();
}

/** Only its length, for which the row's coefficients do not matter. */
export function headerBytes({
  k,
  width,
  start,
  next,
}: Omit<ShareHeader, 'row' | 'isFinal'>): number {
  const offsets = encodeOffset(start).length + encodeOffset(next).length;
  return 4 + (k > 255 ? 2 : 1) + 1 + offsets + k * width;
}

/**
 * @param bytes the beginning of the file: all of it, or at least HEADER_BYTES_MAX.
 * @throws HF_CORRUPT when it is no header, HF_UNSUPPORTED when it is of another version.
 */
export function decodeHeader(bytes: Uint8Array): { header: ShareHeader; headerBytes: number } {
  const reader = new ByteReader(bytes, 'its header');
  if (bytes.length < MAGIC.length || !bytesEqual(reader.raw(MAGIC.length), MAGIC)) {
    throw new HoldfastError('HF_CORRUPT', 'it is no share file');
  }
  const version = reader.u8();
  if (version !== VERSION) {
    throw new HoldfastError('HF_UNSUPPORTED', `it is a share file of version ${version}`);
  }
  const options = reader.u8();
  if (options & ~OPTIONS) throw reader.corrupt('its options are unknown');
  const k = options & OPTION_WIDE_K ? reader.u16be() : reader.u8();
  const unitBytes = options & OPTION_WIDE_W ? reader.u16be() : reader.u8();
  if (k === 0) throw reader.corrupt('k is 0');
  const width = WIDTHS.find((known) => known === unitBytes);
  if (!width) throw reader.corrupt(`it has units of ${unitBytes} bytes`);
  const start = decodeOffset(reader);
  const next = decodeOffset(reader);
  const isFinal = (options & OPTION_FINAL) !== 0;
  const step = k * width;
  if (next < start || start % step !== 0 || (!isFinal && next % step !== 0)) {
    throw reader.corrupt('its range is impossible');
  }
  let row: number[] | undefined;
  if (options & OPTION_ROW) {
    const coefficients = asBuffer(reader.raw(step));
    row = Array.from({ length: k }, (_, at) => coefficients.readUIntBE(at * width, width));
    if (row.every((coefficient) => coefficient === 0)) throw reader.corrupt('its row is zero');
  }
  const header = { k, width, start, next, isFinal, row };
  return { header, headerBytes: bytes.length - reader.left };
}

/** Length of the share of a range, without header and trailer. */
export function shareDataBytes(
  header: Pick<ShareHeader, 'k' | 'width' | 'start' | 'next'>,
): number {
  const { k, width, start, next } = header;
  return Math.ceil((next - start) / (k * width)) * width;
}

export const TRAILER_BYTES = 144;
const CHECKSUM_BYTES = 32;
/** Tag and checksum, at the end of the file: they are made of the digest of all before them. */
export const SUMS_BYTES: number = TAG_BYTES + CHECKSUM_BYTES;

const TRAILER_MAGIC = Buffer.from('HFSHARE1');
const TAG_LABEL = 'holdfast/share-tag/1';

export interface ShareTrailer {
  /** From 0; says the row. */
  readonly shareNumber: number;
  /** From 0. */
  readonly chunkNumber: number;
  readonly envelope: Uint8Array;
  readonly sums: Uint8Array;
}

/** The part of the trailer before the sums. */
export function encodeTrailer(trailer: Omit<ShareTrailer, 'sums'>): Uint8Array {
  const { shareNumber, chunkNumber, envelope } = trailer;
  const writer = new ByteWriter().raw(TRAILER_MAGIC).u32(shareNumber).u32(chunkNumber);
  return writer.raw(envelope).finish();
}

/** @param digest SHA-256 of the share file up to the sums. */
export function encodeSums(seal: FileSeal, digest: Uint8Array): Uint8Array {
  const tag = seal.authenticate(TAG_LABEL, digest);
  return concatBytes(tag, checksumOf(digest, tag));
}

/** What is wrong with the sums, if anything; without a seal only what anybody can check. */
export function sumsFault(
  sums: Uint8Array,
  { seal, digest }: { readonly seal: FileSeal | undefined; readonly digest: Uint8Array },
): string | undefined {
  const tag = sums.subarray(0, TAG_BYTES);
  if (!bytesEqual(checksumOf(digest, tag), sums.subarray(TAG_BYTES))) {
    return 'its bytes do not match its checksum';
  }
  if (!seal || bytesEqual(seal.authenticate(TAG_LABEL, digest), tag)) return undefined;
  return 'it was altered by somebody without the share key';
}

function checksumOf(digest: Uint8Array, tag: Uint8Array): Uint8Array {
  return createHash('sha256').update(digest).update(tag).digest();
}

/** @param bytes the last 144 of the file. @returns `undefined` when they are no trailer. */
export function decodeTrailer(bytes: Uint8Array): ShareTrailer | undefined {
  const reader = new ByteReader(bytes, 'its trailer');
  if (bytes.length !== TRAILER_BYTES) return undefined;
  if (!bytesEqual(reader.raw(TRAILER_MAGIC.length), TRAILER_MAGIC)) return undefined;
  return {
    shareNumber: reader.u32(),
    chunkNumber: reader.u32(),
    envelope: new Uint8Array(reader.raw(ENVELOPE_BYTES)),
    sums: new Uint8Array(reader.raw(SUMS_BYTES)),
  };
}

/** A length byte, then as few bytes as will do; 0 is the length byte alone. */
function encodeOffset(value: number): Uint8Array {
  let bytes = 0;
  while (value >= 256 ** bytes) bytes += 1;
  return value === 0 ? Uint8Array.of(0) : Uint8Array.of(bytes, ...bigEndian(value, bytes));
}

function decodeOffset(reader: ByteReader): number {
  let value = 0;
  for (const byte of reader.raw(reader.u8())) value = value * 256 + byte;
  if (!Number.isSafeInteger(value)) throw reader.corrupt('an offset is out of range');
  return value;
}

/** Exact up to 2^53, which shifts are not. */
function bigEndian(value: number, bytes: number): Uint8Array {
  const target = new Uint8Array(bytes);
  let rest = value;
  for (let at = bytes - 1; at >= 0; at--) {
    target[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return target;
}
