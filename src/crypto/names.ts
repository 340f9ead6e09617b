/**
 * Sealed names: AES-256-SIV, the same name in the same directory always giving the same bytes, so
 * that a cell finds an entry without knowing its name.
 *
 *     padded = name ‖ 0x80 ‖ zeros up to a multiple of 16
 *     sealed = synthetic IV (16 bytes) ‖ ciphertext; associated data: the context
 *
 * What a holder learns: the length in steps of 16, and whether two names in one context are equal.
 * Source: RFC 5297; the padding is that of ISO/IEC 7816-4.
 */
import { aessiv } from '@noble/ciphers/aes.js';
import { assert, HoldfastError, roundUp } from '../base/index.ts';

/** Two AES-256 keys: one for the synthetic IV, one for the counter mode. */
export const NAME_KEY_BYTES = 64;

const BLOCK_BYTES = 16;
const PADDING_MARK = 0x80;

/**
 * @param key 64 bytes, used for names alone.
 * @param name any bytes.
 * @param context what the name lives in: volume ‖ salt of the directory.
 * @returns a new array: 16 bytes and the padded name.
 */
export function sealName(request: {
  readonly key: Uint8Array;
  readonly name: Uint8Array;
  readonly context: Uint8Array;
}): Uint8Array {
  const { key, name, context } = request;
  assert(key.length === NAME_KEY_BYTES, 'a key of names is 64 bytes');
  const padded = new Uint8Array(roundUp(name.length + 1, BLOCK_BYTES));
  padded.set(name);
  padded[name.length] = PADDING_MARK;
  return aessiv(key, context).encrypt(padded);
}

/** @returns the name, owned by the caller. @throws HF_FORGED. */
export function openName(request: {
  readonly key: Uint8Array;
  readonly sealed: Uint8Array;
  readonly context: Uint8Array;
}): Uint8Array {
  const { key, sealed, context } = request;
  assert(key.length === NAME_KEY_BYTES, 'a key of names is 64 bytes');
  if (sealed.length < 2 * BLOCK_BYTES || sealed.length % BLOCK_BYTES !== 0) {
    throw new HoldfastError('HF_FORGED', 'a sealed name has a false length');
  }
  const padded = decrypt({ key, sealed, context });
  const end = padded.lastIndexOf(PADDING_MARK);
  const isPadded = end >= 0 && padded.subarray(end + 1).every((byte) => byte === 0);
  if (!isPadded) throw new HoldfastError('HF_FORGED', 'a sealed name is not padded');
  return padded.slice(0, end);
}

function decrypt(request: Parameters<typeof openName>[0]): Uint8Array {
  try {
    return aessiv(request.key, request.context).decrypt(request.sealed);
  } catch (error) {
    throw new HoldfastError('HF_FORGED', 'a name does not match its key', { cause: error });
  }
}
