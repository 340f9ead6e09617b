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
import { HoldfastError, roundUp } from '../base/index.ts';
import { NameCipher } from './name-cipher.ts';

/** Two AES-256 keys: one for the synthetic IV, one for the counter mode. */
export const NAME_KEY_BYTES = 64;

const BLOCK_BYTES = 16;
const PADDING_MARK = 0x80;

export class NameSeals {
  readonly #cipher: NameCipher;

  /** @param key 64 bytes, used for names alone. */
  constructor(key: Uint8Array) {
    this.#cipher = new NameCipher(key);
  }

  /**
   * @param name any bytes.
   * @param context what the name lives in: volume ‖ salt of the directory.
   * @returns a new array: 16 bytes and the padded name.
   */
  seal(name: Uint8Array, context: Uint8Array): Uint8Array {
    const padded = new Uint8Array(roundUp(name.length + 1, BLOCK_BYTES));
    padded.set(name);
    padded[name.length] = PADDING_MARK;
    return this.#cipher.seal(padded, context);
  }

  /** @returns the name, owned by the caller. @throws HF_FORGED. */
  open(sealed: Uint8Array, context: Uint8Array): Uint8Array {
    if (sealed.length < 2 * BLOCK_BYTES || sealed.length % BLOCK_BYTES !== 0) {
      throw new HoldfastError('HF_FORGED', 'a sealed name has a false length');
    }
    const padded = this.#cipher.open(sealed, context);
    if (!padded) throw new HoldfastError('HF_FORGED', 'a name does not match its key');
    const end = padded.lastIndexOf(PADDING_MARK);
    const isPadded = end >= 0 && padded.subarray(end + 1).every((byte) => byte === 0);
    if (!isPadded) throw new HoldfastError('HF_FORGED', 'a sealed name is not padded');
    return padded.slice(0, end);
  }
}
