/**
 * Sealing of one whole file for share and chunk files, with nothing but a key file.
 *
 *     file id  = HMAC-SHA-256(share key, "holdfast/share-file/1" ‖ size u64le ‖ SHA-256 of file)
 *     file key = HMAC-SHA-256(share key, "holdfast/share-seal/1" ‖ size u64le ‖ file id)
 *     sealed stream = for each segment of 64 KiB (the last may be shorter): ciphertext ‖ tag (16)
 *     nonce = segment index (u64 BE) ‖ 1 for the last segment, else 0 (u32 BE)
 *     AAD   = format 1 (u32 BE) ‖ segment count (u32 BE)
 *
 * The *envelope* (80 bytes) stands in every share or chunk file. It holds the size and the file id,
 * from which whoever has the share key derives the file key; so it wraps nothing, and equal files
 * under one share key become equal bytes: shares can be added later. A file of no bytes has one
 * empty segment, so that its emptiness is sealed too.
 *
 * Layout of the envelope: docs/formats/share-file.md. Segments as in `crypto/sealing.ts`.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  type KeyObject,
} from 'node:crypto';
import {
  asBuffer,
  assert,
  ByteReader,
  ByteWriter,
  bytesEqual,
  HoldfastError,
  KiB,
} from '../base/index.ts';
import type { InputFile, Reporting } from './files.ts';
import { SHARE_KEY_BYTES } from './key-file.ts';

export const SEGMENT_BYTES: number = 64 * KiB;
export const TAG_BYTES = 16;
export const SEALED_SEGMENT_BYTES: number = SEGMENT_BYTES + TAG_BYTES;
export const ENVELOPE_BYTES = 80;
const FILE_ID_BYTES = 32;

const MAGIC = Buffer.from('HFSE');
const VERSION = 1;
const FORMAT = 1;
const CIPHER = 'aes-256-gcm';
const KEY_CHECK_BYTES = 8;
const MAC_AT = 56;
const CHECKSUM_AT = 72;
/** Segments are counted in 32 bits. */
const PLAIN_BYTES_MAX = SEGMENT_BYTES * (2 ** 32 - 1);

/** Segments of a file; at least one. */
export function segmentCount(plainBytes: number): number {
  return Math.max(1, Math.ceil(plainBytes / SEGMENT_BYTES));
}

/** Length of the sealed stream, without its envelope. */
export function sealedBytes(plainBytes: number): number {
  return plainBytes + segmentCount(plainBytes) * TAG_BYTES;
}

/** Where the segments of a sealed file are, and their sealing and opening. */
export class FileSeal {
  readonly plainBytes: number;
  readonly segmentCount: number;
  /** Of the sealed stream. */
  readonly sealedBytes: number;
  /** 32 bytes; equal for equal files under one share key. */
  readonly fileId: Uint8Array;
  /** 80 bytes. */
  readonly envelope: Uint8Array;
  readonly #fileKey: Uint8Array;
  readonly #cipherKey: KeyObject;
  readonly #aad = Buffer.alloc(8);

  private constructor(
    shareKey: Uint8Array,
    { size, fileId }: { size: number; fileId: Uint8Array },
  ) {
    assert(shareKey.length === SHARE_KEY_BYTES, 'a share key is 32 bytes');
    this.plainBytes = size;
    this.segmentCount = segmentCount(size);
    this.sealedBytes = sealedBytes(size);
    this.fileId = fileId;
    this.#fileKey = keyed(shareKey, 'holdfast/share-seal/1', u64(size), fileId);
    this.#cipherKey = createSecretKey(this.#fileKey);
    this.#aad.writeUInt32BE(FORMAT, 0);
    this.#aad.writeUInt32BE(this.segmentCount, 4);
    this.envelope = this.#encode(keyCheck(shareKey));
  }

  /**
   * @param file.key the share key, 32 bytes.
   * @param file.digest SHA-256 of exactly the bytes that will be sealed: a key seals one content.
   * @throws HF_TOO_LARGE above 256 TiB.
   */
  static forPlain(file: { key: Uint8Array; size: number; digest: Uint8Array }): FileSeal {
    const { key, size, digest } = file;
    assert(digest.length === 32, 'a digest is 32 bytes');
    if (size > PLAIN_BYTES_MAX) throw new HoldfastError('HF_TOO_LARGE', 'files end at 256 TiB');
    return new FileSeal(key, { size, fileId: fileIdOf(key, { size, digest }) });
  }

  /** @throws HF_CORRUPT when it is damaged, HF_UNSUPPORTED when newer, HF_WRONG_KEY. */
  static fromEnvelope(sealed: { key: Uint8Array; envelope: Uint8Array }): FileSeal {
    const { key, envelope } = sealed;
    const { size, fileId, check } = readEnvelope(envelope);
    if (!bytesEqual(check, keyCheck(key))) {
      throw new HoldfastError('HF_WRONG_KEY', 'it was sealed with another share key');
    }
    const seal = new FileSeal(key, { size, fileId });
    if (!bytesEqual(seal.envelope, envelope)) throw corrupt('it was not made with this share key');
    return seal;
  }

  /** Whether a file of this size and with this SHA-256 is the one that was sealed. */
  isOf(key: Uint8Array, digest: Uint8Array): boolean {
    return bytesEqual(this.fileId, fileIdOf(key, { size: this.plainBytes, digest }));
  }

