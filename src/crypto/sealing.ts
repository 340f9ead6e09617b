/**
 * Sealing of a stripe's content, in segments that can be opened one by one.
 *
 *     content → padded with zeros to 4 KiB → segments of 64 KiB (the last may be shorter)
 *     sealed  = for each segment: ciphertext ‖ tag (16 bytes)
 *     nonce   = segment index (u64 BE) ‖ 1 for the last segment, else 0 (u32 BE)
 *     AAD     = format (u32 BE) ‖ segment count (u32 BE)
 *
 * Invariants:
 * 1. A key seals one content. It is random, or follows from the content ({@link stripeKey}); only
 *    therefore may nonces begin at 0 in every stripe.
 * 2. The nonce and the AAD say which segment of how many this is, so segments cannot be moved,
 *    repeated, left out or cut off.
 * 3. Nothing is written to a target before its tag is checked.
 *
 * Source: rulings 5 and 24; the last-segment flag as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizár
 * 2015, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance").
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { assert, HoldfastError, LIMITS, roundUp, utf8 } from '../base/index.ts';
import {
  type GcmUse,
  gcmKey,
  gcmOpen,
  gcmSeal,
  KEY_BYTES,
  NONCE_BYTES,
  TAG_BYTES,
} from './aes-gcm.ts';
import { DIGEST_BYTES } from './digest.ts';

const { paddingBytes: PADDING_BYTES, segmentBytes: SEGMENT_BYTES } = LIMITS;
const SEALED_SEGMENT_BYTES = SEGMENT_BYTES + TAG_BYTES;
const STRIPE_PURPOSE = utf8('stripe/1');

/** One array, or several that are taken as one run in order (a stripe's pieces). */
export type Run = Uint8Array | readonly Uint8Array[];

/** Length of content once padded. */
export function paddedBytes(contentBytes: number): number {
  assert(contentBytes >= 1, 'there is content');
  return roundUp(contentBytes, PADDING_BYTES);
}

/** Length of content once padded and sealed. */
export function sealedBytes(contentBytes: number): number {
  const padded = paddedBytes(contentBytes);
  return padded + Math.ceil(padded / SEGMENT_BYTES) * TAG_BYTES;
}

/**
 * Fills up to the padded length with zeros, in place.
 * @param buffer at least `paddedBytes(contentBytes)` long, content first.
 * @returns the view that is sealed.
 */
export function padContent(buffer: Uint8Array, contentBytes: number): Uint8Array {
  const end = paddedBytes(contentBytes);
  assert(end <= buffer.length, 'the buffer has room for the padding');
  return buffer.subarray(0, end).fill(0, contentBytes);
}

/**
 * The key that follows from the content, so that equal content of one volume becomes equal stripes.
 * Whoever lacks the secret cannot tell whether a stripe holds content that he guesses.
 *
 * @param secret the volume's content secret, 32 bytes.
 * @param format as given to {@link sealContent}.
 * @param contentDigest `digest` of the exact bytes that are sealed, padding included.
 */
export function stripeKey(made: {
  readonly secret: Uint8Array;
  readonly format: number;
  readonly contentDigest: Uint8Array;
}): Uint8Array {
  const { secret, format, contentDigest } = made;
  assert(secret.length === KEY_BYTES, 'a secret is 32 bytes');
  assert(contentDigest.length === DIGEST_BYTES, 'a digest is 32 bytes');
  const formatBytes = Buffer.alloc(4);
  formatBytes.writeUInt32BE(format);
  const hmac = createHmac('sha256', createSecretKey(secret));
  return new Uint8Array(
    hmac.update(STRIPE_PURPOSE).update(formatBytes).update(contentDigest).digest(),
  );
}

/**
 * Seals padded content.
 *
 * @param content whole multiples of 4 KiB, at least one. Read, not written (but see `target`).
 * @param key 32 bytes, for these bytes alone.
 * @param format what made the bytes from the content (padding, one day compression); bound to them.
 * @param target at least `sealedBytes(content.length)`; what is longer is zeroed at the end. May
 *   lie over the content if it starts 16 bytes per segment, or more, before it.
 */
export function sealContent(request: {
  readonly content: Uint8Array;
  readonly key: Uint8Array;
  readonly format: number;
  readonly target: Run;
}): void {
  const { content, key, format } = request;
  const target = piecesOf(request.target);
  const capacity = runBytes(target);
  const shape = shapeOf(sealedBytes(content.length));
  assert(content.length === paddedBytes(content.length), 'the content is padded');
  assert(capacity >= shape.sealedBytes, 'the target has room for the tags');
  const gcm = gcmKey(key);
  for (let index = 0; index < shape.segmentCount; index++) {
    const start = index * SEGMENT_BYTES;
    const plaintext = content.subarray(start, start + SEGMENT_BYTES);
    const { ciphertext, tag } = gcmSeal(segmentUse(gcm, format, { shape, index }), plaintext);
    const sealedAt = index * SEALED_SEGMENT_BYTES;
    writeRun(target, sealedAt, ciphertext);
    writeRun(target, sealedAt + ciphertext.length, tag);
  }
  for (const view of viewsOf(target, shape.sealedBytes, capacity)) view.fill(0);
}

/** Whole segments that hold a range of content, and where they are. */
export interface SegmentRange {
  readonly firstSegment: number;
  readonly segmentCount: number;
  /** Where the first segment begins in the sealed stripe. */
  readonly sealedOffset: number;
  /** Length of the segments, sealed. */
  readonly sealedBytes: number;
  /** Where the first segment begins in the content. */
  readonly contentOffset: number;
  /** Length of the segments, opened; includes padding where the last segment is among them. */
  readonly openedBytes: number;
}

