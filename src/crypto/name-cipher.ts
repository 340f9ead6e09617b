/**
 * AES-256-SIV for many short names: what depends on the key alone, and on the context alone, is
 * worked out once. A name of up to 15 bytes then costs three calls of the block cipher; a library
 * that begins anew each time took six times as long (docs/design/0011).
 *
 * Source: RFC 5297 (SIV), RFC 4493 (CMAC). Blocks are 16 bytes, `block` is E_K of one.
 */
import { type Cipheriv, createCipheriv, timingSafeEqual } from 'node:crypto';
import { assert, keyText, remember } from '../base/index.ts';

const BLOCK_BYTES = 16;
const KEY_BYTES = 64;
/** Contexts that are remembered; the one used first goes first. */
const CONTEXTS_MAX = 512;
/** Of the polynomial x^128 + x^7 + x^2 + x + 1. */
const REDUCTION = 0x87;

export class NameCipher {
  readonly #mac: Cipheriv;
  readonly #counter: Cipheriv;
  /** For a last block that is whole, and for one that was padded. */
  readonly #subkey: Uint8Array;
  readonly #paddedSubkey: Uint8Array;
  readonly #zeroMac: Uint8Array;
  /** S2V as far as the context goes. */
  readonly #begun = new Map<string, Uint8Array>();

  /** @param key 64 bytes: one half for the synthetic IV, one for the counter mode. */
  constructor(key: Uint8Array) {
    assert(key.length === KEY_BYTES, 'a key of names is 64 bytes');
    this.#mac = blockCipher(key.subarray(0, KEY_BYTES / 2));
    this.#counter = blockCipher(key.subarray(KEY_BYTES / 2));
    this.#subkey = doubled(this.#mac.update(new Uint8Array(BLOCK_BYTES)));
    this.#paddedSubkey = doubled(this.#subkey);
    this.#zeroMac = this.#cmac(new Uint8Array(BLOCK_BYTES));
  }

  /** @param blocks whole ones, at least one. @returns 16 bytes more, owned by the caller. */
  seal(blocks: Uint8Array, context: Uint8Array): Uint8Array {
    const sealed = new Uint8Array(BLOCK_BYTES + blocks.length);
    const iv = this.#syntheticIv(blocks, context);
    sealed.set(iv);
    sealed.set(blocks, BLOCK_BYTES);
    this.#applyStream(sealed.subarray(BLOCK_BYTES), iv);
    return sealed;
  }

  /** @returns the blocks, owned by the caller; `undefined`: that was not sealed so. */
  open(sealed: Uint8Array, context: Uint8Array): Uint8Array | undefined {
    const iv = sealed.subarray(0, BLOCK_BYTES);
    const blocks = new Uint8Array(sealed.subarray(BLOCK_BYTES));
    this.#applyStream(blocks, iv);
    return timingSafeEqual(iv, this.#syntheticIv(blocks, context)) ? blocks : undefined;
  }

  /** S2V with one string of associated data, of a plaintext that is not shorter than a block. */
  #syntheticIv(blocks: Uint8Array, context: Uint8Array): Uint8Array {
    const mixed = new Uint8Array(blocks);
    mix(mixed, mixed.length - BLOCK_BYTES, this.#begunWith(context));
    return this.#cmac(mixed);
  }

  #begunWith(context: Uint8Array): Uint8Array {
    const key = keyText(context);
    const known = this.#begun.get(key);
    if (known) return known;
    const begun = doubled(this.#zeroMac);
    mix(begun, 0, this.#cmac(context));
    remember(this.#begun, key, begun, CONTEXTS_MAX);
    return begun;
  }

  /** RFC 4493. */
  #cmac(message: Uint8Array): Uint8Array {
    const isWhole = message.length > 0 && message.length % BLOCK_BYTES === 0;
    const count = Math.max(1, Math.ceil(message.length / BLOCK_BYTES));
    const padded = new Uint8Array(count * BLOCK_BYTES);
    padded.set(message);
    if (!isWhole) padded[message.length] = 0x80;
    const last = padded.length - BLOCK_BYTES;
    mix(padded, last, isWhole ? this.#subkey : this.#paddedSubkey);
    let sum: Uint8Array = new Uint8Array(BLOCK_BYTES);
    for (let at = 0; at <= last; at += BLOCK_BYTES) {
      mix(padded, at, sum);
      sum = this.#mac.update(padded.subarray(at, at + BLOCK_BYTES));
    }
    return sum;
  }

  /** Counter mode from the IV, with the top bits of its last two words cleared (2.5). */
  #applyStream(blocks: Uint8Array, iv: Uint8Array): void {
    const counters = new Uint8Array(blocks.length);
    const words = new DataView(counters.buffer);
    for (let at = 0; at < counters.length; at += BLOCK_BYTES) {
      counters.set(iv, at);
      counters[at + 8]! &= 0x7f;
      counters[at + 12]! &= 0x7f;
      // That bit is clear, and a name has few blocks: nothing is carried.
      words.setUint32(at + 12, words.getUint32(at + 12) + at / BLOCK_BYTES);
    }
    mix(blocks, 0, this.#counter.update(counters));
  }
}

function blockCipher(key: Uint8Array): Cipheriv {
  return createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
}

/** Adds the bytes to those of the target from an offset on, in GF(2). */
function mix(target: Uint8Array, offset: number, bytes: Uint8Array): void {
  for (let index = 0; index < bytes.length; index++) target[offset + index]! ^= bytes[index]!;
}

/** Multiplied by x in GF(2^128). */
function doubled(block: Uint8Array): Uint8Array {
  const result = new Uint8Array(BLOCK_BYTES);
  for (let index = 0; index < BLOCK_BYTES; index++) {
    result[index] = (block[index]! << 1) | ((block[index + 1] ?? 0) >> 7);
  }
  if (block[0]! & 0x80) result[BLOCK_BYTES - 1]! ^= REDUCTION;
  return result;
}