  /** Length of a segment's plaintext. */
  plainSegmentBytes(index: number): number {
    return Math.min(SEGMENT_BYTES, this.plainBytes - index * SEGMENT_BYTES);
  }

  /** Seals into the beginning of `target`, 16 bytes longer than the segment; these may overlap. */
  sealSegment(index: number, plain: Uint8Array, target: Uint8Array): void {
    assert(plain.length === this.plainSegmentBytes(index), 'the segment is whole');
    const cipher = createCipheriv(CIPHER, this.#cipherKey, this.#nonce(index));
    cipher.setAAD(this.#aad);
    target.set(cipher.update(plain));
    cipher.final();
    target.set(cipher.getAuthTag(), plain.length);
  }

  /** @returns the plaintext, owned by the caller. @throws HF_CORRUPT. */
  openSegment(index: number, sealed: Uint8Array): Uint8Array {
    const tagAt = sealed.length - TAG_BYTES;
    if (tagAt !== this.plainSegmentBytes(index)) throw corrupt(`segment ${index} is cut short`);
    const decipher = createDecipheriv(CIPHER, this.#cipherKey, this.#nonce(index));
    decipher.setAAD(this.#aad);
    decipher.setAuthTag(sealed.subarray(tagAt));
    const plain = decipher.update(sealed.subarray(0, tagAt));
    try {
      decipher.final();
    } catch (cause) {
      throw new HoldfastError('HF_CORRUPT', `segment ${index} is not what was sealed`, { cause });
    }
    return plain;
  }

  /** A keyed checksum of anything that belongs to this file; `label` names its use. */
  authenticate(label: string, ...parts: readonly Uint8Array[]): Uint8Array {
    return keyed(this.#fileKey, label, ...parts).subarray(0, TAG_BYTES);
  }

  #nonce(index: number): Buffer {
    assert(index >= 0 && index < this.segmentCount, 'the file has this segment');
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32BE(index, 4); // the upper half of the u64 stays 0: see PLAIN_BYTES_MAX
    nonce.writeUInt32BE(index === this.segmentCount - 1 ? 1 : 0, 8);
    return nonce;
  }

  #encode(check: Uint8Array): Uint8Array {
    const writer = new ByteWriter().raw(MAGIC).u8(VERSION).u8(0).u16(0).raw(check);
    const named = writer.u64(this.plainBytes).raw(this.fileId).finish();
    assert(named.length === MAC_AT, 'the fields are in their places');
    writer.raw(this.authenticate('holdfast/share-envelope/1', named));
    const envelope = writer.raw(checksumOf(writer.finish())).finish();
    assert(envelope.length === ENVELOPE_BYTES, 'an envelope is 80 bytes');
    return envelope;
  }
}

/** The first of two passes over a file that is to be sealed; a plain one needs none. */
export async function sealOf(
  file: InputFile,
  key: Uint8Array | undefined,
  { signal }: Reporting,
): Promise<FileSeal | undefined> {
  if (!key) return undefined;
  return FileSeal.forPlain({ key, size: file.size, digest: await file.digest({ signal }) });
}

export interface EnvelopeFields {
  /** Of the plain file. */
  readonly size: number;
  readonly fileId: Uint8Array;
  /** Of the share key. */
  readonly check: Uint8Array;
}

/** What can be read without a key. @throws HF_CORRUPT, HF_UNSUPPORTED. */
export function readEnvelope(envelope: Uint8Array): EnvelopeFields {
  if (envelope.length !== ENVELOPE_BYTES) throw corrupt('its envelope is cut short');
  if (!bytesEqual(checksumOf(envelope.subarray(0, CHECKSUM_AT)), envelope.subarray(CHECKSUM_AT))) {
    throw corrupt('its envelope is damaged');
  }
  const reader = new ByteReader(envelope, 'the envelope');
  if (!bytesEqual(reader.raw(MAGIC.length), MAGIC)) throw corrupt('there is no envelope');
  const version = reader.u8();
  if (version !== VERSION) {
    throw new HoldfastError('HF_UNSUPPORTED', `its envelope is of version ${version}`);
  }
  reader.raw(3);
  const check = reader.raw(KEY_CHECK_BYTES);
  const size = reader.u64();
  if (size > PLAIN_BYTES_MAX) throw corrupt('its size is out of range');
  return { check, size, fileId: new Uint8Array(reader.raw(FILE_ID_BYTES)) };
}

function fileIdOf(
  key: Uint8Array,
  { size, digest }: { size: number; digest: Uint8Array },
): Uint8Array {
  return keyed(key, 'holdfast/share-file/1', u64(size), digest);
}

function keyCheck(key: Uint8Array): Uint8Array {
  return keyed(key, 'holdfast/share-key-check/1').subarray(0, KEY_CHECK_BYTES);
}

function keyed(key: Uint8Array, label: string, ...parts: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac('sha256', key).update(label);
  for (const part of parts) hmac.update(part);
  return new Uint8Array(hmac.digest());
}

function checksumOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256')
    .update(bytes)
    .digest()
    .subarray(0, ENVELOPE_BYTES - CHECKSUM_AT);
}

function u64(value: number): Uint8Array {
  return asBuffer(new ByteWriter().u64(value).finish());
}

function corrupt(reason: string): HoldfastError {
  return new HoldfastError('HF_CORRUPT', reason);
}