/** The fewest segments that hold `lengthBytes` (at least 1) of content from `offset` on. */
export function segmentRange(wanted: {
  readonly contentBytes: number;
  readonly offset: number;
  readonly lengthBytes: number;
}): SegmentRange {
  const { contentBytes, offset, lengthBytes } = wanted;
  const end = offset + lengthBytes;
  assert(offset >= 0 && lengthBytes >= 1 && end <= contentBytes, 'the range is within the content');
  const firstSegment = Math.floor(offset / SEGMENT_BYTES);
  const segmentCount = Math.ceil(end / SEGMENT_BYTES) - firstSegment;
  const sealedOffset = firstSegment * SEALED_SEGMENT_BYTES;
  const sealedEnd = sealedOffset + segmentCount * SEALED_SEGMENT_BYTES;
  const rangeBytes = Math.min(sealedEnd, sealedBytes(contentBytes)) - sealedOffset;
  return {
    firstSegment,
    segmentCount,
    sealedOffset,
    sealedBytes: rangeBytes,
    contentOffset: firstSegment * SEGMENT_BYTES,
    openedBytes: rangeBytes - segmentCount * TAG_BYTES,
  };
}

/**
 * Opens whole segments.
 *
 * @param sealed begins with the first segment wanted; may be longer than what is wanted.
 * @param sealedBytes length of the whole sealed stripe, however little of it is opened.
 * @param range which segments; all of them when left out.
 * @param target takes the padded content of these segments from 0 on. May begin where `sealed`
 *   begins, in the same memory.
 * @throws HF_FORGED when the bytes are not what was sealed under this key and format, at this place
 *   of a stripe of this length. Segments before the false one have been written then.
 */
export function openSegments(request: {
  readonly sealed: Run;
  readonly sealedBytes: number;
  readonly key: Uint8Array;
  readonly format: number;
  readonly target: Uint8Array;
  readonly range?: Pick<SegmentRange, 'firstSegment' | 'segmentCount'> | undefined;
}): void {
  const { key, format, target } = request;
  const sealed = piecesOf(request.sealed);
  const shape = shapeOf(request.sealedBytes);
  const { firstSegment, segmentCount } = request.range ?? {
    firstSegment: 0,
    segmentCount: shape.segmentCount,
  };
  const endSegment = firstSegment + segmentCount;
  assert(firstSegment >= 0 && segmentCount >= 1, 'the range holds a segment');
  const gcm = gcmKey(key);
  for (let index = firstSegment; index < endSegment; index++) {
    const position = index - firstSegment;
    const start = position * SEALED_SEGMENT_BYTES;
    const tagAt = start + sealedBytesOf(shape, index) - TAG_BYTES;
    const tag = readRun(sealed, tagAt, TAG_BYTES);
    if (tagAt <= start || !tag) throw forged(index, 'it is cut short');
    const ciphertext = viewsOf(sealed, start, tagAt);
    let offset = position * SEGMENT_BYTES;
    assert(offset + tagAt - start <= target.length, 'the target has room for the content');
    const use = segmentUse(gcm, format, { shape, index });
    for (const part of gcmOpen({ ...use, tag }, ciphertext)) {
      target.set(part, offset);
      offset += part.length;
    }
  }
}

function forged(segmentIndex: number, reason: string): HoldfastError {
  return new HoldfastError('HF_FORGED', `segment ${segmentIndex} cannot be opened: ${reason}`);
}

interface Shape {
  readonly sealedBytes: number;
  readonly segmentCount: number;
}

function shapeOf(totalBytes: number): Shape {
  return {
    sealedBytes: totalBytes,
    segmentCount: Math.ceil(totalBytes / SEALED_SEGMENT_BYTES),
  };
}

/** 0 or less past the end of the stripe. */
function sealedBytesOf(shape: Shape, index: number): number {
  return Math.min(SEALED_SEGMENT_BYTES, shape.sealedBytes - index * SEALED_SEGMENT_BYTES);
}

function segmentUse(
  key: KeyObject,
  format: number,
  { shape, index }: { readonly shape: Shape; readonly index: number },
): GcmUse {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeUInt32BE(index, 4); // the upper half of the u64 stays 0: stripes have few segments
  nonce.writeUInt32BE(index === shape.segmentCount - 1 ? 1 : 0, 8);
  const aad = Buffer.alloc(8);
  aad.writeUInt32BE(format, 0);
  aad.writeUInt32BE(shape.segmentCount, 4);
  return { key, nonce, aad };
}

function piecesOf(run: Run): readonly Uint8Array[] {
  return run instanceof Uint8Array ? [run] : run;
}

function runBytes(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

/** Views of the pieces that together are the bytes from `start` to `end` of the run. */
function viewsOf(pieces: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  let pieceAt = 0;
  for (const piece of pieces) {
    const from = Math.max(start - pieceAt, 0);
    const to = Math.min(end - pieceAt, piece.length);
    if (from < to) views.push(piece.subarray(from, to));
    pieceAt += piece.length;
  }
  return views;
}

function writeRun(pieces: readonly Uint8Array[], start: number, bytes: Uint8Array): void {
  let offset = 0;
  for (const view of viewsOf(pieces, start, start + bytes.length)) {
    view.set(bytes.subarray(offset, offset + view.length));
    offset += view.length;
  }
  assert(offset === bytes.length, 'all bytes found room');
}

/** A copy of `count` bytes; `undefined` where the run ends before. */
function readRun(
  pieces: readonly Uint8Array[],
  start: number,
  count: number,
): Uint8Array | undefined {
  const bytes = Buffer.concat(viewsOf(pieces, start, start + count));
  return bytes.length === count ? bytes : undefined;
}
