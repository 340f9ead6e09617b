/**
 * Records and wrapped keys: short secrets under a long-lived key, each with a random nonce.
 *
 *     sealed = nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)
 *
 * How often a key may be used: at most 2^32 times, after which two equal nonces have the
 * probability 2^-32 (NIST SP 800-38D, 8.3). At 1,000 records a second that is 49 days of writing
 * without pause, 136 years at one a second; whoever may reach it derives a key for each epoch.
 *
 * A false key and altered bytes cannot be told apart: both are HF_FORGED. HF_WRONG_KEY is for those
 * who know that they hold no fitting key.
 */
import { assert, concatBytes, HoldfastError } from '../base/index.ts';
import { gcmKey, gcmOpen, gcmSeal, KEY_BYTES, NONCE_BYTES, TAG_BYTES } from './aes-gcm.ts';

/** What sealing adds to a record. */
export const RECORD_OVERHEAD_BYTES: number = NONCE_BYTES + TAG_BYTES;

/**
 * @param nonce 12 random bytes, never used before under this key.
 * @param aad what the record belongs to; it is opened only together with the same bytes.
 * @returns a new array, RECORD_OVERHEAD_BYTES longer than the record.
 */
export function sealRecord(request: {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly aad: Uint8Array;
  readonly record: Uint8Array;
}): Uint8Array {
  const { nonce, aad, record } = request;
  const { ciphertext, tag } = gcmSeal({ key: gcmKey(request.key), nonce, aad }, record);
  return concatBytes(nonce, ciphertext, tag);
}

/** @returns the record, owned by the caller. @throws HF_FORGED. */
export function openRecord(request: {
  readonly key: Uint8Array;
  readonly aad: Uint8Array;
  readonly sealed: Uint8Array;
}): Uint8Array {
  const { aad, sealed } = request;
  const tagAt = sealed.length - TAG_BYTES;
  if (tagAt < NONCE_BYTES) throw new HoldfastError('HF_FORGED', 'the sealed record is cut short');
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const use = { key: gcmKey(request.key), nonce, aad, tag: sealed.subarray(tagAt) };
  return concatBytes(...gcmOpen(use, [sealed.subarray(NONCE_BYTES, tagAt)]));
}

/**
 * Wraps a stripe's key.
 * @param key the 32-byte key to wrap.
 * @param aad names the one place of the key: volume ‖ inode ‖ offset ‖ length ‖ stripe id.
 * @returns 60 bytes.
 */
export function wrapKey(request: {
  readonly wrapKey: Uint8Array;
  readonly nonce: Uint8Array;
  readonly aad: Uint8Array;
  readonly key: Uint8Array;
}): Uint8Array {
  const { wrapKey: key, nonce, aad, key: record } = request;
  assert(record.length === KEY_BYTES, 'a wrapped key is 32 bytes');
  return sealRecord({ key, nonce, aad, record });
}

/** @throws HF_FORGED. */
export function unwrapKey(request: {
  readonly wrapKey: Uint8Array;
  readonly aad: Uint8Array;
  readonly wrapped: Uint8Array;
}): Uint8Array {
  const { wrapKey: key, aad, wrapped: sealed } = request;
  const record = openRecord({ key, aad, sealed });
  if (record.length !== KEY_BYTES) throw new HoldfastError('HF_FORGED', 'this is no wrapped key');
  return record;
}
